"""Review of a people folder: assesses every photo, and compares all photos and people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.core.errors import ImageError, InputError
from edge.vision.images import read_image
from threshold_tools.enroll.cache import FILE, PhotoCache, models_key, photo_key
from threshold_tools.enroll.consistency import (
    SAME_PERSON_FMR,
    Group,
    Rejections,
    UsablePhoto,
    check_consistency,
    flag_similar_people,
)
from threshold_tools.enroll.folder import PersonFolder, empty_folders, loose_files, read_people, unreadable_files
from threshold_tools.enroll.photo_quality import PhotoAssessment, assess_photo
from threshold_tools.photos import PhotoSampler
from threshold_tools.reports.terminal import track
from threshold_tools.thresholds import LOOKALIKE_SHARE, threshold_for_fmr, threshold_sq

NO_PHOTO = "this folder contains no photo; nobody is enrolled from it"
ONE_STRANGER_IN = 1000.0  # default target: at most one stranger in this many is accepted


@dataclass(frozen=True, slots=True, eq=False)
class FolderReview:
    """Result of the review of a people folder."""

    people: list[PersonFolder]  # all people, in the order of their folders
    kept: Group  # photos to enrol, by person id, in the same order
    rejections: Rejections  # reasons for the others
    base_sq: float  # threshold of people without a look-alike, squared distance
    assessments: dict[Path, PhotoAssessment]  # of each photo that could be read
    embedded: int  # photos embedded now
    cached: int  # photos whose assessment was in the cache
    cache_problem: str  # problem of the cache, or ""

    def lines(self) -> Iterator[str]:
        """Every rejection and note as "photo or person: reason", person by person."""
        in_folders = {photo for person in self.people for photo in person.photos}
        for path, reason in self.rejections.photos.items():
            if path not in in_folders:
                yield f"{path}: {reason}"
        for person in self.people:
            yield from self.lines_of(person)

    def lines_of(self, person: PersonFolder) -> Iterator[str]:
        """The rejections and notes of one person and their photos."""
        for path in person.photos:
            if path in self.rejections.photos:
                yield f"{path}: {self.rejections.photos[path]}"
        if not person.photos:
            return  # the empty folder is reported already
        for reasons in (self.rejections.people, self.rejections.notes):
            if person.id in reasons:
                yield f"{person.id}: {reasons[person.id]}"
        if person.id not in self.kept and person.id not in self.rejections.people:
            yield f"{person.id}: not enrolled, no usable photo"


def review(
    folder: Path, reader: PhotoSampler, *, one_stranger_in: float = ONE_STRANGER_IN, use_cache: bool = True
) -> FolderReview:
    """Assess every photo of a people folder that is not in the cache, and compare all of them.

    Raises:
        InputError: no such folder, no photo in it, or a malformed person.toml.
    """
    people = read_people(folder)
    rejections = Rejections()
    for path in loose_files(folder):
        rejections.photos[path] = "not in the folder of a person; move it into a folder with the name of the person"
    for path in unreadable_files(folder):
        rejections.photos[path] = f"{path.suffix[1:].upper()} is not supported; save it as JPEG or PNG"
    paths = [path for person in people for path in person.photos]
    if not paths and not rejections.photos:
        raise InputError(f"{folder}: no photo in it; make one folder of photos per person")
    for path in empty_folders(folder):
        rejections.photos[path] = NO_PHOTO
    with PhotoCache(folder / FILE if use_cache and paths else None, models_key(reader)) as cache:
        keys, assessments, embedded = _assess_all(paths, reader, cache, rejections)
        cache.keep_only(set(keys.values()))
    for path, assessment in assessments.items():
        if assessment.rejection_reason:
            rejections.photos[path] = assessment.rejection_reason
    usable: Group = {}
    for person in people:
        for path in person.photos:
            seen = assessments.get(path)
            if seen is not None and not seen.rejection_reason:
                photo = UsablePhoto(path, seen.embedding, seen.weight, keys[path], seen.fingerprint)
                usable.setdefault(person.id, []).append(photo)
    kept = check_consistency(usable, threshold_for_fmr(reader.impostors, SAME_PERSON_FMR), rejections)
    base_sq = threshold_sq(reader.impostors, one_stranger_in=one_stranger_in, people=max(len(kept), 1))
    flag_similar_people(kept, base_sq / LOOKALIKE_SHARE, rejections)
    cached = len(assessments) - embedded
    return FolderReview(people, kept, rejections, base_sq, assessments, embedded, cached, cache.problem)


def _assess_all(
    paths: list[Path], reader: PhotoSampler, cache: PhotoCache, rejections: Rejections
) -> tuple[dict[Path, str], dict[Path, PhotoAssessment], int]:
    """Key and assessment of every readable photo, and the number of photos that were not in the cache."""
    keys: dict[Path, str] = {}
    assessments: dict[Path, PhotoAssessment] = {}
    embedded = 0
    for path in track(paths, "Checking photos"):
        try:
            key = photo_key(path.read_bytes())
            assessment = cache.get(key)
            if assessment is None:
                assessment = assess_photo(reader, read_image(path))
                cache.put(key, assessment)
                embedded += 1
        except OSError as error:
            rejections.photos[path] = f"cannot be read ({error.strerror})"
            continue
        except ImageError as error:
            rejections.photos[path] = str(error).removeprefix(f"{path}: ")
            continue
        keys[path], assessments[path] = key, assessment
    return keys, assessments, embedded
