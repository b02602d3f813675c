"""The best look at each visitor's face, in memory only: for a picture beside the event, where [snapshots] asks for it.

A crop is made from the lent frame at the moment of a sample and replaced by a better one. At most one a visitor is
held, of those before the camera; with the visitor it goes. Nothing here decides anything.
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
    """`pixels` is a copy; `embedding` of the sample that it shows, (D,) float32, unit length."""

    pixels: BgrImage
    quality: float
    embedding: FloatArray


class SnapshotBuffer:
    """Gathers the crops of one door; does nothing where no kind of event asks for one."""

    def __init__(self, config: SnapshotsConfig, track_consistency_sq: float) -> None:
        """
        Args:
            config: which events, and how the picture is cut.
            track_consistency_sq: two looks farther apart than this show two people.
        """
        self._config = config
        self._same_face_sq = track_consistency_sq
        self._crops: dict[int, _FaceCrop] = {}

    def update(self, frame: Frame, tracks: Sequence[Track], samples: Mapping[int, Sample]) -> None:
        """Take the samples of one step, while its frame is lent.

        Args:
            frame: the one they were taken from.
            tracks: all of this step; the crops of others are forgotten.
            samples: by track id.
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
                or _distance_sq(kept.embedding, sample.embedding) > self._same_face_sq
            ):
                pixels = crop(frame.pixels, track.face.box, self._config.margin, self._config.max_px)
                self._crops[track.id] = _FaceCrop(pixels, sample.quality.weight, sample.embedding)

    def pop(self, decision: Decision) -> bytes | None:
        """The JPEG file that belongs to a decision; None where none is asked for, or none shows that visitor.

        A track can pass from one visitor to the next: the crop must be near the face that was decided on.
        """
        verdict = decision.verdict
        kept = self._crops.get(verdict.track.id)
        if decision.kind not in self._config.kinds or kept is None:
            return None
        if _distance_sq(kept.embedding, verdict.embedding) > self._same_face_sq:
            return None
        picture = downscale(kept.pixels, self._config.max_px)
        encoded, jpeg = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, self._config.jpeg_quality))
        assert encoded, "OpenCV has no JPEG encoder"
        return jpeg.tobytes()

    def clear(self) -> None:
        """Forget everybody: nobody is before the camera any more."""
        self._crops.clear()


def crop(pixels: BgrImage, box: Box, margin: float, max_px: int) -> BgrImage:
    """A face with what is around it, cut at the frame's edges; in the midst of a frame, so cheap.

    Args:
        pixels: (H, W, 3) uint8, BGR.
        box: the face, frame pixels; its centre is within the frame.
        margin: added on each side, a share of the box's longer side.
        max_px: of a picture with a side twice as long or longer pixels are left out, down to less than four times.

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
    """The picture, (h, w, 3) uint8, scaled down so far that no side is longer than this."""
    scale = max_px / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = max(round(pixels.shape[1] * scale), 1), max(round(pixels.shape[0] * scale), 1)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _distance_sq(one: FloatArray, other: FloatArray) -> float:
    return float(2 - 2 * (one @ other))
