"""How far a head has turned, told from what only depth can do.

Between two looks at a head, each point of its mesh moves by its place in the picture and by its depth. A fit of the
one look onto the other splits the two (scaled orthographic structure from motion, Tomasi and Kanade 1992): the share
of depth is the sine of the turn. A picture of a face that is turned by hand has no depth, however the mesh is deceived,
and the picture is foreshortened, which a head is not; one that is bent has depth, but neither a face's nor a nose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edge.core.records import FloatArray, Quality
from edge.liveness.prompts import ChallengeMovement

Reals = NDArray[np.float64]

# What a head has to show, in degrees of `estimate_motion`, and how. Chosen on 38 people of LFW who turn as in
# the simulated turns of `pad` and on their photos in a hand, bent around 100 to 400 mm, half of them around 100 to 125:
# of 213 turns by 24 to 40 degrees 212 showed this in three looks in a row, of 98 turned photos none; of 106 looks
# upwards by 22 to 32 from a pitch of at most 5 degrees all, of 44 photos none. Over 1,225 real photos of 78 people
# of LFW `estimate_motion` follows the mesh's own yaw with a correlation of 0.997.
AMPLITUDE_DEG = {ChallengeMovement.TURN_LEFT: 19.0, ChallengeMovement.TURN_RIGHT: 19.0, ChallengeMovement.LOOK_UP: 11.5}
_POSE_SHARE = 0.3  # of the amplitude, what the mesh's own depth has to show, too
_TURN = (0.95, 1.3), 0.14  # stretch; misfit at most, for each unit of the turn's sine
_NOD = (0.9, 1.13), 0.18  # the same of looking up
_RELIEF = 0.87  # at least, of looking up; in a turn a sheet's is like a head's
_UP_ALREADY_DEG = 5.0  # beyond, the int8 mesh shows too little of looking up: its pitch ends at about 22
_STRAIGHT_DEG = (22.0, 28.0)  # yaw and pitch by the mesh alone, before there is a reference
# Where the head at rest still is, so that a farther head beside or behind it is not taken for it. Of looks of 31 people
# of LFW who turn as in the simulated turns of `pad` at 20 to 26 pixels between the eyes, 98 % are within these sizes,
# and none is farther than 0.37 of the face's height.
_SIZE = (0.85, 1.18)  # of the size at rest, whatever the turn
_PLACE = 0.75  # of the face's height, from its middle at rest


@dataclass(frozen=True, slots=True)
class HeadMotion:
    """From one look to another."""

    left_deg: float  # turned to the head's own left; negative: to its right
    up_deg: float  # nodded upwards; negative: downwards
    # How much longer the face's width became than its height, 1 for a rigid head; a picture turned about an upright
    # axis falls below, one turned about a level axis rises above
    stretch: float
    misfit: float = 0.0  # what neither place nor depth explains, in sizes of the face
    size: float = 1.0  # how much larger the head became, 1 at the same distance; a turn does not change it


def estimate_motion(reference: FloatArray, points: FloatArray) -> HeadMotion:
    """The turn between two meshes of one head, (468, 3) float32 as in `records.Landmarks`, in pixels of any scale."""
    start, end = _about_middle(reference), _about_middle(points)[:, :2]
    onto = _fitted(start, end)
    misfit = float(np.linalg.norm(end - start @ onto.T) / max(float(np.linalg.norm(end)), 1e-9))
    across, down = _upright(onto)
    left = math.degrees(math.atan2(-across[2], across[0]))
    up = math.degrees(math.atan2(down[2], down[1]))
    wide, high = float(np.linalg.norm(across)), float(np.linalg.norm(down))
    size = math.sqrt(wide * high) * _spread(points) / _spread(reference)
    return HeadMotion(left, up, wide / max(high, 1e-9), misfit, size)


def depth_relief(reference: FloatArray, points: FloatArray) -> float:
    """How far what sticks out, as a nose does, moved up or down, in what its depth makes of the rest's movement.

    Around 1 for a head. A sheet, however it is bent, has nothing that sticks out. Meshes as of `estimate_motion`.
    """
    start = _about_middle(reference)
    x, y, z = start.T
    bowl = np.column_stack([x, y, x * x, x * y, y * y, np.ones_like(x)])
    nose = z - bowl @ _fitted(bowl, z)
    _, down = _upright(_fitted(np.column_stack([start, nose]), _about_middle(points)[:, :2]))
    return float(1 + down[3] / down[2]) if down[2] else 0.0


def _about_middle(points: FloatArray) -> Reals:
    """A mesh about its middle, so large that its places are around 1."""
    return np.asarray((points - points.mean(0)).astype(np.float64) / _spread(points), np.float64)


def _spread(points: FloatArray) -> float:
    """How far a mesh's places are from their middle, root mean square, in the unit of `points`."""
    apart = (points - points.mean(0))[:, :2].astype(np.float64)
    return max(float(np.sqrt((apart**2).mean())), 1e-9)


