"""Interface of the compared programs."""

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
    """A program that is ready to run."""

    def detect_and_embed(self, pixels: BgrImage) -> FloatArray | None:
        """Return the vector of the main face, or None if no face is found.

        Args:
            pixels: (H, W, 3) uint8 BGR.

        Returns:
            (D,) float32. A smaller Euclidean distance means that two faces are more likely of one person.
        """


@dataclass(frozen=True, slots=True)
class BaselineSpec:
    """Description of a program.

    Attributes:
        name: short name, the head of a row.
        made_of: stages of the program.
        load: function that loads the program.
        missing: function that returns the command to install missing packages, or "".
        ours: whether the program is Threshold, by whose time other times are divided.
        photos: whether the program accepts single photos; otherwise only one repeated frame.
    """

    name: str
    made_of: str
    load: Callable[[], Baseline]
    missing: Callable[[], str]
    ours: bool = False
    photos: bool = True


def missing_packages(modules: Sequence[str], how: str) -> str:
    """Return `how` if one of the modules is not installed, else ""."""
    return "" if all(importlib.util.find_spec(module) for module in modules) else how


def main_box(boxes: Iterable[Box], pixels: BgrImage) -> int | None:
    """Return the index of the main face by the rule for enrolment photos, or None if there is no box."""
    faces = [Face(box, _NO_POINTS, 1.0) for box in boxes]
    best = most_prominent_face(faces, pixels.shape[1], pixels.shape[0])
    return None if best is None else next(place for place, face in enumerate(faces) if face is best)
