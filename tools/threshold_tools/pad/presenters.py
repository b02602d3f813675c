"""Simulated presenters for the challenge of a door: a visitor who follows, a photo in a hand, a recording.

Each renders the frame at a moment and receives the prompts of the door; a recording ignores them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import cv2
import numpy as np

from edge.core.records import BgrImage
from edge.liveness.prompts import ChallengeMovement, ChallengePrompt, ChallengeState
from threshold_tools.pad import rendering
from threshold_tools.pad.rendering import FACE_AREA, Pose, RenderedHead, jpeg_compressed, minimum_jerk, tilt_picture

MOVEMENTS = tuple(ChallengeMovement)
_GRAIN_PX = 128  # largest shift of the noise between frames


class Presenter(Protocol):
    """A person or an attack instrument in front of the camera."""

    def on_prompt(self, prompt: ChallengePrompt, t_s: float) -> None:
        """Receive a prompt of the door; photos and recordings ignore it."""
        return

    def render(self, t_s: float) -> BgrImage:
        """Render the frame of the camera, (480, 640, 3) uint8 BGR."""


@dataclass(frozen=True, slots=True)
class MotionStyle:
    """Range of each parameter of head movements."""

    reaction_s: tuple[float, float] = (0.35, 1.0)  # from the prompt to the start of the movement
    way_s: tuple[float, float] = (0.45, 1.0)  # duration of the turn, and of the return
    hold_s: tuple[float, float] = (0.4, 0.9)  # time that the head stays turned
    sideways_deg: tuple[float, float] = (26.0, 40.0)
    upwards_deg: tuple[float, float] = (24.0, 32.0)


USUAL = MotionStyle()
SLOW = MotionStyle(
    reaction_s=(1.0, 2.0), way_s=(0.9, 1.6), hold_s=(0.3, 0.6), sideways_deg=(24.0, 32.0), upwards_deg=(22.0, 28.0)
)


@dataclass(frozen=True, slots=True)
class HeadMovement:
    """One movement out and back along a minimum-jerk path (Flash and Hogan 1985), like a real head."""

    movement: ChallengeMovement
    begin_s: float
    out_s: float
    hold_s: float
    back_s: float
    degrees: float

    @property
    def end_s(self) -> float:
        return self.begin_s + self.out_s + self.hold_s + self.back_s

    def pose(self, t_s: float) -> Pose:
        out = minimum_jerk((t_s - self.begin_s) / self.out_s)
        back = minimum_jerk((t_s - self.end_s + self.back_s) / self.back_s)
        return pose_of(self.movement, self.degrees * (out - back))


def pose_of(movement: ChallengeMovement, degrees: float) -> Pose:
    """Pose of the head after the requested movement by this angle."""
    if movement is ChallengeMovement.LOOK_UP:
        return Pose(pitch_deg=degrees)
    return Pose(yaw_deg=degrees if movement is ChallengeMovement.TURN_LEFT else -degrees)


def draw_movement(
    movement: ChallengeMovement, begin_s: float, rng: np.random.Generator, style: MotionStyle = USUAL
) -> HeadMovement:
    """A random movement with angle and durations from a style."""
    degrees = rng.uniform(*(style.upwards_deg if movement is ChallengeMovement.LOOK_UP else style.sideways_deg))
    out_s, hold_s, back_s = rng.uniform(*style.way_s), rng.uniform(*style.hold_s), rng.uniform(*style.way_s)
    return HeadMovement(movement, begin_s, out_s, hold_s, back_s, float(degrees))


class HandSway:
    """Slow involuntary movements of head and body, or of a hand."""

    def __init__(self, rng: np.random.Generator, degrees: float, pixels: float) -> None:
        self._reach = np.array([degrees, degrees, pixels, pixels])
        self._hertz, self._phase = rng.uniform(0.1, 0.5, 4), rng.uniform(0, 2 * math.pi, 4)

    def at(self, t_s: float, moved: Pose) -> Pose:
        yaw, pitch, x, y = (self._reach * np.sin(2 * math.pi * self._hertz * t_s + self._phase)).tolist()
        return Pose(moved.yaw_deg + yaw, moved.pitch_deg + pitch, moved.x_px + x, moved.y_px + y)


class Visitor:
    """A genuine visitor, who follows each prompt after a reaction time."""

    def __init__(self, head: RenderedHead, rng: np.random.Generator, style: MotionStyle = USUAL) -> None:
        self._head, self._rng, self._style = head, rng, style
        self._sway = HandSway(rng, 1.5, 2.0)
        self._camera = CameraModel(rng)
        self.movement: HeadMovement | None = None

    def on_prompt(self, prompt: ChallengePrompt, t_s: float) -> None:
        if prompt.state is ChallengeState.ASKED and prompt.movement is not None:
            begin_s = t_s + self._rng.uniform(*self._style.reaction_s)
            self.movement = draw_movement(prompt.movement, begin_s, self._rng, self._style)

    def render(self, t_s: float) -> BgrImage:
        moved = self.movement.pose(t_s) if self.movement else Pose()
        return self._camera.capture(self._head.render(self._sway.at(t_s, moved)))


class StaticPhoto(Presenter):
    """A photo that ignores prompts: on a stand, or waved in a hand."""

    def __init__(self, photo: BgrImage, rng: np.random.Generator, *, waved: bool) -> None:
        self._photo = photo
        self._sway = HandSway(rng, rng.uniform(5, 15), rng.uniform(10, 40)) if waved else HandSway(rng, 0, 0)
        self._camera = CameraModel(rng)

    def render(self, t_s: float) -> BgrImage:
        return self._camera.capture(tilt_picture(self._photo, self._sway.at(t_s, Pose())))


class HeldPhoto:
    """A photo in a hand that turns it by up to 45 degrees after each prompt, from a random position."""

    def __init__(self, photo: BgrImage, rng: np.random.Generator, radius_px: float | None = None) -> None:
        """`photo`: (480, 640, 3) uint8 BGR; `radius_px`: radius of the cylinder around which it is bent; None: flat."""
        self._rng = rng
        upright = bool(rng.random() < 0.7)
        self._show = partial(tilt_picture, photo)
        if radius_px is not None:
            self._show = partial(rendering.bend_picture, photo, radius_px=radius_px, upright=upright)
        self._rest = Pose(rng.uniform(-30, 30), rng.uniform(-30, 30)) if rng.random() < 0.5 else Pose()
        self._sway = HandSway(rng, 4.0, 6.0)
        self._camera = CameraModel(rng)
        self.movement: HeadMovement | None = None

    def on_prompt(self, prompt: ChallengePrompt, t_s: float) -> None:
        if prompt.state is not ChallengeState.ASKED or prompt.movement is None:
            return
        drawn = draw_movement(prompt.movement, t_s + self._rng.uniform(0.35, 1.0), self._rng)
        at_rest = self._rest.pitch_deg if prompt.movement is ChallengeMovement.LOOK_UP else self._rest.yaw_deg
        # The mesh may interpret a tilt in either direction, so the hand tries both, up to 45 degrees from frontal.
        sign = 1 if self._rng.random() < 0.5 else -1
        away = -at_rest if prompt.movement is ChallengeMovement.TURN_RIGHT else at_rest
        self.movement = replace(drawn, degrees=sign * self._rng.uniform(25, 45) - away)

    def render(self, t_s: float) -> BgrImage:
        moved = self.movement.pose(t_s) if self.movement else Pose()
        rest = Pose(self._rest.yaw_deg + moved.yaw_deg, self._rest.pitch_deg + moved.pitch_deg)
        return self._camera.capture(self._show(self._sway.at(t_s, rest)))


class PhotosInTurn:
    """Still photos of one person in every possible pose; the requested one replaces the frontal one.

    It replaces the frontal photo suddenly in half of the trials, and slides across as on a telephone in the others.
    """

    _SLIDE_S = 0.25

    def __init__(self, head: RenderedHead, rng: np.random.Generator) -> None:
        self._straight = head.render(Pose())
        self._turned = {movement: head.render(pose_of(movement, rng.uniform(24, 32))) for movement in MOVEMENTS}
        self._rng = rng
        self._slides = bool(rng.random() < 0.5)
        self._sway = HandSway(rng, 4.0, 6.0)
        self._camera = CameraModel(rng)
        self._swap: tuple[BgrImage, float, float] = (self._straight, -2.0, -1.0)

    def on_prompt(self, prompt: ChallengePrompt, t_s: float) -> None:
        if prompt.state is ChallengeState.ASKED and prompt.movement is not None:
            begin_s = t_s + self._rng.uniform(0.35, 1.0)
            self._swap = (self._turned[prompt.movement], begin_s, begin_s + self._rng.uniform(0.8, 1.5))

    def render(self, t_s: float) -> BgrImage:
        turned, begin_s, end_s = self._swap
        share = self._share(t_s - begin_s) - self._share(t_s - end_s)
        edge = round(share * turned.shape[1])
        shown = np.hstack([self._straight[:, edge:], turned[:, :edge]])
        return self._camera.capture(tilt_picture(shown, self._sway.at(t_s, Pose())))

    def _share(self, since_s: float) -> float:
        """Visible share of the other picture, this long after it started to appear."""
        return minimum_jerk(since_s / self._SLIDE_S) if self._slides else float(since_s >= 0)


class Recording(Presenter):
    """A clip of a genuine visitor on a screen, with movements for another challenge."""

    def __init__(self, head: RenderedHead, movements: tuple[HeadMovement, ...], rng: np.random.Generator) -> None:
        self._head, self._movements = head, movements
        self._sway = HandSway(rng, 1.5, 2.0)
        self._camera = CameraModel(rng)

    def render(self, t_s: float) -> BgrImage:
        now = next((each for each in self._movements if each.begin_s <= t_s <= each.end_s), None)
        return self._camera.capture(self._head.render(self._sway.at(t_s, now.pose(t_s) if now else Pose())))


class CameraModel:
    """Blur, noise and compression of a camera; applied only around the face, which saves most of the time."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._blur_px = rng.uniform(0.2, 0.9)
        rows, columns = (side.stop - side.start + _GRAIN_PX for side in FACE_AREA)
        grain = np.float32(rng.uniform(0.5, 4.0)) * rng.standard_normal((rows, columns, 1), np.float32)
        self._grain = np.repeat(grain, 3, 2)
        self._jpeg_quality = int(rng.integers(60, 96))

    def capture(self, picture: BgrImage) -> BgrImage:
        near = picture[FACE_AREA]
        down, right = self._rng.integers(_GRAIN_PX, size=2).tolist()  # a different part of the noise for each frame
        grain = self._grain[down : down + near.shape[0], right : right + near.shape[1]]
        noisy = cv2.add(cv2.GaussianBlur(near, (0, 0), self._blur_px), grain, dtype=cv2.CV_8U)
        seen = picture.copy()
        seen[FACE_AREA] = jpeg_compressed(np.asarray(noisy, np.uint8), self._jpeg_quality)
        return seen
