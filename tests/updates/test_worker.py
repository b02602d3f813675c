"""The update thread with real repositories."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from support.mqtt_brokers import wait_until
from support.release_signer import (
    NOW,
    Door,
    ReleaseSigner,
    at_release_1,
    gallery_bytes,
    later,
    settled,
)
from support.slow_repository import KINDS, source_of
from threshold_tools.release.transport import export

from edge.core.errors import BrokerError
from edge.recognition.gallery import Gallery
from edge.updates.boot import PROVEN_AFTER_S
from edge.updates.release_format import POLICY, sha256_of
from edge.updates.sources import FolderSource
from edge.updates.store import ReleaseStore
from edge.updates.updater import StagedRelease


def test_release_arrives_bit_for_bit(tmp_path: Path, signer: ReleaseSigner) -> None:
    """The gallery of the door is the file of the operator, so both have the same version."""
    with Door(tmp_path / "state", signer.root, FolderSource(signer.folder)) as door:
        settled(door, 1)
        assert door.gallery is not None
        assert door.gallery.info.version == sha256_of(gallery_bytes(range(20)))
        assert [news.applied for news in door.news] == [False, True]
        assert door.worker.status.detail == "release 1: 20 people"


def test_next_release_replaces_the_first(tmp_path: Path, signer: ReleaseSigner) -> None:
    with Door(tmp_path / "state", signer.root, FolderSource(signer.folder)) as door:
        settled(door, 1)
        signer.release(range(21))
        settled(door, 2)
        assert door.gallery is not None
        assert len(door.gallery.people) == 21
    with Door(tmp_path / "state", signer.root, FolderSource(signer.folder)) as again:
        assert again.gallery is not None
        assert len(again.gallery.people) == 21


def test_refusal_is_reported_once(tmp_path: Path, signer: ReleaseSigner) -> None:
    """Not again at every retry; the status is good again when the cause is removed."""
    with Door(tmp_path / "state", signer.root, FolderSource(signer.folder)) as door:
        settled(door, 1)
        good = (signer.folder / "timestamp.json").read_bytes()
        for _ in range(3):
            (signer.folder / "timestamp.json").write_bytes(b"{}")
            wait_until(lambda: not door.worker.status.ok, "refused")
            (signer.folder / "timestamp.json").write_bytes(good + b" ")
            (signer.folder / "timestamp.json").write_bytes(b"{}")
        assert door.worker.status.release == 1
        (signer.folder / "timestamp.json").write_bytes(good)
        wait_until(lambda: door.worker.status.ok, "the status is good again")
    refusals = [news.status.detail for news in door.news if news.refused]
    assert len(refusals) == len(set(refusals))
    assert refusals[0].startswith("timestamp.json: damaged")


def test_check_is_repeated_when_the_clock_is_set(tmp_path: Path, signer: ReleaseSigner) -> None:
    clock = {"set": False, "now": later(100)}  # the signatures have expired by then
    with Door(
        tmp_path / "state",
        signer.root,
        FolderSource(signer.folder),
        now=lambda: clock["now"],  # type: ignore[arg-type, return-value]
        clock_set=lambda: bool(clock["set"]),
    ) as door:
        wait_until(lambda: "expired" in door.worker.status.detail, "refused as expired")
        clock.update(set=True, now=NOW)
        settled(door, 1)


def test_release_that_does_not_load_is_rejected(tmp_path: Path, signer: ReleaseSigner) -> None:
    """One for another embedder: the door keeps its release, reports the reason, and applies the next one."""
    with Door(tmp_path / "state", signer.root, FolderSource(signer.folder)) as door:
        settled(door, 1)
        signer.release(range(21), embedder="f" * 64)
        wait_until(lambda: not door.worker.status.ok, "refused")
        assert "made by another embedder" in door.worker.status.detail
        assert door.release == 1
        signer.release(range(22))
        settled(door, 3)


def test_policy_in_a_release(tmp_path: Path, signer: ReleaseSigner) -> None:
    policy = b"# rules\n"
    signer.release(range(20), extra={POLICY: policy})
    with Door(tmp_path / "state", signer.root, FolderSource(signer.folder)) as door:
        settled(door, 2)
        current = door.store.current()
        assert current is not None
        assert (door.store.release_dir(current.folder) / POLICY).read_bytes() == policy


def unproven(state: Path, signer: ReleaseSigner) -> None:
    """Leave a release on trial, as a door does after new models."""
    store = ReleaseStore(at_release_1(state.parent, signer, state.name))
    current = store.current()
    assert current is not None
    store.activate(msgspec.structs.replace(current, proven=False))


def started(door: Door) -> tuple[bool, int]:
    """Whether the release is proven, and its number of counted starts."""
    current = door.store.current()
    assert current is not None
    return current.proven, current.starts


def test_stop_proves_a_release_on_trial(tmp_path: Path, signer: ReleaseSigner) -> None:
    """A stopped door has not failed, so that start does not count against its release."""
    unproven(tmp_path / "state", signer)
    door = Door(tmp_path / "state", signer.root, FolderSource(signer.folder))
    assert started(door) == (False, 1)
    with door:
        pass
    assert started(door) == (True, 0)


def test_forgiven_start_does_not_count(tmp_path: Path, signer: ReleaseSigner) -> None:
    """A door that ends because its camera is missing does not count that start against its release."""
    unproven(tmp_path / "state", signer)
    door = Door(tmp_path / "state", signer.root, FolderSource(signer.folder))
    door.worker.forgive_start()
    assert started(door) == (False, 0)
    door.worker.forgive_start()
    assert started(door) == (False, 0)


class Waiting(FolderSource):
    """A folder that records requested waits and does not wait."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked_s: list[float] = []

    def wait(self, timeout_s: float, root_name: str) -> bool:
        self.asked_s.append(timeout_s)
        return super().wait(min(timeout_s, 0.01), root_name)


