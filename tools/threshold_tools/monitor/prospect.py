"""What enrolling some faces would change at the doors, worked out before anything is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.core.errors import ThresholdError
from edge.core.records import FloatArray
from edge.vision.manifest import default_folder, read_manifest
from threshold_tools.enroll.folder import check_person_id
from threshold_tools.enroll.gallery_builder import limits_sq
from threshold_tools.enroll.review import ONE_STRANGER_IN
from threshold_tools.monitor.face_store import StoredFace
from threshold_tools.monitor.people import PeopleReview
from threshold_tools.monitor.publishing import GalleryPublisher
from threshold_tools.photos import normalize
from threshold_tools.thresholds import threshold_sq

_MOST_LINES = 10  # of people whose threshold becomes stricter


@dataclass(frozen=True, slots=True)
class EnrolPreview:
    """A naming to be confirmed.

    Attributes:
        person: id as entered.
        name: as entered, or "".
        keys: of the faces.
        facts: what would happen, a line each.
        warnings: what the operator should know before.
        trouble: why it cannot be done, or "".
    """

    person: str
    name: str
    keys: tuple[str, ...]
    facts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""


def preview_enrolment(
    crops: Sequence[StoredFace], person: str, name: str, reviewed: PeopleReview, publishing: GalleryPublisher | None
) -> EnrolPreview:
    """What would come of enrolling `person` by these faces, if the checks of enrolment accept all of them."""
    keys = tuple(crop.key for crop in crops)
    known = person in {member.id for member in reviewed.review.people}
    faces = f"{len(crops)} {'face' if len(crops) == 1 else 'faces'}"
    facts = [f"{faces} added to {person}, who is in the people folder" if known else f"{faces} of a new person"]
    crops = [crop for crop in crops if not crop.assessment.rejection_reason]
    if not crops:
        return EnrolPreview(person, name, keys, error="enrolment rejects all of these faces")
    try:
        if not known:
            check_person_id(person)
        if publishing is None:
            facts.append("nothing is published; the next page shows the commands for that")
            return EnrolPreview(person, name, keys, tuple(facts))
        model = read_manifest(default_folder()).models["embedder"]
        kept_sq = publishing.thresholds_sq(model.embedding_space_sha256)
        people, centroids = _with(person, crops, reviewed)
        base_sq = threshold_sq(model.impostors, one_stranger_in=ONE_STRANGER_IN, people=len(people))
        limits = dict(zip(people, limits_sq(people, centroids, base_sq, kept_sq).tolist(), strict=True))
        facts += describe_limits(person, limits, kept_sq)
        access, warning = describe_access(person, publishing)
    except ThresholdError as error:
        return EnrolPreview(person, name, keys, error=str(error))
    facts += [access] if access else []
    facts.append(f"signed and published to every door of site {publishing.site}")
    return EnrolPreview(person, name, keys, tuple(facts), (warning,) if warning else ())


def describe_limits(person: str, limits: Mapping[str, float], kept_sq: Mapping[str, float]) -> list[str]:
    """The thresholds of a gallery in words: this person's, and what changes for the others.

    Args:
        limits: thresholds of the new gallery by id.
        kept_sq: those of the gallery that the doors run; empty: none of them is kept.
    """
    lines = []
    if person in limits:
        lines.append(f"threshold of {person}: {limits[person]:.3f} (lower is stricter)")
    others = {each: limit for each, limit in limits.items() if each != person}
    if not others:
        return lines
    low, high = min(others.values()), max(others.values())
    span = f"{low:.3f}" if round(low, 3) == round(high, 3) else f"{low:.3f} to {high:.3f}"
    if not kept_sq:
        return [*lines, f"thresholds of all others: set from the embedder's table, {span}"]
    changed = tightened(limits, kept_sq)
    lines.append(f"thresholds of the others: {span}, {'unchanged' if not changed else 'none of them looser'}")
    lines += [
        f"stricter because of a look-alike: {each}, {was:.3f} becomes {becomes:.3f}"
        for each, (was, becomes) in list(changed.items())[:_MOST_LINES]
        if each != person
    ]
    return lines


def tightened(limits: Mapping[str, float], kept_sq: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """By person id, the kept thresholds that a look-alike makes stricter: before and after."""
    return {each: (kept_sq[each], limits[each]) for each in kept_sq if limits.get(each, 4.0) < kept_sq[each]}


def describe_access(person: str, publishing: GalleryPublisher) -> tuple[str, str]:
    """Which doors have a rule for this person, and a warning where none has; "" where there is nothing to tell.

    Raises:
        ThresholdError: the repository is damaged.
    """
    doors = publishing.doors_of(person)
    if doors is None:
        return "the release holds no access rules; each door's door.toml decides", ""
    allowed, denied = doors
    if not allowed:
        return "", (
            f"{person} has no access rule at any door, so every door denies {person} (no-rule-for-this-person). "
            "Add the id to a rule or a group of policy.toml and publish that"
        )
    without = f"; none at {', '.join(denied)}" if denied else ""
    return f"access rules for {person}: {', '.join(allowed)}{without}", ""


def _with(person: str, crops: Sequence[StoredFace], reviewed: PeopleReview) -> tuple[list[str], FloatArray]:
    """Ids and (N, D) centroids of everybody enrolled, with this person's as it would be with the new faces."""
    people, centroids = list(reviewed.limits_sq), reviewed.centroids
    own = [photo.embedding for photo in reviewed.review.kept.get(person, [])]
    vector = normalize(np.sum([*own, *(crop.assessment.embedding for crop in crops)], axis=0))
    if person in people:
        centroids = centroids.copy()
        centroids[people.index(person)] = vector
        return people, centroids
    return [*people, person], np.vstack([centroids.reshape(-1, len(vector)), vector])
