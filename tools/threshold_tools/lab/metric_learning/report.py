"""The result of an adaptation: the same numbers as a record for programs and as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

Verdict = Literal["helps", "hurts", "no difference", "no better on validation", "collapsed"]


class Gain(msgspec.Struct, frozen=True):
    """How much better one rate is behind the head, as a difference of shares: positive is better, for any rate.

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
    """What --json prints; `chosen` is the loss that did best on validation, None if none was better there."""

    source: str
    embedder_sha256: str
    photos: int
    failures: int
    splits: Sequence[SplitResult]
    chosen: str | None
    helps: bool
    conclusion: str
    written: str | None = None


def format_report(report: AdaptationReport) -> str:
    """The report as tables for people."""
    lines = [
        f"{report.source}: {report.photos:,} photos, {report.failures:,} without a face left out, "
        f"embedder {report.embedder_sha256[:12]}",
        "Gains in percentage points on people never trained on, and their intervals (95 % for all the rates of a line",
        "together, over people); positive is better, for any rate.",
    ]
    for part in report.splits:
        lines += ["", *_format_split(part)]
    if len(report.splits) > 1:
        lines += ["", *_format_means(report.splits)]
    return "\n".join([*lines, "", report.conclusion])


def _format_split(part: SplitResult) -> list[str]:
    sets = [f"{each.people:,} people, {each.photos:,} photos" for each in (part.train, part.validation, part.held_out)]
    lines = [
        f"SEED {part.seed}: learnt from {sets[0]}; stopped by {sets[1]}; judged on {sets[2]} "
        f"({part.held_out.paired:,} with two or more)"
    ]
    first = part.tried[0].gains
    width = 24
    lines.append(
        "  loss              step  validation  " + "".join(f"{gain.rate:<{width}}" for gain in first) + "verdict"
    )
    before = "".join(f"{100 * gain.without:.2f} %".ljust(width) for gain in first)
    lines.append(f"  {'no head':<16}  {'':>4}  {'':>10}  {before}")
    for each in part.tried:
        cells = "".join(_format_gain(gain).ljust(width) for gain in each.gains)
        lines.append(
            f"  {each.loss:<16}  {each.best_step:>4}  {_points(each.validation_gain):>10}  {cells}{each.verdict}"
        )
    lines += [f"  {each.loss}: {each.ended}" for each in part.tried if each.verdict == "collapsed"]
    return lines


def _format_means(parts: Sequence[SplitResult]) -> list[str]:
    lines = [f"MEAN GAIN over {len(parts)} splits, lowest and highest in brackets"]
    for number, tried in enumerate(parts[0].tried):
        columns = zip(*(part.tried[number].gains for part in parts), strict=False)
        cells = []
        for gains in columns:
            values = [gain.value for gain in gains]
            mean, least, most = (_points(each) for each in (sum(values) / len(values), min(values), max(values)))
            cells.append(f"{gains[0].rate} {mean} ({least} to {most})")
        lines.append(f"  {tried.loss:<16}  " + "   ".join(cells))
    return lines


def _format_gain(gain: Gain) -> str:
    return f"{_points(gain.value)} ({_points(gain.low)} to {_points(gain.high)})"


def _points(share: float) -> str:
    """Percentage points, with a sign; no negative zero."""
    return f"{round(100 * share, 2) + 0.0:+.2f}"
