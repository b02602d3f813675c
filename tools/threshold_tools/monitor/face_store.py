"""Faces of unknown visitors, kept in a folder for some days, and grouped by whom they seem to show.

The folder is the truth: DIR/<site>/<door>/<event id>.jpg, for its owner alone. Whoever deletes a file there has deleted
it, and what was computed of it goes with it. Everything is looked at by the models and rules of enrolment, so a face
that is in a group can also serve; grouping is that of tools/cluster.py.
"""

from __future__ import annotations

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
from threshold_tools.cluster.clustering import MIN_SAMPLES, NEAR_FMR, density
from threshold_tools.enroll.cache import FILE, PhotoCache, models_key, photo_key
from threshold_tools.enroll.photo_quality import ENROL_QUALITY, PhotoAssessment, assess_photo
from threshold_tools.monitor.listener import FaceImage
from threshold_tools.photos import PhotoSampler
from threshold_tools.thresholds import threshold_for_fmr

log = logging.getLogger(__name__)

MAX_FACES = 2000  # the oldest go first
MAX_JPEG_BYTES = 256 * 1024  # of one file
_MAX_QUEUED = 200  # pictures that wait for the disk; more are dropped
_RETENTION_S = 600.0
_DAY_S = 86_400.0
_TIMEOUT_S = 20.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # of sites and doors, as door.toml allows them


@dataclass(frozen=True, slots=True, eq=False)
class StoredFace:
    """One kept face.

    Attributes:
        key: "site/door/event id".
        door: "site/door".
        came_s: when it came, seconds since 1970 UTC.
        path: of the JPEG file.
        sight: what enrolment sees in it.
    """

    key: str
    door: str
    received_s: float
    path: Path
    assessment: PhotoAssessment


@dataclass(frozen=True, slots=True, eq=False)
class FaceGroups:
    """Everything that is kept: groups of two or more, the largest first; those alone; those that cannot serve.

    Within each the newest are first.
    """

    groups: tuple[tuple[StoredFace, ...], ...] = ()
    ungrouped: tuple[StoredFace, ...] = ()
    unusable: tuple[StoredFace, ...] = ()

    def find(self, keys: Sequence[str]) -> list[StoredFace]:
        """The crops of these keys that are still there."""
        every = {crop.key: crop for group in (*self.groups, self.ungrouped, self.unusable) for crop in group}
        return [every[key] for key in keys if key in every]


