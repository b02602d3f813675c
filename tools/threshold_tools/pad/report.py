"""Error rates of presentation attack detection on clips, in the terms of ISO/IEC 30107-3: as records, text and HTML."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from edge.liveness.cues.weights import CUE_WEIGHTS
from threshold_tools.html import data_uri, render
from threshold_tools.pad.clip_evaluation import GENUINE, SIMULATED, ClipResult
from threshold_tools.plots import GRID, new_figure, to_svg
from threshold_tools.stats import RateWithInterval, auc, det_curve, wilson

AT_THE_DOOR = "at the decision of the door; clips that end before it left out"
AT_THE_END = "at the end of the clip"
WINDOWS = "by windows of 1.5 s, one begun every half second"
_SCORES: dict[str, Callable[[ClipResult], list[float]]] = {
    AT_THE_DOOR: lambda result: [] if result.first_decision is None else [result.first_decision],
    AT_THE_END: lambda result: [] if result.final is None else [result.final],
    WINDOWS: lambda result: [evidence.score for evidence in result.windows],
}


class SpeciesRates(msgspec.Struct, frozen=True):
    """One kind of attack."""

    name: str
    simulated: bool
    apcer: RateWithInterval | None  # of those that were judged
    unjudged: int  # never gave enough samples; no door opens to those


class JudgementRates(msgspec.Struct, frozen=True):
    """Judged in one way."""

    judged: str
    bpcer: RateWithInterval | None
    unjudged: int
    species: list[SpeciesRates]
    acer_real: float | None  # mean of BPCER and the worst APCER
    acer_simulated: float | None


class CueRates(msgspec.Struct, frozen=True):
    """One cue in the windows of genuine clips or of one kind of attack."""

    species: str
    windows: int
    spoke: int  # windows in which the cue has a value
    auc: float | None  # how often its value is above that of a genuine window; 0.5 separates nothing, 0 and 1 all


class CueReport(msgspec.Struct, frozen=True):
    """What one cue separates alone, by windows; `weight` is its share in the score, 0: shown only."""

    name: str
    weight: float
    of: list[CueRates]


class PadReport(msgspec.Struct, frozen=True):
    """All figures of clips."""

    source: str
    limit: float  # scores at or above are attacks
    chosen_on: str  # what the limit was chosen on
    at: list[JudgementRates]
    cues: list[CueReport]
    groups: dict[str, RateWithInterval | None]  # by the whole clip
    det: dict[str, list[tuple[float, float, float]]]  # by the whole clip
    cost_share: float  # CPU time of liveness over that of the rest of sampled frames


def measure(
    results: Sequence[ClipResult], *, source: str, limit: float, chosen_on: str, groups: Mapping[str, str]
) -> PadReport:
    """The report of evaluated clips.

    Args:
        results: of all clips.
        source: where they are from, for people.
        limit: scores at or above are attacks.
        chosen_on: what the limit was chosen on, for people.
        groups: group of each subject.
    """
    attacks = sorted({each.clip.species for each in results} - {GENUINE})
    by_species = {kind: [each for each in results if each.clip.species == kind] for kind in (GENUINE, *attacks)}
    members = {
        group: [each for each in by_species[GENUINE] if groups.get(each.clip.subject) == group]
        for group in sorted(set(groups.values()))
    }
    ends = {kind: [score for each in some for score in _SCORES[AT_THE_END](each)] for kind, some in by_species.items()}
    return PadReport(
        source=source,
        limit=limit,
        chosen_on=chosen_on,
        at=[_judge(by_species, way, limit) for way in _SCORES],
        cues=[_cue(by_species, name, rule.weight) for name, rule in CUE_WEIGHTS.items()],
        groups={group: _errors(some, AT_THE_END, limit)[0] for group, some in members.items()},
        det={kind: det_curve(ends[GENUINE], ends[kind]) for kind in attacks},
        cost_share=sum(each.observe_ns for each in results) / max(sum(each.read_ns for each in results), 1),
    )


def _judge(by_species: Mapping[str, Sequence[ClipResult]], way: str, limit: float) -> JudgementRates:
    bpcer, unjudged = _errors(by_species[GENUINE], way, limit)
    species = [
        SpeciesRates(kind, kind.startswith(SIMULATED), *_errors(some, way, limit))
        for kind, some in by_species.items()
        if kind != GENUINE
    ]
    acers = []
    for simulated in (False, True):
        rates = [kind.apcer.value for kind in species if kind.simulated is simulated and kind.apcer]
        acers.append((max(rates) + bpcer.value) / 2 if rates and bpcer else None)
    return JudgementRates(way, bpcer, unjudged, species, acers[0], acers[1])


def _errors(results: Sequence[ClipResult], way: str, limit: float) -> tuple[RateWithInterval | None, int]:
    """The share of wrong scores, and the number of clips without a score."""
    scored = [(each, _SCORES[way](each)) for each in results]
    wrong = sum((score >= limit) == (each.clip.species == GENUINE) for each, scores in scored for score in scores)
    return wilson(wrong, sum(len(scores) for _, scores in scored)), sum(not scores for _, scores in scored)


def _cue(by_species: Mapping[str, Sequence[ClipResult]], name: str, weight: float) -> CueReport:
    values = {
        kind: [cue.value for each in some for window in each.windows for cue in window.cues if cue.name == name]
        for kind, some in by_species.items()
    }
    known = {kind: [value for value in some if value is not None] for kind, some in values.items()}
    rates = [CueRates(kind, len(values[kind]), len(some), auc(known[GENUINE], some)) for kind, some in known.items()]
    return CueReport(name, weight, rates)


def show(report: PadReport) -> str:
    """The report as text."""
    lines = [f"Clips in {report.source}: an attack from score {report.limit:.2f} on"]
    lines.append(f"operating point chosen on: {report.chosen_on}")
    for point in report.at:
        lines.append(f"\n{point.judged}")
        lines.append(_rate_line("BPCER, genuine", point.bpcer, point.unjudged))
        by_origin = sorted(point.species, key=lambda kind: kind.simulated)
        lines += [_rate_line(f"APCER, {kind.name}", kind.apcer, kind.unjudged) for kind in by_origin]
        for name, value in (("real", point.acer_real), ("simulated", point.acer_simulated)):
            if value is not None:
                lines.append(f"  {'ACER, worst ' + name + ' species':34s} {100 * value:6.2f} %")
    lines += ["", *_show_cues(report.cues)]
    lines += [_rate_line(f"BPCER, group {group}", share) for group, share in report.groups.items()]
    lines.append(f"\nliveness added {100 * report.cost_share:.1f} % to the CPU time of sampled frames")
    return "\n".join(lines) + "\n"


def _rate_line(name: str, rate: RateWithInterval | None, unjudged: int = 0) -> str:
    shown = "     -" if rate is None else str(rate)
    return f"  {name:34s} {shown}{f', {unjudged} never judged' if unjudged else ''}"


def _show_cues(cues: Sequence[CueReport]) -> list[str]:
    """A row for each kind of clip, a column for each cue."""
    lines = ["each cue alone, by windows: AUC (0.5 separates nothing, 0 and 1 all), windows in which it has a value"]
    lines.append(f"  {'':28s}" + "".join(f"{cue.name:>16s}" for cue in cues))
    lines.append(f"  {'weight':28s}" + "".join(f"{cue.weight:16.4g}" for cue in cues))
    for row, rates in enumerate(cues[0].of):
        lines.append(f"  {rates.species:28s}" + "".join(f"{_cell(cue.of[row]):>16s}" for cue in cues))
    return lines


def _cell(rates: CueRates) -> str:
    area = "" if rates.species == GENUINE or rates.auc is None else f"{rates.auc:.2f}, "
    return f"{area}{rates.spoke}/{rates.windows}"


def page(report: PadReport) -> str:
    """The report as one HTML page that needs no other file."""
    plot = data_uri(_plot(report).encode(), "image/svg+xml")
    return render("pad.html", title="Presentation attacks", plot=plot, text=show(report))


def _plot(report: PadReport) -> str:
    """DET curves as SVG."""
    figure = new_figure(6.5, 5)
    axes = figure.subplots()
    for kind, points in report.det.items():
        axes.step([100 * bpcer for _, bpcer, _ in points], [100 * apcer for *_, apcer in points], label=kind)
    axes.set(xlabel="BPCER, %", ylabel="APCER, %")
    axes.set_xscale("symlog", linthresh=1)
    axes.set_yscale("symlog", linthresh=1)
    axes.set(xlim=(0, 100), ylim=(0, 100))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.grid(color=GRID)
    axes.legend(fontsize=8)
    return to_svg(figure, "pad")
