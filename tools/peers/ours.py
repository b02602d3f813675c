"""Threshold in the three ways in which a door runs it; with one thread, and whatever the face's quality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from photos import ANY_QUALITY

from edge.config import DetectorConfig, ModelsConfig
from edge.records import Face, Floats, Frame, Pixels
from edge.vision.detector import main_face
from edge.vision.reader import Vision, load_vision
from peers.peer import Entry

FIRST_SIGHT, FOLLOWED, NEAR = "threshold, first sight", "threshold, followed", "threshold, near detector"


class FirstSight:
    """Somebody new: the whole frame is searched, then mesh and embedder."""

    def __init__(self, detector: Literal["far", "near"]) -> None:
        self._vision = _vision(detector, scan_every_s=0)

    def detect_and_embed(self, pixels: Pixels) -> Floats | None:
        """As `Peer`."""
        return _read(self._vision, pixels, self._vision.detector.detect(Frame(pixels, 0, 0)))


class Followed:
    """Somebody who was there a frame ago: a close look, then mesh and embedder, every second time of the mirror image.

    For one picture again and again: there the face is always where it was.
    """

    def __init__(self) -> None:
        self._vision = _vision("far", scan_every_s=DetectorConfig().scan_every_s)
        self._known: Sequence[Face] = ()
        self._mirrored = True

    def detect_and_embed(self, pixels: Pixels) -> Floats | None:
        """As `Peer`."""
        self._known = self._vision.detector.detect(Frame(pixels, 0, 0), self._known)
        self._mirrored = not self._mirrored
        return _read(self._vision, pixels, self._known, mirrored=self._mirrored)


def entries() -> list[Entry]:
    """Our three ways."""
    return [
        Entry(
            FIRST_SIGHT,
            "the whole frame searched by the far detector, mesh, embedder",
            lambda: FirstSight("far"),
            lambda: "",
            ours=True,
        ),
        Entry(
            FOLLOWED,
            "a close look by the near detector, mesh, embedder",
            Followed,
            lambda: "",
            ours=True,
            photos=False,
        ),
        Entry(
            NEAR,
            "the whole frame searched by the near detector, mesh, embedder",
            lambda: FirstSight("near"),
            lambda: "",
            ours=True,
        ),
    ]


def _vision(detector: Literal["far", "near"], *, scan_every_s: float) -> Vision:
    return load_vision(
        ModelsConfig(detector=detector, threads=1), DetectorConfig(scan_every_s=scan_every_s), ANY_QUALITY
    )


def _read(vision: Vision, pixels: Pixels, faces: Sequence[Face], *, mirrored: bool = False) -> Floats | None:
    face = main_face(list(faces), pixels.shape[1], pixels.shape[0])
    return None if face is None else vision.reader.read(Frame(pixels, 0, 0), face, mirrored=mirrored).embedding
