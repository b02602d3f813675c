"""Keeps the best face crop of each visitor in memory, to publish a picture with an event if [snapshots] asks for it.

A crop is made from the lent frame when a sample is taken, and replaced by a better one. At most one crop is kept for
each visitor, and it is dropped when the visitor leaves. Nothing here affects decisions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge.core.config import SnapshotsConfig
from edge.core.records import BgrImage, Box, Decision, FloatArray, Frame, Sample, Track


@dataclass(frozen=True, slots=True, eq=False)
class _FaceCrop:
    """A copy of the pixels, and the embedding of the sample that they show: (D,) float32, unit length."""

    pixels: BgrImage
    quality: float
    embedding: FloatArray


class SnapshotBuffer:
    """The face crops of one door; does nothing if no kind of event has a picture."""

    def __init__(self, config: SnapshotsConfig, track_consistency_sq: float) -> None:
        self._config = config
        self._track_consistency_sq = track_consistency_sq  # two samples farther apart than this show two people
        self._crops: dict[int, _FaceCrop] = {}

    def update(self, frame: Frame, tracks: Sequence[Track], samples: Mapping[int, Sample]) -> None:
        """Keep better crops from one step, while its frame is lent.

        Args:
            frame: the frame that the samples were taken from.
            tracks: all tracks of this step; crops of other tracks are dropped.
            samples: samples by track id.
        """
        if not self._config.kinds:
            return
        for gone in self._crops.keys() - {track.id for track in tracks}:
            del self._crops[gone]
        for track in tracks:
            sample = samples.get(track.id)
            if sample is None or sample.embedding is None:
                continue
            kept = self._crops.get(track.id)
            if (
                kept is None
                or sample.quality.weight > kept.quality
                or _distance_sq(kept.embedding, sample.embedding) > self._track_consistency_sq
            ):
                pixels = crop(frame.pixels, track.face.box, self._config.margin, self._config.max_px)
                self._crops[track.id] = _FaceCrop(pixels, sample.quality.weight, sample.embedding)

    def pop(self, decision: Decision) -> bytes | None:
        """The JPEG file of a decision; None if its kind has no picture, or no crop shows that visitor.

        A track can switch from one visitor to another: the crop must be near the face that was decided on.
        """
        verdict = decision.verdict
        kept = self._crops.get(verdict.track.id)
        if decision.kind not in self._config.kinds or kept is None:
            return None
        if _distance_sq(kept.embedding, verdict.embedding) > self._track_consistency_sq:
            return None
        picture = downscale(kept.pixels, self._config.max_px)
        encoded, jpeg = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, self._config.jpeg_quality))
        assert encoded, "OpenCV has no JPEG encoder"
        return jpeg.tobytes()

    def clear(self) -> None:
        """Drop all crops."""
        self._crops.clear()


def crop(pixels: BgrImage, box: Box, margin: float, max_px: int) -> BgrImage:
    """Copy a face with a margin, cut at the frame's edges; cheap, because the pipeline waits.

    Args:
        pixels: (H, W, 3) uint8, BGR.
        box: the face, frame pixels; its centre is within the frame.
        margin: added on each side, a share of the box's longer side.
        max_px: if a side is at least twice as long, pixels are skipped until it is less than four times as long.

    Returns:
        (h, w, 3) uint8, BGR, a copy.
    """
    height, width = pixels.shape[:2]
    x, y = box.centre
    half = max(box.width, box.height) * (0.5 + margin)
    left, top = max(round(x - half), 0), max(round(y - half), 0)
    right, bottom = min(round(x + half) + 1, width), min(round(y + half) + 1, height)
    step = max(max(right - left, bottom - top) // (2 * max_px), 1)
    return pixels[top:bottom:step, left:right:step].copy()


def downscale(pixels: BgrImage, max_px: int) -> BgrImage:
    """Scale a picture, (h, w, 3) uint8, down until no side is longer than `max_px`."""
    scale = max_px / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = max(round(pixels.shape[1] * scale), 1), max(round(pixels.shape[0] * scale), 1)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _distance_sq(one: FloatArray, other: FloatArray) -> float:
    return float(2 - 2 * (one @ other))
