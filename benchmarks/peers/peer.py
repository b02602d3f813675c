"""What every program in the comparison is: one verb, a name, and a word on how to get it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge.core.records import BgrImage, Box, Face, FloatArray
from edge.vision.detector import most_prominent_face

_NO_POINTS = np.zeros((6, 2), np.float32)


class Baseline(Protocol):
    """A loaded program."""

    def detect_and_embed(self, pixels: BgrImage) -> FloatArray | None:
        """The vector of a picture's main face, or None where no face is found.

        Args:
            pixels: (H, W, 3) uint8 BGR, as cameras give them.

        Returns:
            (D,) float32; the smaller the Euclidean distance of two, the likelier one person.
        """


@dataclass(frozen=True, slots=True)
class BaselineSpec:
    """A program that may take part.

    Attributes:
        name: short, for the head of a row.
        made_of: its stages.
        load: makes it ready.
        missing: how to install what it lacks, or "".
        ours: whether others are divided by it.
        photos: whether single photos can be given to it; otherwise only the same frame again and again.
    """

    name: str
    made_of: str
    load: Callable[[], Baseline]
    missing: Callable[[], str]
    ours: bool = False
    photos: bool = True


def missing_packages(modules: Sequence[str], how: str) -> str:
    """`how` when one of the modules is not installed, else ""."""
    return "" if all(importlib.util.find_spec(module) for module in modules) else how


def main_box(boxes: Iterable[Box], pixels: BgrImage) -> int | None:
    """Which of the boxes is the main face, by the rule that our own photos go by; None where there is none."""
    faces = [Face(box, _NO_POINTS, 1.0) for box in boxes]
    best = most_prominent_face(faces, pixels.shape[1], pixels.shape[0])
    return None if best is None else next(place for place, face in enumerate(faces) if face is best)
