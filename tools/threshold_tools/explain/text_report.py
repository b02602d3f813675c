"""An explanation in plain words, for a terminal of 80 columns."""

from __future__ import annotations

from edge.core.records import AccessOutcome
from edge.recognition.gallery import MAX_DISTANCE_SQ
from threshold_tools.explain.photo import format_part
from threshold_tools.explain.report import Explanation, NearestPerson, PhotoReport, SimulatedDecision
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


def failing(shown: PhotoReport) -> str:
    """The parts that miss their gate: "between the eyes 14 px (at least 18)"."""
    return ", ".join(f"{part.label} {format_part(part)} ({part.gate})" for part in shown.parts if not part.ok)


def sentences(a: PhotoReport, answer: SimulatedDecision, first: NearestPerson | None, alone: bool) -> list[str]:
    """The verdict, a sentence each.

    Args:
        a: the photo that comes to the door.
        answer: decision of the door.
        first: the nearest person that the door knows.
        alone: whether that person is the other photo, enrolled alone.
    """
    if a.refusal:
        parts = failing(a)
        why = f": {parts}" if parts else ""
        return [f"Refused, {a.refusal}{why}.", "A door takes no sample from this view and waits for a better one."]
    if first is None:
        return ["Nobody is enrolled: everybody is unknown to this door."]
    if answer.counts:
        said = [f"One such sample would count towards {first.name}; a door asks for {answer.needed} that agree."]
    else:
        said = [f"Such a sample counts towards nobody: even {first.name}, the nearest, is too far."]
    why = _REASONS.get(answer.reason, answer.reason)
    samples = _count(answer.samples)
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
    bound = "fewer than " if share <= least else "more than " if share >= most else "about "
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


def _count(samples: int) -> str:
    number = _NUMBERS[samples] if samples < len(_NUMBERS) else str(samples)
    return f"{number} such sample" + ("" if samples == 1 else "s")
