"""ReleaseManager without a camera: activation between frames, and clocks that are not set."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.manual_clock import ManualClock
from support.mqtt_brokers import wait_until
from support.release_signer import NOW, ReleaseSigner, later

from edge.core.config import DoorConfig, ReleaseConfig
from edge.demo.run_demo import GALLERY
from edge.diagnostics.config_checks import check_people
from edge.diagnostics.report import State
from edge.recognition.gallery_file import load_gallery, save_gallery
from edge.runtime.release_manager import ReleaseManager
from edge.runtime.runtime_bundle import RuntimeBundle
from edge.updates.release_format import GALLERY as GALLERY_FILE
from edge.updates.release_format import POLICY
from edge.updates.store import ReleaseStore, StatusChange
from edge.vision.face_sampler import VisionStages


def at(now: datetime, *, synced: bool = True) -> ManualClock:
    """Clock with this wall time."""
    return ManualClock(unix_s=now.timestamp(), synced=synced)


class Site:
    """Signer, and the folder and configuration of one door with its releases."""

    def __init__(self, folder: Path, embedder: str) -> None:
        self.embedder = embedder
        self.desk = ReleaseSigner(folder / "desk")
        self.state = folder / "state"
        ReleaseStore(self.state).trust(self.desk.root)
        source = ReleaseConfig(source=str(self.desk.folder), check_every_s=0.02)
        config = DoorConfig(site="home", door="front", state_folder=str(self.state), gallery=str(self.state / "g"))
        self.config = msgspec.structs.replace(config, release=source)
        self.news: list[StatusChange] = []

    def release(self, now_days: float = 0.0, valid_days: int | None = None, rules: bytes = b"") -> None:
        files = {GALLERY_FILE: GALLERY.read_bytes(), **({POLICY: rules} if rules else {})}
        now = NOW + timedelta(days=now_days)
        self.desk.release_files(files, 1, now=now, valid_days=valid_days, embedder=self.embedder)

    @contextmanager
    def door(self, clock: ManualClock) -> Iterator[ReleaseManager]:
        """Running door that checks between frames for a ready release."""
        assert self.config.release
        releases = ReleaseManager(self.config, self.config.release, self.news.append, clock=clock)
        over = threading.Event()

        def frames() -> None:
            while not over.wait(0.002):
                releases.activate_ready(lambda _bundle: None)

        thread = threading.Thread(target=frames)
        releases.worker.start()
        thread.start()
        try:
            yield releases
        finally:
            over.set()
            thread.join()
            releases.worker.close()

    @property
    def detail(self) -> str:
        """Detail of the latest report."""
        return self.news[-1].status.detail if self.news else ""


@pytest.fixture
def site(tmp_path: Path, vision: VisionStages) -> Site:
    return Site(tmp_path, vision.reader.embedder.sha256)


def test_release_shown_by_check(site: Site, vision: VisionStages) -> None:
    """`edge check` names the release, its people, and the release for rollback."""
    site.release()
    with site.door(at(NOW)) as releases:
        wait_until(lambda: site.detail == "release 1: 1 person", "release 1")
        site.release(rules=b"[doors.front]\nallow = []\n")
        wait_until(lambda: site.detail == "release 2: 1 person", "release 2")
        assert releases.bundle.gallery.info.people == 1
    finding = next(check_people(site.config, vision))
    assert finding.state is State.OK
    assert finding.detail == "release 2: 1 person, applied 2026-11-22T12:00:00.000Z; release 1 is kept for rollback"


def test_release_with_thresholds_that_let_strangers_pass(site: Site, vision: VisionStages, tmp_path: Path) -> None:
    """The release runs, because it is signed, and `edge check` warns."""
    enrolled = load_gallery(GALLERY, site.embedder)
    path = tmp_path / "lax"
    save_gallery(path, enrolled.people, enrolled.centroids, np.full(1, 1.3, np.float32), site.embedder)
    site.desk.release_files({GALLERY_FILE: path.read_bytes()}, 1, embedder=site.embedder)
    with site.door(at(NOW)):
        wait_until(lambda: site.detail == "release 1: 1 person", "release 1")
    finding = next(check_people(site.config, vision))
    assert finding.state is State.WARN
    assert "1 of 1 people have a threshold above 1.29" in finding.detail


def test_release_that_could_not_be_adopted(site: Site) -> None:
    """It does not count as active: the next frame retries, and only then it is reported."""
    site.release()
    reported: list[bool] = []

    def use(_bundle: RuntimeBundle) -> None:
        reported.append(any(news.applied for news in site.news))
        if len(reported) < 3:
            raise RuntimeError("this frame fails")

    assert site.config.release
    releases = ReleaseManager(site.config, site.config.release, site.news.append, clock=at(NOW))
    releases.worker.start()
    try:
        while not any(news.applied for news in site.news):
            with contextlib.suppress(RuntimeError):
                releases.activate_ready(use)
    finally:
        releases.worker.close()
    assert reported == [False] * 3


def test_clock_set_while_the_door_runs(site: Site) -> None:
    """A release that was refused because of the unset clock is checked again when the clock is set."""
    clock = at(later(100), synced=False)
    site.release()
    with site.door(clock):
        wait_until(lambda: "expired" in site.detail, "refused as expired")
        clock.set_wall(NOW.timestamp())
        clock.synced = True
        wait_until(lambda: site.detail == "release 1: 1 person", "release 1")


def test_clock_at_1970(site: Site) -> None:
    """The clock is at least the creation time of the release: metadata that had expired by then is refused.

    With a synchronised clock the same signatures are valid.
    """
    clock = at(later(-20_000), synced=False)
    site.release(now_days=10)
    with site.door(clock):
        wait_until(lambda: site.detail == "release 1: 1 person", "release 1")
        site.release(valid_days=5, rules=b"[doors.front]\nallow = []\n")
        wait_until(lambda: "expired" in site.detail, "refused as expired")
        clock.set_wall(later(1).timestamp())
        clock.synced = True
        wait_until(lambda: site.detail == "release 2: 1 person", "release 2")
