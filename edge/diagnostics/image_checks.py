"""What the camera sees: rate, exposure, focus, and the face of whoever stands before it now."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge.core.config import DoorConfig
from edge.core.records import Frame, Sample
from edge.diagnostics.camera_probe import View, sharpness
from edge.diagnostics.result import Finding, bad, doubtful, good
from edge.vision.camera_health import SIGNS, Blindness, blindness, patches
from edge.vision.face_sampler import Vision

_SLOW = 0.8  # of the frames asked for
_DIM, _GLARE_SHARE, _GLARE = 40.0, 0.25, 245.0  # mean grey level of a scene; share of its patches that are white
_SOFT = 20.0  # nine clips in focus give 44 and more, blurred by 3 px of 640 at most 16, under noise of up to 6 levels
_LIGHT = "light the door from the visitor's front; let no lamp, window or sun stand behind them"
_BLIND = {
    Blindness.BLACK: "take the cap off the lens and uncover it; in the dark, light the door from the visitor's front",
    Blindness.FLOODED: "turn the lamp or the camera away, or shade the camera",
    Blindness.COVERED: "uncover the lens, clean it, and focus it",
}
_REMEDIES = {
    "too-dark": _LIGHT,
    "too-bright": "turn the lamp or the camera away, or shade it; a face that is white shows nothing",
    "too-small": "mount the camera nearer, zoom in, or ask for more pixels ([camera] width_px, height_px)",
    "turned-away": "look at the camera, or mount it where people look as they come",
    "tilted": "mount the camera at the height of the eyes, or tilt it less",
    "blurred": "clean and focus the lens; in the dark add light, so that exposures are shorter",
    "unclear": "clean the lens, add light, come nearer",
    "no-face": "look straight at the camera, without anything before the face",
}


def view_findings(config: DoorConfig, seen: View) -> Iterator[Finding]:
    """Look at what came through the camera, without any model."""
    if seen.recorded:
        yield doubtful("camera", f"{seen.name}: a recording, {seen.size}", "set [camera] source to a camera")
    else:
        yield good("camera", f"{seen.name}: {seen.size}")
        yield _rate(config.camera.fps, seen.fps)
    yield _exposure(config, seen)
    yield _focus(seen)


def _rate(wanted: float, fps: float) -> Finding:
    detail = f"{fps:.1f} frames a second of {wanted:g} asked for"
    if fps >= _SLOW * wanted:
        return good("rate", detail)
    remedy = "add light (cameras slow down in the dark), give it a port of its own, or ask for less in [camera] fps"
    return doubtful("rate", detail, remedy)


def _exposure(config: DoorConfig, seen: View) -> Finding:
    levels = patches(seen.frames[-1].pixels)
    blind = blindness(levels, config.sight)
    if blind:
        return bad("exposure", f"{blind}: {SIGNS[blind]}", _BLIND[blind])
    mean, white = float(levels.mean()), float(np.mean(levels >= _GLARE))
    if mean < _DIM:
        return doubtful("exposure", f"dark: mean level {mean:.0f} of 255", _LIGHT)
    if white > _GLARE_SHARE:
        return doubtful("exposure", f"{white:.0%} of the picture is white", _LIGHT)
    return good("exposure", f"mean level {mean:.0f} of 255, {white:.0%} white")


def _focus(seen: View) -> Finding:
    value = sharpness(seen.frames)
    if value < _SOFT:
        return doubtful("focus", f"little detail in the scene: {value:.1f}, in focus 40 and more", _REMEDIES["blurred"])
    return good("focus", f"detail {value:.0f}")


def face_finding(config: DoorConfig, vision: Vision, seen: View) -> Finding:
    """Read the largest face of the frames as the door would."""
    samples = [sample for frame in seen.frames if (sample := _largest(vision, frame))]
    if not samples:
        step = "step before the camera where visitors will stand, and check again"
        return doubtful("face", "nobody stands before the camera now", step)
    best = max(samples, key=lambda sample: (not sample.quality.refusal, sample.quality.size_px))
    quality, wanted = best.quality, config.quality.min_size_px
    detail = f"{quality.size_px:.0f} px between the eyes, at least {wanted:g} wanted"
    if quality.refusal:
        return bad("face", f"seen, and no evidence: {quality.refusal}; {detail}", _REMEDIES[quality.refusal])
    return good("face", f"{detail}; sharpness {quality.sharpness:.0f}, level {quality.brightness:.0f} of 255")


def _largest(vision: Vision, frame: Frame) -> Sample | None:
    faces = vision.detector.detect(frame)
    if not faces:
        return None
    return vision.reader.read(frame, faces[0])
