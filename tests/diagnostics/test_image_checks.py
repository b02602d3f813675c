"""Checks of the camera image."""

from __future__ import annotations

import cv2
import msgspec
import numpy as np
import pytest
from support.door_checks import PLAIN, one

from edge.core.config import (
    QualityConfig,
)
from edge.core.records import Frame
from edge.demo.run_demo import CLIP
from edge.diagnostics.image_checks import check_face, check_image, sharpness
from edge.diagnostics.probes import CameraSample
from edge.diagnostics.report import State
from edge.vision.camera_file import VideoFileCamera
from edge.vision.face_sampler import VisionStages, load_vision


def scene(change: object = None, noise: float = 0.0) -> CameraSample:
    """Frames of the bundled clip, changed by a function."""
    with VideoFileCamera(CLIP) as clip:
        frames = [
            Frame(frame.pixels.copy(), frame.seq, frame.captured_ns) for frame, _ in zip(clip, range(30), strict=False)
        ]
    chance = np.random.default_rng(5)
    changed = []
    for frame in frames[-8:]:
        pixels = change(frame.pixels) if callable(change) else frame.pixels
        grainy = pixels.astype(np.float32) + chance.normal(0, noise, pixels.shape) if noise else pixels
        changed.append(Frame(np.clip(grainy, 0, 255).astype(np.uint8), frame.seq, frame.captured_ns))
    return CameraSample("clip", recorded=False, fps=15.0, frames=tuple(changed))


@pytest.mark.parametrize(
    ("change", "state", "told"),
    [
        (None, State.OK, "mean brightness"),
        (lambda pixels: pixels // 40, State.FAIL, "black"),
        (lambda pixels: pixels // 5, State.WARN, "dark"),
        (lambda pixels: np.maximum(pixels, 250), State.FAIL, "flooded"),
        (lambda pixels: np.where(np.arange(640)[None, :, None] < 300, 255, pixels), State.WARN, "is white"),
        (lambda pixels: np.full_like(pixels, 120), State.FAIL, "covered"),
    ],
)
def test_bad_light(change: object, state: State, told: str) -> None:
    found = one(check_image(PLAIN, scene(change)), "exposure")
    assert found.state is state
    assert told in found.detail


@pytest.mark.parametrize("noise", [0.0, 5.0])
def test_lens_out_of_focus_also_under_noise(noise: float) -> None:
    """Blur is detected although the sensor adds noise after it."""
    sharp = scene(noise=noise)
    blurred = scene(lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 5), noise=noise)
    assert one(check_image(PLAIN, sharp), "focus").state is State.OK
    assert one(check_image(PLAIN, blurred), "focus").state is State.WARN
    assert sharpness(sharp.frames) > 4 * sharpness(blurred.frames)


def test_slow_camera() -> None:
    assert one(check_image(PLAIN, scene()), "rate").state is State.OK
    slow = CameraSample("c", recorded=False, fps=6.2, frames=scene().frames)
    assert "6.2 of 15 frames per second" in one(check_image(PLAIN, slow), "rate").detail


@pytest.mark.parametrize(
    ("change", "state", "told"),
    [
        (None, State.OK, "px between the eyes"),
        (lambda pixels: np.full_like(pixels, 90), State.WARN, "nobody in front of the camera"),
        (lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 7), State.FAIL, "blurred"),
        (lambda pixels: pixels // 16, State.FAIL, "too dark"),
    ],
)
def test_face_is_read_as_by_the_door(vision: VisionStages, change: object, state: State, told: str) -> None:
    found = check_face(PLAIN, vision, scene(change))
    assert found.state is state, found
    assert told in found.detail


def test_face_too_far_away_with_both_distances() -> None:
    config = msgspec.structs.replace(PLAIN, quality=QualityConfig(min_size_px=70))
    found = check_face(config, load_vision(config.models, config.detector, config.quality), scene())
    assert found.state is State.FAIL
    assert "too small" in found.detail
    assert "at least 70 px needed" in found.detail


@pytest.mark.parametrize(
    ("level", "remedy"),
    [(2, "remove the lens cap"), (120, "uncover, clean and focus the lens"), (255, "turn the lamp")],
)
def test_remedies_for_a_blind_camera(level: int, remedy: str) -> None:
    """The remedy for a covered lens is not more light."""
    found = one(check_image(PLAIN, scene(lambda pixels: np.full_like(pixels, level))), "exposure")
    assert (found.state, found.remedy.startswith(remedy)) == (State.FAIL, True)