def _fitted(columns: Reals, seen: Reals) -> Reals:
    """(K, N) or (N,): what of each column (M, N) makes `seen`, (M, K) or (M,), by normal equations."""
    within = columns.T @ columns + 1e-9 * np.eye(columns.shape[1])
    return np.asarray(np.linalg.solve(within, columns.T @ seen).T, np.float64)


def _upright(onto: Reals) -> Reals:
    """A fit (2, N) without the roll of the head, or of the picture, which turns both of its rows."""
    roll = math.atan2(onto[1, 0] - onto[0, 1], onto[0, 0] + onto[1, 1])
    cos, sin = math.cos(roll), math.sin(roll)
    return np.asarray(np.array([[cos, sin], [-sin, cos]]) @ onto, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class RestPose:
    """A head at rest, to measure movements against: the mean of some looks, as one alone errs by a degree or two."""

    points_px: FloatArray  # (468, 3) float32, the mesh about its middle
    middle_px: FloatArray  # (3,) float32, that middle
    yaw_deg: float  # yaw and pitch by the mesh's own depth
    pitch_deg: float

    @classmethod
    def of(cls, looks: Sequence[tuple[FloatArray, Quality]]) -> Self:
        """The mean of looks at a head that hardly moves: meshes, in pixels of one scale, and what was seen of each."""
        mean = np.stack([points for points, _ in looks]).mean(0, dtype=np.float32)
        middle = mean.mean(0)
        yaw_deg, pitch_deg = fmean(seen.yaw_deg for _, seen in looks), fmean(seen.pitch_deg for _, seen in looks)
        return cls(np.asarray(mean - middle, np.float32), np.asarray(middle, np.float32), yaw_deg, pitch_deg)

    @property
    def is_straight(self) -> bool:
        yaw_deg, pitch_deg = _STRAIGHT_DEG
        return abs(self.yaw_deg) <= yaw_deg and abs(self.pitch_deg) <= pitch_deg

    def permits(self, ask: ChallengeMovement) -> bool:
        """Whether a mesh can show this movement: of somebody who looks up already, it shows hardly any more of it."""
        return ask is not ChallengeMovement.LOOK_UP or self.pitch_deg <= _UP_ALREADY_DEG

    def to(self, other: RestPose) -> HeadTurn:
        """The turn from this look to another."""
        shown = HeadMotion(other.yaw_deg - self.yaw_deg, other.pitch_deg - self.pitch_deg, 1.0)
        away_px = math.dist(self.middle_px[:2].tolist(), other.middle_px[:2].tolist())
        height_px = max(float(np.ptp(self.points_px[:, 1])), 1e-9)
        seen = estimate_motion(self.points_px, other.points_px)
        return HeadTurn(seen, shown, self.points_px, other.points_px, away_px / height_px)


@dataclass(frozen=True, slots=True, eq=False)
class HeadTurn:
    """A movement of a mesh since it was at rest: `seen` by its parallax, `shown` by the mesh's own depth."""

    seen: HeadMotion
    shown: HeadMotion
    start_px: FloatArray  # start and end: (468, 3) float32, the meshes about their middles
    end_px: FloatArray
    away: float  # how far the middle has moved, in heights of the face at rest

    @property
    def in_place(self) -> bool:
        """Whether this head has the size and the place of the one at rest; a farther or another head seldom has."""
        least, most = _SIZE
        return least <= self.seen.size <= most and self.away <= _PLACE

    @property
    def largest(self) -> float:
        return max(self.share(ask) for ask in ChallengeMovement)

    def share(self, ask: ChallengeMovement) -> float:
        """Of the amplitude of a movement, by parallax."""
        return _angle_towards(ask, self.seen) / AMPLITUDE_DEG[ask]

    def completed(self, ask: ChallengeMovement) -> bool:
        """Whether a head has made this movement in full."""
        shown = _angle_towards(ask, self.shown) / AMPLITUDE_DEG[ask]
        (least, most), misfit = _NOD if ask is ChallengeMovement.LOOK_UP else _TURN
        depth = math.sin(math.radians(_angle_towards(ask, self.seen)))
        if self.share(ask) < 1 or shown < _POSE_SHARE or not least <= self.seen.stretch <= most:
            return False
        if self.seen.misfit > misfit * depth:
            return False
        return ask is not ChallengeMovement.LOOK_UP or depth_relief(self.start_px, self.end_px) >= _RELIEF


def _angle_towards(ask: ChallengeMovement, turn: HeadMotion) -> float:
    if ask is ChallengeMovement.LOOK_UP:
        return turn.up_deg
    return turn.left_deg if ask is ChallengeMovement.TURN_LEFT else -turn.left_deg
