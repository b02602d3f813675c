"""Compares all losses on all splits of the people, and decides whether a head helps.

People, not photos, are split: results on people used in training do not predict results on other people.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
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
from threshold_tools.reports.terminal import progress

TENTHS = (5, 2, 3)  # of ten people: for training, stopping and the measurement
MAX_PHOTOS = 20  # photos of a person: without a limit, a few people would have most of the pairs
MIN_PEOPLE = 40  # people with two photos with a face; fewer do not support a result


class PeopleSplit(NamedTuple):
    """Three disjoint sets of people."""

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
    """Train every loss on every split, choose one by the validation people, and measure it on the held-out people.

    Progress is printed to stderr. `seed` is for the first split; the others use the next numbers.

    Returns:
        The report, and the head of the chosen loss on the first split, None if no loss was better on validation.

    Raises:
        InputError: too few people, or too few photos of each.
    """
    results: list[SplitResult] = []
    heads: dict[str, Head] = {}
    for number in range(seed, seed + splits):
        split = split_people(photos, number)
        without = measure_rates(split.held_out, number)
        if without is None or math.isnan(separation(split.validation)):
            raise InputError(f"{source}: too few photos of each person; training needs people with several photos")
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
    with progress(config.steps, f"Seed {seed}: {name}") as advance:
        trained = train(
            split.train,
            loss,
            config,
            seed,
            validate=lambda matrix: separation(apply_head(matrix, split.validation)),
            on_check=lambda check: advance(config.check_every if check.step else 0),
        )
    gain = max(check.validation for check in trained.checks) - trained.checks[0].validation
    print(f"seed {seed}  {name:<16}  validation {100 * gain:+.2f} points, {trained.ended}", file=sys.stderr)
    matrix = trained.matrix.astype(np.float32)
    measured = measure_rates(apply_head(matrix, split.held_out), seed)
    assert measured is not None  # the same people as without
    gains = rate_differences(without, measured)
    verdict = summarize_significance(gains) if trained.best else "no better on validation"
    result = LossResult(
        loss=name,
        ended=trained.ended,
        best_step=trained.best,
        validation_gain=gain,
        moved=float(np.linalg.norm(matrix - np.eye(len(matrix)))),
        gains=gains,
        verdict="collapsed" if trained.lost else verdict,
        collapsed_loss=loss.collapsed,
        checks=trained.checks,
    )
    return result, Head(matrix, HeadOrigin(VERSION, split.train.embedder_sha256, name, seed, len(split.train.names)))


def _choose(results: Sequence[SplitResult], losses: Sequence[str]) -> str | None:
    """The best loss on the validation people, mean over the splits, without collapsed ones; None for no head."""
    best, chosen = 0.0, None
    for number, name in enumerate(losses):
        tried = [result.tried[number] for result in results]
        gain = float(np.mean([one.validation_gain for one in tried]))
        if gain > best and not any(one.verdict == "collapsed" for one in tried):
            best, chosen = gain, name
    return chosen


def summarize(chosen: str | None, verdicts: Sequence[str]) -> tuple[bool, str]:
    """Whether the chosen loss helps on every split, and the verdict as a sentence."""
    if chosen is None:
        return False, "No head: no loss was better than no head on the validation people."
    where = "held-out people" if len(verdicts) == 1 else f"the held-out people of {len(verdicts)} splits"
    if all(each == "helps" for each in verdicts):
        return True, f"The head chosen on validation, {chosen}, helps on {where}."
    found = ", ".join(dict.fromkeys(verdicts))
    return False, f"No head: the loss chosen on validation, {chosen}, does not help on {where} ({found})."


def _count(photos: LabelledEmbeddings) -> PeopleCount:
    counts = np.bincount(photos.people, minlength=len(photos.names))
    return PeopleCount(len(counts), len(photos), int((counts > 1).sum()))


def split_people(photos: LabelledEmbeddings, seed: int) -> PeopleSplit:
    """Split people into five tenths, two and three, with similar numbers of photos per person.

    Only photos with a face are used, at most `MAX_PHOTOS` of each person, at random. People are sorted by their number
    of photos, and of each ten in a row five, two and three are drawn.

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
            f"only {paired} people have two photos with a face; the measurement needs {MIN_PEOPLE} or more"
        )
    rng = np.random.default_rng([seed, 1])
    order = np.lexsort((rng.random(len(counts)), -counts))
    part = np.zeros(len(counts), np.intp)
    for start in range(0, len(order), sum(TENTHS)):
        ten = order[start : start + sum(TENTHS)]
        part[ten] = rng.permutation(np.repeat(np.arange(len(TENTHS)), TENTHS))[: len(ten)]
    return PeopleSplit(*(faces.only(part[faces.people] == number) for number in range(len(TENTHS))))
