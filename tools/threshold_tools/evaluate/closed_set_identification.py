"""Closed-set identification: every probe shows an enrolled person; strangers measure false accepts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from threshold_tools.classifiers import CLASSIFIERS, UNKNOWN, ClassifierSpec, Predictions, time_classifier
from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.evaluate.report import ClassifierRates, ClosedSet, MeanWithSpread, Misidentification
from threshold_tools.reports.terminal import progress
from threshold_tools.stats import RankedScores, Reals

CLOSED_PHOTOS = 10  # people with fewer photos are the strangers
SPLITS = 20
TEST_SHARE = 0.2
FPIR = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class _Split:
    """Rows of enrolled photos and probes, all with a face, and of strangers that set the limit and measure it."""

    enrolled: NDArray[np.intp]
    probes: NDArray[np.intp]
    failed: int  # probes without a face
    limiting: NDArray[np.intp]
    judging: NDArray[np.intp]


def closed_set(photos: LabelledEmbeddings, seed: int, *, splits: int = SPLITS, times: bool = False) -> ClosedSet | None:
    """Enrol four fifths of every person's photos at random, and identify the other photos and strangers.

    A photo without a face is skipped if it is to be enrolled, and is an error if it is a probe.

    Returns:
        The rates, or None if fewer than two people have ten photos.
    """
    groups = [rows for rows in photos.rows_of if len(rows) >= CLOSED_PHOTOS]
    others = [rows[photos.found[rows]] for rows in photos.rows_of if len(rows) < CLOSED_PHOTOS]
    others = [rows for rows in others if len(rows)]
    if len(groups) <= 1:
        return None
    drawn = [_split(photos, groups, others, seed, number) for number in range(splits)]
    if any(not len(split.probes) or len(np.unique(photos.people[split.enrolled])) <= 1 for split in drawn):
        return None
    first = drawn[0]
    timed = photos.vectors[first.enrolled], photos.people[first.enrolled], photos.vectors[first.probes]
    named: list[tuple[_Split, Predictions]] = []
    classifiers = []
    with progress(len(CLASSIFIERS) * splits, "Closed set") as advance:
        for spec in CLASSIFIERS:
            rates = np.full((splits, 5), np.nan)
            for number, split in enumerate(drawn):
                answers, rates[number] = _try(photos, spec, split)
                if spec is CLASSIFIERS[0]:
                    named.append((split, answers))
                advance()
            classifiers.append(_rates(spec, rates, time_classifier(spec, *timed) if times else (None, None, None)))
    return ClosedSet(
        people=len(groups),
        photos=sum(len(rows) for rows in groups),
        splits=splits,
        strangers=len(others),
        target_fpir=FPIR,
        classifiers=classifiers,
        misnamed=_misnamed(photos, named),
    )


def _split(
    photos: LabelledEmbeddings, groups: list[NDArray[np.intp]], others: list[NDArray[np.intp]], seed: int, number: int
) -> _Split:
    rng = np.random.default_rng([seed, number])
    enrolled, probes = [], []
    for rows in groups:
        mixed = rng.permutation(rows)
        cut = round(TEST_SHARE * len(rows))
        probes.append(mixed[:cut])
        enrolled.append(mixed[cut:])
    learned, tested = np.concatenate(enrolled), np.concatenate(probes)
    found = photos.found[tested]
    order = rng.permutation(len(others)).tolist()
    judging, limiting = (
        np.concatenate([np.zeros(0, np.intp), *(others[who] for who in order[half::2])]) for half in (0, 1)
    )
    return _Split(learned[photos.found[learned]], tested[found], int((~found).sum()), limiting, judging)


def _try(photos: LabelledEmbeddings, spec: ClassifierSpec, split: _Split) -> tuple[Predictions, Reals]:
    """Predictions for the probes; and (5,) accuracy, accuracy with failures, FNIR, FNIR with failures, FPIR."""
    classifier = spec.fit(photos.vectors[split.enrolled], photos.people[split.enrolled])
    answers = classifier.predict(photos.vectors[split.probes])
    own = photos.people[split.probes]
    count = len(own)
    right = int((answers.people == own).sum())
    rates = np.full(5, np.nan)
    rates[:2] = right / count, right / (count + split.failed)
    if FPIR * len(split.limiting) >= 1 and len(split.judging):
        (limit,) = RankedScores(classifier.predict(photos.vectors[split.limiting]).scores).thresholds([FPIR])
        missed = int((answers.accepted_at(limit) != own).sum())
        let_in = classifier.predict(photos.vectors[split.judging]).accepted_at(limit) != UNKNOWN
        rates[2:] = missed / count, (missed + split.failed) / (count + split.failed), let_in.mean()
    return answers, rates


def _misnamed(photos: LabelledEmbeddings, named: list[tuple[_Split, Predictions]]) -> list[Misidentification]:
    """The photos named wrongly in any split, most frequent first."""
    tried = Counter(row for split, _ in named for row in split.probes.tolist())
    wrong: dict[int, Counter[int]] = {}
    for split, answers in named:
        for row, person in zip(split.probes.tolist(), answers.people.tolist(), strict=True):
            if person != photos.people[row]:
                wrong.setdefault(row, Counter())[person] += 1
    found: list[tuple[float, float, int, Misidentification]] = []
    for row, names in wrong.items():
        person = names.most_common(1)[0][0]
        theirs = np.flatnonzero((photos.people == person) & photos.found)
        likeness = photos.vectors[theirs] @ photos.vectors[row]
        best = int(likeness.argmax())
        distance_sq = max(2 - 2 * float(likeness[best]), 0)
        near, wrong_times = photos.paths[int(theirs[best])], names.total()
        record = Misidentification(photos.paths[row], photos.names[person], wrong_times, tried[row], near, distance_sq)
        found.append((-wrong_times / tried[row], distance_sq, row, record))
    return [record for *_, record in sorted(found)]


def _rates(spec: ClassifierSpec, rates: Reals, times: Sequence[float | None]) -> ClassifierRates:
    """Means of (S, 5) rates of the splits; nan means too few strangers."""
    means = [None if np.isnan(column).any() else MeanWithSpread.of(column) for column in rates.T[2:]]
    return ClassifierRates(
        name=spec.name,
        retrains=spec.retrains,
        accuracy=MeanWithSpread.of(rates[:, 0]),
        accuracy_with_failures=MeanWithSpread.of(rates[:, 1]),
        fnir=means[0],
        fnir_with_failures=means[1],
        fpir=means[2],
        learn_ms=times[0],
        add_ms=times[1],
        probe_ms=times[2],
    )
