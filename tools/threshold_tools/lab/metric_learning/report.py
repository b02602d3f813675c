"""Settings of an adaptation, the record that --json prints, and the report for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from edge.core.cli_support import counted
from threshold_tools.reports.charts import Chart, ChartAxis, Tip
from threshold_tools.reports.document import ReportDocument, ReportTable, ReportVerdict, TableColumn, percent
from threshold_tools.reports.page import render

LOSSES = ("contrastive", "triplet-random", "triplet-hard", "triplet-semihard", "arcface")
Verdict = Literal["helps", "hurts", "no difference", "no better on validation", "collapsed"]


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How a head is trained."""

    steps: int = 1000  # batches at most
    check_every: int = 25  # batches between two measurements of the validation people
    patience: int = 12  # measurements without improvement after which training ends
    rate: float = 1e-4  # step size of Adam; the matrix begins with ones and zeros, and changes by some 0.01
    pull: float = 0.03  # weight of the squared distance (Frobenius) between the matrix and the identity
    people: int = 48  # people with two photos or more, in a batch
    photos: int = 4  # photos of each of those, at most
    others: int = 64  # people with one photo in a batch, who are impostors to all others


class Gain(msgspec.Struct, frozen=True):
    """Improvement of one rate by the head, as a difference of shares: positive is better, for any rate.

    `low` and `high` hold for all rates together with 95 % confidence (Bonferroni).
    """

    rate: str
    without: float
    value: float
    low: float
    high: float


class TrainingCheck(msgspec.Struct, frozen=True):
    """One measurement while training: means over the batches since the last one, None at step 0, which is no head."""

    step: int
    loss: float | None
    active: float | None
    spread_sq: float | None
    validation: float


class LossResult(msgspec.Struct, frozen=True):
    """One loss on one split; `moved` is the distance of its matrix from the identity (Frobenius)."""

    loss: str
    ended: str
    best_step: int
    validation_gain: float
    moved: float
    gains: Sequence[Gain]
    verdict: Verdict
    collapsed_loss: float
    checks: Sequence[TrainingCheck]


class PeopleCount(msgspec.Struct, frozen=True):
    """One of the three sets: `paired` of the people have two photos or more."""

    people: int
    photos: int
    paired: int


class SplitResult(msgspec.Struct, frozen=True):
    """One split of the people, and every loss on it."""

    seed: int
    train: PeopleCount
    validation: PeopleCount
    held_out: PeopleCount
    tried: Sequence[LossResult]


class AdaptationReport(msgspec.Struct, frozen=True):
    """Record that --json prints; `chosen` is the best loss on validation, None if no loss was better than no head."""

    source: str
    embedder_sha256: str
    photos: int
    failures: int
    splits: Sequence[SplitResult]
    chosen: str | None
    helps: bool
    conclusion: str
    written: str | None = None


def document(report: AdaptationReport) -> ReportDocument:
    """The report for people."""
    tables = [_split_table(part) for part in report.splits]
    if len(report.splits) > 1:
        tables.append(_mean_table(report.splits))
    collapsed = [
        f"{each.loss}: {each.ended}" for part in report.splits for each in part.tried
        if each.verdict == "collapsed"
    ]  # fmt: skip
    next_step = (
        "Distances behind the head need thresholds of their own: embed, enrol and calibrate again."
        if report.helps
        else "Keep the embedder as it is."
    )
    return ReportDocument(
        title=f"Head for the vectors of {Path(report.source).name}",
        source=f"{counted(report.photos, 'photo')}, {report.failures:,} without a face left out, embedder "
        f"{report.embedder_sha256[:12]}",
        verdict=ReportVerdict("good" if report.helps else "warn", report.conclusion, [next_step]),
        tables=tables,
        notes=collapsed,
    )


def page(report: AdaptationReport) -> str:
    """The report as one HTML page, with plots of the training."""
    told = document(report)
    charts = [_losses(report.splits), _validation(report.splits)]
    return render("report.html", title=told.title, kind="metric learning", document=told, charts=charts)


