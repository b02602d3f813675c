"""Signers of releases and doors that accept them, with the real code."""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from securesystemslib.signer import CryptoSigner, Signer
from threshold_tools.release.repository import ROLES, Repository
from threshold_tools.release.transport import export

from edge.core.config import MqttConfig
from edge.core.records import FloatArray, Person
from edge.recognition.gallery import Gallery
from edge.recognition.gallery_file import load_gallery, save_gallery
from edge.runtime.runtime_bundle import filter_to_still_enrolled
from edge.updates.boot import select_boot_release
from edge.updates.release_format import GALLERY, Release
from edge.updates.sources import FolderSource, MqttSource, Source
from edge.updates.store import ReleaseStore, StatusChange
from edge.updates.updater import StagedRelease, Updater
from edge.updates.worker import CLOSE_S, UpdateWorker
from support.mqtt_brokers import wait_until

EMBEDDER = "e" * 64
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
_MAX_BYTES = 64 * 1024 * 1024


def vector(person: int, dimension: int = 192) -> FloatArray:
    """Return a (D,) float32 unit vector of a synthetic person, the same for the same number."""
    drawn = np.random.default_rng(person).normal(size=dimension).astype(np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn), np.float32)


def gallery_bytes(people: Sequence[int], threshold_sq: float = 1.0, embedder: str = EMBEDDER) -> bytes:
    """Return a gallery of synthetic people in this order."""
    vectors = np.stack([vector(person) for person in people]) if people else np.zeros((0, 192), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "g"
        names = [Person(f"p{person:06d}", f"Person Nr. {person}") for person in people]
        save_gallery(path, names, vectors, np.full(len(people), threshold_sq, np.float32), embedder)
        return path.read_bytes()


def new_keys(signers: int = 1) -> dict[str, list[Signer]]:
    """Return new keys for every role; the numbers of root and targets keys can be chosen."""
    return {
        role: [CryptoSigner.generate_ed25519() for _ in range(signers if role in ("root", "targets") else 1)]
        for role in ROLES
    }


class ReleaseSigner:
    """A repository with its keys; `folder` is the part that doors read."""

    def __init__(self, path: Path, keys: Mapping[str, Sequence[Signer]] | None = None, threshold: int = 1) -> None:
        self.path = path
        self.folder = path / "exported"
        self.keys = dict(keys or new_keys())
        Repository.create(path, self.keys, threshold, NOW)

    def repository(self, now: datetime = NOW) -> Repository:
        return Repository(self.path, {one.public_key.keyid: one for each in self.keys.values() for one in each}, now)

    @property
    def root(self) -> bytes:
        """Return the first root, the input of `edge release trust-root`."""
        return (self.path / "metadata" / "1.root.json").read_bytes()

    def release(
        self,
        people: Sequence[int],
        *,
        threshold_sq: float = 1.0,
        now: datetime = NOW,
        valid_days: int | None = None,
        extra: Mapping[str, bytes] | None = None,
        embedder: str = EMBEDDER,
    ) -> Release:
        """Sign a release of these people and export it."""
        files = {GALLERY: gallery_bytes(people, threshold_sq, embedder), **(extra or {})}
        return self.release_files(files, len(people), now=now, valid_days=valid_days, embedder=embedder)

    def release_files(
        self,
        files: Mapping[str, bytes],
        people: int,
        *,
        now: datetime = NOW,
        valid_days: int | None = None,
        embedder: str = EMBEDDER,
    ) -> Release:
        repository = self.repository(now)
        release = repository.add(files, embedder, people)
        repository.sign(release, valid_days)
        export(self.folder, repository.files())
        return release

    def rotate(self, role: str) -> None:
        """Replace the first key of a role."""
        old, new = self.keys[role][0], CryptoSigner.generate_ed25519()
        self.repository().replace_key(role, old.public_key.keyid, new)
        self.keys[role] = [*self.keys[role], new]  # the old key is kept, for tests of its misuse

    def files(self) -> dict[str, bytes]:
        """Return the files that doors read, by name."""
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}


