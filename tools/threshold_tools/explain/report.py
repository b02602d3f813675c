"""An explanation: the record that --json prints, and the report for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge.core.records import AccessOutcome
from edge.recognition.gallery import MAX_DISTANCE_SQ
from threshold_tools.reports.document import ReportDocument, ReportTable, ReportVerdict, TableColumn, Tone

SCALE = "Lower is nearer; a lower threshold is stricter."
_BAR = 65
_SMALLEST = 0.005  # smaller ones are printed as 0.00
_REASONS = {
    "within-threshold": "the distance is below the threshold",
    "beyond-threshold": "the distance is above the threshold",
    "too-few-agree": "too few samples agree on one person",
    "runner-up-too-near": "another enrolled person is almost as near",
    "too-few-samples": "there are too few samples",
    "outside-schedule": "the rule does not allow this time",
    "not-yet-valid": "the person's validity has not begun",
    "no-longer-valid": "the person's validity has ended",
    "no-rule-for-this-person": "no rule allows this person",
    "clock-not-set": "the rule depends on the time; give one with --at",
}
_REFUSALS = {
    "no-face": "no clear face",
    "too-small": "face too small",
    "blurred": "blurred",
    "turned-away": "turned away",
    "tilted": "looking up or down",
    "too-dark": "too dark",
    "too-bright": "too bright",
    "unclear": "face unclear or covered",
}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


class QualityPart(msgspec.Struct, frozen=True):
    """One part of a sample's quality."""

    name: str  # as in `edge.core.records.Quality`, or `score` (the detector's) and `presence` (the mesh's)
    label: str  # name for people
    value: float  # with the unit of the name's suffix
    gate: str  # limits of the door, such as "at least 18"; "" if there is none
    ok: bool  # whether the value is within the limits
    full: float | None  # value from which the weight is full; None if it has no effect


class OcclusionMap(msgspec.Struct, frozen=True):
    """Change of the distance when a part of the aligned face is covered."""

    # Rows of (distance with the patch) - (distance without). Above 0: this part is similar in both faces. Below 0: this
    # part is different.
    grid: list[list[float]]
    regions: dict[str, float]  # mean over the cells of each part of the face, largest absolute value first
    patch_px: int  # side of the grey patch in the aligned face


class PhotoReport(msgspec.Struct, frozen=True):
    """The main face of a photo, and its quality at a door."""

    photo: str  # its path
    width_px: int  # of the photo
    height_px: int  # of the photo
    faces: int  # number of faces; the largest, most central one is used
    box: tuple[float, float, float, float]  # left, top, right, bottom of that face, pixels of the photo
    # Right eye, left eye, nose tip, right and left mouth corner, pixels of the photo; the person's own right and left.
    five_px: list[tuple[float, float]]
    parts: list[QualityPart]  # of its quality
    weight: float  # of the sample as evidence, 0..1; 0 means rejected
    refusal: str  # reason code if a door rejects the sample, or ""
    occlusion: OcclusionMap | None = None  # effect of each part on the distance, or None if not measured


class NearestPerson(msgspec.Struct, frozen=True):
    """A person to measure against: squared distance 0..4, lower is nearer; a lower threshold is stricter."""

    id: str
    name: str
    distance_sq: float
    threshold_sq: float


class SimulatedDecision(msgspec.Struct, frozen=True):
    """Decision of a door about a visitor whose samples are all like this one."""

    kind: str  # door-open, denied or unknown; "" if the door never decides
    samples: int  # samples until the decision
    reason: str  # reason code of the decision
    rule: str  # access rule of the decision, or ""
    needed: int  # samples that must agree on a name
    counts: bool  # whether one such sample counts for the nearest person


