"""An explanation as data, which JSON, the text and the page are made of, and as text for a terminal of 80 columns."""

from __future__ import annotations

import msgspec

from edge.core.records import AccessOutcome
from edge.recognition.gallery import MAX_DISTANCE_SQ
from threshold_tools.html import render

SCALE = "Lower is nearer; a lower threshold is stricter."
_BAR = 65
_SMALLEST = 0.005  # smaller ones are printed as 0.00
_REASONS = {
    "within-threshold": "the distance is within the threshold",
    "beyond-threshold": "the distance is beyond the threshold",
    "too-few-agree": "too few of its samples agree on one person",
    "runner-up-too-near": "the runner-up is too near to tell the two apart",
    "too-few-samples": "there are too few samples",
    "outside-schedule": "the rule's schedule does not hold now",
    "not-yet-valid": "the person is not yet valid",
    "no-longer-valid": "the person is no longer valid",
    "no-rule-for-this-person": "no rule lets this person pass",
    "clock-not-set": "its rule depends on the time, and none is given (--at)",
}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


class QualityPart(msgspec.Struct, frozen=True):
    """One part of a sample's quality."""

    name: str  # as in `edge.core.records.Quality`, or `score` (the detector's) and `presence` (the mesh's)
    label: str  # the same for people
    value: float  # with the unit of the name's suffix
    gate: str  # limits of the door, such as "at least 18"; "" without any
    ok: bool  # whether the value keeps to the gate
    full: float | None  # value from which on the weight is full; None where it never costs weight


class OcclusionMap(msgspec.Struct, frozen=True):
    """How the distance changes when a part of the aligned face is covered."""

    # Rows of (distance with the patch there) - (distance without); above 0: what is there brings the two together;
    # below 0: it keeps them apart.
    grid: list[list[float]]
    regions: dict[str, float]  # by part of the face, the mean over its cells, farthest from 0 first
    patch_px: int  # side of the grey patch in the aligned face


class PhotoReport(msgspec.Struct, frozen=True):
    """What a photo shows a door."""

    photo: str  # its path
    width_px: int  # of the photo
    height_px: int  # of the photo
    faces: int  # how many faces it shows; the largest, most central one is used
    box: tuple[float, float, float, float]  # left, top, right, bottom of that face, pixels of the photo
    # Right eye, left eye, nose tip, right and left mouth corner, pixels of the photo; the person's own right and left.
    five_px: list[tuple[float, float]]
    parts: list[QualityPart]  # of its quality
    weight: float  # of the sample as evidence, 0..1; 0 means rejected
    refusal: str  # why a door rejects the sample, or ""
    occlusion: OcclusionMap | None = None  # what in this face drives the distance, or None where it was not measured


class NearestPerson(msgspec.Struct, frozen=True):
    """A person to measure against: squared distance 0..4, lower is nearer; a lower threshold is stricter."""

    id: str
    name: str
    distance_sq: float
    threshold_sq: float


class SimulatedDecision(msgspec.Struct, frozen=True):
    """What a door does with a visitor all of whose samples are like this one."""

    kind: str  # door-open, denied, unknown; "" when it never comes to an answer
    samples: int  # how many it takes
    reason: str  # which condition decided
    rule: str  # the access rule that decided, "" without one
    needed: int  # samples that must agree on a name
    counts: bool  # whether a single one counts towards the nearest person


class Explanation(msgspec.Struct, frozen=True):
    """The whole explanation."""

    a: PhotoReport  # the photo that comes to the door
    b: PhotoReport | None  # the photo it is compared with, as if it were enrolled, or None
    # The person that `distance_sq` is measured to: that photo, the person asked for, or the nearest one.
    target: NearestPerson
    # Share of strangers who come as near to one given person, by the embedder's table of impostors, and the smallest
    # and largest share that this table knows: beyond these it says no more.
    strangers: tuple[float, float, float]
    nearest: list[NearestPerson]  # of the gallery, nearest first; empty without a gallery
    gallery: str  # its path, or "": then the photo `b` is the only one enrolled
    answer: SimulatedDecision  # of the door
    verdict: list[str]  # the same in plain words, a sentence each
    embedder_sha256: str  # the model that the distances belong to


