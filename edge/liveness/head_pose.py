"""Measures head turns by depth, which pictures do not have.

Between two samples of a head, each mesh point moves by its position in the picture and by its depth. A fit of one
sample onto the other separates the two (scaled orthographic structure from motion, Tomasi and Kanade 1992): the
coefficient of depth is the sine of the turn. A picture of a face that somebody turns has no depth, even if the mesh
is deceived, and it is foreshortened, unlike a head. A bent picture has depth, but not that of a face, and no nose.
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

# Required movements in degrees of `estimate_motion`. Chosen on 38 people of LFW with the simulated turns of `pad` and
# on their photos held in a hand, bent around 100 to 400 mm, half of them around 100 to 125. Of 213 turns by 24 to 40
# degrees, 212 reached these values in three samples in a row, and none of 98 turned photos did; of 106 upward movements
# by 22 to 32 degrees from a pitch of at most 5 degrees all did, and none of 44 photos. Over 1,225 real photos of 78
# people of LFW the correlation of `estimate_motion` with the yaw of the mesh is 0.997.
AMPLITUDE_DEG = {ChallengeMovement.TURN_LEFT: 19.0, ChallengeMovement.TURN_RIGHT: 19.0, ChallengeMovement.LOOK_UP: 11.5}
_POSE_SHARE = 0.3  # of the amplitude; the pose of the mesh must reach it, too
_TURN = (0.95, 1.3), 0.14  # range of stretch; largest misfit per sine of the turn
_NOD = (0.9, 1.13), 0.18  # the same for looking up
_RELIEF = 0.87  # smallest relief, for looking up; in a turn a bent picture has that of a head
_UP_ALREADY_DEG = 5.0  # largest initial pitch for looking up, because the int8 mesh measures at most about 22
_STRAIGHT_DEG = (22.0, 28.0)  # largest yaw and pitch of a straight head
# Size and place of the head relative to rest, which exclude a farther head next to it or behind it. Of samples of 31
# people of LFW with the simulated turns of `pad` at 20 to 26 pixels between the eyes, 98 % are within these sizes, and
# none is farther than 0.37 face heights.
_SIZE = (0.85, 1.18)  # relative to the size at rest, independent of the turn
_PLACE = 0.75  # largest distance from the middle at rest, in face heights


@dataclass(frozen=True, slots=True)
class HeadMotion:
    """Motion of a head between two samples."""

    left_deg: float  # turn to the head's own left; negative: to its right
    up_deg: float  # upward nod; negative: downward
    # Change of the ratio of width to height: 1 for a rigid head, less for a picture turned about a vertical axis, more
    # for one turned about a horizontal axis
    stretch: float
    misfit: float = 0.0  # residual of the fit, in sizes of the face
    size: float = 1.0  # change of size: 1 at the same distance, independent of turns


def estimate_motion(reference: FloatArray, points: FloatArray) -> HeadMotion:
    """Motion between two meshes of one head, (468, 3) float32 as in `records.Landmarks`, in pixels of any scale."""
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
    """Vertical motion of protruding parts such as the nose, relative to the motion expected from their depth.

    About 1 for a head; a bent sheet has no protruding parts. Meshes as for `estimate_motion`.
    """
    start = _about_middle(reference)
    x, y, z = start.T
    bowl = np.column_stack([x, y, x * x, x * y, y * y, np.ones_like(x)])
    nose = z - bowl @ _fitted(bowl, z)
    _, down = _upright(_fitted(np.column_stack([start, nose]), _about_middle(points)[:, :2]))
    return float(1 + down[3] / down[2]) if down[2] else 0.0


def _about_middle(points: FloatArray) -> Reals:
    """A mesh relative to its middle, scaled to unit spread."""
    return np.asarray((points - points.mean(0)).astype(np.float64) / _spread(points), np.float64)


def _spread(points: FloatArray) -> float:
    """Root mean square of x and y of a mesh relative to the middle, in the unit of `points`."""
    apart = (points - points.mean(0))[:, :2].astype(np.float64)
    return max(float(np.sqrt((apart**2).mean())), 1e-9)


def _fitted(columns: Reals, seen: Reals) -> Reals:
    """Least squares: coefficients (K, N) or (N,) of the columns (M, N) for `seen`, (M, K) or (M,)."""
    within = columns.T @ columns + 1e-9 * np.eye(columns.shape[1])
    return np.asarray(np.linalg.solve(within, columns.T @ seen).T, np.float64)


def _upright(onto: Reals) -> Reals:
    """A fit (2, N) without the roll of the head or of the picture, which rotates its two rows."""
    roll = math.atan2(onto[1, 0] - onto[0, 1], onto[0, 0] + onto[1, 1])
    cos, sin = math.cos(roll), math.sin(roll)
    return np.asarray(np.array([[cos, sin], [-sin, cos]]) @ onto, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class RestPose:
    """Reference pose of a head at rest: the mean of several samples, because one has an error of a degree or two."""

    points_px: FloatArray  # (468, 3) float32, mesh relative to its middle
    middle_px: FloatArray  # (3,) float32, that middle
    yaw_deg: float  # yaw and pitch of the mesh
    pitch_deg: float

    @classmethod
    def of(cls, looks: Sequence[tuple[FloatArray, Quality]]) -> Self:
        """Mean of samples of a nearly still head: meshes in pixels of one scale, each with its quality."""
        mean = np.stack([points for points, _ in looks]).mean(0, dtype=np.float32)
        middle = mean.mean(0)
        yaw_deg, pitch_deg = fmean(seen.yaw_deg for _, seen in looks), fmean(seen.pitch_deg for _, seen in looks)
        return cls(np.asarray(mean - middle, np.float32), np.asarray(middle, np.float32), yaw_deg, pitch_deg)

    @property
    def is_straight(self) -> bool:
        yaw_deg, pitch_deg = _STRAIGHT_DEG
        return abs(self.yaw_deg) <= yaw_deg and abs(self.pitch_deg) <= pitch_deg

    def permits(self, ask: ChallengeMovement) -> bool:
        """Whether the mesh can measure this movement; a head that already looks up cannot look up much more."""
        return ask is not ChallengeMovement.LOOK_UP or self.pitch_deg <= _UP_ALREADY_DEG

    def to(self, other: RestPose) -> HeadTurn:
        """The turn from this pose to another."""
        shown = HeadMotion(other.yaw_deg - self.yaw_deg, other.pitch_deg - self.pitch_deg, 1.0)
        away_px = math.dist(self.middle_px[:2].tolist(), other.middle_px[:2].tolist())
        height_px = max(float(np.ptp(self.points_px[:, 1])), 1e-9)
        seen = estimate_motion(self.points_px, other.points_px)
        return HeadTurn(seen, shown, self.points_px, other.points_px, away_px / height_px)


@dataclass(frozen=True, slots=True, eq=False)
class HeadTurn:
    """A movement since rest: `seen` measured by parallax, `shown` by the pose of the mesh."""

    seen: HeadMotion
    shown: HeadMotion
    start_px: FloatArray  # start and end: (468, 3) float32, meshes relative to their middles
    end_px: FloatArray
    away: float  # motion of the middle, in face heights at rest

    @property
    def in_place(self) -> bool:
        """Whether size and place are those of the head at rest; a farther or another head rarely matches."""
        least, most = _SIZE
        return least <= self.seen.size <= most and self.away <= _PLACE

    @property
    def largest(self) -> float:
        return max(self.share(ask) for ask in ChallengeMovement)

    def share(self, ask: ChallengeMovement) -> float:
        """Share of the amplitude of a movement, by parallax."""
        return _angle_towards(ask, self.seen) / AMPLITUDE_DEG[ask]

    def completed(self, ask: ChallengeMovement) -> bool:
        """Whether a real head has made this movement completely."""
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
