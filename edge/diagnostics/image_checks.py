"""Checks of the camera image: frame rate, exposure, focus, and the face of a person in front of the camera."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import cv2
import numpy as np

from edge.core.config import DoorConfig
from edge.core.records import FloatArray, Frame
from edge.diagnostics.probes import CameraSample
from edge.diagnostics.report import CheckResult, fail, ok, warn
from edge.vision.camera_health import FAULT_HINTS, ImageFault, classify_fault, patch_means
from edge.vision.face_sampler import VisionStages

_SLOW = 0.8  # share of the requested frame rate
_DIM, _GLARE_SHARE, _GLARE = 40.0, 0.25, 245.0  # mean grey level of a scene; share of its patches that are white
_SOFT = 20.0  # nine sharp clips give 44 or more; blurred by 3 px of 640, at most 16; with noise of up to 6 levels
_DETAIL_WIDTH_PX = 320  # details finer than 2 px of 640 are mostly noise
_BLOCK_PX = 32
_LAPLACIAN_GAIN = 20.0  # of white noise's variance, by the kernel 0 1 0 / 1 -4 1 / 0 1 0
_LIGHT = "light visitors from the front, without a lamp, window or sun behind them"
_BLIND = {
    ImageFault.BLACK: "remove the lens cap; in the dark, add a light that shines on visitors from the front",
    ImageFault.OVEREXPOSED: "turn the lamp or the camera away, or shade the camera",
    ImageFault.COVERED: "uncover, clean and focus the lens",
}
_REMEDIES = {
    "too-dark": _LIGHT,
    "too-bright": "turn the lamp or the camera away, or shade the camera; an overexposed face cannot be recognised",
    "too-small": "mount the camera closer, zoom in, or request more pixels ([camera] width_px, height_px)",
    "turned-away": "look at the camera, or mount it where people look when they arrive",
    "tilted": "mount the camera at eye height, or tilt it less",
    "blurred": "clean and focus the lens; in the dark, add light for shorter exposures",
    "unclear": "clean the lens, add light, or come closer",
    "no-face": "look straight at the camera, with nothing in front of the face",
}


def check_image(config: DoorConfig, seen: CameraSample) -> Iterator[CheckResult]:
    """Check frame rate, exposure and focus of a sample, without a model."""
    if seen.recorded:
        yield warn("camera", f"{seen.name}: a recording, {seen.size}", "set [camera] source to a camera")
    else:
        yield ok("camera", f"{seen.name}: {seen.size}")
        yield _rate(config.camera.fps, seen.fps)
    yield _exposure(config, seen)
    yield _focus(seen)


def _rate(requested: float, fps: float) -> CheckResult:
    detail = f"{fps:.1f} of {requested:g} frames per second"
    if fps >= _SLOW * requested:
        return ok("rate", detail)
    remedy = "add light (cameras slow down in the dark), use another USB port, or lower [camera] fps"
    return warn("rate", detail, remedy)


def _exposure(config: DoorConfig, seen: CameraSample) -> CheckResult:
    levels = patch_means(seen.frames[-1].pixels)
    blind = classify_fault(levels, config.camera_health)
    if blind:
        return fail("exposure", f"{blind}: {FAULT_HINTS[blind]}", _BLIND[blind])
    mean, white = float(levels.mean()), float(np.mean(levels >= _GLARE))
    if mean < _DIM:
        return warn("exposure", f"dark: mean brightness {mean:.0f} of 255", _LIGHT)
    if white > _GLARE_SHARE:
        return warn("exposure", f"{white * 100:.0f} % of the picture is white", _LIGHT)
    return ok("exposure", f"mean brightness {mean:.0f} of 255, {white * 100:.0f} % white")


def _focus(seen: CameraSample) -> CheckResult:
    value = sharpness(seen.frames)
    if value < _SOFT:
        return warn("focus", f"little detail: {value:.1f}; sharp pictures have 40 or more", _REMEDIES["blurred"])
    return ok("focus", f"detail {value:.0f}")


def check_face(config: DoorConfig, vision: VisionStages, seen: CameraSample) -> CheckResult:
    """Check the best face of a sample by the door's quality limits."""
    found = [(frame, faces[0]) for frame in seen.frames if (faces := vision.detector.detect(frame))]
    samples = [sample for frame, face in found if (sample := vision.reader.sample(frame, face))]
    if not samples:
        return warn("face", "nobody in front of the camera", "stand where visitors will stand, and check again")
    best = max(samples, key=lambda sample: (not sample.quality.refusal, sample.quality.size_px))
    quality = best.quality
    detail = f"{quality.size_px:.0f} px between the eyes, at least {config.quality.min_size_px:g} px needed"
    if quality.refusal:
        problem = f"the face in the picture cannot be used: {quality.refusal.replace('-', ' ')} ({detail})"
        return fail("face", problem, _REMEDIES[quality.refusal])
    return ok("face", f"{detail}; sharpness {quality.sharpness:.0f}, brightness {quality.brightness:.0f} of 255")


def sharpness(frames: tuple[Frame, ...]) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000) at 320 px width, minus the part of the noise.

    Median over the frames, grey levels squared. The noise is estimated from the 5 % of the picture that differ least
    between two frames, because nothing moves there.
    """
    pictures = [_small(frame) for frame in frames]
    found = float(np.median([cv2.Laplacian(picture, cv2.CV_32F).var() for picture in pictures]))
    steps = [_least(b - a) for a, b in itertools.pairwise(pictures)]
    noise_sq = min(steps) / 2 if steps else 0.0  # a difference contains the noise of two frames
    return max(found - _LAPLACIAN_GAIN * noise_sq, 0.0)


def _least(difference: FloatArray) -> float:
    """Mean square of a difference in its quietest blocks, grey levels squared."""
    height, width = difference.shape
    blocks = cv2.resize(difference**2, (width // _BLOCK_PX, max(1, height // _BLOCK_PX)), interpolation=cv2.INTER_AREA)
    return float(np.percentile(blocks, 5))


def _small(frame: Frame) -> FloatArray:
    height, width = frame.pixels.shape[:2]
    grey = cv2.cvtColor(frame.pixels, cv2.COLOR_BGR2GRAY).astype(np.float32)
    size = (_DETAIL_WIDTH_PX, max(1, round(height * _DETAIL_WIDTH_PX / width)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.float32)
