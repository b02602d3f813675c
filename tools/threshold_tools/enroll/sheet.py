"""Contact sheet of a reviewed people folder: one HTML file with the face and the result of every photo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.core.cli_support import counted
from threshold_tools.enroll.folder import PersonFolder
from threshold_tools.enroll.photo_quality import ENROL_QUALITY
from threshold_tools.enroll.review import FolderReview
from threshold_tools.reports.document import ReportVerdict, listed
from threshold_tools.reports.page import data_uri, render

_NAMED = 6  # photos to retake that the verdict names
_TERMS = {
    "quality": "weight of the photo as evidence, 0 to 1; sharp, large, frontal faces have 1",
    "eyes": f"distance between the eyes, at least {ENROL_QUALITY.min_size_px:g} px",
    "sharpness": f"contrast of fine detail, at least {ENROL_QUALITY.min_sharpness:g}",
    "clarity": "how distinct the face is to the recognition model (length of its embedding; 1 is usual), at least "
    f"{ENROL_QUALITY.min_norm:g}",
    "turned, up/down": f"angle of the head to the side (at most {ENROL_QUALITY.max_yaw_deg:g}°), and up or down "
    f"(at most {ENROL_QUALITY.max_pitch_deg:g}°)",
}


@dataclass(frozen=True, slots=True)
class SheetPhoto:
    """One photo on the sheet."""

    name: str
    uri: str  # of its thumbnail, or ""
    usable: bool
    reason: str  # quality, or why it is rejected
    details: str


@dataclass(frozen=True, slots=True)
class SheetSection:
    """One person on the sheet, or the files that belong to no person."""

    name: str
    details: list[str]
    note: str
    fine: bool  # no photo is rejected and there is no note
    photos: list[SheetPhoto]


def contact_sheet(reviewed: FolderReview, title: str) -> str:
    """Every photo of every person, usable or rejected and why; people with problems come first."""
    known = {photo for person in reviewed.people for photo in person.photos}
    stray = [_photo(reviewed, path, path.name, "") for path in reviewed.rejections.photos if path not in known]
    loose = SheetSection("Not in a person's folder, or empty", [], "", False, stray)
    sections = sorted((_section(reviewed, person) for person in reviewed.people), key=lambda each: each.fine)
    usable = sum(len(photos) for photos in reviewed.kept.values())
    return render(
        "enroll.html",
        title=title,
        kind="enrolment",
        verdict=verdict(reviewed),
        facts=[
            ("people enrolled", f"{len(reviewed.kept):,} of {len(reviewed.people):,}"),
            ("usable photos", f"{usable:,} of {len(known):,}"),
            ("people with a look-alike", f"{len(reviewed.rejections.notes):,}"),
        ],
        loose=loose,
        sections=[loose] * bool(stray) + sections,
        terms=_TERMS,
    )


def verdict(reviewed: FolderReview) -> ReportVerdict:
    """Summary of the review: usable photos, people who are not enrolled, and photos to retake."""
    photos = [photo for person in reviewed.people for photo in person.photos]
    usable = sum(len(kept) for kept in reviewed.kept.values())
    people = len(reviewed.people)
    if usable == len(photos) and len(reviewed.kept) == people:
        headline = f"All {counted(usable, 'photo')} of {counted(people, 'person', 'people')} are usable."
    else:
        headline = (
            f"Usable: {usable:,} of {counted(len(photos), 'photo')}. "
            f"Enrolled: {len(reviewed.kept):,} of {counted(people, 'person', 'people')}."
        )
    advice = []
    missing = [person.name for person in reviewed.people if person.id not in reviewed.kept]
    if missing:
        advice.append(f"Not enrolled: {listed(missing, _NAMED)}.")
    rejected = [
        f"{photo.name} of {person.name}" for person in reviewed.people for photo in person.photos
        if photo in reviewed.rejections.photos
    ]  # fmt: skip
    if rejected:
        these = "this photo" if len(rejected) == 1 else f"these {len(rejected):,} photos"
        advice.append(f"Retake or remove {these}: {listed(rejected, _NAMED)}.")
    if reviewed.rejections.notes:
        advice.append(
            f"{counted(len(reviewed.rejections.notes), 'person has', 'people have')} a look-alike in the gallery and "
            "a stricter threshold; more photos of them do not change that."
        )
    thin = [person.name for person in reviewed.people if len(reviewed.kept.get(person.id, [])) == 1]
    if thin:
        advice.append(f"Only one usable photo: {listed(thin, _NAMED)}. Three to five in different light work better.")
    tone = "bad" if not reviewed.kept else "warn" if missing or rejected else "good"
    return ReportVerdict(tone, headline, advice)  # type: ignore[arg-type]


def _section(reviewed: FolderReview, person: PersonFolder) -> SheetSection:
    """One person."""
    qualities = {photo.path: f"quality {photo.weight:.2f}" for photo in reviewed.kept.get(person.id, [])}
    note = reviewed.rejections.people.get(person.id) or reviewed.rejections.notes.get(person.id) or ""
    details = [f"id {person.id}"] if person.name != person.id else []
    details += [", ".join(person.groups)] if person.groups else []
    details += [f"from {person.valid_from}"] if person.valid_from else []
    details += [f"until {person.valid_until}"] if person.valid_until else []
    details.append(f"{len(qualities)} of {counted(len(person.photos), 'photo')}" if qualities else "not enrolled")
    photos = [
        _photo(reviewed, path, path.relative_to(person.folder).as_posix(), qualities.get(path, ""))
        for path in person.photos
    ]
    fine = not note and len(qualities) == len(person.photos) > 0
    return SheetSection(person.name, details, note, fine, photos)


def _photo(reviewed: FolderReview, path: Path, name: str, quality: str) -> SheetPhoto:
    """One photo; `quality` is "" if it is not usable."""
    assessment = reviewed.assessments.get(path)
    uri = data_uri(assessment.thumbnail) if assessment is not None and assessment.thumbnail else ""
    reason = quality or reviewed.rejections.photos.get(path, "usable, but the person is not enrolled")
    return SheetPhoto(name, uri, bool(quality), reason, assessment.quality_text if assessment else "")