@pytest.mark.parametrize("proven", [True, False])
def test_wait_for_news(tmp_path: Path, signer: ReleaseSigner, proven: bool) -> None:
    """The requested time; less only while a release is on trial, to check its run time."""
    unproven(tmp_path / "state", signer)
    if proven:
        with Door(tmp_path / "state", signer.root, FolderSource(signer.folder)):
            pass
    source = Waiting(signer.folder)
    with Door(tmp_path / "state", signer.root, source, interval_s=100.0):
        wait_until(lambda: len(source.asked_s) > 3, "the door waits for news")
    assert source.asked_s[0] == 0.0
    for asked_s in source.asked_s[1:]:
        assert asked_s == 100.0 if proven else 0.0 < asked_s <= PROVEN_AFTER_S


class Loading(Door):
    """A door that counts how often it loads a release."""

    loads = 0

    def load(self, offer: StagedRelease) -> Gallery:
        self.loads += 1
        return super().load(offer)


def test_rejected_release_is_loaded_once(tmp_path: Path, signer: ReleaseSigner) -> None:
    """Renewed signatures do not change that: it is rejected for the same reason without loading."""
    signer.release(range(21), embedder="f" * 64)
    source = Waiting(signer.folder)
    door = Loading(tmp_path / "state", signer.root, source)
    with door:
        wait_until(lambda: "another embedder" in door.worker.status.detail, "refused")
        reason = door.worker.status.detail
        repository = signer.repository()
        newest = repository.newest()
        assert newest is not None
        repository.sign(newest)
        export(signer.folder, repository.files())
        timestamp = (signer.folder / "timestamp.json").read_bytes()
        verified = door.store.metadata / "timestamp.json"
        wait_until(lambda: verified.read_bytes() == timestamp, "the renewed signatures are verified")
        waits = len(source.asked_s)
        wait_until(lambda: len(source.asked_s) > waits, "the check has ended")
    assert door.loads == 1
    assert door.worker.status.detail == reason


