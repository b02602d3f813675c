"""Open-set identification: enrolled people and strangers search a gallery."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edge.core.records import FloatArray
from threshold_tools import stats
from threshold_tools.classifiers import NearestCentroid, unit_means
from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.evaluate.report import FnirAtFpir, OpenSet
from threshold_tools.stats import RankedScores, Rate, Reals

DRAWS = 5  # choices of the photos that are enrolled
ENROLLED = (1, 3, 5, 10)
TARGET_FPIRS = (1e-1, 1e-2, 1e-3)
TRACK = 3  # photos fused to one search
_NEVER = math.inf


@dataclass(frozen=True, eq=False)
class SearchScores:
    """Searches of one gallery."""

    # (M,) float64, lowest threshold at which an enrolled person is recognised, or a stranger is accepted; infinite if
    # another person is nearer than the enrolled person, or no face was found.
    critical_sq: Reals
    usable: NDArray[np.bool_]  # (M,) whether a face was found
    people: NDArray[np.intp]  # (M,) number of the person

    @cached_property
    def ranked(self) -> RankedScores:
        """`critical_sq` in ascending order."""
        return RankedScores(self.critical_sq)

    def threshold_sq(self, fpir: float) -> float:
        """The largest threshold that accepts at most this share of strangers' searches."""
        return self.ranked.thresholds([fpir])[0]

    def missed(self, thresholds_sq: Sequence[float], weights: NDArray[np.int64] | None = None) -> Reals:
        """(T, 2) share of enrolled people's searches that fail: of those with a face, and of all; nan without any."""
        each = np.ones(len(self.people)) if weights is None else weights
        totals = np.array([each[self.usable].sum(), each.sum()], np.float64)
        opened = self.ranked.accepted(thresholds_sq, weights)
        return np.asarray(1 - opened[:, None] / np.where(totals > 0, totals, np.nan), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class EnrolmentDraw:
    """One choice of enrolled photos: searches by single photos and by tracks, of the enrolled and of strangers."""

    own: SearchScores
    strangers: SearchScores
    own_tracks: SearchScores
    stranger_tracks: SearchScores


@dataclass(frozen=True, slots=True, eq=False)
class OpenSetRun:
    """An open-set experiment."""

    images: int  # photos enrolled of each person
    enrolled: NDArray[np.intp]  # (E,) numbers of people
    strangers: NDArray[np.intp]  # (S,) numbers of people
    failed: int  # people to be enrolled who have no photo with a face
    draws: list[EnrolmentDraw]  # the searches of each draw


def open_set(photos: LabelledEmbeddings, images: int, seed: int) -> OpenSetRun | None:
    """Enrol `images` photos of all people who have more; the others are strangers.

    At least half of all people are strangers: if too few people have few photos, others are drawn. A photo without a
    face is not enrolled, and the next one is used; every other photo without a face is a failed search.

    Returns:
        The searches, or None without a person to enrol or a stranger.
    """
    usable = np.array([int(photos.found[rows].sum()) for rows in photos.rows_of])
    many = np.array([len(rows) > images for rows in photos.rows_of])
    able, too_few = np.flatnonzero(many), np.flatnonzero(~many & (usable > 0))
    missing = max((len(able) + len(too_few)) // 2 - len(too_few), 0)
    moved = np.random.default_rng([seed, images]).choice(able, missing, replace=False)
    enrolled, strangers = np.setdiff1d(able, moved), np.union1d(too_few, moved)
    if not usable[enrolled].any() or not usable[strangers].any():
        return None
    draws = [
        _draw(photos, images, enrolled, strangers, np.random.default_rng([seed, images, number]))
        for number in range(DRAWS)
    ]
    return OpenSetRun(images, enrolled, strangers, int((usable[enrolled] == 0).sum()), draws)


def report(run: OpenSetRun, seed: int) -> OpenSet:
    """FNIR by single photos and by tracks at all target FPIRs that the strangers support."""
    first = run.draws[0]
    rows: dict[bool, list[FnirAtFpir]] = {}
    for tracks, own in ((False, first.own), (True, first.own_tracks)):
        fpirs = [fpir for fpir in TARGET_FPIRS if has_enough_samples(run, fpir, tracks=tracks)]
        rows[tracks] = fnir_curve(run, fpirs, seed, tracks=tracks) if fpirs and own.usable.any() else []
    return OpenSet(
        images=run.images,
        enrolled=len(run.enrolled),
        failed_enrolments=run.failed,
        strangers=len(run.strangers),
        draws=len(run.draws),
        searches=len(first.own.people),
        failed_searches=int((~first.own.usable).sum()),
        stranger_searches=len(first.strangers.people),
        single=rows[False],
        tracks=len(first.own_tracks.people),
        stranger_tracks=len(first.stranger_tracks.people),
        fused=rows[True],
    )


def has_enough_samples(tried: OpenSetRun, fpir: float, *, tracks: bool) -> bool:
    """Whether at least one false positive is expected among the strangers' searches."""
    draw = tried.draws[0]
    return stats.has_enough_samples(fpir, len((draw.stranger_tracks if tracks else draw.strangers).people))


def fnir_curve(tried: OpenSetRun, fpirs: Sequence[float], seed: int, *, tracks: bool) -> list[FnirAtFpir]:
    """FNIR at the threshold that accepts at most each share in `fpirs` of strangers' searches.

    The interval is a bootstrap over enrolled people and strangers, with a new threshold each time. If few searches
    fail, Clopper-Pearson over the enrolled people is used if it is wider.
    """
    rng = np.random.default_rng([seed, tried.images])
    votes_own = stats.draw_votes(rng, len(tried.enrolled))
    votes_strangers = stats.draw_votes(rng, len(tried.strangers))
    draws = [(draw.own_tracks, draw.stranger_tracks) if tracks else (draw.own, draw.strangers) for draw in tried.draws]
    resampled = np.full((stats.RESAMPLES, len(draws), len(fpirs), 2), np.nan)
    for place, (own, strangers) in enumerate(draws):
        own_numbers = np.searchsorted(tried.enrolled, own.people)
        stranger_numbers = np.searchsorted(tried.strangers, strangers.people)
        for number in range(stats.RESAMPLES):
            limits = strangers.ranked.thresholds(fpirs, votes_strangers[number][stranger_numbers])
            resampled[number, place] = own.missed(limits, votes_own[number][own_numbers])
    results = []
    for column, fpir in enumerate(fpirs):
        at = [(own, strangers, strangers.threshold_sq(fpir)) for own, strangers in draws]
        values = np.mean([own.missed([limit])[0] for own, _, limit in at], axis=0).tolist()
        wrong = [(own.critical_sq > limit)[own.usable] for own, _, limit in at]
        errors = float(np.mean([each.sum() for each in wrong]))
        shares = [stats.share_of_each(each, own.people[own.usable]) for each, (own, *_) in zip(wrong, at, strict=True)]
        rates = [_rate(values[kind], resampled[:, :, column, kind], len(tried.enrolled), errors) for kind in (0, 1)]
        results.append(
            FnirAtFpir(
                fpir=fpir,
                threshold_sq=float(np.mean([limit for *_, limit in at])),
                false_positives=float(np.mean([others.ranked.accepted([limit])[0] for _, others, limit in at])),
                fnir=rates[0],
                fnir_with_failures=rates[1],
                fnir_per_person=float(np.mean([each.mean() for each in shares])),
            )
        )
    return results


def _rate(value: float, resampled: Reals, people: int, errors: float) -> Rate:
    """A rate with its interval over (R, draws) resamples; nan marks a resample without any search."""
    if math.isnan(value):
        return Rate(value, value, value)
    means = np.nanmean(resampled[~np.isnan(resampled).all(axis=1)], axis=1)
    return stats.bootstrap_rate(value, means, errors=errors, people=people)


def _draw(
    photos: LabelledEmbeddings,
    images: int,
    enrolled: NDArray[np.intp],
    strangers: NDArray[np.intp],
    rng: np.random.Generator,
) -> EnrolmentDraw:
    kept, singles, tracks = [], [], []
    for person in enrolled:
        mixed = rng.permutation(photos.rows_of[person])
        chosen = np.isin(mixed, mixed[photos.found[mixed]][:images])
        kept.append(mixed[chosen])
        left = mixed[~chosen]
        singles += [left[place : place + 1] for place in range(len(left))]
        tracks += [left[place : place + TRACK] for place in range(0, len(left) - TRACK + 1, TRACK)]
    stranger_singles, stranger_tracks = [], []
    for person in strangers:
        rows = rng.permutation(photos.rows_of[person][photos.found[photos.rows_of[person]]])
        stranger_singles += [rows[place : place + 1] for place in range(len(rows))]
        # A stranger with too few photos makes a shorter track, which is accepted more often: a cautious estimate.
        ends = range(0, max(len(rows) - TRACK + 1, min(len(rows), 1)), TRACK)
        stranger_tracks += [rows[place : place + TRACK] for place in ends]
    rows = np.concatenate(kept)
    gallery = NearestCentroid(photos.vectors[rows], photos.people[rows])
    return EnrolmentDraw(
        _search(photos, singles, gallery, enrolled=True),
        _search(photos, stranger_singles, gallery, enrolled=False),
        _search(photos, tracks, gallery, enrolled=True),
        _search(photos, stranger_tracks, gallery, enrolled=False),
    )


def _search(
    photos: LabelledEmbeddings, groups: list[NDArray[np.intp]], gallery: NearestCentroid, *, enrolled: bool
) -> SearchScores:
    """Fuse the photos of each group and search the gallery for them."""
    people = photos.people[[rows[0] for rows in groups]] if groups else np.zeros(0, np.intp)
    critical = np.full(len(groups), _NEVER)
    usable = np.array([bool(photos.found[rows].any()) for rows in groups], bool)
    if usable.any():
        answers = gallery.predict(
            fused_templates(photos, [rows for rows, good in zip(groups, usable, strict=True) if good])
        )
        right = answers.people == people[usable] if enrolled else np.ones(len(answers.people), bool)
        # Compared as float32, as in the daemon, so that a threshold just below a distance stays below it.
        critical[usable] = np.where(right, answers.scores.astype(np.float32), _NEVER)
    return SearchScores(critical, usable, people)


def fused_templates(photos: LabelledEmbeddings, groups: list[NDArray[np.intp]]) -> FloatArray:
    """(G, D) unit rows: direction of the mean vector of each group; photos without a face are ignored."""
    return unit_means(photos.vectors[np.concatenate(groups)], np.array([len(rows) for rows in groups]))
