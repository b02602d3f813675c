"""Releases of a door with encrypted galleries."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from support.private_files import (
    KEY,
    OTHER,
    encrypted_store,
    key_file,
)
from support.release_signer import EMBEDDER, NOW, ReleaseSigner

from edge.core.config import DoorConfig, MqttConfig, ReleaseConfig
from edge.core.errors import ConfigError
from edge.demo.run_demo import GALLERY
from edge.recognition.encryption import GalleryKey, is_encrypted
from edge.recognition.gallery_file import load_gallery
from edge.runtime.release_manager import ReleaseManager, install_root
from edge.updates.release_format import GALLERY as GALLERY_FILE
from edge.updates.release_format import POLICY
from edge.updates.store import ActiveRelease
from edge.vision.face_sampler import VisionStages


def test_release_is_encrypted_on_disk(tmp_path: Path) -> None:
    """The next release reuses its unchanged chunks, which the repository does not have any more."""
    signer = ReleaseSigner(tmp_path / "signer")
    store, updater = encrypted_store(tmp_path, signer)
    signer.release(range(20))
    staged = updater.fetch_new_release(NOW)
    assert staged is not None
    written = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert not [path for path in written if b"Person Nr." in path.read_bytes()]
    assert is_encrypted((staged.path / GALLERY_FILE).read_bytes())
    assert load_gallery(staged.path / GALLERY_FILE, EMBEDDER, KEY).info.people == 20
    store.check(staged.folder)
    store.activate(ActiveRelease(1, staged.folder, staged.digest, "2026-11-22T12:00:00Z", proven=True))
    first = list(signer.folder.glob("*.piece"))
    signer.release(range(20), extra={POLICY: b"[doors.front]\nallow = []\n"})
    for path in first:
        path.unlink(missing_ok=True)
    following = updater.fetch_new_release(NOW)
    assert following is not None
    assert load_gallery(following.path / GALLERY_FILE, EMBEDDER, KEY).info.people == 20


def door_with_releases(folder: Path, signer: ReleaseSigner, key: GalleryKey | None = KEY) -> DoorConfig:
    """Door that trusts the root of the signer's folder."""
    config = DoorConfig(
        site="home",
        door="front",
        state_folder=str(folder / "state"),
        gallery=str(folder / "state" / "gallery.safetensors"),
        gallery_key=str(key_file(folder, key)) if key else "",
        mqtt=MqttConfig(url="mqtt://127.0.0.1:9"),
        release=ReleaseConfig(source=str(signer.folder)),
    )
    (folder / "state").mkdir(exist_ok=True)
    (folder / "root.json").write_bytes(signer.root)
    install_root(config, folder / "root.json")
    return config


def test_door_with_a_key_restarts_with_its_release(tmp_path: Path, vision: VisionStages) -> None:
    embedder = vision.reader.embedder.sha256
    signer = ReleaseSigner(tmp_path / "signer")
    config = door_with_releases(tmp_path, signer)
    signer.release_files({GALLERY_FILE: GALLERY.read_bytes()}, 1, now=datetime.now(UTC), embedder=embedder)
    applied, taken = threading.Event(), threading.Event()
    assert config.release is not None
    first = ReleaseManager(config, config.release, lambda change: applied.set() if change.applied else None)
    first.worker.start()
    try:
        while not applied.wait(0.01):
            first.activate_ready(lambda _bundle: taken.set())
    finally:
        first.worker.close()
    assert taken.is_set()
    again = ReleaseManager(config, config.release, lambda _change: None)
    assert again.bundle.gallery.info.people == 1
    person = again.bundle.gallery.centroids[0].tobytes()
    assert not [path for path in (tmp_path / "state").rglob("*") if path.is_file() and person in path.read_bytes()]


@pytest.mark.parametrize("wrong", [OTHER, None])
def test_wrong_key_stops_the_door_without_rollback(
    tmp_path: Path, vision: VisionStages, wrong: GalleryKey | None
) -> None:
    """With the right key, the release runs again."""
    signer = ReleaseSigner(tmp_path / "signer")
    config = door_with_releases(tmp_path, signer)
    signer.release_files(
        {GALLERY_FILE: GALLERY.read_bytes()}, 1, now=datetime.now(UTC), embedder=vision.reader.embedder.sha256
    )
    store, updater = encrypted_store(tmp_path, signer)
    offer = updater.fetch_new_release(datetime.now(UTC))
    assert offer is not None
    store.activate(ActiveRelease(1, offer.folder, offer.digest, "2026-11-22T12:00:00Z", proven=True))
    mistaken = msgspec.structs.replace(config, gallery_key=str(key_file(tmp_path, wrong)) if wrong else "")
    assert config.release is not None
    with pytest.raises(ConfigError, match=r"gallery_key: .* is (not )?encrypted"):
        ReleaseManager(mistaken, config.release, lambda _change: None)
    key_file(tmp_path)
    assert ReleaseManager(config, config.release, lambda _change: None).bundle.gallery.info.people == 1
