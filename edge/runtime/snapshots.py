"""Keeps the best face crop of each visitor in memory, to publish a picture with an event if [snapshots] is on.

A crop is copied from the frame of a sample, and replaced by a better one. Each visitor has at most one crop, which is
dropped when the visitor leaves. This does not affect decisions.
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
    """Copied pixels, and the embedding of their sample: (D,) float32, unit length."""

    pixels: BgrImage
    quality: float
    embedding: FloatArray


class SnapshotBuffer:
    """Face crops of one door; does nothing if [snapshots] is off."""

    def __init__(self, config: SnapshotsConfig, track_consistency_sq: float) -> None:
        self._config = config
        self._track_consistency_sq = track_consistency_sq  # two samples farther apart than this show two people
        self._crops: dict[int, _FaceCrop] = {}

    def update(self, frame: Frame, tracks: Sequence[Track], samples: Mapping[int, Sample]) -> None:
        """Keep better crops from one step; call it before the next frame is requested.

        Args:
            frame: frame of the samples.
            tracks: tracks of this step; crops of other tracks are dropped.
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
        """JPEG file for a decision; None: its kind has no picture, or there is no crop of this visitor.

        A track can switch to another visitor, so the crop must be similar to the face of the decision.
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
    """Copy a face with a margin, clipped to the frame; fast, because the pipeline waits.

    Args:
        pixels: (H, W, 3) uint8, BGR.
        box: box of the face, frame pixels; its centre is within the frame.
        margin: margin on each side, as a share of the longer side of the box.
        max_px: longest side of the final picture. Pixels are skipped if a side is at least twice as long, until it is
            less than four times as long.

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
