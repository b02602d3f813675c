"""Simulates tracks with the rule of a door: recognition and its duration, by `min_samples`.

All people with more than three photos are enrolled with three of them; their tracks show other photos. The others are
strangers, who have one chance for each sample of a track.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.core.config import RecognitionConfig
from edge.core.records import Box, Face, FloatArray, Identification, Person, Sample, Track
from edge.recognition.aggregator import IdentityAggregator
from edge.recognition.gallery import Gallery, GalleryInfo
from threshold_tools.lab.fusion.samples import SampleSet
from threshold_tools.stats import Rate, rate_over_people
from threshold_tools.thresholds import max_thresholds_sq

ENROLLED = 3
LENGTH = 10  # samples of a track
KINDS_OF_TRACKS = ("photos", "mixed", "copies")
MIN_SAMPLES = (1, 2, 3, 4, 5, 6)
_TRACKS = 4  # of each enrolled person; a stranger makes one, because errors of one stranger are not independent
_FEWEST = 10  # enrolled people, and strangers
_STEP_NS = 100_000_000
_NOWHERE = Face(Box(0, 0, 100, 100), np.zeros((6, 2), np.float32), 1.0)


class VisitResult(msgspec.Struct, frozen=True):
    """Result of the rule of a door on tracks of up to `samples` samples, at one `min_samples`.

    `recognised` and `misidentified` are shares of enrolled people's visits, `false_accepts` of strangers' visits;
    `samples_taken` is the mean number of samples until recognition.
    """

    tracks_of: str
    samples: int
    min_samples: int
    visits: int
    stranger_visits: int
    recognised: Rate
    misidentified: float
    false_accepts: Rate
    samples_taken: float


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedTracks:
    """A gallery, and tracks that search it."""

    centroids: FloatArray  # (G, D) float32 unit rows
    owners: NDArray[np.intp]  # (G,) number of the person
    own: NDArray[np.intp]  # (T, L) rows of samples
    strangers: NDArray[np.intp]  # (T, L) rows of samples


def simulate_tracks(
    samples: SampleSet, tracks_of: str, length: int, rng: np.random.Generator
) -> SimulatedTracks | None:
    """Enrol all people with more than three photos and draw tracks; None with too few enrolled people or strangers.

    A track has `length` samples of "photos" (plain, all different), "mixed" (any), or "copies" (any of one photo).
    """
    order = np.argsort(samples.people, kind="stable")
    rows_of = np.split(order, np.cumsum(np.bincount(samples.people, minlength=len(samples.names)))[:-1])
    centroids, owners, own, strangers = [], [], [], []
    for person, rows in enumerate(rows_of):
        photos = rng.permutation(rows[samples.plain[rows]])
        if len(photos) > ENROLLED:
            total = samples.enrolled[photos[:ENROLLED]].sum(axis=0)
            centroids.append(total / max(float(np.linalg.norm(total)), 1e-12))
            owners.append(person)
            left = rows[~np.isin(samples.photos[rows], samples.photos[photos[:ENROLLED]])]
            own += _draw(_pools(samples, left, tracks_of, length), length, _TRACKS, rng)
        else:
            # A stranger with fewer samples than a track repeats them: a cautious estimate.
            strangers += _draw(_pools(samples, rows, tracks_of, 1), length, 1, rng)
    people = {int(samples.people[track[0]]) for track in own}
    if min(len(people), len(strangers)) < _FEWEST:
        return None
    return SimulatedTracks(np.array(centroids, np.float32), np.array(owners), np.array(own), np.array(strangers))


def measure_visits(
    samples: SampleSet, tracks_of: str, threshold_for: Callable[[int], float], config: RecognitionConfig, seed: int
) -> list[VisitResult]:
    """Measure visits at each value of `MIN_SAMPLES`; [] if there are too few people or samples.

    Args:
        samples: all samples.
        tracks_of: kind of tracks, one of `KINDS_OF_TRACKS`.
        threshold_for: returns the threshold (squared distance) of a gallery with this number of people.
        config: other settings of recognition.
        seed: seed of the draws.
    """
    drawn = simulate_tracks(samples, tracks_of, LENGTH, np.random.default_rng([seed, LENGTH]))
    if drawn is None:
        return []
    people = [Person(samples.names[owner], samples.names[owner]) for owner in drawn.owners.tolist()]
    limits = np.minimum(np.float32(threshold_for(len(people))), max_thresholds_sq(drawn.centroids))
    gallery = Gallery(people, drawn.centroids, limits, GalleryInfo("", "", len(people)))
    names = [samples.names[samples.people[track[0]]] for track in drawn.own]
    results = []
    for min_samples in MIN_SAMPLES:
        rule = msgspec.structs.replace(config, min_samples=min_samples)
        own = [_visit(samples, track, gallery, rule) for track in drawn.own]
        strangers = np.array([bool(_visit(samples, track, gallery, rule)[0]) for track in drawn.strangers])
        right = np.array([person == name for (person, _), name in zip(own, names, strict=True)])
        recognised = np.array([bool(person) for person, _ in own])
        taken = [count for (_, count), good in zip(own, right.tolist(), strict=True) if good]
        missed = rate_over_people(~right, samples.people[drawn.own[:, 0]], seed)
        results.append(
            VisitResult(
                tracks_of=tracks_of,
                samples=LENGTH,
                min_samples=min_samples,
                visits=len(own),
                stranger_visits=len(strangers),
                recognised=Rate(1 - missed.value, 1 - missed.high, 1 - missed.low),
                misidentified=float(np.mean(recognised & ~right)),
                false_accepts=rate_over_people(strangers, samples.people[drawn.strangers[:, 0]], seed),
                samples_taken=float(np.mean(taken)) if taken else 0.0,
            )
        )
    return results


def _pools(samples: SampleSet, rows: NDArray[np.intp], tracks_of: str, least: int) -> list[NDArray[np.intp]]:
    """The sets of a person's samples from which one track is drawn, each with at least `least` samples."""
    if tracks_of == "photos":
        pools = [rows[samples.plain[rows]]]
    elif tracks_of == "mixed":
        pools = [rows]
    else:
        pools = [rows[samples.photos[rows] == photo] for photo in np.unique(samples.photos[rows])]
    return [pool for pool in pools if len(pool) >= least]


def _draw(pools: list[NDArray[np.intp]], length: int, count: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """`count` tracks; one if all would be equal, none without a pool."""
    if not pools:
        return []
    alike = len(pools) == 1 and len(pools[0]) <= length
    chosen = [pools[int(rng.integers(len(pools)))] for _ in range(1 if alike else count)]
    return [np.resize(rng.permutation(pool), length) for pool in chosen]


def _visit(samples: SampleSet, rows: NDArray[np.intp], gallery: Gallery, config: RecognitionConfig) -> tuple[str, int]:
    """The recognised person, or "", and the number of samples."""
    aggregator = IdentityAggregator(gallery, config)
    for number, row in enumerate(rows.tolist(), 1):
        track = Track(1, _NOWHERE, 0, number * _STEP_NS, number)
        quality = samples.quality[row]
        embedding = None if quality.refusal else samples.embedding[row]
        aggregator.add_sample(track, Sample(embedding, quality, None), track.last_ns)
        for verdict in aggregator.take_verdicts([track], track.last_ns):
            if verdict.finding is Identification.RECOGNISED and verdict.match.person is not None:
                return verdict.match.person.id, number
    return "", len(rows)
