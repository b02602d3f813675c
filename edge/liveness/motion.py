"""How far a head has turned, told from what only depth can do.

Between two looks at a head, each point of its mesh moves by its place in the picture and by its depth. A fit of the
one look onto the other splits the two (scaled orthographic structure from motion, Tomasi and Kanade 1992): the share
of depth is the sine of the turn. A picture of a face that is turned by hand has no depth, however the mesh is deceived,
and the picture is foreshortened, which a head is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edge.records import Ask, Floats, Quality

# Degrees of `motion`, on 16 people of LFW turned as in tools/spoofing/turns.py and as photos turned by hand: heads that
# turn by 30 give 19 to 37, photos at most 14; heads that look up by 26 give 12 to 26, photos at most 12. Over 1,225
# real photos of 78 people of LFW it follows the mesh's own yaw with a correlation of 0.997.
AMPLITUDE_DEG = {Ask.TURN_LEFT: 18.0, Ask.TURN_RIGHT: 18.0, Ask.LOOK_UP: 13.0}
# Of the amplitude, what the mesh's own depth has to show, too; the int8 mesh shows no more than 6 degrees of looking up
# of somebody who looks up somewhat already.
_POSE_SHARE = 0.3
# Stretch by a movement: of heads 0.92 to 1.15, and more beyond 36 degrees; a photo turned by 45 degrees about the axis
# of that movement shows less than 0.89 and more than 1.18.
_RIGID = {Ask.TURN_LEFT: (0.88, 1.3), Ask.TURN_RIGHT: (0.88, 1.3), Ask.LOOK_UP: (0.85, 1.15)}
_STRAIGHT_DEG = (22.0, 28.0)  # yaw and pitch by the mesh alone, before there is a reference


@dataclass(frozen=True, slots=True)
class Motion:
    """From one look to another.

    Attributes:
        left_deg: turned to the head's own left; negative: to its right.
        up_deg: nodded upwards; negative: downwards.
        stretch: how much longer the face's width became than its height, 1 for a rigid head; a picture turned about
            an upright axis falls below, one turned about a level axis rises above.
    """

    left_deg: float
    up_deg: float
    stretch: float


def motion(reference: Floats, points: Floats) -> Motion:
    """The turn between two looks at one head.

    Args:
        reference, points: (468, 3) float32, meshes as in `records.Landmarks`, in pixels of any scale.
    """
    start = (reference - reference.mean(0)).astype(np.float64)
    end = (points[:, :2] - points[:, :2].mean(0)).astype(np.float64)
    # Normal equations: three unknowns a row, well apart, as a face is as deep as it is broad.
    onto = np.linalg.solve(start.T @ start + 1e-9 * np.eye(3), start.T @ end).T
    # A roll of the head, or of the picture, turns both rows: it is taken out before the two turns are read off.
    roll = math.atan2(onto[1, 0] - onto[0, 1], onto[0, 0] + onto[1, 1])
    cos, sin = math.cos(roll), math.sin(roll)
    across, down = np.array([[cos, sin], [-sin, cos]]) @ onto
    left = math.degrees(math.atan2(-across[2], across[0]))
    up = math.degrees(math.atan2(down[2], down[1]))
    return Motion(left, up, float(np.linalg.norm(across) / max(float(np.linalg.norm(down)), 1e-9)))


@dataclass(frozen=True, slots=True)
class Straight:
    """A look before a movement, to measure it against."""

    points_px: Floats
    quality: Quality

    @property
    def is_straight(self) -> bool:
        yaw_deg, pitch_deg = _STRAIGHT_DEG
        return abs(self.quality.yaw_deg) <= yaw_deg and abs(self.quality.pitch_deg) <= pitch_deg

    def to(self, points_px: Floats, quality: Quality) -> Turn:
        left_deg, up_deg = quality.yaw_deg - self.quality.yaw_deg, quality.pitch_deg - self.quality.pitch_deg
        return Turn(motion(self.points_px, points_px), Motion(left_deg, up_deg, 1.0))


@dataclass(frozen=True, slots=True)
class Turn:
    """A movement since the straight look: `seen` by its parallax, `shown` by the mesh's own depth."""

    seen: Motion
    shown: Motion

    @property
    def largest(self) -> float:
        return max(self.share(ask) for ask in Ask)

    def share(self, ask: Ask) -> float:
        """Of the amplitude of a movement, by parallax."""
        return _towards(ask, self.seen) / AMPLITUDE_DEG[ask]

    def made(self, ask: Ask) -> bool:
        """Whether a head has made this movement in full."""
        shown = _towards(ask, self.shown) / AMPLITUDE_DEG[ask]
        least, most = _RIGID[ask]
        return self.share(ask) >= 1 and shown >= _POSE_SHARE and least <= self.seen.stretch <= most


def _towards(ask: Ask, turn: Motion) -> float:
    return {Ask.TURN_LEFT: turn.left_deg, Ask.TURN_RIGHT: -turn.left_deg}.get(ask, turn.up_deg)
