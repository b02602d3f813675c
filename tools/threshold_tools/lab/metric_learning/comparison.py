"""Compares all losses on all splits of the people, and decides whether a head helps.

People, not photos, are split: a head that has seen somebody says nothing about how it treats strangers.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from edge.core.errors import InputError
from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.lab.metric_learning.head import VERSION, Head, HeadOrigin, apply_head
from threshold_tools.lab.metric_learning.losses import make_loss
from threshold_tools.lab.metric_learning.report import (
    AdaptationReport,
    LossResult,
    PeopleCount,
    SplitResult,
    TrainingCheck,
    TrainingConfig,
)
from threshold_tools.lab.metric_learning.significance import (
    HeadRates,
    measure_rates,
    rate_differences,
    separation,
    summarize_significance,
)
from threshold_tools.lab.metric_learning.training import train

TENTHS = (5, 2, 3)  # of ten: to learn from, to stop by, to judge on
MAX_PHOTOS = 20  # photos of anybody: with all, a few celebrities own nearly every pair of one person
MIN_PEOPLE = 40  # people with two photos with a face, or the judgement is of a handful


class PeopleSplit(NamedTuple):
    """Three sets of people; nobody is in two of them."""

    train: LabelledEmbeddings
    validation: LabelledEmbeddings
    held_out: LabelledEmbeddings


def adapt(
    photos: LabelledEmbeddings,
    source: str,
    *,
    losses: Sequence[str],
    config: TrainingConfig,
    seed: int = 0,
    splits: int = 1,
) -> tuple[AdaptationReport, Head | None]:
    """Train every loss on every split, choose one by the validation people, judge it by the held-out ones.

    Progress is printed to stderr. `seed` is of the first split; the others have the next ones. Returns the report, and
    the head of the chosen loss on the first split, None if none was better on validation.

    Raises:
        InputError: too few people, or too few photos of each.
    """
    results: list[SplitResult] = []
    heads: dict[str, Head] = {}
    for number in range(seed, seed + splits):
        split = split_people(photos, number)
        without = measure_rates(split.held_out, number)
        if without is None or math.isnan(separation(split.validation)):
            raise InputError(f"{source}: too few photos of each person; a head takes people with several")
        tried: list[LossResult] = []
        for name in losses:
            one, head = _try(name, split, without, config, number)
            tried.append(one)
            heads.setdefault(name, head)
        results.append(
            SplitResult(number, _count(split.train), _count(split.validation), _count(split.held_out), tried)
        )
    chosen = _choose(results, losses)
    helps, conclusion = summarize(chosen, [one.verdict for part in results for one in part.tried if one.loss == chosen])
    report = AdaptationReport(
        source=source,
        embedder_sha256=photos.embedder_sha256,
        photos=len(photos),
        failures=int((~photos.found).sum()),
        splits=results,
        chosen=chosen,
        helps=helps,
        conclusion=conclusion,
    )
    return report, heads[chosen] if chosen else None


def _try(
    name: str, split: PeopleSplit, without: HeadRates, config: TrainingConfig, seed: int
) -> tuple[LossResult, Head]:
    loss = make_loss(name, split.train)
    trained = train(
        split.train,
        loss,
        config,
        seed,
        validate=lambda matrix: separation(apply_head(matrix, split.validation)),
        on_check=_progress_printer(f"seed {seed}  {name:<16}"),
    )
    print(f"seed {seed}  {name:<16}  {trained.ended}", file=sys.stderr)
    matrix = trained.matrix.astype(np.float32)
    judged = measure_rates(apply_head(matrix, split.held_out), seed)
    assert judged is not None  # the same people as without
    gains = rate_differences(without, judged)
    verdict = summarize_significance(gains) if trained.best else "no better on validation"
    result = LossResult(
        loss=name,
        ended=trained.ended,
        best_step=trained.best,
        validation_gain=max(check.validation for check in trained.checks) - trained.checks[0].validation,
        moved=float(np.linalg.norm(matrix - np.eye(len(matrix)))),
        gains=gains,
        verdict="collapsed" if trained.lost else verdict,
        collapsed_loss=loss.collapsed,
        checks=trained.checks,
    )
    return result, Head(matrix, HeadOrigin(VERSION, split.train.embedder_sha256, name, seed, len(split.train.names)))


def _progress_printer(label: str) -> Callable[[TrainingCheck], None]:
    first: list[float] = []

    def show(check: TrainingCheck) -> None:
        first.append(check.validation)
        if check.loss is not None and check.active is not None and check.spread_sq is not None:
            print(
                f"{label}  step {check.step:>5}  loss {check.loss:.4f}  active {100 * check.active:>5.1f} %  "
                f"spread {check.spread_sq:.3f}  validation {100 * check.validation:.2f} % "
                f"({100 * (check.validation - first[0]):+.2f})",
                file=sys.stderr,
            )

    return show


def _choose(results: Sequence[SplitResult], losses: Sequence[str]) -> str | None:
    """The best on the validation people, mean over the splits, of those that never collapsed; None for no head."""
    best, chosen = 0.0, None
    for number, name in enumerate(losses):
        tried = [result.tried[number] for result in results]
        gain = float(np.mean([one.validation_gain for one in tried]))
        if gain > best and not any(one.verdict == "collapsed" for one in tried):
            best, chosen = gain, name
    return chosen


def summarize(chosen: str | None, verdicts: Sequence[str]) -> tuple[bool, str]:
    """Whether the chosen loss helps, which it must on every split, and the verdict as a sentence."""
    if chosen is None:
        return False, "No head: not one loss was better than no head even on the validation people."
    where = "held-out people" if len(verdicts) == 1 else f"the held-out people of {len(verdicts)} splits"
    if all(each == "helps" for each in verdicts):
        return True, f"The head chosen on validation, {chosen}, helps on {where}."
    found = ", ".join(dict.fromkeys(verdicts))
    return False, f"No head: the one chosen on validation, {chosen}, does not help on {where} ({found})."


def _count(photos: LabelledEmbeddings) -> PeopleCount:
    counts = np.bincount(photos.people, minlength=len(photos.names))
    return PeopleCount(len(counts), len(photos), int((counts > 1).sum()))


def split_people(photos: LabelledEmbeddings, seed: int) -> PeopleSplit:
    """Five tenths to learn from, two to stop by, three to judge on, alike in photos per person.

    Takes photos with a face only, and no more than `MAX_PHOTOS` of anybody, at random. People are sorted by their
    number of photos, and of each ten in a row five, two and three are drawn.

    Raises:
        InputError: too few people.
    """
    keep, rng = np.zeros(len(photos), bool), np.random.default_rng([seed, 0])
    for rows in photos.rows_of:
        keep[rng.permutation(rows[photos.found[rows]])[:MAX_PHOTOS]] = True
    faces = photos.only(keep)
    counts = np.bincount(faces.people, minlength=len(faces.names))
    paired = int((counts > 1).sum())
    if paired < MIN_PEOPLE:
        raise InputError(
            f"only {paired} people have two photos with a face; a head that can be judged takes {MIN_PEOPLE} or more"
        )
    rng = np.random.default_rng([seed, 1])
    order = np.lexsort((rng.random(len(counts)), -counts))
    part = np.zeros(len(counts), np.intp)
    for start in range(0, len(order), sum(TENTHS)):
        ten = order[start : start + sum(TENTHS)]
        part[ten] = rng.permutation(np.repeat(np.arange(len(TENTHS)), TENTHS))[: len(ten)]
    return PeopleSplit(*(faces.only(part[faces.people] == number) for number in range(len(TENTHS))))
