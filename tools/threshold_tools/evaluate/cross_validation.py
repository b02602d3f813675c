"""Verification in folds, as on Labeled Faces in the Wild: each fold uses the best threshold of the others.

Huang et al. 2007, "Labeled Faces in the Wild", view 2: the mean accuracy of ten folds and its standard error,
S / sqrt(10) with S the standard deviation between folds (n - 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from edge.core.errors import InputError
from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.evaluate.report import MeanWithSpread, TenFoldResult
from threshold_tools.evaluate.verification import squared
from threshold_tools.stats import Reals

FOLDS = 10
PAIRS = 300  # of each kind in a fold
_NUMBERS = 2  # on the first line of a pairs file: folds, and pairs of each kind in one
_DIGITS = 9  # of a photo's number
_MATED, _OTHERS = 3, 4  # fields in a line


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs of photos in folds."""

    first: NDArray[np.intp]  # (N,) rows
    second: NDArray[np.intp]  # (N,) rows
    same: NDArray[np.bool_]  # (N,) whether both show one person
    fold: NDArray[np.intp]  # (N,) 0..F-1


@dataclass(frozen=True, slots=True, eq=False)
class Accuracies:
    """One value for each fold, (F,) float64."""

    accuracy: Reals  # share of the compared pairs that were judged correctly
    with_failures: Reals  # as before, pairs with a photo without a face being errors
    thresholds_sq: Reals  # chosen on the other folds
    failed: int  # pairs with a photo without a face, in all folds


def ten_fold(photos: LabelledEmbeddings, pairs_file: Path | None, seed: int) -> TenFoldResult | None:
    """Verification in folds; None if no pairs are given and there are too few people to draw them."""
    pairs = read_pairs(pairs_file, photos) if pairs_file else draw_pairs(photos, seed)
    if pairs is None:
        return None
    result = judge(photos, pairs)
    folds = len(result.accuracy)
    accuracy, with_failures = MeanWithSpread.of(result.accuracy), MeanWithSpread.of(result.with_failures)
    return TenFoldResult(
        source=pairs_file.name if pairs_file else "drawn, people kept apart between folds",
        folds=folds,
        pairs=len(pairs.first),
        failed_pairs=result.failed,
        accuracy=accuracy,
        standard_error=accuracy.spread / math.sqrt(folds),
        with_failures=with_failures,
        standard_error_with_failures=with_failures.spread / math.sqrt(folds),
        threshold_sq=MeanWithSpread.of(result.thresholds_sq),
    )


