"""Whether a camera that gives frames also sees: frozen, black, flooded with light, or covered.

A copy of the frame before is no evidence of anything, so it is told apart at once; the rest needs seconds to be
believed and seconds to be over. Nothing here decides who may pass.
"""

from __future__ import annotations

from enum import StrEnum

import cv2
import numpy as np

from edge.core.config import SightConfig
from edge.core.records import Floats, Frame, Pixels

_GREEN = 1
_SPOTS = 20  # points compared along the shorter side before the whole picture is
_JUDGE_NS = 500_000_000  # the patches are looked at once in so long
_STRIDE = 8  # every eighth pixel flows into the patches
_PATCHES = (16, 12)  # columns, rows: large enough that noise averages out of them, small enough for a door frame
_WHITE = 245.0  # mean grey level of a patch that is all but white
_SLACK = 1.5  # what counts as blind already must become better by this factor to count as seeing


class Blindness(StrEnum):
    """Why a camera that gives frames is of no use."""

    BLACK = "black"
    FLOODED = "flooded"
    COVERED = "covered"
    FROZEN = "frozen"


SIGNS = {
    Blindness.BLACK: "nothing in the picture is brighter than black; is there light, is the lens free?",
    Blindness.FLOODED: "nearly all of the picture is white; does a lamp or the sun shine into it?",
    Blindness.COVERED: "there is no detail in the picture; is the lens covered, fogged or far out of focus?",
    Blindness.FROZEN: "it gives the same picture for ever; it is opened anew",
}


class Sight:
    """Watches the frames of one camera, also across its being opened anew; not thread-safe.

    Attributes:
        blind: why it sees nothing, or None; believed after `blind_after_s`, over after `sees_after_s`.
    """

    def __init__(self, config: SightConfig) -> None:
        self.blind: Blindness | None = None
        self._config = config
        self._spots = b""
        self._kept: Pixels = np.empty((0, 0, 3), np.uint8)
        self._holds = False  # whether `_kept` is the last frame
        self._looks: Blindness | None = None  # what the patches say
        self._judged_ns: int | None = None
        self._changed_ns = 0  # the last time that a frame differed from the one before
        self._turned_ns = 0  # the last time that the answer was the opposite
        self._opened_ns = 0
        self._seq = -1
        self._now_ns = 0

    @property
    def stuck(self) -> bool:
        """Whether the camera should be opened anew: frozen ever since it was opened, or for `frozen_after_s` again."""
        rested_ns = self._now_ns - max(self._changed_ns, self._opened_ns)
        return self.blind is Blindness.FROZEN and rested_ns >= self._config.frozen_after_s * 1e9

    def look(self, frame: Frame) -> bool:
        """Take one frame of a real camera; returns whether it is a new picture.

        Not new is what equals the frame before in every byte, as no sensor gives it twice unless all is black, white
        or smoothed away; and the very first one, since a camera may be frozen from the start.
        """
        if self._seq < 0:
            self._changed_ns = self._turned_ns = frame.t_ns
        if frame.seq <= self._seq or self._seq < 0:
            self._opened_ns = frame.t_ns
        self._seq, self._now_ns = frame.seq, frame.t_ns
        new = self._differs(frame.pixels)
        if new:
            self._changed_ns = frame.t_ns
        if self._judged_ns is None or frame.t_ns - self._judged_ns >= _JUDGE_NS:
            self._judged_ns = frame.t_ns
            self._looks = blindness(patches(frame.pixels), self._config, _SLACK if self.blind else 1.0)
        self._settle(frame.t_ns)
        return new

    def _differs(self, pixels: Pixels) -> bool:
        step = max(1, min(pixels.shape[:2]) // _SPOTS)
        spots = pixels[::step, ::step, _GREEN].tobytes()
        if spots != self._spots:
            first = not self._spots
            self._spots, self._holds = spots, False
            return not first
        if self._holds and self._kept.shape == pixels.shape and cv2.norm(pixels, self._kept, cv2.NORM_INF) == 0:
            return False
        # The spots alone cannot tell a copy from a small change far away: the first such frame counts as a copy.
        new = self._holds
        if self._kept.shape != pixels.shape:
            self._kept = np.empty_like(pixels)
        np.copyto(self._kept, pixels)
        self._holds = True
        return new

    def _settle(self, t_ns: int) -> None:
        reason = self._looks
        clipped = reason in (Blindness.BLACK, Blindness.FLOODED)  # there a healthy camera may give equal frames
        frozen = t_ns - self._changed_ns >= self._config.frozen_after_s * 1e9
        if frozen and not clipped:
            reason = Blindness.FROZEN
        if (reason is None) == (self.blind is None):
            self._turned_ns = t_ns
            self.blind = reason
            return
        wait_s = self._config.sees_after_s if reason is None else self._config.blind_after_s
        if reason is Blindness.FROZEN or t_ns - self._turned_ns >= wait_s * 1e9:
            self._turned_ns = t_ns
            self.blind = reason


def patches(pixels: Pixels) -> Floats:
    """The picture as a few mean levels.

    Args:
        pixels: (H, W, 3) uint8, BGR.

    Returns:
        (12, 16) float32, 0..255: means of the green channel.
    """
    sparse = np.ascontiguousarray(pixels[::_STRIDE, ::_STRIDE, _GREEN])
    levels = cv2.resize(sparse.astype(np.float32), _PATCHES, interpolation=cv2.INTER_AREA)
    return np.asarray(levels, np.float32)


def blindness(levels: Floats, config: SightConfig, slack: float = 1.0) -> Blindness | None:
    """Why one picture shows nothing, or None.

    Args:
        levels: its patches.
        config: where that begins.
        slack: above 1 it must be better than that by this factor.
    """
    if levels.max() <= config.black_level * slack:
        return Blindness.BLACK
    if np.count_nonzero(levels >= _WHITE) > config.flooded_share / slack * levels.size:
        return Blindness.FLOODED
    return Blindness.COVERED if detail(levels) < config.covered_detail * slack else None


def detail(levels: Floats) -> float:
    """Mean curvature of the patches as a share of their mean level, 0 for an even or evenly shaded picture.

    A share, so that it stays when the light goes: scenes give 0.2 and more by day and by night, a hand or a cloth
    before the lens below 0.05.
    """
    curved = cv2.Laplacian(levels, cv2.CV_32F)[1:-1, 1:-1]
    return float(np.abs(curved).mean() / max(float(levels.mean()), 1.0))
