"""What fusing the samples of a track gains: open-set identification by tracks of one length, fused in several ways.

Somebody is enrolled with three photos, as enrolment would; tracks are drawn from what shows other photos. Strangers'
tracks set the threshold of each way anew, so that all are compared at the same FPIR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.core.records import FloatArray
from threshold_tools.lab.fusion.report import Fused, FusedAt
from threshold_tools.lab.fusion.samples import Reals, SampleSet
from threshold_tools.stats import CONFIDENCE, FEW, RESAMPLES, Rate, clopper_pearson

ENROLLED = 3
LENGTHS = (1, 2, 3, 4, 5, 6, 8, 10)
FPIRS = (1e-2, 1e-3)
KINDS_OF_TRACKS = ("photos", "mixed", "copies")
DRAWS, TRACKS = 3, 4  # of each enrolled person in each draw; a stranger makes one: several would err together
_FEWEST = 10  # people of either sort
_FEWEST_FALSE = 2  # expected false positives; fewer say nothing
_MEAN = "mean"


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """One draw: a gallery, and tracks held against it.

    Attributes:
        centroids: (G, D) float32 unit rows.
        owners: (G,) number of the person.
        own, strangers: (T, L) rows of looks.
    """

    centroids: FloatArray
    owners: NDArray[np.intp]
    own: NDArray[np.intp]
    strangers: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class _Tried:
    """Critical distances, sorted, and whose they are."""

    own_sq: Reals
    own_people: NDArray[np.intp]
    strangers_sq: Reals
    strangers_people: NDArray[np.intp]


def simulate_tracks(looks: SampleSet, tracks_of: str, length: int, rng: np.random.Generator) -> Tracks | None:
    """Enrol everybody with more than three photos, the others are strangers; None where there are too few of either.

    Args:
        looks: of everybody.
        tracks_of: "photos" (unharmed, all different), "mixed" (any looks), or "copies" (any looks at one photo).
        length: looks of a track.
        rng: chooses the enrolled photos and the looks.
    """
    order = np.argsort(looks.people, kind="stable")
    rows_of = np.split(order, np.cumsum(np.bincount(looks.people, minlength=len(looks.names)))[:-1])
    centroids, owners, own, strangers = [], [], [], []
    for person, rows in enumerate(rows_of):
        photos = rng.permutation(rows[looks.plain[rows]])
        if len(photos) > ENROLLED:
            total = looks.enrolled[photos[:ENROLLED]].sum(axis=0)
            centroids.append(total / max(float(np.linalg.norm(total)), 1e-12))
            owners.append(person)
            left = rows[~np.isin(looks.photos[rows], looks.photos[photos[:ENROLLED]])]
            own += _drawn(looks, left, tracks_of, length, TRACKS, length, rng)
        else:
            strangers += _drawn(looks, rows, tracks_of, length, 1, 1, rng)
    people = {int(looks.people[track[0]]) for track in own}
    others = {int(looks.people[track[0]]) for track in strangers}
    if min(len(people), len(others)) < _FEWEST:
        return None
    return Tracks(np.array(centroids, np.float32), np.array(owners), np.array(own), np.array(strangers))


def fuse(looks: SampleSet, tracks: NDArray[np.intp], way: str) -> tuple[FloatArray, NDArray[np.bool_]]:
    """(T, D) unit rows of (T, L) tracks, and (T,) whether there was a usable look.

    Ways: "first" takes the first look, "mean" all alike, whatever their quality; "accepted" those alike that a door
    accepts, "weighted" the same by their weight, as the door does; "best" the heaviest alone.
    """
    weights = {
        "first": np.broadcast_to(np.arange(tracks.shape[1]) == 0, tracks.shape),
        "mean": np.ones(tracks.shape),
        "accepted": looks.values[tracks] > 0,
        "weighted": looks.values[tracks],
        "best": (looks.values[tracks] > 0)
        & (np.arange(tracks.shape[1]) == looks.values[tracks].argmax(axis=1)[:, None]),
    }[way].astype(np.float32)
    fused = np.einsum("tl,tld->td", weights, looks.embedding[tracks])
    return fused / np.maximum(np.linalg.norm(fused, axis=1, keepdims=True), 1e-12), weights.any(axis=1)


WAYS = ("first", "best", _MEAN, "accepted", "weighted")


def measure(looks: SampleSet, tracks_of: str, length: int, seed: int) -> Fused | None:
    """FNIR of each way, with intervals over people; None where there are too few."""
    place = [seed, KINDS_OF_TRACKS.index(tracks_of), length]
    drawn = [simulate_tracks(looks, tracks_of, length, np.random.default_rng([*place, draw])) for draw in range(DRAWS)]
    draws = [each for each in drawn if each is not None]
    if not draws:
        return None
    rng = np.random.default_rng(place)
    votes = rng.multinomial(len(looks.names), np.full(len(looks.names), 1 / len(looks.names)), RESAMPLES)
    fpirs = [fpir for fpir in FPIRS if fpir * len(draws[0].strangers) >= _FEWEST_FALSE]
    values: dict[str, Reals] = {}
    limits: dict[str, Reals] = {}
    resampled: dict[str, Reals] = {}
    for way in WAYS:
        tried = [_try(looks, draw, way) for draw in draws]
        found = np.array([_misses(each, fpirs, None) for each in tried]).mean(axis=0)
        values[way], limits[way] = found
        again = [[_misses(each, fpirs, vote)[0] for each in tried] for vote in votes]
        resampled[way] = np.nanmean(np.array(again), axis=1)
    people = len(np.unique(looks.people[draws[0].own[:, 0]]))
    ways = [
        FusedAt(
            way,
            fpir,
            float(limits[way][column]),
            _rate(values[way][column], resampled[way][:, column], people, len(draws[0].own)),
            _interval(values[way][column] - values[_MEAN][column], (resampled[way] - resampled[_MEAN])[:, column]),
        )
        for column, fpir in enumerate(fpirs)
        for way in WAYS
    ]
    strangers = len(np.unique(looks.people[draws[0].strangers[:, 0]]))
    unusable = float(np.mean([np.mean(~(looks.values[draw.own] > 0).any(axis=1)) for draw in draws]))
    return Fused(tracks_of, length, people, len(draws[0].own), strangers, len(draws[0].strangers), unusable, ways)


def _drawn(
    looks: SampleSet,
    rows: NDArray[np.intp],
    tracks_of: str,
    length: int,
    count: int,
    least: int,
    rng: np.random.Generator,
) -> list[NDArray[np.intp]]:
    """So many tracks from a person's looks, none where there are fewer than `least`; too few are shown again.

    A stranger who has fewer looks than a track gives those: that errs on the safe side.
    """
    if tracks_of == "photos":
        pools = [rows[looks.plain[rows]]]
    elif tracks_of == "mixed":
        pools = [rows]
    else:
        pools = [rows[looks.photos[rows] == photo] for photo in np.unique(looks.photos[rows])]
    pools = [pool for pool in pools if len(pool) >= least]
    if not pools:
        return []
    alike = len(pools) == 1 and len(pools[0]) <= length  # every track would be the same looks
    chosen = [pools[int(rng.integers(len(pools)))] for _ in range(1 if alike else count)]
    return [np.resize(rng.permutation(pool), length) for pool in chosen]


def _try(looks: SampleSet, draw: Tracks, way: str) -> _Tried:
    own, usable = fuse(looks, draw.own, way)
    likeness = own @ draw.centroids.T
    people = looks.people[draw.own[:, 0]]
    right = usable & (draw.owners[likeness.argmax(axis=1)] == people)
    own_sq = np.where(right, 2 - 2 * likeness.max(axis=1), np.inf)
    strangers, usable = fuse(looks, draw.strangers, way)
    strangers_sq = (2 - 2 * (strangers[usable] @ draw.centroids.T).max(axis=1)).astype(np.float64)
    order, other = np.argsort(own_sq), np.argsort(strangers_sq)
    return _Tried(own_sq[order], people[order], strangers_sq[other], looks.people[draw.strangers[usable][other, 0]])


def _misses(tried: _Tried, fpirs: Sequence[float], votes: NDArray[np.int64] | None) -> tuple[Reals, Reals]:
    """(F,) FNIR and (F,) thresholds, just below the stranger's track that would be one too many."""
    strangers = np.ones(len(tried.strangers_sq)) if votes is None else votes[tried.strangers_people].astype(np.float64)
    own = np.ones(len(tried.own_sq)) if votes is None else votes[tried.own_people].astype(np.float64)
    sums = np.cumsum(strangers)
    places = np.searchsorted(sums, [fpir * sums[-1] + 1e-9 for fpir in fpirs], side="right")
    limits = np.append(tried.strangers_sq, 4.0)[places]
    opened = np.concatenate([[0.0], np.cumsum(own)])[np.searchsorted(tried.own_sq, limits, side="left")]
    return 1 - opened / own.sum() if own.sum() else np.full(len(fpirs), np.nan), limits


def _rate(value: float, drawn: Reals, people: int, tracks: int) -> Rate:
    rate = _interval(value, drawn)
    if value * tracks >= FEW:
        return rate
    counted = clopper_pearson(value, people)
    return Rate(rate.value, min(rate.low, counted.low), max(rate.high, counted.high))


def _interval(value: float, drawn: Reals) -> Rate:
    low, high = np.nanquantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Rate(float(value), float(low), float(high))
