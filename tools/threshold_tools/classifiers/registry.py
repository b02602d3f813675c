"""The classifiers that are compared, and the time that each takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from edge.core.records import FloatArray
from threshold_tools.classifiers.classifier import Classifier, People
from threshold_tools.classifiers.nearest import KnnVote, NearestCentroid
from threshold_tools.classifiers.network import MlpClassifier
from threshold_tools.classifiers.verification import PairVerification

_TIMED_PROBES = 200


@dataclass(frozen=True, slots=True)
class ClassifierSpec:
    """One classifier."""

    name: str  # for people
    fit: Callable[[FloatArray, People], Classifier]  # makes it from (N, D) vectors and the (N,) numbers of their people
    retrains: bool = False  # whether adding a person trains it from scratch


CLASSIFIERS = (
    ClassifierSpec("nearest centroid", NearestCentroid),  # first, because a door decides so
    ClassifierSpec("nearest sample", partial(KnnVote, k=1)),
    ClassifierSpec("5 neighbours vote", partial(KnnVote, k=5)),
    ClassifierSpec("10 neighbours vote", partial(KnnVote, k=10)),
    ClassifierSpec("pair verification", PairVerification),
    ClassifierSpec("two-layer network", MlpClassifier, retrains=True),
)


@dataclass(frozen=True, slots=True)
class ClassifierTimes:
    """Milliseconds that one classifier took."""

    learn_ms: float  # to learn everybody but one
    add_ms: float  # to add that person
    probe_ms: float  # to name one photo, median


def time_classifier(spec: ClassifierSpec, vectors: FloatArray, people: People, probes: FloatArray) -> ClassifierTimes:
    """Time learning everybody but one, adding that person, and naming probes one by one.

    Args:
        spec: classifier.
        vectors: (N, D) of two people or more.
        people: (N,) their numbers.
        probes: (M, D), one or more.
    """
    last = people == people.max()
    started = time.perf_counter()
    classifier = spec.fit(vectors[~last], people[~last])
    learnt = time.perf_counter()
    classifier.add(vectors[last], int(people.max()))
    added = time.perf_counter()
    spent = []
    for probe in probes[:_TIMED_PROBES]:
        before = time.perf_counter()
        classifier.predict(probe[None])
        spent.append(time.perf_counter() - before)
    return ClassifierTimes(1000 * (learnt - started), 1000 * (added - learnt), 1000 * float(np.median(spent)))