class Explanation(msgspec.Struct, frozen=True):
    """The whole explanation."""

    a: PhotoReport  # the photo that comes to the door
    b: PhotoReport | None  # the photo that it is compared with, or None
    # The person that `distance_sq` is measured to: that photo, the person asked for, or the nearest one.
    target: NearestPerson
    # Share of strangers who are this near to a given person, by the embedder's table of impostors, and the smallest and
    # largest share in that table.
    strangers: tuple[float, float, float]
    nearest: list[NearestPerson]  # of the gallery, nearest first; empty without a gallery
    gallery: str  # path of the gallery; "" if only photo `b` is enrolled
    answer: SimulatedDecision  # of the door
    verdict: list[str]  # decision of the door, one sentence each
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
    """Decision of a door about photo `a`, one sentence each; `alone`: the nearest person `first` is the other photo."""
    if a.refusal:
        parts = ", ".join(f"{part.label} {format_part(part)} (needs {part.gate})" for part in a.parts if not part.ok)
        why = f": {parts}" if parts else ""
        return [f"Rejected as {a.refusal}{why}.", "A door takes no sample from this view and waits for a better one."]
    if answer.counts:
        found = [f"Such a sample counts for {first.name}. A door needs {answer.needed} samples that agree."]
    else:
        found = [f"Such a sample counts for no one: {first.name} is the nearest, but too far."]
    why = _REASONS.get(answer.reason, answer.reason)
    number = _NUMBERS[answer.samples] if answer.samples < len(_NUMBERS) else answer.samples
    samples = f"{number} such sample" + ("" if answer.samples == 1 else "s")
    if not answer.kind:
        found.append(f"The door never decides, because {why}.")
    elif answer.kind == AccessOutcome.DOOR_OPEN:
        rule = "" if alone else f" by rule {answer.rule}"
        found.append(f"After {samples} the door opens ({answer.kind}){rule}, because {why}.")
    elif answer.kind == AccessOutcome.DENIED:
        found.append(f"After {samples} the person is recognised and {answer.kind}, because {why} (rule {answer.rule}).")
    else:
        found.append(f"After {samples} the visitor is {answer.kind}, because {why}.")
    return found


def verdict(found: Explanation) -> ReportVerdict:
    """The result in one line, and the decision of a door."""
    target, answer = found.target, found.answer
    near = target.distance_sq <= target.threshold_sq
    if found.a.refusal:
        result = f"A door rejects this photo, {_REFUSALS.get(found.a.refusal, found.a.refusal)}"
    elif found.b is not None:
        result = "Same person" if near else "Different people"
    elif not near:
        result = f"Not recognised as {target.name}"
    elif answer.kind == AccessOutcome.DOOR_OPEN:
        result = f"Recognised as {target.name}"
    elif answer.kind == AccessOutcome.DENIED:
        result = f"Recognised as {target.name}, but not allowed to pass"
    else:
        result = f"Similar to {target.name}, but not recognised"
    tone: Tone = "warn" if found.a.refusal else "good" if near and answer.kind == AccessOutcome.DOOR_OPEN else "bad"
    numbers = f"distance {target.distance_sq:.2f}, threshold {target.threshold_sq:.2f} (lower is nearer)"
    return ReportVerdict(tone, f"{result}: {numbers}", found.verdict)


def strangers(found: Explanation) -> str:
    """Share of strangers with such a small distance."""
    share, least, most = found.strangers
    within = 1 + 1e-9  # rounding of the logarithm
    bound = "fewer than" if share <= least * within else "more than" if share * within >= most else "about"
    return f"{bound.capitalize()} one stranger in {float(f'{1 / share:.2g}'):,.0f} is this near to a given person."


def region_lines(shown: PhotoReport) -> list[str]:
    """The parts of the face with the largest effect, one line for each direction."""
    if shown.occlusion is None:
        return []
    ranked = list(shown.occlusion.regions.items())
    near = [f"{name} {value:+.2f}" for name, value in ranked if value >= _SMALLEST][:3]
    apart = [f"{name} {value:+.2f}" for name, value in ranked if value <= -_SMALLEST][:3]
    lines = [f"similar in both: {', '.join(near)} (covering it raises the distance)"] if near else []
    lines += [f"different: {', '.join(apart)} (covering it lowers the distance)"] if apart else []
    return lines or ["no part matters much: covering it changes the distance by less than 0.005"]


