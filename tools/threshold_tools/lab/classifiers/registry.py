"""The ways of naming people that are compared, and how long each takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from edge.core.records import FloatArray
from threshold_tools.lab.classifiers.classifier import Classifier, People
from threshold_tools.lab.classifiers.nearest import KnnVote, NearestCentroid, NearestSample
from threshold_tools.lab.classifiers.network import Network
from threshold_tools.lab.classifiers.verification import PairVerification

_TIMED_PROBES = 200


@dataclass(frozen=True, slots=True)
class ClassifierSpec:
    """One way.

    Attributes:
        name: for people.
        learn: makes a classifier of (N, D) vectors and (N,) numbers of people.
        retrains: whether adding somebody means learning everybody anew.
    """

    name: str
    learn: Callable[[FloatArray, People], Classifier]
    retrains: bool = False


KINDS = (
    ClassifierSpec("nearest centroid", NearestCentroid),  # the door's way stands first
    ClassifierSpec("nearest sample", NearestSample),
    ClassifierSpec("5 neighbours vote", partial(KnnVote, k=5)),
    ClassifierSpec("10 neighbours vote", partial(KnnVote, k=10)),
    ClassifierSpec("pair verification", PairVerification),
    ClassifierSpec("two-layer network", Network, retrains=True),
)


@dataclass(frozen=True, slots=True)
class Times:
    """How long it took, milliseconds.

    Attributes:
        learn_ms: everybody.
        add_ms: one more person, everybody else being learnt.
        probe_ms: to name one photo, median.
    """

    learn_ms: float
    add_ms: float
    probe_ms: float


def time_classifier(kind: ClassifierSpec, vectors: FloatArray, people: People, probes: FloatArray) -> Times:
    """Learn all but the last person, add that one, and name probes one by one.

    Args:
        kind: the way.
        vectors: (N, D) of two people or more.
        people: (N,) their numbers.
        probes: (M, D), one or more.
    """
    last = people == people.max()
    started = time.perf_counter()
    classifier = kind.learn(vectors[~last], people[~last])
    learnt = time.perf_counter()
    classifier.add(vectors[last], int(people.max()))
    added = time.perf_counter()
    spent = []
    for probe in probes[:_TIMED_PROBES]:
        begun = time.perf_counter()
        classifier.name(probe[None])
        spent.append(time.perf_counter() - begun)
    return Times(1000 * (learnt - started), 1000 * (added - learnt), 1000 * float(np.median(spent)))
