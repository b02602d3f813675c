"""Error rates of presentation attack detection on clips, in the terms of ISO/IEC 30107-3."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from edge.core.cli_support import counted
from edge.liveness.cues.weights import CUE_WEIGHTS
from threshold_tools.pad.clip_evaluation import GENUINE, SIMULATED, ClipResult
from threshold_tools.reports.charts import COLOURS, Chart, ChartAxis, Tip
from threshold_tools.reports.document import ReportDocument, ReportTable, ReportVerdict, TableColumn, Tone, percent
from threshold_tools.reports.page import render
from threshold_tools.stats import RateWithInterval, auc, det_curve, wilson

AT_THE_DOOR = "at the decision of the door, without clips that end before it"
AT_THE_END = "after the whole clip"
WINDOWS = "in windows of 1.5 s that begin every half second"
_FEW_CLIPS = 100  # genuine clips; below this the verdict warns
_HIGH_RATE = 0.1  # errors of either kind; above this the verdict is bad
_MEASURE = (
    "BPCER: share of genuine clips refused. APCER: share of attacks that pass. ACER: mean of BPCER and the worst APCER "
    "(ISO/IEC 30107-3)"
)
_RATE_COLUMNS = (
    TableColumn("Rate"),
    TableColumn("95 % interval", "range that contains the true rate with a probability of 95 % (Wilson)"),
    TableColumn("Errors"),
)
_SCORES: dict[str, Callable[[ClipResult], list[float]]] = {
    AT_THE_DOOR: lambda result: [] if result.first_decision is None else [result.first_decision],
    AT_THE_END: lambda result: [] if result.final is None else [result.final],
    WINDOWS: lambda result: [evidence.score for evidence in result.windows],
}


class SpeciesRates(msgspec.Struct, frozen=True):
    """One kind of attack."""

    name: str
    simulated: bool
    apcer: RateWithInterval | None  # rate of the judged clips
    unjudged: int  # clips without enough samples; no door opens for them


class JudgementRates(msgspec.Struct, frozen=True):
    """Error rates of one way of judging clips."""

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
    auc: float | None  # share of pairs with a higher value than a genuine window; 0.5 separates nothing, 0 and 1 all


class CueReport(msgspec.Struct, frozen=True):
    """Separation by one cue alone, in windows; `weight` is its share in the score, 0: only measured."""

    name: str
    weight: float
    of: list[CueRates]


class PadReport(msgspec.Struct, frozen=True):
    """All figures of clips."""

    source: str
    limit: float  # scores at or above are attacks
    chosen_on: str  # data on which the limit was chosen
    at: list[JudgementRates]
    cues: list[CueReport]
    groups: dict[str, RateWithInterval | None]  # BPCER over whole clips
    det: dict[str, list[tuple[float, float, float]]]  # curves over whole clips
    cost_share: float  # CPU time of liveness over that of the rest of sampled frames


def measure(
    results: Sequence[ClipResult], *, source: str, limit: float, chosen_on: str, groups: Mapping[str, str]
) -> PadReport:
    """The report of evaluated clips.

    Args:
        results: results of all clips.
        source: origin of the clips, for people.
        limit: scores at or above are attacks.
        chosen_on: data on which the limit was chosen, for people.
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
    """Share of wrong scores, and number of clips without a score."""
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


def verdict(report: PadReport) -> ReportVerdict:
    """Shares of genuine clips refused and of attacks passed, after the whole clip."""
    at = next(each for each in report.at if each.judged == AT_THE_END)
    judged = [kind for kind in at.species if kind.apcer]
    filmed = [kind for kind in judged if not kind.simulated]
    worst = max(filmed or judged, key=lambda kind: kind.apcer.value if kind.apcer else 0.0, default=None)
    refused = f"{_short(at.bpcer)} of genuine clips are refused" if at.bpcer else "no genuine clip is judged"
    passed = "no attack is judged"
    if worst and worst.apcer:
        passed = f"{_short(worst.apcer)} of the most successful attack ({worst.name}) pass"
    advice = [f"Measured after each whole clip; the limit was chosen on {report.chosen_on}."]
    if not filmed:
        advice.append("All attacks are simulated. Film real ones before you rely on liveness.")
    if at.bpcer and at.bpcer.cases < _FEW_CLIPS:
        advice.append(f"Only {counted(at.bpcer.cases, 'genuine clip')}: the intervals are wide.")
    advice.append(f"A higher limit refuses fewer visitors and lets more attacks pass. Now {report.limit:.2f}.")
    rates = (at.bpcer, worst.apcer if worst else None)
    tone: Tone = "warn" if not filmed or any(rate is None for rate in rates) else "good"
    if any(rate is not None and rate.value > _HIGH_RATE for rate in rates):
        tone = "bad"
    return ReportVerdict(tone, f"At limit {report.limit:.2f}, {refused} and {passed}.", advice)