class Recording(FolderSource):
    """A folder that records the files that a door requests."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked: list[str] = []

    def fetch(self, names: Sequence[str]) -> dict[str, bytes]:
        found = super().fetch(names)
        self.asked += found
        return found


class Door:
    """A door without a camera: store, update worker, and a thread that activates staged releases as the daemon does.

    Attributes:
        news: all status reports.
        gallery: running gallery.
    """

    def __init__(
        self,
        state: Path,
        root: bytes,
        source: Source,
        *,
        now: Callable[[], datetime] = lambda: NOW,
        clock_set: Callable[[], bool] = lambda: True,
        embedder: str = EMBEDDER,
        interval_s: float = 0.02,
        obsolete_files: tuple[Path, ...] = (),
        frame_s: float = 0.002,
        close_s: float = CLOSE_S,
    ) -> None:
        self._frame_s = frame_s
        self.state = state
        self.store = ReleaseStore(state)
        self.store.trust(root)
        self.news: list[StatusChange] = []
        self.gallery: Gallery | None = None
        current = select_boot_release(self.store)
        if current is not None:
            self.gallery = load_gallery(self.store.release_dir(current.folder) / GALLERY, embedder)
        self.updater = Updater(source, self.store, _MAX_BYTES)
        self._embedder = embedder
        self.worker: UpdateWorker[Gallery] = UpdateWorker(
            store=self.store,
            source=source,
            updater=self.updater,
            load=self.load,
            filter_previous_gallery=filter_to_still_enrolled,
            on_status=self.news.append,
            now=now,
            clock_set=clock_set,
            obsolete_files=obsolete_files,
            interval_s=interval_s,
            close_s=close_s,
        )
        self._stop = threading.Event()
        self._pump = threading.Thread(target=self._take, daemon=True)

    def start(self) -> Door:
        self._pump.start()
        self.worker.start()
        return self

    def close(self) -> None:
        self.worker.close()
        self._stop.set()
        if self._pump.is_alive():
            self._pump.join()

    def __enter__(self) -> Door:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def release(self) -> int | None:
        """Return the running release that was reported."""
        return self.worker.status.release

    def load(self, offer: StagedRelease) -> Gallery:
        return load_gallery(offer.path / GALLERY, self._embedder)

    def _take(self) -> None:
        while not self._stop.wait(self._frame_s):
            ready = self.worker.staged
            if ready is not None:
                self.gallery = ready
                self.worker.confirm_activated()


def settled(door: Door, release: int) -> Door:
    wait_until(lambda: door.release == release, f"release {release} is applied, not {door.worker.status}")
    return door


def at_release_1(tmp_path: Path, signer: ReleaseSigner, name: str = "state") -> Path:
    """Return the state folder of a door that runs release 1."""
    state = tmp_path / name
    with Door(state, signer.root, FolderSource(signer.folder)) as door:
        settled(door, 1)
    return state


def check_once(state: Path, signer: ReleaseSigner, now: datetime = NOW) -> None:
    """Check the repository once, like a running door."""
    Door(state, signer.root, FolderSource(signer.folder)).updater.fetch_new_release(now)


def runs(state: Path) -> int | None:
    """Return the release with which a door in this state starts; it must be complete."""
    current = select_boot_release(ReleaseStore(state))
    return current.release if current else None


def flipped(content: bytes, at: int, mask: int) -> bytes:
    altered = bytearray(content)
    altered[at] ^= mask
    return bytes(altered)


def with_vector(people: Sequence[int], of: int, seed: int, embedder: str = EMBEDDER) -> bytes:
    """Return a gallery in which one person has another vector than in `gallery_bytes`."""
    vectors = np.stack([vector(seed if person == of else person) for person in people])
    names = [Person(f"p{person:06d}", f"Person Nr. {person}") for person in people]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "g"
        save_gallery(path, names, vectors, np.ones(len(people), np.float32), embedder)
        return path.read_bytes()


def mqtt_source(mqtt: MqttConfig, site: str, name: str, answer_s: float = 2.0) -> MqttSource:
    return MqttSource(mqtt, site, f"test-{name}-repo", answer_s)


def holds(folder: Path, content: bytes) -> list[Path]:
    """Return the files below a folder that contain these bytes."""
    return [path for path in folder.rglob("*") if path.is_file() and content in path.read_bytes()]


def kill_at_random(folder: Path, times: int, seed: int) -> int:
    """Kill a door at random times during updates; check each time that a complete release is left.

    The door is a forked process, so this must run in a process without threads.

    Returns:
        Number of kills before the new release ran, so that the caller can check that both cases occurred.

    Raises:
        AssertionError: a killed door left an incomplete release.
    """
    chance = random.Random(seed)
    desk = ReleaseSigner(folder / "desk")
    state = folder / "state"
    people = list(range(40))
    desk.release(people)
    took_s = _forked(state, desk, None)
    old = 0
    for turn in range(times):
        gone = people.pop(chance.randrange(len(people)))
        people.append(1000 + turn)
        expected = desk.release(people, threshold_sq=1.0 + turn / 1000)
        _forked(state, desk, chance.uniform(0, 1.3 * took_s))
        store = ReleaseStore(state)
        current = select_boot_release(store)
        assert current is not None, f"turn {turn}: no release is left"
        assert current.release in (expected.release, expected.release - 1), f"turn {turn}: release {current.release}"
        found = load_gallery(store.release_dir(current.folder) / GALLERY, EMBEDDER)
        assert len(found.people) == len(people)
        if current.release == expected.release:
            assert not holds(state, vector(gone).tobytes()), f"turn {turn}: the leaver is still there"
        else:
            old += 1
            _forked(state, desk, None)
    return old


def _forked(state: Path, desk: ReleaseSigner, kill_after_s: float | None) -> float:
    """Run a door in a process until the newest release is applied, or kill it; returns the duration in seconds."""
    wanted = desk.repository().numbers()[-1]
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            with Door(state, desk.root, FolderSource(desk.folder)) as door:
                while door.release != wanted:
                    time.sleep(0.001)
        finally:
            os._exit(0)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return time.monotonic() - began


def later(days: float) -> datetime:
    """Shift the time of the process."""
    return NOW + timedelta(days=days)


if __name__ == "__main__":
    print(kill_at_random(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
