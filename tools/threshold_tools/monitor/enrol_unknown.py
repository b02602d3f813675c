"""Enrols unknown visitors: moves their faces to the people folder and publishes the new gallery.

Photos are checked as by threshold enroll, and releases are signed as by threshold sync publish. One enrolment runs at
a time; the latest one can be undone.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edge.core.cli_support import counted
from edge.core.errors import InputError, ThresholdError
from edge.core.records import FloatArray
from edge.events.topics import Topics
from edge.vision.images import decode_snapshot
from edge.vision.manifest import default_folder, read_manifest
from threshold_tools.enroll.folder import PersonProfile, check_person_id, read_people
from threshold_tools.enroll.gallery_builder import limits_sq, make_gallery, thresholds_of
from threshold_tools.enroll.operations import Picture, add, remove
from threshold_tools.enroll.photo_quality import ENROL_QUALITY
from threshold_tools.enroll.review import ONE_STRANGER_IN, FolderReview, review
from threshold_tools.monitor.face_store import FaceStore, StoredFace, door_names
from threshold_tools.monitor.gallery_publisher import GalleryPublisher, describe_limits, stricter_limits
from threshold_tools.monitor.history import AuditNote, History
from threshold_tools.monitor.listener import FaceImage
from threshold_tools.monitor.people import PeopleReview, PeopleReviewer
from threshold_tools.photos import PhotoSampler, normalize
from threshold_tools.thresholds import threshold_sq

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UndoRecord:
    """Data to undo an enrolment."""

    photos: tuple[str, ...]  # to remove; empty: the whole person
    faces: tuple[FaceImage, ...]  # to store as unknown again
    # changed thresholds of others by person id, before and after the enrolment
    stricter_sq: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(slots=True)
class EnrolResult:
    """The result of an enrolment or its undo, or the preview of one."""

    person: str  # the id; "" if it failed unexpectedly
    done: list[str] = field(default_factory=list)  # completed steps, a line each, in order
    rejected: list[str] = field(default_factory=list)  # rejected faces, each with its reason
    warnings: list[str] = field(default_factory=list)  # warnings about the published gallery
    error: str = ""  # why it failed, or ""
    commands: Sequence[str] = ()  # commands that the operator has to run
    undo: UndoRecord | None = None  # None if it cannot be undone


class UnknownEnroller:
    """Enrols faces in a thread of its own."""

    def __init__(
        self, reviewer: PeopleReviewer, store: FaceStore, history: History, publisher: GalleryPublisher | None = None
    ) -> None:
        self.reviewer = reviewer  # checks the people folder after every change
        self.publisher = publisher  # publishes to the doors; None: the page shows the commands instead
        self.result: EnrolResult | None = None  # of the latest enrolment or undo; None before the first
        self._folder = reviewer.folder
        self._store = store
        self._history = history
        self._busy = threading.Lock()

    @property
    def busy(self) -> bool:
        """Whether an enrolment is running."""
        return self._busy.locked()

    def ids(self) -> list[str]:
        """Ids of everybody in the people folder, including people without a usable photo."""
        try:
            return [person.id for person in read_people(self._folder)]
        except InputError:  # the page of people shows the error
            return []

    def preview(self, faces: Sequence[StoredFace], person: str) -> EnrolResult:
        """Preview of an enrolment, if all of these faces are accepted; changes nothing."""
        people = self.reviewer.wait_for_result()
        if people is None:
            return EnrolResult(person, error=self.reviewer.error)
        known = person in {each.id for each in people.folder.people}
        number = counted(len(faces), "face")
        facts = [f"{number} added to the photos of {person}" if known else f"{number} of a new person, {person}"]
        usable = [face for face in faces if not face.assessment.rejection_reason]
        if not usable:
            return EnrolResult(person, error="none of these faces can be enrolled")
        try:
            if not known:
                check_person_id(person)
            if self.publisher is None:
                return EnrolResult(person, [*facts, "nothing is published: the next page shows the commands"])
            model = read_manifest(default_folder()).models["embedder"]
            kept_sq = self.publisher.thresholds_sq(model.embedding_space_sha256)
            ids, centroids = _centroids_with(person, usable, people)
            base_sq = threshold_sq(model.impostors, one_stranger_in=ONE_STRANGER_IN, people=len(ids))
            limits = dict(zip(ids, limits_sq(ids, centroids, base_sq, kept_sq).tolist(), strict=True))
            access, warning = self.publisher.describe_access(person)
        except ThresholdError as error:
            return EnrolResult(person, error=str(error))
        facts += [*describe_limits(person, limits, kept_sq), *([access] if access else [])]
        return EnrolResult(person, facts, warnings=[warning] if warning else [])

    def enrol(self, faces: Sequence[StoredFace], person: str, name: str, who: str) -> bool:
        """Start to enrol a person or to extend a known one; returns False while another enrolment is running."""
        return self._start(person, who, lambda result: self._enrol(result, faces, name))

    def undo(self, who: str) -> bool:
        """Start to undo the latest enrolment; returns False if there is none, or another one is running."""
        if self.result is None or (undo := self.result.undo) is None:
            return False
        return self._start(self.result.person, who, lambda result: self._revert(result, undo))

    def _start(self, person: str, who: str, act: Callable[[EnrolResult], None]) -> bool:
        if not self._busy.acquire(blocking=False):
            return False

        def run() -> None:
            result = EnrolResult(person)
            try:
                act(result)
            except (ThresholdError, OSError) as error:
                result.error = str(error)
            except Exception:
                log.exception("enrolment failed unexpectedly")
                result = EnrolResult("", error="failed unexpectedly; see the log of the monitor")
            if result.done:
                what = "; ".join([*result.done, *([result.error] if result.error else [])])
                self._history.add_note(AuditNote(time.time_ns() // 1_000_000, who, f"{person}: {what}"))
            self.result = result
            self._busy.release()
            self.reviewer.start()

        threading.Thread(target=run, name="enrolment", daemon=True).start()
        return True

    def _enrol(self, result: EnrolResult, faces: Sequence[StoredFace], name: str) -> None:
        person, reader = result.person, PhotoSampler(ENROL_QUALITY)
        known = person in {each.id for each in read_people(self._folder)}
        pictures = []
        for face in faces:
            content = face.path.read_bytes()
            pictures.append(Picture(f"door-{face.path.stem}.jpg", content, decode_snapshot(content, face.path)))
        profile = PersonProfile(name=name or None)
        stored, result.rejected = add(self._folder, person, pictures, profile, reader, replace=False)
        names = tuple(path.name for path in stored)
        moved = [(face, picture) for face, picture in zip(faces, pictures, strict=True) if picture.name in names]
        self._store.delete([face for face, _ in moved])
        images = tuple(FaceImage(Topics(*face.door.split("/")), face.path.stem, photo.content) for face, photo in moved)
        result.undo = UndoRecord(names if known else (), images)
        number = f"{len(stored)} of {counted(len(faces), 'face')} from {door_names(faces)}"
        result.done.append(f"{number} added to the people folder")
        self._make_gallery(result, reader)

    def _revert(self, result: EnrolResult, undo: UndoRecord) -> None:
        remove(self._folder, result.person, undo.photos)
        for face in undo.faces:
            self._store.add(face)
        self._store.regroup()
        left = "" if undo.photos else f", {result.person} deleted from the people folder"
        result.done.append(f"undone: {counted(len(undo.faces), 'face')} unknown again{left}")
        self._make_gallery(result, PhotoSampler(ENROL_QUALITY), undo)

    def _make_gallery(self, result: EnrolResult, reader: PhotoSampler, undone: UndoRecord | None = None) -> None:
        """Check all photos, make the gallery and publish it, unless this person cannot be enrolled.

        Args:
            result: receives the steps, errors and commands.
            reader: stages for the photos.
            undone: enrolment that is being undone; without photos, its person has been deleted.
        """
        person, commands = result.person, _commands(self._folder)
        before = None
        try:
            folder = review(self._folder, reader)
            if undone is None or undone.photos:
                lines = [line for each in folder.people if each.id == person for line in folder.lines_of(each)]
                result.rejected += [line.removeprefix(f"{self._folder}/") for line in lines]
                if person not in folder.kept:
                    result.error = (
                        f"{person} was not enrolled and nothing was published, for the reasons below: "
                        "undo, or add better photos"
                    )
                    return
                photos = next(len(each.photos) for each in folder.people if each.id == person)
                result.done.append(f"{len(folder.kept[person])} of {counted(photos, 'photo')} of {person} usable")
            if self.publisher is None:
                result.commands = commands
                return
            before = self.publisher.newest_release
            self._publish(self.publisher, result, folder, reader, undone)
        except (ThresholdError, OSError) as error:
            result.error, result.commands = f"not published: {error}", commands
            if self.publisher and before is not None and self.publisher.newest_release != before:
                result.commands = (self.publisher.command,)  # signed, but not delivered

    def _publish(
        self,
        publisher: GalleryPublisher,
        result: EnrolResult,
        folder: FolderReview,
        reader: PhotoSampler,
        undone: UndoRecord | None,
    ) -> None:
        """Make the gallery with the thresholds that the doors use now, and publish it."""
        person = result.person
        kept_sq = publisher.thresholds_sq(reader.embedder_sha256)
        for other, (was, became) in (undone.stricter_sq if undone else {}).items():
            if kept_sq.get(other) == became:  # not changed since
                kept_sq[other] = was
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / "gallery.safetensors"
            make_gallery(folder, path, reader.embedder_sha256, kept_sq)
            limits = thresholds_of(path, reader.embedder_sha256)
            result.done += describe_limits(person, limits, kept_sq)
            if result.undo is not None:
                result.undo = replace(result.undo, stricter_sq=stricter_limits(limits, kept_sq))
            result.done.append(publisher.publish(path))
        _, warning = publisher.describe_access(person) if person in limits else ("", "")
        result.warnings += [warning] if warning else []


def _centroids_with(person: str, faces: Sequence[StoredFace], people: PeopleReview) -> tuple[list[str], FloatArray]:
    """Ids and (N, D) centroids of everybody enrolled, with the new faces in this person's centroid."""
    ids, centroids = list(people.limits_sq), people.centroids
    own = [photo.embedding for photo in people.folder.kept.get(person, [])]
    vector = normalize(np.sum([*own, *(face.assessment.embedding for face in faces)], axis=0))
    if person in ids:
        centroids = centroids.copy()
        centroids[ids.index(person)] = vector
        return ids, centroids
    return [*ids, person], np.vstack([centroids.reshape(-1, len(vector)), vector])


def _commands(folder: Path) -> tuple[str, ...]:
    return (
        "# PUBLISHED.safetensors: the gallery that the doors use; without it, calibrated thresholds are lost",
        f"threshold enroll {folder} --out gallery.safetensors --thresholds-from PUBLISHED.safetensors",
        "threshold sync publish REPO --gallery gallery.safetensors --broker URL --site SITE",
    )
