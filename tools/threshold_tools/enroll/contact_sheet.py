"""Contact sheet: every photo of every person, accepted or rejected and why, as one HTML file that needs no other."""

from __future__ import annotations

from pathlib import Path

from threshold_tools.enroll.folder import PersonFolder
from threshold_tools.enroll.review import FolderReview
from threshold_tools.html import data_uri, render


def contact_sheet(review: FolderReview, title: str) -> str:
    """The sheet, HTML."""
    known = {photo for person in review.people for photo in person.photos}
    stray = [_photo(review, path, path.name, "") for path in review.rejections.photos if path not in known]
    loose = {"name": "not in a folder of a person", "details": [], "note": "", "fine": False, "photos": stray}
    return render(
        "enroll.html",
        title=title,
        kept=len(review.kept),
        people=len(review.people),
        photos=sum(len(kept) for kept in review.kept.values()),
        rejected=review.rejections.count,
        sections=[loose] * bool(stray) + [_person(review, person) for person in review.people],
    )


def _person(review: FolderReview, person: PersonFolder) -> dict[str, object]:
    """One person; `fine`: everything was accepted."""
    weights = {photo.path: f"weight {photo.weight:.2f}" for photo in review.kept.get(person.id, [])}
    note = review.rejections.people.get(person.id) or review.rejections.notes.get(person.id) or ""
    details = [f"id {person.id}"] if person.name != person.id else []
    details += [", ".join(person.groups)] if person.groups else []
    details += [f"from {person.valid_from}"] if person.valid_from else []
    details += [f"until {person.valid_until}"] if person.valid_until else []
    details.append(f"{len(weights)} of {len(person.photos)} photos" if weights else "not enrolled")
    photos = [
        _photo(review, path, path.relative_to(person.folder).as_posix(), weights.get(path, ""))
        for path in person.photos
    ]
    fine = not note and len(weights) == len(person.photos)
    return {"name": person.name, "details": details, "note": note, "fine": fine, "photos": photos}


def _photo(review: FolderReview, path: Path, name: str, weight: str) -> dict[str, object]:
    """One photo; `weight` is "" for one that was not accepted."""
    assessment = review.assessments.get(path)
    uri = data_uri(assessment.thumbnail) if assessment is not None and assessment.thumbnail else ""
    reason = weight or review.rejections.photos.get(path, "the person is not enrolled")
    quality = assessment.quality_text if assessment else ""
    return {"name": name, "uri": uri, "accepted": bool(weight), "reason": reason, "quality": quality}
