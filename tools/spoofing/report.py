"""Error rates of presentation attack detection, in the terms of ISO/IEC 30107-3."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from edge.liveness.liveness import MIN_LOOKS
from spoofing.watch import GENUINE, SIMULATED, Watched

_Z = 1.959964  # two-sided 95 %


class Share(msgspec.Struct, frozen=True):
    """Errors among cases, with Wilson's 95 % interval (1927); cases are taken as independent, and they are not quite:
    several are of one person."""

    value: float
    low: float
    high: float
    errors: int
    cases: int


class Species(msgspec.Struct, frozen=True):
    """One kind of attack: `apcer` of those that were judged, and how many never gave enough looks."""

    name: str
    simulated: bool
    apcer: Share | None
    unjudged: int


class Point(msgspec.Struct, frozen=True):
    """After so many seconds watched. `acer` is the mean of BPCER and the worst APCER, real and simulated apart."""

    watched_s: float
    bpcer: Share | None
    unjudged: int
    species: list[Species]
    acer_real: float | None
    acer_simulated: float | None


class PadReport(msgspec.Struct, frozen=True):
    """All figures. `limit`: scores at or above are attacks; `chosen_on`: what the limit was chosen on."""

    source: str
    limit: float
    chosen_on: str
    at: list[Point]
    groups: dict[str, Share | None]
    det: dict[str, list[tuple[float, float, float]]]
    cost_share: float


def wilson(errors: int, cases: int) -> Share | None:
    """A share with its 95 % interval; None of no cases."""
    if not cases:
        return None
    share, square = errors / cases, _Z * _Z / cases
    middle = (share + square / 2) / (1 + square)
    reach = _Z / (1 + square) * math.sqrt(share * (1 - share) / cases + square / (4 * cases))
    return Share(share, max(middle - reach, 0.0), min(middle + reach, 1.0), errors, cases)


def measure(
    watched: Sequence[Watched],
    *,
    source: str,
    limit: float,
    chosen_on: str,
    seconds: Sequence[float],
    groups: Mapping[str, str],
) -> PadReport:
    """The report of clips that were watched; `seconds`: after how long to judge, the last one for DET and groups."""
    last = seconds[-1]
    kinds = sorted({each.case.species for each in watched} - {GENUINE})
    real = [each for each in watched if each.case.species == GENUINE]
    by_group = {
        group: _wrong([each for each in real if groups.get(each.case.subject) == group], last, limit)[0]
        for group in sorted(set(groups.values()))
    }
    observe_ns = sum(each.observe_ns for each in watched)
    return PadReport(
        source=source,
        limit=limit,
        chosen_on=chosen_on,
        at=[_point(watched, kinds, moment, limit) for moment in seconds],
        groups=by_group,
        det={kind: _det(real, [each for each in watched if each.case.species == kind], last) for kind in kinds},
        cost_share=observe_ns / max(sum(each.read_ns for each in watched), 1),
    )


def show(report: PadReport) -> str:
    """The report as text."""
    lines = [f"Presentation attacks in {report.source}: an attack from score {report.limit:.2f} on"]
    lines.append(f"operating point chosen on: {report.chosen_on}")
    for point in report.at:
        lines.append(f"\nafter {point.watched_s:.2f} s watched")
        lines.append(f"  {'BPCER, genuine':34s} {_told(point.bpcer)}{_left(point.unjudged)}")
        for real in (True, False):
            for kind in point.species:
                if kind.simulated is not real:
                    lines.append(f"  {'APCER, ' + kind.name:34s} {_told(kind.apcer)}{_left(kind.unjudged)}")
        for name, value in (("real", point.acer_real), ("simulated", point.acer_simulated)):
            if value is not None:
                lines.append(f"  {'ACER, worst ' + name + ' species':34s} {100 * value:6.2f} %")
    for group, share in report.groups.items():
        lines.append(f"  {'BPCER, group ' + group:34s} {_told(share)}")
    lines.append(
        f"\nliveness added {100 * report.cost_share:.1f} % to the CPU time of detecting and reading these frames"
    )
    return "\n".join(lines) + "\n"


def _point(watched: Sequence[Watched], kinds: Sequence[str], moment: float, limit: float) -> Point:
    bpcer, unjudged = _wrong([each for each in watched if each.case.species == GENUINE], moment, limit)
    species = []
    for kind in kinds:
        wrong, left = _wrong([each for each in watched if each.case.species == kind], moment, limit)
        species.append(Species(kind, kind.startswith(SIMULATED), wrong, left))
    acers = []
    for simulated in (False, True):
        rates = [kind.apcer.value for kind in species if kind.simulated is simulated and kind.apcer]
        acers.append((max(rates) + bpcer.value) / 2 if rates and bpcer else None)
    return Point(moment, bpcer, unjudged, species, acers[0], acers[1])


def _wrong(watched: Sequence[Watched], moment: float, limit: float) -> tuple[Share | None, int]:
    judged = [(each, score) for each in watched if (score := each.score_after(moment, MIN_LOOKS)) is not None]
    errors = sum((score >= limit) == (each.case.species == GENUINE) for each, score in judged)
    return wilson(errors, len(judged)), len(watched) - len(judged)


def _det(real: Sequence[Watched], attacks: Sequence[Watched], moment: float) -> list[tuple[float, float, float]]:
    """(limit, BPCER, APCER) at each score that occurs."""
    genuine, shown = (
        [score for each in some if (score := each.score_after(moment, MIN_LOOKS)) is not None]
        for some in (real, attacks)
    )
    if not genuine or not shown:
        return []
    points = []
    for limit in sorted({*genuine, *shown}):
        bpcer = sum(score >= limit for score in genuine) / len(genuine)
        points.append((limit, bpcer, sum(score < limit for score in shown) / len(shown)))
    return points


def _told(share: Share | None) -> str:
    if share is None:
        return "     -"
    return (
        f"{100 * share.value:6.2f} % ({100 * share.low:.1f} to {100 * share.high:.1f}; {share.errors} of {share.cases})"
    )


def _left(unjudged: int) -> str:
    return f", {unjudged} never judged" if unjudged else ""
