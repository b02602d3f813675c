"""Storage, retention and grouping of faces of unknown visitors."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path

import cv2
import numpy as np
from support.mqtt_brokers import wait_until
from support.unknown_faces import Photo, add_faces, face_image, is_cached, jpeg
from threshold_tools.enroll.cache import FILE
from threshold_tools.monitor.face_store import MAX_JPEG_BYTES, FaceStore

from edge.events.topics import Topics

DAY_S = 86_400


def test_faces_of_one_person_grouped(store: FaceStore, photo: Photo) -> None:
    add_faces(store, jpeg(photo("obama2")), jpeg(photo("astronaut")), jpeg(photo("obama3")), jpeg(photo("biden")))
    (group,) = store.faces.groups
    assert len(group) == 2
    assert len(store.faces.ungrouped) == 2


def test_unusable_face_has_a_reason(store: FaceStore, photo: Photo) -> None:
    small = cv2.resize(photo("biden"), None, fx=0.1, fy=0.1)
    add_faces(store, jpeg(np.asarray(small, np.uint8)), jpeg(np.full((90, 90, 3), 128, np.uint8)))
    assert sorted(face.assessment.rejection_reason.split(" (")[0] for face in store.faces.unusable) == [
        "no face",
        "too small",
    ]


def test_invalid_images_dropped(store: FaceStore, photo: Photo) -> None:
    good = jpeg(photo("biden"))
    store.add(face_image(good, Topics("works", "..")))
    store.add(face_image(b"\xff" * (MAX_JPEG_BYTES + 1)))
    add_faces(store, b"", b"GIF89a", good[: len(good) // 2], jpeg(np.zeros((1100, 1100, 3), np.uint8)))
    small = np.asarray(cv2.resize(photo("biden"), (300, 300)), np.uint8)
    progressive = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    scan = progressive[progressive.rfind(b"\xff\xda") : -2]
    add_faces(store, cv2.imencode(".webp", small)[1].tobytes(), progressive[:-2] + scan * 50 + b"\xff\xd9")
    assert not list(store.folder.rglob("*.jpg"))
    assert not list(store.folder.parent.glob("*.jpg"))


def test_faces_private_to_their_owner(store: FaceStore, photo: Photo) -> None:
    add_faces(store, jpeg(photo("biden")))
    (kept,) = store.folder.rglob("*.jpg")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert store.folder.stat().st_mode & 0o777 == 0o700


def test_old_face_deleted_with_its_vector(store: FaceStore, photo: Photo) -> None:
    add_faces(store, jpeg(photo("biden")), jpeg(photo("astronaut")))
    old, young = store.faces.ungrouped
    vector = old.assessment.vector
    assert is_cached(vector, store)
    os.utime(old.path, (time.time() - 8 * DAY_S,) * 2)
    store.regroup()
    assert list(store.folder.rglob("*.jpg")) == [young.path]
    assert not is_cached(vector, store)
    assert [face.key for face in store.faces.ungrouped] == [young.key]


def test_face_deleted_in_the_folder_forgotten(store: FaceStore, photo: Photo) -> None:
    add_faces(store, jpeg(photo("biden")))
    (kept,) = store.faces.ungrouped
    kept.path.unlink()
    store.regroup()
    assert store.faces.find([kept.key]) == []
    with contextlib.closing(sqlite3.connect(store.folder / FILE)) as cache:
        assert cache.execute("SELECT COUNT(*) FROM sights").fetchone() == (0,)


def test_faces_survive_a_restart(tmp_path: Path, photo: Photo) -> None:
    with FaceStore(tmp_path / "faces", 7.0) as store:
        add_faces(store, jpeg(photo("biden")))
        (before,) = store.faces.ungrouped
    with FaceStore(tmp_path / "faces", 7.0) as store:
        wait_until(lambda: store.loaded, "the first scan")
        (after,) = store.faces.ungrouped
    assert (after.key, after.assessment) == (before.key, before.assessment)
