"""Stores faces of unknown visitors in a folder for some days, and groups them by similarity.

Each face is a file FOLDER/<site>/<door>/<event id>.jpg that only its owner can read. After a file is deleted, the
results computed from it are deleted, too. Faces are assessed by the models and rules of enrolment, so a grouped face
can be enrolled. Groups are made as by threshold cluster.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.core.errors import ImageError, InputError
from edge.core.files import atomic_write, make_private_folder
from edge.vision.images import decode_snapshot
from threshold_tools.enroll.cache import FILE, PhotoCache, models_key, photo_key
from threshold_tools.enroll.photo_quality import ENROL_QUALITY, PhotoAssessment, assess_photo
from threshold_tools.monitor.listener import FaceImage
from threshold_tools.photos import PhotoSampler
from threshold_tools.thresholds import threshold_for_fmr

log = logging.getLogger(__name__)

MAX_FACES = 2000  # the oldest are deleted first
MAX_JPEG_BYTES = 256 * 1024
_MAX_QUEUED = 200  # faces waiting to be written; more are dropped
_RETENTION_S = 600.0  # longest time between two scans of the folder
_DAY_S = 86_400.0
_TIMEOUT_S = 20.0  # of a scan when closing
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # of sites and doors, as in door.toml


@dataclass(frozen=True, slots=True, eq=False)
class StoredFace:
    """One stored face."""

    key: str  # "site/door/event id"
    door: str  # "site/door"
    received_s: float  # when it was received, seconds since 1970 UTC
    path: Path  # JPEG file
    digest: str  # `photo_key` of the file
    assessment: PhotoAssessment  # assessment by the rules of enrolment


@dataclass(frozen=True, slots=True, eq=False)
class FaceGroups:
    """All stored faces; each tuple of faces is sorted, newest first."""

    groups: tuple[tuple[StoredFace, ...], ...] = ()  # groups of two or more similar faces, largest first
    ungrouped: tuple[StoredFace, ...] = ()  # not similar to another face
    unusable: tuple[StoredFace, ...] = ()  # rejected by enrolment

    @property
    def all(self) -> list[StoredFace]:
        """Every face."""
        return [face for group in (*self.groups, self.ungrouped, self.unusable) for face in group]

    def find(self, keys: Sequence[str]) -> list[StoredFace]:
        """The faces of these keys that are still stored."""
        by_key = {face.key: face for face in self.all}
        return [by_key[key] for key in keys if key in by_key]


def door_names(faces: Sequence[StoredFace]) -> str:
    """The names of the doors of some faces, for a sentence."""
    return ", ".join(sorted({face.door for face in faces}))


class FaceStore(contextlib.AbstractContextManager["FaceStore"]):
    """Stores and groups faces in a thread of its own; a context manager. Thread-safe.

    Raises:
        InputError: the folder cannot be created or written to.
    """

    def __init__(self, folder: Path, keep_days: float, *, now_s: Callable[[], float] = time.time) -> None:
        self.folder = folder  # folder of the files
        self.keep_days = keep_days  # older faces are deleted
        self.faces = FaceGroups()  # as of the latest scan of the folder
        self.loaded = False  # whether the folder has been scanned
        self._now_s = now_s
        self._known: dict[Path, StoredFace] = {}
        self._queue: queue.Queue[FaceImage] = queue.Queue(_MAX_QUEUED)
        self._lock = threading.Lock()  # held during a scan
        self._wake = threading.Event()
        self._closed = False
        self._reader: PhotoSampler | None = None
        try:
            make_private_folder(folder)
        except OSError as error:
            raise InputError(f"{folder}: cannot store faces there ({error.strerror})") from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise InputError(f"{folder}: not writable; choose another folder for faces")
        self._thread = threading.Thread(target=self._run, name="face-store", daemon=True)
        self._thread.start()

    def add(self, face: FaceImage) -> None:
        """Store a face, without waiting. Data other than a JPEG file of at most `MAX_JPEG_BYTES` is dropped."""
        if not (_NAME.fullmatch(face.door.site) and _NAME.fullmatch(face.door.door)) or len(face.jpeg) > MAX_JPEG_BYTES:
            log.debug("%s: not a face image of a door", face.event_id)
            return
        try:
            self._queue.put_nowait(face)
            self._wake.set()
        except queue.Full:
            log.warning("faces arrive faster than they are stored; one was dropped")

    def delete(self, faces: Sequence[StoredFace]) -> None:
        """Delete faces and all results computed from them; returns when done."""
        for face in faces:
            face.path.unlink(missing_ok=True)
        self.regroup()

    def regroup(self) -> None:
        """Store the added faces, and scan the folder; returns when done."""
        with self._lock:
            while not self._queue.empty():
                self._write(self._queue.get_nowait())
            try:
                self._scan()
            except OSError as error:
                log.warning("%s: %s; retrying", self.folder, error.strerror or error)

    def close(self) -> None:
        """Stop the thread; idempotent."""
        self._closed = True
        self._wake.set()
        self._thread.join(_TIMEOUT_S)

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        closed = False
        while not closed:
            self._wake.clear()
            closed = self._closed
            self.regroup()
            if not closed:
                self._wake.wait(_RETENTION_S)

    def _write(self, face: FaceImage) -> None:
        try:
            decode_snapshot(face.jpeg, Path(face.event_id))
            home = self.folder / face.door.site / face.door.door
            make_private_folder(home)
            atomic_write(home / f"{face.event_id}.jpg", face.jpeg, private=True)
        except (ImageError, OSError) as error:
            log.warning("a face of %s/%s was dropped: %s", face.door.site, face.door.door, error)

    def _scan(self) -> None:
        """Delete the faces that exceed age or number, assess the new ones, and group all."""
        reader = self._reader = self._reader or PhotoSampler(ENROL_QUALITY)
        received_s = {path: path.stat().st_mtime for path in self.folder.glob("*/*/*.jpg")}
        files = sorted(received_s, key=lambda path: received_s[path], reverse=True)
        oldest_s = self._now_s() - self.keep_days * _DAY_S
        keep = [path for path in files[:MAX_FACES] if received_s[path] >= oldest_s]
        for path in files[len(keep) :]:
            path.unlink(missing_ok=True)
        with PhotoCache(self.folder / FILE, models_key(reader)) as cache:
            self._known = {path: self._known.get(path) or self._load(path, reader, cache) for path in keep}
            cache.keep_only({face.digest for face in self._known.values()})
        self.faces = _group(list(self._known.values()), reader)
        self.loaded = True

    def _load(self, path: Path, reader: PhotoSampler, cache: PhotoCache) -> StoredFace:
        content = path.read_bytes()
        digest = photo_key(content)
        assessment = cache.get(digest)
        if assessment is None:
            try:
                assessment = assess_photo(reader, decode_snapshot(content, path))
            except ImageError as error:
                assessment = PhotoAssessment(str(error).removeprefix(f"{path}: "), b"", 0.0, b"", b"", "")
            cache.put(digest, assessment)
        door = path.parent.relative_to(self.folder).as_posix()
        return StoredFace(f"{door}/{path.stem}", door, path.stat().st_mtime, path, digest, assessment)


def _group(faces: Sequence[StoredFace], reader: PhotoSampler) -> FaceGroups:
    """Group faces by density; `faces` and the results are sorted by time, newest first."""
    usable = [face for face in faces if not face.assessment.rejection_reason]
    unusable = tuple(face for face in faces if face.assessment.rejection_reason)
    if not usable:
        return FaceGroups(unusable=unusable)
    from threshold_tools.cluster.clustering import MIN_SAMPLES, NEAR_FMR, density  # imports scikit-learn: seconds

    embeddings = np.stack([face.assessment.embedding for face in usable])
    labels = density(embeddings, threshold_for_fmr(reader.impostors, NEAR_FMR), MIN_SAMPLES)
    by_label: dict[int, list[StoredFace]] = {}
    for face, label in zip(usable, labels.tolist(), strict=True):
        by_label.setdefault(label, []).append(face)
    groups = sorted((tuple(group) for group in by_label.values() if len(group) > 1), key=lambda group: -len(group))
    return FaceGroups(tuple(groups), tuple(group[0] for group in by_label.values() if len(group) == 1), unusable)
