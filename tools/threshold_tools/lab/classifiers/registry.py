"""The ways of naming people that are compared, and how long each takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from edge.core.records import Floats
from threshold_tools.lab.classifiers.classifier import Classifier, People
from threshold_tools.lab.classifiers.nearest import NearestCentroid, NearestSample, Neighbours
from threshold_tools.lab.classifiers.network import Network
from threshold_tools.lab.classifiers.verification import PairVerification

_TIMED_PROBES = 200


@dataclass(frozen=True, slots=True)
class Kind:
    """One way.

    Attributes:
        name: for people.
        learn: makes a classifier of (N, D) vectors and (N,) numbers of people.
        retrains: whether adding somebody means learning everybody anew.
    """

    name: str
    learn: Callable[[Floats, People], Classifier]
    retrains: bool = False


KINDS = (
    Kind("nearest centroid", NearestCentroid),  # the door's way stands first
    Kind("nearest sample", NearestSample),
    Kind("5 neighbours vote", partial(Neighbours, k=5)),
    Kind("10 neighbours vote", partial(Neighbours, k=10)),
    Kind("pair verification", PairVerification),
    Kind("two-layer network", Network, retrains=True),
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


def timed(kind: Kind, vectors: Floats, people: People, probes: Floats) -> Times:
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
