"""Settings of an adaptation, and its result as a record for programs, as tables and as a plot for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from threshold_tools.html import render
from threshold_tools.plots import REFERENCE, new_figure, to_png

LOSSES = ("contrastive", "triplet-random", "triplet-hard", "triplet-semihard", "arcface")
Verdict = Literal["helps", "hurts", "no difference", "no better on validation", "collapsed"]


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How a head is trained."""

    steps: int = 1000  # batches at most
    check_every: int = 25  # batches between two measurements of the validation people
    patience: int = 12  # measurements without a better one after which training ends
    rate: float = 1e-4  # Adam's step size; the matrix begins with ones and zeros, and those that matter change by 0.01s
    pull: float = 0.03  # weight of the squared distance (Frobenius) between the matrix and the identity
    people: int = 48  # people with two photos or more, in a batch
    photos: int = 4  # photos of each of those, at most
    others: int = 64  # people with one photo in a batch, who are impostors to everybody


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
    return render("adapt.txt", report=report, points=_points).rstrip()


def _points(share: float) -> str:
    """Percentage points, with a sign; no negative zero."""
    return f"{round(100 * share, 2) + 0.0:+.2f}"


def draw_training(splits: Sequence[SplitResult]) -> bytes:
    """The picture as PNG; a line for each loss and split, a colour for each loss."""
    figure = new_figure(9, 9)
    above, below = figure.subplots(2, 1, sharex=True)
    for first, part in enumerate(splits):
        for number, each in enumerate(part.tried):
            label = "" if first else each.loss
            colour = f"C{number}"
            trained = [
                (check.step, check.loss / each.collapsed_loss) for check in each.checks if check.loss is not None
            ]
            above.plot([step for step, _ in trained], [loss for _, loss in trained], color=colour, label=label)
            start = each.checks[0].validation
            gained = [100 * (check.validation - start) for check in each.checks]
            below.plot([check.step for check in each.checks], gained, color=colour, label=label)
            if each.best_step:
                below.plot(each.best_step, 100 * each.validation_gain, "o", color=colour)
    above.axhline(1, color=REFERENCE, linewidth=0.8, linestyle="--")
    above.set_yscale("log")
    above.set_ylabel("loss, 1 where all vectors are alike")
    above.set_title("Training of a head on frozen vectors")
    above.legend()
    below.axhline(0, color=REFERENCE, linewidth=0.8, label="no head")
    below.set_ylabel("gain on validation people, points; a dot is the head kept")
    below.set_xlabel("batches")
    below.legend()
    return to_png(figure)