def document(report: PadReport) -> ReportDocument:
    """The report for people."""
    tables = [_judgement_table(at) for at in report.at]
    if report.groups:
        rows = [[group, *_rate_cells(share)] for group, share in report.groups.items()]
        heads = [TableColumn("Group", text=True), *_RATE_COLUMNS]
        tables.append(
            ReportTable("Genuine clips refused, by group", heads, rows, AT_THE_END[0].upper() + AT_THE_END[1:])
        )
    genuine = report.at[0].bpcer
    return ReportDocument(
        title="Presentation attack detection",
        source=f"clips in {report.source}; a score of {report.limit:.2f} or more is an attack",
        verdict=verdict(report),
        facts=[
            ("limit", f"{report.limit:.2f}"),
            ("genuine clips judged", f"{genuine.cases:,}" if genuine else "0"),
            ("kinds of attack", f"{len(report.at[0].species):,}"),
            ("CPU time added by liveness", percent(report.cost_share, 1)),
        ],
        tables=[*tables, _cue_table(report.cues)],
    )


def _judgement_table(at: JudgementRates) -> ReportTable:
    heads = [TableColumn("Clips", text=True), TableColumn("Measure", _MEASURE, text=True), *_RATE_COLUMNS]
    heads.append(TableColumn("Not judged", "clips that never had enough samples; no door opens for them"))
    rows = [["genuine", "BPCER", *_rate_cells(at.bpcer), f"{at.unjudged:,}"]]
    for kind in sorted(at.species, key=lambda kind: kind.simulated):
        rows.append([kind.name, "APCER", *_rate_cells(kind.apcer), f"{kind.unjudged:,}"])
    for name, value in (("worst filmed attack", at.acer_real), ("worst simulated attack", at.acer_simulated)):
        if value is not None:
            rows.append([name, "ACER", percent(value), "-", "-", "-"])
    return ReportTable(f"Errors {at.judged}", heads, rows)


def _rate_cells(rate: RateWithInterval | None) -> list[str]:
    if rate is None:
        return ["-", "-", "-"]
    return [percent(rate.value), f"{100 * rate.low:.1f} to {100 * rate.high:.1f} %", f"{rate.errors} of {rate.cases}"]


def _cue_table(cues: Sequence[CueReport]) -> ReportTable:
    """A row for each cue, a column for each kind of clip."""
    heads = [
        TableColumn("Cue", "one measured sign of life or of an attack", text=True),
        TableColumn("Weight", "share of the cue in the score; 0: measured only"),
    ]
    heads += [TableColumn(rates.species) for rates in cues[0].of]
    rows = [[cue.name, f"{cue.weight:.4g}", *(_cell(rates) for rates in cue.of)] for cue in cues]
    note = (
        "Area under the ROC curve of each cue alone (0.5 separates nothing, 0 or 1 everything), and the windows of "
        "1.5 s in which the cue has a value."
    )
    return ReportTable("Each cue alone", heads, rows, note)


def _cell(rates: CueRates) -> str:
    area = "" if rates.species == GENUINE or rates.auc is None else f"{rates.auc:.2f}, "
    return f"{area}{rates.spoke}/{rates.windows}"


def _short(rate: RateWithInterval) -> str:
    return f"{100 * rate.value:.2g} %" if rate.value < 0.1 else f"{100 * rate.value:.3g} %"


def page(report: PadReport) -> str:
    """The report as one HTML page."""
    told = document(report)
    charts = [_curves(report)] if any(report.det.values()) else []
    return render("report.html", title=told.title, kind="liveness", document=told, charts=charts)


def _curves(report: PadReport) -> Chart:
    """DET curves: attacks that pass against genuine clips refused."""
    x = ChartAxis.percent_from_zero("BPCER, % refused", linear_to=1.0)
    y = ChartAxis.percent_from_zero("APCER, % passed", linear_to=1.0)
    chart = Chart("Attacks passed against visitors refused", x, y, "DET curve of each kind of attack, over all limits.")
    for number, (kind, points) in enumerate(report.det.items()):
        shown = [(100 * bpcer, 100 * apcer) for _, bpcer, apcer in reversed(points)]
        chart.steps(shown, number % COLOURS + 1, kind, tip=_pointed_at(kind))
    return chart


def _pointed_at(kind: str) -> Tip:
    return lambda bpcer, apcer: f"{kind}: {bpcer:.2g} % refused, {apcer:.2g} % passed"