def read_pairs(path: Path, photos: LabelledEmbeddings) -> Pairs:
    """A pairs file of LFW: "10 300", then in each fold 300 lines "name n m" and 300 lines "name n other m".

    Raises:
        InputError: it is malformed, or names a missing photo.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    try:
        folds, each = (int(word) for word in lines[0].split())
    except (ValueError, IndexError) as error:
        raise InputError(
            f'{path}, line 1: expected two numbers, folds and pairs of each kind, such as "10 300"'
        ) from error
    expected = 2 * folds * each
    body = [(number, line) for number, line in enumerate(lines[1:], 2) if line.strip()]
    if folds < _NUMBERS or each < 1 or len(body) != expected:
        raise InputError(
            f"{path}: {folds} folds (2 or more) of 2 x {each} pairs need {expected} lines, found {len(body)}"
        )
    by_stem = {
        (pure.parts[0], pure.stem): row
        for row, pure in enumerate(PurePosixPath(each_path) for each_path in photos.paths)
    }
    rows: list[tuple[int, int]] = []
    same: list[bool] = []
    for place, (number, line) in enumerate(body):
        fields = line.split("\t") if "\t" in line else line.split()
        mated = place // each % 2 == 0
        if len(fields) != (_MATED if mated else _OTHERS):
            kind = "name n m" if mated else "name n other m"
            raise InputError(f'{path}, line {number}: expected "{kind}", found "{line.strip()}"')
        name, one, *other, two = fields
        ends = []
        for who, which in ((name, one), (other[0] if other else name, two)):
            stem = f"{who}_{int(which):04d}" if which.strip().isdecimal() and len(which) <= _DIGITS else which
            if (who, stem) not in by_stem:
                raise InputError(f"{path}, line {number}: there is no photo {who}/{stem}")
            ends.append(by_stem[who, stem])
        rows.append((ends[0], ends[1]))
        same.append(mated)
    ends_of = np.array(rows, np.intp)
    return Pairs(ends_of[:, 0], ends_of[:, 1], np.array(same), np.arange(expected, dtype=np.intp) // (2 * each))


def draw_pairs(photos: LabelledEmbeddings, seed: int) -> Pairs | None:
    """Draw pairs in ten folds of different people: in each as many pairs of one person as of two, at most 300.

    A person is drawn first and then the photos, as for LFW, so that people with many photos do not dominate.

    Returns:
        The pairs, or None without two people for each fold, one of them with two photos.
    """
    rng = np.random.default_rng([seed, FOLDS])
    rows_of = photos.rows_of
    order = rng.permutation(len(rows_of))
    several = [int(person) for person in order if len(rows_of[person]) > 1]
    single = [int(person) for person in order if len(rows_of[person]) == 1]
    if len(several) < FOLDS or len(rows_of) < 2 * FOLDS:
        return None
    dealt = several + single
    found: list[tuple[int, int, bool, int]] = []
    for fold in range(FOLDS):
        people = dealt[fold::FOLDS]
        most = sum(len(rows_of[person]) * (len(rows_of[person]) - 1) // 2 for person in people)
        size = sum(len(rows_of[person]) for person in people)
        count = min(PAIRS, most, size * (size - 1) // 2 - most)
        mated = [person for person in people if len(rows_of[person]) > 1]
        drawn: set[tuple[int, int, bool, int]] = set()
        while len(drawn) < count:
            own = rows_of[mated[rng.integers(len(mated))]]
            first, second = rng.choice(own, 2, replace=False)
            drawn.add(_pair(first, second, True, fold))
        while len(drawn) < 2 * count:
            one, two = rng.choice(len(people), 2, replace=False)
            drawn.add(_pair(rng.choice(rows_of[people[one]]), rng.choice(rows_of[people[two]]), False, fold))
        found += sorted(drawn)
    table = np.array(found, np.intp)
    return Pairs(table[:, 0], table[:, 1], table[:, 2].astype(bool), table[:, 3])


def judge(photos: LabelledEmbeddings, pairs: Pairs) -> Accuracies:
    """The accuracy on each fold with the best threshold of the other folds."""
    likeness = np.einsum("ij,ij->i", photos.vectors[pairs.first], photos.vectors[pairs.second])
    distances = squared(likeness).astype(np.float64)
    compared = photos.found[pairs.first] & photos.found[pairs.second]
    accuracy, with_failures, thresholds = [], [], []
    for fold in range(int(pairs.fold.max()) + 1):
        here = pairs.fold == fold
        others = ~here & compared
        limit = best_threshold(distances[others], pairs.same[others])
        right = (distances <= limit) == pairs.same
        judged = right[here & compared]
        accuracy.append(float(judged.mean()) if len(judged) else 0.0)
        with_failures.append(float((right & compared)[here].mean()))
        thresholds.append(limit)
    return Accuracies(np.array(accuracy), np.array(with_failures), np.array(thresholds), int((~compared).sum()))


def best_threshold(distances_sq: Reals, same: NDArray[np.bool_]) -> float:
    """The threshold, midway between two distances, with the most correct pairs; the middle one if several are equal."""
    order = np.argsort(distances_sq, kind="stable")
    values = np.concatenate([[0.0], distances_sq[order], [4.0]])
    right = np.concatenate([[0], np.cumsum(np.where(same[order], 1, -1))])
    # There is no threshold between equal distances.
    possible = np.flatnonzero((values[1:] > values[:-1]) & (right == right[values[1:] > values[:-1]].max()))
    place = int(possible[len(possible) // 2])
    return float((values[place] + values[place + 1]) / 2)


def _pair(one: np.intp, two: np.intp, same: bool, fold: int) -> tuple[int, int, bool, int]:
    return min(int(one), int(two)), max(int(one), int(two)), same, fold
