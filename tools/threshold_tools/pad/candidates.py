"""One-frame candidates against presentation attacks, to be measured; none of them ships (docs/liveness.md says why)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from edge.core.records import BgrImage, Frame, Landmarks
from edge.liveness.recapture import moire_energy
from threshold_tools.pad.networks import NETWORKS, Network

Score = Callable[[BgrImage], float]
MARGIN = 1.4  # of the networks; what FaceAntiSpoofing did best with


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of them.

    Attributes:
        load: makes it ready, fetching what it needs; what it returns takes a face (H, W, 3) uint8 BGR and gives a score
            that rises for attacks.
        margin: side of the square around a face, in longer sides of its box.
        limit: where BPCER and APCER are equal on nuaa-dev, every sixth crop of its seven people (439 of 2,601).
    """

    load: Callable[[], Score]
    margin: float
    limit: float


def floating(network: Network) -> Score:
    """A network as it was published."""
    runner = network.floating()
    return lambda face: network.score(runner, face)


def integer(network: Network) -> Score:
    """A network as a door would run it."""
    runner = network.integer()
    return lambda face: network.score(runner, face)


def sharpness() -> Score:
    """No network: how little detail a face has, as in pictures of pictures; variance of its Laplacian by contrast."""

    def score(face: BgrImage) -> float:
        grey = cv2.resize(cv2.cvtColor(face, cv2.COLOR_BGR2GRAY), (112, 112), interpolation=cv2.INTER_AREA)
        return -float(cv2.Laplacian(grey, cv2.CV_32F).var() / max(float(grey.var()), 1.0))

    return score


def moire() -> Score:
    """No network: the door's own cue, of the middle of a face; -1 where that is smaller than the cue looks at."""

    def score(face: BgrImage) -> float:
        middle = np.full((5, 2), (face.shape[1] / 2, face.shape[0] / 2), np.float32)
        height = moire_energy(Frame(face, 0, 0), Landmarks(np.zeros((468, 3), np.float32), middle, 1.0))
        return -1.0 if height is None else height

    return score


_LIMITS = {  # float, int8
    "face-anti-spoofing": (0.9927, 0.9928),
    "human-antispoof": (-1.182, -1.185),
    "human-liveness": (-1.509, -1.578),
}
CANDIDATES = {
    name + ending: Candidate(partial(load, network), MARGIN, limit)
    for name, network in NETWORKS.items()
    for ending, load, limit in zip(("", "-int8"), (floating, integer), _LIMITS[name], strict=True)
} | {"sharpness": Candidate(sharpness, 1.0, -0.0918), "moire": Candidate(moire, 1.0, 1.414)}
