"""Unknown visitors get a name: their faces go into the people folder, and the gallery to the doors.

By the very ways of the command line: the checks of tools/enroll.py, the signatures of tools/sync.py publish. One
naming at a time; the last one can be undone.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge.core.errors import InputError, ThresholdError
from edge.events.topics import Topics
from edge.vision.images import decode_snapshot
from threshold_tools.enroll.folder import PersonProfile, read_people
from threshold_tools.enroll.gallery_builder import make_gallery, thresholds_of
from threshold_tools.enroll.operations import Picture, add, remove
from threshold_tools.enroll.photo_quality import ENROL_QUALITY
from threshold_tools.enroll.review import FolderReview, review
from threshold_tools.monitor.face_store import FaceStore, StoredFace
from threshold_tools.monitor.history import AuditNote
from threshold_tools.monitor.listener import FaceImage
from threshold_tools.monitor.prospect import describe_access, describe_limits
from threshold_tools.monitor.publishing import GalleryPublisher
from threshold_tools.photos import PhotoSampler

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UndoRecord:
    """What reverts a naming.

    Attributes:
        photos: to remove; empty: the whole person.
        faces: to keep as unknown again.
        tightened_sq: thresholds of others before and after the naming, by person id, where they differ.
    """

    photos: tuple[str, ...]
    faces: tuple[FaceImage, ...]
    stricter_sq: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EnrolResult:
    """What came of a naming, or of its undoing.

    Attributes:
        person: the id.
        done: what was done, a line each, in order.
        refused: faces that were not taken, and why.
        warnings: what the operator should know of the published gallery.
        trouble: why it stopped before its end, or "".
        commands: what is left to be done by hand, as commands.
        undo: how to take it back; None for what cannot be.
    """

    person: str
    done: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""
    commands: tuple[str, ...] = ()
    undo: UndoRecord | None = None


class UnknownEnroller:
    """Names faces, in a thread of its own.

    Attributes:
        outcome: of the latest naming or undoing; None before the first.
    """

    def __init__(
        self,
        people: Path,
        crops: FaceStore,
        publishing: GalleryPublisher | None,
        note: Callable[[AuditNote], None],
        changed: Callable[[], None],
    ) -> None:
        """
        Args:
            people: the people folder.
            crops: where the faces are.
            publishing: None: what to run is told instead.
            note: puts on record who did what.
            changed: called after the people folder has changed.
        """
        self.result: EnrolResult | None = None
        self._people = people
        self._crops = crops
        self._publishing = publishing
        self._note = note
        self._changed = changed
        self._busy = threading.Lock()

    @property
    def busy(self) -> bool:
        return self._busy.locked()

    @property
    def publishing(self) -> GalleryPublisher | None:
        """The way to the doors; None where the page does not publish."""
        return self._publishing

    def ids(self) -> list[str]:
        """Everybody in the people folder, also those who are not enrolled."""
        try:
            return [member.id for member in read_people(self._people)]
        except InputError:  # the review says what is wrong
            return []

    def enrol(self, crops: Sequence[StoredFace], person: str, name: str, who: str) -> bool:
        """Begin to enrol or extend a person by these faces; False while another naming is under way."""
        return self._start(lambda: self._enrol(crops, person, name, who))

    def undo(self, who: str) -> bool:
        """Begin to take the latest naming back; False if there is none, or another is under way."""
        last = self.result
        if last is None or last.undo is None:
            return False
        undo, person = last.undo, last.person
        return self._start(lambda: self._revert(person, undo, who))

    def _start(self, act: Callable[[], EnrolResult]) -> bool:
        if not self._busy.acquire(blocking=False):
            return False

        def work() -> None:
            try:
                self.result = act()
            except Exception:
                log.exception("naming failed unexpectedly")
                self.result = EnrolResult("", error="it failed unexpectedly; the monitor's log says why")
            finally:
                self._busy.release()
            self._changed()

        threading.Thread(target=work, name="naming", daemon=True).start()
        return True

    def _enrol(self, crops: Sequence[StoredFace], person: str, name: str, who: str) -> EnrolResult:
        reader = PhotoSampler(ENROL_QUALITY)
        try:
            known = person in {member.id for member in read_people(self._people)}
            contents = [(crop, crop.path.read_bytes()) for crop in crops]
            pictures = [
                Picture(f"door-{crop.path.stem}.jpg", content, decode_snapshot(content, crop.path))
                for crop, content in contents
            ]
            stored, refused = add(
                self._people, person, pictures, PersonProfile(name=name or None), reader, replace=False
            )
        except (ThresholdError, OSError) as error:
            return EnrolResult(person, error=str(error))
        taken = {path.name for path in stored}
        moved = [(crop, content) for crop, content in contents if f"door-{crop.path.stem}.jpg" in taken]
        self._crops.delete([crop for crop, _ in moved])
        faces = tuple(_face(crop, content) for crop, content in moved)
        undo = UndoRecord(tuple(path.name for path in stored) if known else (), faces)
        doors = ", ".join(sorted({crop.door for crop in crops}))
        done = f"{'extended' if known else 'enrolled'} with {len(stored)} of {count(len(crops), 'face')} from {doors}"
        outcome = self._rebuild(EnrolResult(person, (done,), tuple(refused), undo=undo), reader)
        self._record(who, outcome)
        return outcome

    def _revert(self, person: str, undo: UndoRecord, who: str) -> EnrolResult:
        try:
            remove(self._people, person, undo.photos)
        except (ThresholdError, OSError) as error:
            return EnrolResult(person, error=str(error))
        for face in undo.faces:
            self._crops.add(face)
        self._crops.regroup()
        left = "" if undo.photos else ", the person is gone"
        done = f"undone: {count(len(undo.faces), 'face')} unknown again{left}"
        outcome = self._rebuild(EnrolResult(person, (done,)), PhotoSampler(ENROL_QUALITY), undo)
        self._record(who, outcome)
        return outcome

    def _record(self, who: str, outcome: EnrolResult) -> None:
        told = "; ".join([*outcome.done, *([outcome.error] if outcome.error else [])])
        self._note(AuditNote(time.time_ns() // 1_000_000, who, f"{outcome.person}: {told}"))

    def _rebuild(self, outcome: EnrolResult, reader: PhotoSampler, undone: UndoRecord | None = None) -> EnrolResult:
        """Judge everybody again, make the gallery, publish it: unless this very person cannot be enrolled.

        Args:
            undone: the naming that is being reverted, whose person is gone where it removes no single photos.
        """
        person, folder = outcome.person, self._people
        done, refused = list(outcome.done), list(outcome.rejected)
        gone = undone is not None and not undone.photos
        try:
            seen = review(folder, reader)
        except (ThresholdError, OSError) as error:
            return replace(outcome, error=f"not published: {error}", commands=_commands(folder))
        if not gone:
            refused += [line.removeprefix(f"{folder}/") for line in _lines(seen, person)]
            if person not in seen.kept:
                trouble = "not enrolled, so nothing goes to the doors: see below, and undo it or add better photos"
                return replace(outcome, rejected=tuple(refused), error=trouble)
            done.append(f"{count(len(seen.kept[person]), 'usable photo')} of {person}")
        outcome = replace(outcome, done=tuple(done), rejected=tuple(refused))
        if self._publishing is None:
            return replace(outcome, commands=_commands(folder))
        return self._publish(self._publishing, outcome, seen, reader, undone)

    def _publish(
        self,
        publishing: GalleryPublisher,
        outcome: EnrolResult,
        seen: FolderReview,
        reader: PhotoSampler,
        undone: UndoRecord | None,
    ) -> EnrolResult:
        """Make the gallery with the thresholds that the doors run now, and publish it."""
        person, commands = outcome.person, _commands(self._people)
        before = None
        try:
            before = publishing.newest_release
            kept = publishing.thresholds_sq(reader.embedder_sha256)
            for other, (was, became) in (undone.stricter_sq if undone else {}).items():
                if kept.get(other) == became:  # nothing else has set it since
                    kept[other] = was
            with tempfile.TemporaryDirectory() as temporary:
                path = Path(temporary) / "gallery.safetensors"
                make_gallery(seen, path, reader.embedder_sha256, kept)
                limits = thresholds_of(path, reader.embedder_sha256)
                outcome = replace(outcome, done=(*outcome.done, *describe_limits(person, limits, kept)))
                if outcome.undo is not None:
                    tightened = {
                        each: (kept[each], limits[each]) for each in kept if limits.get(each, 4.0) < kept[each]
                    }
                    outcome = replace(outcome, undo=replace(outcome.undo, stricter_sq=tightened))
                sent = publishing.publish(path)
            _, warning = describe_access(person, publishing) if person in limits else ("", "")
        except (ThresholdError, OSError) as error:
            if before is not None and publishing.newest_release != before:  # made and signed, but not delivered
                commands = (publishing.command,)
            return replace(outcome, error=f"not published: {error}", commands=commands)
        return replace(outcome, done=(*outcome.done, sent), warnings=(warning,) if warning else ())


def _face(crop: StoredFace, content: bytes) -> FaceImage:
    site, _, door = crop.door.partition("/")
    return FaceImage(Topics(site, door), crop.path.stem, content)


def _lines(seen: FolderReview, person: str) -> list[str]:
    return [line for member in seen.people if member.id == person for line in seen.lines_of(member)]


def _commands(folder: Path) -> tuple[str, ...]:
    return (
        "# PUBLISHED.safetensors is the gallery that the doors run; without it, calibrated thresholds are lost",
        f"tools/enroll.py {folder} --out gallery.safetensors --thresholds-from PUBLISHED.safetensors",
        "tools/sync.py publish REPO --gallery gallery.safetensors --broker URL --site S",
    )


def count(number: int, thing: str) -> str:
    """A number and what it counts, which takes an s: "1 face", "2 faces"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