class FaceStore:
    """Keeps and groups in a thread of its own; a context manager, safe for threads.

    Attributes:
        folder: where.
        keep_days: nothing is kept longer.
        grouped: as of the latest look.
        known: whether what lay there at the start has been looked at.
    """

    def __init__(self, folder: Path, keep_days: float, *, now_s: Callable[[], float] = time.time) -> None:
        """
        Raises:
            InputError: the folder cannot be made or used.
        """
        self.folder = folder
        self.keep_days = keep_days
        self.groups = FaceGroups()
        self.loaded = False
        self._now_s = now_s
        self._seen: dict[Path, tuple[str, StoredFace]] = {}  # the file's digest, and what it shows
        self._queue: queue.Queue[FaceImage | threading.Event | None] = queue.Queue(_MAX_QUEUED)
        try:
            make_private_folder(folder)
        except OSError as error:
            raise InputError(f"{folder}: cannot be used for pictures ({error.strerror})") from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise InputError(f"{folder}: cannot be written to; name another folder for pictures")
        self._thread = threading.Thread(target=self._run, name="crops", daemon=True)
        self._thread.start()

    def add(self, face: FaceImage) -> None:
        """Keep a face; returns at once. What is no sound JPEG file of a bearable size is dropped."""
        if not (_NAME.fullmatch(face.door.site) and _NAME.fullmatch(face.door.door)) or len(face.jpeg) > MAX_JPEG_BYTES:
            log.debug("%s: no picture of a door", face.event_id)
            return
        try:
            self._queue.put_nowait(face)
        except queue.Full:
            log.warning("pictures come faster than they can be looked at; one is dropped")

    def delete(self, crops: Sequence[StoredFace]) -> None:
        """Delete faces, and all that was computed of them; returns when that is done."""
        for crop in crops:
            crop.path.unlink(missing_ok=True)
        self.regroup()

    def regroup(self) -> None:
        """Look at the folder; returns when that is done."""
        done = threading.Event()
        self._queue.put(done)
        done.wait(_TIMEOUT_S)

    def close(self) -> None:
        """Stop; closing twice does nothing."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(_TIMEOUT_S)

    def __enter__(self) -> FaceStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # In the thread.

    def _run(self) -> None:
        reader = PhotoSampler(ENROL_QUALITY)
        going = True
        done: list[threading.Event] = []
        while going:
            try:
                self._scan(reader)
            except OSError as error:
                log.warning("%s: %s; it is tried again", self.folder, error.strerror or error)
            for each in done:
                each.set()
            done, going = self._drain()

    def _drain(self) -> tuple[list[threading.Event], bool]:
        """Wait for something to do, and store what has come; returns who waits, and whether to go on."""
        done: list[threading.Event] = []
        try:
            item = self._queue.get(timeout=_RETENTION_S)
            while True:
                if item is None:
                    return done, False
                if isinstance(item, FaceImage):
                    self._store(item)
                else:
                    done.append(item)
                item = self._queue.get_nowait()
        except queue.Empty:
            return done, True

    def _store(self, face: FaceImage) -> None:
        try:
            decode_snapshot(face.jpeg, Path(face.event_id))
            home = self.folder / face.door.site / face.door.door
            make_private_folder(home)
            atomic_write(home / f"{face.event_id}.jpg", face.jpeg, private=True)
        except (ImageError, OSError) as error:
            log.warning("a picture of %s/%s was dropped: %s", face.door.site, face.door.door, error)

    def _scan(self, reader: PhotoSampler) -> None:
        """See what is there now, delete what is too old or too much, group the rest."""
        came = {path: path.stat().st_mtime for path in self.folder.glob("*/*/*.jpg")}
        files = sorted(came, key=lambda path: came[path], reverse=True)
        oldest_s = self._now_s() - self.keep_days * _DAY_S
        keep = [path for path in files[:MAX_FACES] if came[path] >= oldest_s]
        for path in files[len(keep) :]:
            path.unlink(missing_ok=True)
        with PhotoCache(self.folder / FILE, models_key(reader)) as cache:
            self._seen = {path: self._seen.get(path) or self._load(path, reader, cache) for path in keep}
            cache.keep_only({digest for digest, _ in self._seen.values()})
        self.groups = _group([crop for _, crop in self._seen.values()], threshold_for_fmr(reader.impostors, NEAR_FMR))
        self.loaded = True

    def _load(self, path: Path, reader: PhotoSampler, cache: PhotoCache) -> tuple[str, StoredFace]:
        content = path.read_bytes()
        digest = photo_key(content)
        seen = cache.get(digest)
        if seen is None:
            try:
                seen = assess_photo(reader, decode_snapshot(content, path))
            except ImageError as error:
                seen = PhotoAssessment(str(error).removeprefix(f"{path}: "), b"", 0.0, b"", b"", "")
            cache.put(digest, seen)
        door = "/".join(path.parent.relative_to(self.folder).parts)
        return digest, StoredFace(f"{door}/{path.stem}", door, path.stat().st_mtime, path, seen)


def _group(crops: Sequence[StoredFace], near_sq: float) -> FaceGroups:
    """Group crops, newest first, by density."""
    fit = [crop for crop in crops if not crop.assessment.rejection_reason]
    unfit = tuple(crop for crop in crops if crop.assessment.rejection_reason)
    if not fit:
        return FaceGroups(unusable=unfit)
    labels = density(np.stack([crop.assessment.embedding for crop in fit]), near_sq, MIN_SAMPLES)
    by_label: dict[int, list[StoredFace]] = {}
    for crop, label in zip(fit, labels.tolist(), strict=True):
        by_label.setdefault(label, []).append(crop)
    groups = sorted((tuple(group) for group in by_label.values() if len(group) > 1), key=lambda group: -len(group))
    alone = tuple(group[0] for group in by_label.values() if len(group) == 1)
    return FaceGroups(tuple(groups), tuple(sorted(alone, key=lambda crop: -crop.received_s)), unfit)
