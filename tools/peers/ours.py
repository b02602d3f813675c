"""Threshold in the ways in which a door runs it; with one thread, and whatever the face's quality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from threshold_tools.photos import ANY_QUALITY

from edge.core.config import DetectorConfig, ModelsConfig
from edge.core.records import Face, Floats, Frame, Pixels
from edge.vision.detector import main_face
from edge.vision.face_sampler import Vision, load_vision
from peers.peer import Entry

FIRST_SIGHT, SEARCHED = "threshold, first sight", "threshold, far search"
FOLLOWED, NEAR = "threshold, followed", "threshold, near detector"
_REST_NS = 60_000_000_000


class FirstSight:
    """Somebody new at a door that has rested: the near detector looks, the far one if it finds nobody near."""

    def __init__(self) -> None:
        self._vision = _vision("far", scan_every_s=DetectorConfig().scan_every_s)
        self._t_ns = 0

    def detect_and_embed(self, pixels: Pixels) -> Floats | None:
        """As `Peer`."""
        self._t_ns += _REST_NS
        return _read(self._vision, pixels, self._vision.detector.detect(Frame(pixels, 0, self._t_ns)))


class Searched:
    """The whole frame is searched by one detector, then mesh and embedder."""

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
    """Our ways."""
    return [
        Entry(
            FIRST_SIGHT,
            "somebody near after a rest: a look by the near detector, mesh, embedder",
            FirstSight,
            lambda: "",
            ours=True,
        ),
        Entry(
            SEARCHED,
            "the whole frame searched by the far detector, mesh, embedder",
            lambda: Searched("far"),
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
            lambda: Searched("near"),
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
