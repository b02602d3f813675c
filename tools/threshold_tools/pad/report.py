"""Error rates of presentation attack detection on clips, in the terms of ISO/IEC 30107-3."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from edge.liveness.cues import CUE_WEIGHTS
from threshold_tools.pad.clip_evaluation import GENUINE, SIMULATED, ClipResult
from threshold_tools.pad.rates import RateWithInterval, auc, det, format_rate, wilson

AT_THE_DOOR = "as the door answers, who never gives enough left out"
AT_THE_END = "by the whole clip"
WINDOWS = "by windows of 1.5 s, begun every half second"


class SpeciesRates(msgspec.Struct, frozen=True):
    """One kind of attack: `apcer` of those that were judged, and how many never gave enough looks; no door opens to
    those."""

    name: str
    simulated: bool
    apcer: RateWithInterval | None
    unjudged: int


class JudgementRates(msgspec.Struct, frozen=True):
    """Judged in one way. `acer` is the mean of BPCER and the worst APCER, real and simulated apart."""

    judged: str
    bpcer: RateWithInterval | None
    unjudged: int
    species: list[SpeciesRates]
    acer_real: float | None
    acer_simulated: float | None


class CueRates(msgspec.Struct, frozen=True):
    """One cue in the windows of genuine clips or of one kind of attack: in how many it had something to say, and how
    often its value is above that of a genuine window (0.5 tells nothing, 0 and 1 tell all)."""

    species: str
    windows: int
    spoke: int
    auc: float | None


class CueReport(msgspec.Struct, frozen=True):
    """What one cue tells by itself, by windows; `weight` is its share in the score, 0: shown only."""

    name: str
    weight: float
    of: list[CueRates]


class PadReport(msgspec.Struct, frozen=True):
    """All figures of clips. `limit`: scores at or above are attacks; `chosen_on`: what the limit was chosen on;
    `cost_share`: CPU time of liveness over that of the rest of sampled frames; `det` and `groups` by the whole clip."""

    source: str
    limit: float
    chosen_on: str
    at: list[JudgementRates]
    cues: list[CueReport]
    groups: dict[str, RateWithInterval | None]
    det: dict[str, list[tuple[float, float, float]]]
    cost_share: float


def measure(
    watched: Sequence[ClipResult], *, source: str, limit: float, chosen_on: str, groups: Mapping[str, str]
) -> PadReport:
    """The report of clips that were watched."""
    kinds = sorted({each.clip.species for each in watched} - {GENUINE})
    real = [each for each in watched if each.clip.species == GENUINE]
    by_group = {
        group: _wrong([each for each in real if groups.get(each.clip.subject) == group], _end, limit)[0]
        for group in sorted(set(groups.values()))
    }
    ends = {kind: _scores([each for each in watched if each.clip.species == kind], _end) for kind in (GENUINE, *kinds)}
    observe_ns = sum(each.observe_ns for each in watched)
    ways: dict[str, _Judge] = {AT_THE_DOOR: _door, AT_THE_END: _end, WINDOWS: _windows}
    return PadReport(
        source=source,
        limit=limit,
        chosen_on=chosen_on,
        at=[_point(watched, kinds, way, judge, limit) for way, judge in ways.items()],
        cues=[_cue(watched, kinds, name, rule.weight) for name, rule in CUE_WEIGHTS.items()],
        groups=by_group,
        det={kind: det(ends[GENUINE], ends[kind]) for kind in kinds},
        cost_share=observe_ns / max(sum(each.read_ns for each in watched), 1),
    )


def show(report: PadReport) -> str:
    """The report as text."""
    lines = [f"Clips in {report.source}: an attack from score {report.limit:.2f} on"]
    lines.append(f"operating point chosen on: {report.chosen_on}")
    for point in report.at:
        lines.append(f"\n{point.judged}")
        lines.append(f"  {'BPCER, genuine':34s} {format_rate(point.bpcer)}{_left(point.unjudged)}")
        for real in (True, False):
            for kind in point.species:
                if kind.simulated is not real:
                    lines.append(f"  {'APCER, ' + kind.name:34s} {format_rate(kind.apcer)}{_left(kind.unjudged)}")
        for name, value in (("real", point.acer_real), ("simulated", point.acer_simulated)):
            if value is not None:
                lines.append(f"  {'ACER, worst ' + name + ' species':34s} {100 * value:6.2f} %")
    lines += ["", *_show_cues(report.cues)]
    lines += [f"  {'BPCER, group ' + group:34s} {format_rate(share)}" for group, share in report.groups.items()]
    lines.append(f"\nliveness added {100 * report.cost_share:.1f} % to the CPU time of sampled frames")
    return "\n".join(lines) + "\n"


_Judge = Callable[[ClipResult], Sequence[float]]


def _door(watched: ClipResult) -> Sequence[float]:
    return () if watched.first_decision is None else (watched.first_decision,)


def _end(watched: ClipResult) -> Sequence[float]:
    return () if watched.final is None else (watched.final,)


def _windows(watched: ClipResult) -> Sequence[float]:
    return [evidence.score for evidence in watched.windows]


def _cue(watched: Sequence[ClipResult], kinds: Sequence[str], name: str, weight: float) -> CueReport:
    values: dict[str, list[float | None]] = {kind: [] for kind in (GENUINE, *kinds)}
    for each in watched:
        for evidence in each.windows:
            values[each.clip.species] += [cue.value for cue in evidence.cues if cue.name == name]
    known = {kind: [value for value in some if value is not None] for kind, some in values.items()}
    return CueReport(
        name,
        weight,
        [CueRates(kind, len(values[kind]), len(some), auc(known[GENUINE], some)) for kind, some in known.items()],
    )


def _show_cues(cues: Sequence[CueReport]) -> list[str]:
    """A row for each kind of clip, a column for each cue."""
    lines = ["each cue by itself, by windows: AUC (0.5 tells nothing, 0 and 1 tell all), in how many it speaks"]
    lines.append(f"  {'':28s}" + "".join(f"{cue.name:>16s}" for cue in cues))
    lines.append(f"  {'weight':28s}" + "".join(f"{cue.weight:16.4g}" for cue in cues))
    for row, spoken in enumerate(cues[0].of):
        cells = [_cell(cue.of[row]) for cue in cues]
        lines.append(f"  {spoken.species:28s}" + "".join(f"{cell:>16s}" for cell in cells))
    return lines


def _cell(spoken: CueRates) -> str:
    auc = "" if spoken.species == GENUINE or spoken.auc is None else f"{spoken.auc:.2f}, "
    return f"{auc}{spoken.spoke}/{spoken.windows}"


def _point(
    watched: Sequence[ClipResult], kinds: Sequence[str], way: str, judge: _Judge, limit: float
) -> JudgementRates:
    bpcer, unjudged = _wrong([each for each in watched if each.clip.species == GENUINE], judge, limit)
    species = []
    for kind in kinds:
        wrong, left = _wrong([each for each in watched if each.clip.species == kind], judge, limit)
        species.append(SpeciesRates(kind, kind.startswith(SIMULATED), wrong, left))
    acers = []
    for simulated in (False, True):
        rates = [kind.apcer.value for kind in species if kind.simulated is simulated and kind.apcer]
        acers.append((max(rates) + bpcer.value) / 2 if rates and bpcer else None)
    return JudgementRates(way, bpcer, unjudged, species, acers[0], acers[1])


def _wrong(watched: Sequence[ClipResult], judge: _Judge, limit: float) -> tuple[RateWithInterval | None, int]:
    scores = [(each, score) for each in watched for score in judge(each)]
    errors = sum((score >= limit) == (each.clip.species == GENUINE) for each, score in scores)
    return wilson(errors, len(scores)), sum(not judge(each) for each in watched)


def _scores(watched: Sequence[ClipResult], judge: _Judge) -> list[float]:
    return [score for each in watched for score in judge(each)]


def _left(unjudged: int) -> str:
    return f", {unjudged} never judged" if unjudged else ""