def _split_table(part: SplitResult) -> ReportTable:
    rates = [gain.rate for gain in part.tried[0].gains]
    heads = [
        TableColumn("Loss", text=True),
        TableColumn("Best step", "number of batches after which the kept head was measured"),
        TableColumn("Validation", "gain on the validation people, in percentage points"),
        *(TableColumn(rate) for rate in rates),
        TableColumn("Verdict", text=True),
    ]
    rows = [["no head", "", "", *(percent(gain.without) for gain in part.tried[0].gains), ""]]
    for each in part.tried:
        gains = [f"{_points(gain.value)} ({_points(gain.low)} to {_points(gain.high)})" for gain in each.gains]
        gains += [""] * (len(rates) - len(gains))
        rows.append([each.loss, f"{each.best_step}", _points(each.validation_gain), *gains, each.verdict])
    note = (
        f"Trained on {_size(part.train)}; stopped by {_size(part.validation)}; measured on {_size(part.held_out)}. "
        "Gains in percentage points on people who were not used in training; positive is better. Intervals: 95 % for "
        "all rates of a row together."
    )
    return ReportTable(f"Split with seed {part.seed}", heads, rows, note)


def _mean_table(splits: Sequence[SplitResult]) -> ReportTable:
    rates = [gain.rate for gain in splits[0].tried[0].gains]
    rows = []
    for number, first in enumerate(splits[0].tried):
        cells = [first.loss]
        for column in range(min(len(part.tried[number].gains) for part in splits)):
            values = [part.tried[number].gains[column].value for part in splits]
            cells.append(f"{_points(sum(values) / len(values))} ({_points(min(values))} to {_points(max(values))})")
        rows.append(cells + [""] * (len(rates) + 1 - len(cells)))
    heads = [TableColumn("Loss", text=True), *(TableColumn(rate) for rate in rates)]
    return ReportTable(f"Mean gain over {len(splits)} splits", heads, rows, "In brackets: lowest and highest.")


def _size(part: PeopleCount) -> str:
    return f"{counted(part.people, 'person', 'people')} ({counted(part.photos, 'photo')})"


def _points(share: float) -> str:
    """Percentage points, with a sign; no negative zero."""
    return f"{round(100 * share, 2) + 0.0:+.2f}"


def _losses(splits: Sequence[SplitResult]) -> Chart:
    """Loss by batch; a line for each loss and split, a colour for each loss."""
    courses = [
        (
            number,
            each.loss,
            [(float(check.step), check.loss / each.collapsed_loss) for check in each.checks if check.loss],
        )
        for part in splits
        for number, each in enumerate(part.tried)
    ]
    values = [value for *_, course in courses for _, value in course] or [1.0]
    low, high = 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(*values, 2.0)))
    steps = _batches(splits)
    chart = Chart("Loss", steps, ChartAxis.logarithmic("loss, 1: all vectors alike", low, high), "While training.")
    return _drawn(chart, courses, lambda step, value: f"step {step:.0f}: loss {value:.3g}")


def _validation(splits: Sequence[SplitResult]) -> Chart:
    """Gain on the validation people by batch."""
    courses = [
        (
            number,
            each.loss,
            [(float(check.step), 100 * (check.validation - each.checks[0].validation)) for check in each.checks],
        )
        for part in splits
        for number, each in enumerate(part.tried)
    ]
    values = [value for *_, course in courses for _, value in course] or [0.0]
    reach = max(0.1, 1.1 * max(abs(value) for value in values))
    step = 10 ** math.floor(math.log10(reach))
    vertical = ChartAxis.linear("gain, percentage points", -reach, reach, step if reach / step < 5 else 2 * step)
    chart = Chart("Gain on validation people", _batches(splits), vertical, "A gain of 0 is no head.")
    return _drawn(chart, courses, lambda step, value: f"step {step:.0f}: {value:+.2f} points")


def _batches(splits: Sequence[SplitResult]) -> ChartAxis:
    last = max(check.step for part in splits for each in part.tried for check in each.checks) or 1
    return ChartAxis.linear("batches", 0, last, 10 ** math.floor(math.log10(last)))


def _drawn(chart: Chart, courses: Sequence[tuple[int, str, list[tuple[float, float]]]], tip: Tip) -> Chart:
    shown: set[str] = set()
    for number, loss, course in courses:
        chart.line(course, number + 1, "" if loss in shown else loss, tip=tip)
        shown.add(loss)
    return chart