def format_part(part: QualityPart) -> str:
    """A part's value with its unit."""
    measure = unit(part.name)
    sign = "+" if measure == "°" else ""
    digits = ".2f" if abs(part.value) < 10 and not measure else ".0f"
    return f"{part.value:{sign}{digits}}{measure}"


def unit(name: str) -> str:
    """The unit of a part, by the suffix of its name."""
    return {"px": " px", "deg": "°"}.get(name.rpartition("_")[2], "")


def sentences(a: PhotoReport, answer: SimulatedDecision, first: NearestPerson, alone: bool) -> list[str]:
    """The verdict on photo `a`, a sentence each; `alone`: the nearest person, `first`, is the other photo."""
    if a.refusal:
        parts = ", ".join(f"{part.label} {format_part(part)} ({part.gate})" for part in a.parts if not part.ok)
        why = f": {parts}" if parts else ""
        return [f"Refused, {a.refusal}{why}.", "A door takes no sample from this view and waits for a better one."]
    if answer.counts:
        said = [f"One such sample would count towards {first.name}; a door asks for {answer.needed} that agree."]
    else:
        said = [f"Such a sample counts towards nobody: even {first.name}, the nearest, is too far."]
    why = _REASONS.get(answer.reason, answer.reason)
    number = _NUMBERS[answer.samples] if answer.samples < len(_NUMBERS) else answer.samples
    samples = f"{number} such sample" + ("" if answer.samples == 1 else "s")
    if not answer.kind:
        said.append(f"It never comes to an answer: {why}.")
    elif answer.kind == AccessOutcome.DOOR_OPEN:
        rule = "" if alone else f" by rule {answer.rule}"
        said.append(f"After {samples}: {answer.kind}{rule}, because {why}.")
    elif answer.kind == AccessOutcome.DENIED:
        said.append(f"After {samples}: recognised and {answer.kind}, because {why} (rule {answer.rule}).")
    else:
        said.append(f"After {samples}: {answer.kind}, because {why}.")
    return said


def strangers(found: Explanation) -> str:
    """How rare so small a distance is between strangers."""
    share, least, most = found.strangers
    within = 1 + 1e-9  # the share comes from a logarithm
    bound = "fewer than " if share <= least * within else "more than " if share * within >= most else "about "
    return f"Of strangers, {bound}one in {float(f'{1 / share:.2g}'):,.0f} comes as near to one given person."


def region_lines(shown: PhotoReport) -> list[str]:
    """The regions of the face that matter most, a line for each direction."""
    if shown.occlusion is None:
        return []
    ranked = list(shown.occlusion.regions.items())
    near = [f"{name} {value:+.2f}" for name, value in ranked if value >= _SMALLEST][:3]
    apart = [f"{name} {value:+.2f}" for name, value in ranked if value <= -_SMALLEST][:3]
    lines = [f"brings them together: {', '.join(near)}"] if near else []
    lines += [f"keeps them apart: {', '.join(apart)}"] if apart else []
    return lines or ["by very little, wherever it is"]


def format_report(found: Explanation) -> str:
    """The explanation as text."""
    return render(
        "explain.txt",
        found=found,
        bar=_bar(found.target),
        scale=SCALE,
        strangers=strangers(found),
        format_part=format_part,
        region_lines=region_lines,
    ).rstrip()


def _bar(target: NearestPerson) -> str:
    """The scale from 0 to 4 in one line: o is the distance, | the threshold."""
    cells = ["-"] * _BAR
    limit, here = (
        round(min(value, MAX_DISTANCE_SQ) / MAX_DISTANCE_SQ * (_BAR - 3)) + 1
        for value in (target.threshold_sq, target.distance_sq)
    )
    if limit == here:
        limit += 1 if target.distance_sq <= target.threshold_sq else -1
    cells[limit], cells[here] = "|", "o"
    return f"  0 {''.join(cells)} 4"
