"""Every loss on every split of the people, and what follows from it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edge.core.errors import InputError
from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.lab.metric_learning.head import VERSION, Head, Origin, apply_head
from threshold_tools.lab.metric_learning.losses_registry import LOSSES
from threshold_tools.lab.metric_learning.report import Look, Part, People, Report, Tried
from threshold_tools.lab.metric_learning.significance import (
    Rates,
    rate_differences,
    rates,
    separation,
    summarize_significance,
)
from threshold_tools.lab.metric_learning.split import Split, split_people
from threshold_tools.lab.metric_learning.training import Check, Course, train


@dataclass(frozen=True, slots=True, eq=False)
class Adaptation:
    """The report; and the head of the chosen loss on the first split, None where none was better on validation."""

    report: Report
    head: Head | None


def adapt(
    photos: LabelledEmbeddings, source: str, *, losses: Sequence[str], course: Course, seed: int = 0, splits: int = 1
) -> Adaptation:
    """Train every loss on every split, choose one by the validation people, judge it by the held-out ones.

    How training goes is told on stderr.

    Args:
        photos: of many people.
        source: their name in the report.
        losses: keys of `LOSSES`.
        course: how to train.
        seed: of the first split; the others have the next ones.
        splits: how many.

    Raises:
        InputError: too few people, or too few photos of each.
    """
    parts: list[Part] = []
    heads: dict[str, Head] = {}
    for number in range(seed, seed + splits):
        split = split_people(photos, number)
        without = rates(split.held_out, number)
        if without is None or math.isnan(separation(split.validation)):
            raise InputError(f"{source}: too few photos of each person; a head takes people with several")
        tried: list[Tried] = []
        for name in losses:
            one, head = _try(name, split, without, course, number)
            tried.append(one)
            heads.setdefault(name, head)
        parts.append(Part(number, _people(split.train), _people(split.validation), _people(split.held_out), tried))
    chosen = _choose(parts, losses)
    verdicts = [one.verdict for part in parts for one in part.tried if one.loss == chosen]
    helps, conclusion = summarize(chosen, verdicts)
    report = Report(
        source=source,
        embedder_sha256=photos.embedder_sha256,
        photos=len(photos),
        failures=int((~photos.found).sum()),
        splits=parts,
        chosen=chosen,
        helps=helps,
        conclusion=conclusion,
    )
    return Adaptation(report, heads[chosen] if chosen else None)


def _try(name: str, split: Split, without: Rates, course: Course, seed: int) -> tuple[Tried, Head]:
    loss = LOSSES[name](split.train)
    trained = train(
        split.train,
        loss,
        course,
        seed,
        validate=lambda matrix: separation(apply_head(matrix, split.validation)),
        show=_progress_printer(f"seed {seed}  {name:<16}"),
    )
    print(f"seed {seed}  {name:<16}  {trained.ended}", file=sys.stderr)
    matrix = trained.matrix.astype(np.float32)
    judged = rates(apply_head(matrix, split.held_out), seed)
    assert judged is not None  # the same people as without
    found = rate_differences(without, judged)
    tried = Tried(
        loss=name,
        ended=trained.ended,
        best_step=trained.best,
        validation_gain=max(check.validation for check in trained.checks) - trained.checks[0].validation,
        moved=float(np.linalg.norm(matrix - np.eye(len(matrix)))),
        gains=found,
        verdict="collapsed"
        if trained.lost
        else summarize_significance(found)
        if trained.best
        else "no better on validation",
        collapsed_loss=loss.collapsed,
        course=[_look(check) for check in trained.checks],
    )
    return tried, Head(matrix, Origin(VERSION, split.train.embedder_sha256, name, seed, len(split.train.names)))


def _progress_printer(label: str) -> Callable[[Check], None]:
    first: list[float] = []

    def tell(check: Check) -> None:
        first.append(check.validation)
        if check.step:
            print(
                f"{label}  step {check.step:>5}  loss {check.loss:.4f}  active {100 * check.active:>5.1f} %  "
                f"spread {check.spread_sq:.3f}  validation {100 * check.validation:.2f} % "
                f"({100 * (check.validation - first[0]):+.2f})",
                file=sys.stderr,
            )

    return tell


def _choose(parts: Sequence[Part], losses: Sequence[str]) -> str | None:
    """The best on the validation people, mean over the splits, of those that never collapsed; None for no head."""
    best, chosen = 0.0, None
    for number, name in enumerate(losses):
        tried = [part.tried[number] for part in parts]
        gain = float(np.mean([one.validation_gain for one in tried]))
        if gain > best and not any(one.verdict == "collapsed" for one in tried):
            best, chosen = gain, name
    return chosen


def summarize(chosen: str | None, verdicts: Sequence[str]) -> tuple[bool, str]:
    """Whether the chosen loss helps, which it must on every split, and a sentence that says so."""
    if chosen is None:
        return False, "No head: not one loss was better than no head even on the validation people."
    where = "held-out people" if len(verdicts) == 1 else f"the held-out people of {len(verdicts)} splits"
    if all(each == "helps" for each in verdicts):
        return True, f"The head chosen on validation, {chosen}, helps on {where}."
    told = ", ".join(dict.fromkeys(verdicts))
    return False, f"No head: the one chosen on validation, {chosen}, does not help on {where} ({told})."


def _people(photos: LabelledEmbeddings) -> People:
    counts = np.bincount(photos.people, minlength=len(photos.names))
    return People(len(counts), len(photos), int((counts > 1).sum()))


def _look(check: Check) -> Look:
    if not check.step:
        return Look(0, None, None, None, check.validation)
    return Look(check.step, check.loss, check.active, check.spread_sq, check.validation)
