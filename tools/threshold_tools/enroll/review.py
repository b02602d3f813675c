"""All photos of a people folder, seen and judged: the step between photos and a gallery."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from edge.core.errors import ImageError, InputError
from edge.vision.camera import read_image
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
from threshold_tools.thresholds import LOOKALIKE_SHARE, threshold_for_fmr, threshold_sq

NO_PHOTO = "no photo in this folder; nobody is enrolled from it"
ONE_STRANGER_IN = 1000.0  # the wish, where nobody says otherwise


@dataclass(frozen=True, slots=True, eq=False)
class FolderReview:
    """What came of a people folder.

    Attributes:
        members: everybody in it, in order of their folders.
        kept: the photos that can be enrolled, by person id, in the same order.
        findings: what is wrong with the others.
        base_sq: the threshold of everybody without a look-alike.
        sights: what was seen in each photo that could be read.
        embedded: photos that were looked at now.
        remembered: photos that the cache knew.
        trouble: what is wrong with the cache, or "".
    """

    people: list[PersonFolder]
    kept: Group
    rejections: Rejections
    base_sq: float
    assessments: dict[Path, PhotoAssessment]
    embedded: int
    cached: int
    cache_problem: str

    def lines(self) -> Iterator[str]:
        """Every finding as "photo or person: reason", person by person."""
        everybody = {photo for member in self.people for photo in member.photos}
        for path, reason in self.rejections.photos.items():
            if path not in everybody:
                yield f"{path}: {reason}"
        for member in self.people:
            yield from self.lines_of(member)

    def lines_of(self, member: PersonFolder) -> Iterator[str]:
        """The findings about one person and their photos."""
        for path in member.photos:
            if path in self.rejections.photos:
                yield f"{path}: {self.rejections.photos[path]}"
        if not member.photos:
            return  # said of the folder
        for told in (self.rejections.people, self.rejections.notes):
            if member.id in told:
                yield f"{member.id}: {told[member.id]}"
        if member.id not in self.kept and member.id not in self.rejections.people:
            yield f"{member.id}: not enrolled, no photo could serve"


def review(
    folder: Path, reader: PhotoSampler, *, one_stranger_in: float = ONE_STRANGER_IN, use_cache: bool = True
) -> FolderReview:
    """Look at every photo below a people folder, the known ones excepted, and judge them together.

    Args:
        one_stranger_in: accept at most one stranger in so many.
        remember: use and keep the cache beside the photos.

    Raises:
        InputError: no such folder, no photo in it, or a malformed person.toml.
    """
    members = read_people(folder)
    findings = Rejections()
    for stray in loose_files(folder):
        findings.photos[stray] = "belongs to nobody; put it into a folder named after the person"
    for picture in unreadable_files(folder):
        findings.photos[picture] = f"{picture.suffix[1:].upper()} is not read; save it as JPEG or PNG"
    paths = [path for member in members for path in member.photos]
    if not paths and not findings.photos:
        raise InputError(f"{folder}: no photo in it; make one folder of photos per person")
    for empty in empty_folders(folder):
        findings.photos[empty] = NO_PHOTO
    with PhotoCache(folder / FILE if use_cache and paths else None, models_key(reader)) as cache:
        seen = _assess_all(paths, reader, cache, findings)
        cache.keep_only({key for key, _, _ in seen.values()})
    trouble = cache.problem
    sights = {path: sight for path, (_, sight, _) in seen.items()}
    findings.photos.update({path: sight.rejection_reason for path, sight in sights.items() if sight.rejection_reason})
    usable = {
        member.id: [
            UsablePhoto(path, sights[path].embedding, sights[path].weight, seen[path][0], sights[path].fingerprint)
            for path in member.photos
            if path in sights and not sights[path].rejection_reason
        ]
        for member in members
    }
    kept = check_consistency(
        {id_: photos for id_, photos in usable.items() if photos}, duplicate_person_limit_sq(reader), findings
    )
    base_sq = threshold_sq(reader.impostors, one_stranger_in=one_stranger_in, people=max(len(kept), 1))
    flag_similar_people(kept, base_sq / LOOKALIKE_SHARE, findings)
    remembered = sum(known for _, _, known in seen.values())
    return FolderReview(members, kept, findings, base_sq, sights, len(seen) - remembered, remembered, trouble)


def duplicate_person_limit_sq(reader: PhotoSampler) -> float:
    """The squared distance beyond which two photos show different people."""
    return threshold_for_fmr(reader.impostors, SAME_PERSON_FMR)


def _assess_all(
    paths: list[Path], reader: PhotoSampler, cache: PhotoCache, findings: Rejections
) -> dict[Path, tuple[str, PhotoAssessment, bool]]:
    """Key, sight, and whether the cache knew it, of every photo that can be read."""
    seen: dict[Path, tuple[str, PhotoAssessment, bool]] = {}
    for path in tqdm(paths, desc="enrol", unit=" photos", disable=None):
        try:
            key = photo_key(path.read_bytes())
            known = cache.get(key)
            look = known or assess_photo(reader, read_image(path))
        except OSError as error:
            findings.photos[path] = f"cannot be read ({error.strerror})"
            continue
        except ImageError as error:
            findings.photos[path] = str(error).removeprefix(f"{path}: ")
            continue
        if known is None:
            cache.put(key, look)
        seen[path] = key, look, known is not None
    return seen