EXPIRED = "timestamp.json: expired; publish again, or check the door's clock"


@pytest.mark.parametrize("kind", KINDS)
def test_expiry_without_a_reachable_source(
    tmp_path: Path, expiring_signer: ReleaseSigner, state: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The door reports expiry once, and continues with its release."""
    with (
        source_of(kind, tmp_path / "source") as source,
        Door(state, expiring_signer.root, source, now=lambda: later(365)) as door,
    ):
        wait_until(lambda: "expired" in door.worker.status.detail, "expiry is reported")
    told = [news.status for news in door.news if "expired" in news.status.detail]
    assert [(each.release, each.ok, each.detail) for each in told] == [(1, False, EXPIRED)]
    assert "stopping without" not in caplog.text


def test_expiry_by_a_wrong_clock(tmp_path: Path, expiring_signer: ReleaseSigner, state: Path) -> None:
    """When the clock is corrected, the door no longer reports expiry, although its source is still absent."""
    clock = {"now": later(365)}
    with Door(state, expiring_signer.root, FolderSource(tmp_path / "absent"), now=lambda: clock["now"]) as door:
        wait_until(lambda: door.worker.status.detail == EXPIRED, "expired")
        clock["now"] = NOW
        wait_until(lambda: door.worker.status.ok, "not expired")
    assert door.worker.status.detail == "release 1"


def test_expiry_reported_once(tmp_path: Path, expiring_signer: ReleaseSigner, state: Path) -> None:
    """The clock and a check of the repository find the same expiry, which is one event."""
    with Door(state, expiring_signer.root, FolderSource(expiring_signer.folder), now=lambda: later(31)) as door:
        wait_until(lambda: door.worker.status.detail == EXPIRED, "expired")
        expiring_signer.release(range(7), now=later(31))
        wait_until(lambda: door.release == 2, "release 2")
    assert [news.status.detail for news in door.news if news.refused] == [EXPIRED]


def test_expired_root(tmp_path: Path, expiring_signer: ReleaseSigner) -> None:
    """Also before the first release: the root of `edge release trust-root` expires, too."""
    with Door(
        tmp_path / "new", expiring_signer.root, FolderSource(tmp_path / "absent"), now=lambda: later(3650)
    ) as door:
        wait_until(lambda: door.worker.status.detail.startswith("trusted root: expired"), "expired")


class Stuck(FolderSource):
    """A folder on a network file system that does not answer."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.waiting, self.over = threading.Event(), threading.Event()

    def wait(self, timeout_s: float, root_name: str) -> bool:
        self.waiting.set()
        self.over.wait()
        return super().wait(timeout_s, root_name)


def test_stop_with_a_stuck_source(
    expiring_signer: ReleaseSigner, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The door waits for a limited time, and logs it."""
    source = Stuck(expiring_signer.folder)
    with Door(state, expiring_signer.root, source, close_s=0.05):
        assert source.waiting.wait(10)
    assert "release source does not answer, stopping without it: waited_s=0.05" in caplog.text
    source.over.set()


class Breaking(FolderSource):
    """A source whose connection breaks while pieces are fetched, a given number of times."""

    breaks = 1

    def fetch(self, names: Sequence[str]) -> dict[str, bytes]:
        if self.breaks and names and names[0].endswith(".piece"):
            self.breaks -= 1
            raise BrokerError("the connection has ended")
        return super().fetch(names)


def test_connection_broken_during_a_fetch(
    tmp_path: Path, expiring_signer: ReleaseSigner, caplog: pytest.LogCaptureFixture
) -> None:
    """No refusal is reported, because the release is not at fault; it is logged, and the next check succeeds."""
    with Door(tmp_path / "new", expiring_signer.root, Breaking(expiring_signer.folder)) as door:
        wait_until(lambda: door.release == 1, "release 1")
    assert not [news for news in door.news if news.refused]
    assert "release source not reachable: the connection has ended" in caplog.text
