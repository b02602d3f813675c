"""Fake camera and vision, fast enough for an event every few frames: the first pixel encodes the visitor.

Everything else is the real door: tracks, evidence, verdict, rules, store and publisher.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np

from edge.access.model import allow_list
from edge.core.records import Box, Face, FloatArray, Frame, Person, Quality, Sample
from edge.recognition.gallery import Gallery, GalleryInfo
from edge.runtime.runtime_bundle import RuntimeBundle
from edge.vision.face_sampler import VisionStages

DIMENSION = 192
PEOPLE = ("ada", "bert", "carl")
ALLOWED = ("ada", "bert")
_HEIGHT_PX, _WIDTH_PX = 96, 128
_STAYS, _AWAY = 5, 3  # frames of a visit, and between two visits
_NOBODY = 0
_STRANGER = 200  # lowest number of a person who is not enrolled


def vector(number: int) -> FloatArray:
    """(DIMENSION,) float32, unit length; equal for equal numbers, far from all others."""
    drawn = np.random.default_rng(number).normal(size=DIMENSION)
    return np.asarray(drawn / np.linalg.norm(drawn), np.float32)


class FakeEmbedder:
    """Embedder without a table of impostor distances, the only attribute that a door reads here."""

    impostors = ()


class FakeVision:
    """Detector and face sampler in one: the first pixel is the person's number."""

    embedder = FakeEmbedder()

    def detect(self, frame: Frame, _known: Sequence[Face] = ()) -> list[Face]:
        if frame.pixels[0, 0, 0] == _NOBODY:
            return []
        left = float(frame.pixels[0, 0, 1])
        return [Face(Box(left, 20.0, left + 40.0, 60.0), np.zeros((6, 2), np.float32), 0.9)]

    def sample(self, frame: Frame, _face: Face, *, mirrored: bool = False) -> Sample:
        return Sample(vector(int(frame.pixels[0, 0, 0])), Quality(1.0, 40.0, 0.0, 0.0, 0.0, 100.0), None)


class FakeCamera:
    """Endless live camera with a new visitor every few frames."""

    name = "crowd"
    live = True
    recorded = False
    dropped = 0

    def __init__(self, fps: float, seed: int) -> None:
        self._pause_s = 1 / fps
        self._random = random.Random(seed)
        self._noise = np.random.default_rng(seed)
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        seq = 0
        while True:
            who = self._random.choice([1, 1, 2, 2, 3, self._random.randrange(_STRANGER, 256)])
            left = self._random.randrange(5, 80)
            for shown in [who] * _STAYS + [_NOBODY] * _AWAY:
                if self._closed.wait(self._pause_s):
                    return
                pixels = self._noise.integers(40, 220, (_HEIGHT_PX, _WIDTH_PX, 3), np.uint8)
                pixels[0, 0] = (shown, left, 128)
                yield Frame(pixels, seq, time.monotonic_ns())
                seq += 1

    def __enter__(self) -> FakeCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._closed.set()


def fake_bundle() -> RuntimeBundle:
    """Return a bundle with the people of `FakeCamera` and a vision that recognises them."""
    centroids = np.stack([vector(number) for number in range(1, len(PEOPLE) + 1)])
    people = [Person(name, name.title()) for name in PEOPLE]
    gallery = Gallery(people, centroids, np.full(len(PEOPLE), 1.0, np.float32), GalleryInfo("made-up", "", len(people)))
    vision = FakeVision()
    return RuntimeBundle(VisionStages(vision, vision, ()), gallery, allow_list(ALLOWED), own_models=False)  # type: ignore[arg-type]
