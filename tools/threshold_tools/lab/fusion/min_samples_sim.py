"""Whole visits before the door's own rule: how many samples a name should take.

A visitor is looked at until the door opens or the looks end. A stranger has as many chances as there are looks, which
a comparison at one length does not show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.core.config import RecognitionConfig
from edge.core.records import Box, Face, Identification, Person, Sample, Track
from edge.recognition.aggregator import IdentityAggregator
from edge.recognition.gallery import Gallery, GalleryInfo
from threshold_tools.lab.fusion.report import Visits
from threshold_tools.lab.fusion.samples import SampleSet
from threshold_tools.lab.fusion.track_fusion import simulate_tracks
from threshold_tools.stats import Rate, rate_over_people
from threshold_tools.thresholds import max_thresholds_sq

LOOKS = 10
MIN_SAMPLES = (1, 2, 3, 4, 5, 6)
_STEP_NS = 100_000_000
_NOWHERE = Face(Box(0, 0, 100, 100), np.zeros((6, 2), np.float32), 1.0)


def measure(
    looks: SampleSet, tracks_of: str, threshold_for: Callable[[int], float], config: RecognitionConfig, seed: int
) -> Sequence[Visits]:
    """One line for each number of samples; none where there are too few people with so many looks.

    Args:
        looks: of everybody.
        tracks_of: as in fusion.tracks.
        threshold_for: the squared distance at which a gallery of so many people accepts.
        config: the door's rule, its number of samples aside.
        seed: of the tracks drawn.
    """
    drawn = simulate_tracks(looks, tracks_of, LOOKS, np.random.default_rng([seed, LOOKS]))
    if drawn is None:
        return []
    people = [Person(looks.names[owner], looks.names[owner]) for owner in drawn.owners.tolist()]
    limits = np.minimum(np.float32(threshold_for(len(people))), max_thresholds_sq(drawn.centroids))
    gallery = Gallery(people, drawn.centroids, limits, GalleryInfo("", "", len(people)))
    lines = []
    for samples in MIN_SAMPLES:
        rule = msgspec.structs.replace(config, min_samples=samples)
        own = [_visit(looks, track, gallery, rule) for track in drawn.own]
        strangers = [_visit(looks, track, gallery, rule) for track in drawn.strangers]
        names = [looks.names[looks.people[track[0]]] for track in drawn.own]
        right = np.array([who == name for (who, _), name in zip(own, names, strict=True)])
        opened = np.array([bool(who) for who, _ in own])
        taken = [count for (_, count), good in zip(own, right.tolist(), strict=True) if good]
        missed = rate_over_people(~right, looks.people[drawn.own[:, 0]], seed)
        lines.append(
            Visits(
                tracks_of=tracks_of,
                looks=LOOKS,
                min_samples=samples,
                visits=len(own),
                stranger_visits=len(strangers),
                opened=Rate(1 - missed.value, 1 - missed.high, 1 - missed.low),
                opened_to_another=float(np.mean(opened & ~right)),
                false_opens=rate_over_people(
                    np.array([bool(who) for who, _ in strangers]), looks.people[drawn.strangers[:, 0]], seed
                ),
                looks_taken=float(np.mean(taken)) if taken else 0.0,
            )
        )
    return lines


def _visit(looks: SampleSet, rows: NDArray[np.intp], gallery: Gallery, config: RecognitionConfig) -> tuple[str, int]:
    """Whom the door opens to, "" for nobody, and after how many looks."""
    judge = IdentityAggregator(gallery, config)
    for number, row in enumerate(rows.tolist(), 1):
        track = Track(1, _NOWHERE, 0, number * _STEP_NS, number)
        quality = looks.quality[row]
        judge.add_sample(track, Sample(None if quality.refusal else looks.embedding[row], quality, None), track.last_ns)
        for verdict in judge.take_verdicts([track], track.last_ns):
            if verdict.finding is Identification.RECOGNISED and verdict.match.person is not None:
                return verdict.match.person.id, number
    return "", len(rows)