def document(found: Explanation) -> ReportDocument:
    """The explanation for people."""
    columns = [each for each in (found.a, found.b) if each]
    notes = [
        f"{'A' if each is found.a else 'B'}, parts of the face: {line}"
        for each in columns if each.occlusion for line in region_lines(each)
    ]  # fmt: skip
    tables = [_quality_table(columns)]
    if found.nearest:
        rows = [[each.name, each.id, f"{each.distance_sq:.2f}", f"{each.threshold_sq:.2f}"] for each in found.nearest]
        heads = [TableColumn("Name", text=True), TableColumn("ID", text=True)]
        heads += [
            TableColumn("Distance", "squared distance between the faces, 0 to 4; lower is nearer"),
            TableColumn("Threshold", "largest distance that is accepted; lower is stricter"),
        ]
        tables.append(ReportTable(f"Nearest people in {Path(found.gallery).name}", heads, rows))
    other = Path(found.b.photo).name if found.b else found.target.name
    return ReportDocument(
        title=f"{Path(found.a.photo).name} and {other}",
        source="; ".join([_described("A", found.a), *([_described("B", found.b)] if found.b else [])])
        + f"; embedder {found.embedder_sha256[:12]}",
        verdict=verdict(found),
        facts=[
            ("distance", f"{found.target.distance_sq:.2f}"),
            ("threshold", f"{found.target.threshold_sq:.2f}"),
            ("samples until a decision", f"{found.answer.samples}" if found.answer.kind else "never"),
            ("weight of A as evidence", f"{found.a.weight:.2f}"),
        ],
        tables=tables,
        notes=[strangers(found), *notes],
        sketch=f"{_bar(found.target)}\n  o distance, | threshold. {SCALE}",
    )


def _quality_table(columns: Sequence[PhotoReport]) -> ReportTable:
    heads = [TableColumn("Property", text=True), *(TableColumn("AB"[number]) for number in range(len(columns)))]
    heads += [
        TableColumn("A door needs", "limits in [quality] and [detector] of door.toml"),
        TableColumn("Full weight from", "from this value on, the property does not reduce the weight of a sample"),
    ]
    rows = []
    for number, part in enumerate(columns[0].parts):
        values = [each.parts[number] for each in columns]
        cells = [format_part(each) + ((" ✓" if each.ok else " ✗") if each.gate else "") for each in values]
        rows.append([part.label, *cells, part.gate or "-", "-" if part.full is None else f"{part.full:g}"])
    rows.append(["weight as evidence", *(f"{each.weight:.2f}" for each in columns), "above 0", "-"])
    rows.append(["at a door", *(_REFUSALS.get(each.refusal, each.refusal) or "accepted" for each in columns), "-", "-"])
    return ReportTable("Quality of the view", heads, rows)


def _described(letter: str, shown: PhotoReport) -> str:
    faces = "one face" if shown.faces == 1 else f"{shown.faces} faces, the largest and most central is used"
    return f"{letter}: {Path(shown.photo).name}, {shown.width_px}x{shown.height_px} px, {faces}"


def _bar(target: NearestPerson) -> str:
    """The scale from 0 to 4 in one line; o is the distance, | is the threshold."""
    cells = ["-"] * _BAR
    limit, here = (
        round(min(value, MAX_DISTANCE_SQ) / MAX_DISTANCE_SQ * (_BAR - 3)) + 1
        for value in (target.threshold_sq, target.distance_sq)
    )
    if limit == here:
        limit += 1 if target.distance_sq <= target.threshold_sq else -1
    cells[limit], cells[here] = "|", "o"
    return f"  0 {''.join(cells)} 4"
