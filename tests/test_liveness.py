"""Liveness tells a face that moves by itself from a flat picture that is moved."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.config import LivenessConfig
from edge.liveness.evidence import NOTHING
from edge.liveness.liveness import MAX_TRACKS, MIDDLE, Liveness, attack_score
from edge.liveness.planar import Look, Reference, deformation, flat_residual, patch
from edge.records import Box, Face, Frame, Landmarks, Pixels, Quality, Sample, Track

FIVE = np.array([[120, 120], [180, 120], [150, 155], [125, 190], [175, 190]], np.float32)


def face(mouth_px: float = 0.0, seed: int = 0) -> Pixels:
    """A textured face of 320 x 320 pixels whose lower half is pulled down, most at the mouth."""
    rng = np.random.default_rng(1)
    grey = cv2.GaussianBlur(rng.uniform(0, 255, (320, 320)).astype(np.float32), (0, 0), 14)
    grey = (grey - grey.mean()) * 16 + 128
    y, x = np.mgrid[0:320, 0:320].astype(np.float32)
    pull = mouth_px * np.exp(-(((x - 150) / 30) ** 2) - ((y - 195) / 20) ** 2)
    moved = cv2.remap(grey, x, (y - pull).astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    moved += np.random.default_rng(seed).normal(0, 2, moved.shape)
    return np.repeat(np.clip(moved, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def held(pixels: Pixels, number: int) -> Pixels:
    """The same picture, held by a hand that turns and tilts it."""
    tilt = 5e-5 * np.sin(number)
    turn = np.array(
        [[1, 0.01 * np.sin(number / 2), 2 * np.sin(number)], [0.01 * np.cos(number), 1, 1], [tilt, tilt, 1]]
    )
    return np.asarray(cv2.warpPerspective(pixels, turn, (320, 320), borderMode=cv2.BORDER_REFLECT), np.uint8)


def look(pixels: Pixels) -> Look:
    drawn = patch(Frame(pixels, 0, 0), Landmarks(np.zeros((468, 3), np.float32), FIVE, 1.0))
    assert drawn is not None
    return drawn


def deformed(looks: list[Pixels]) -> float:
    reference = Reference(look(looks[0]))
    residuals = [flat_residual()]
    for each in looks[1:]:
        residual = reference.residual(look(each))
        assert residual is not None
        residuals.append(residual)
    return deformation(residuals, reference.gradient)


def watch(liveness: Liveness, pixels: Pixels, t_s: float, number: int = 1) -> None:
    box = Face(Box(100, 80, 200, 220), np.zeros((6, 2), np.float32), 1.0)
    t_ns = round(t_s * 1e9)
    landmarks = Landmarks(np.zeros((468, 3), np.float32), FIVE, 1.0)
    sample = Sample(None, Quality(1.0, 60.0, 0.0, 0.0, 0.0, 100.0), landmarks)
    liveness.observe(Track(number, box, 0, t_ns, 1), Frame(pixels, 0, t_ns), sample, t_ns)


def test_a_flat_picture_deforms_less_than_a_mouth_that_moves() -> None:
    flat = deformed([held(face(seed=number), number) for number in range(8)])
    alive = deformed([face(8 * (number % 3), seed=number) for number in range(8)])
    assert flat < MIDDLE < alive


def test_light_that_changes_over_a_flat_picture_is_no_sign_of_life() -> None:
    slope = np.linspace(0.7, 1.0, 320)[None, :, None]
    lit = [np.asarray(face(seed=n) * (slope if n % 2 else slope[:, ::-1]), np.uint8) for n in range(8)]
    assert deformed(lit) < MIDDLE


def test_a_photo_is_an_attack_and_a_speaker_is_not_once_watched_for_a_second() -> None:
    photo, speaker = Liveness(config=LivenessConfig()), Liveness(config=LivenessConfig())
    for number in range(12):
        watch(photo, held(face(seed=number), number), number / 10)
        watch(speaker, face(8 * (number % 3), seed=number), number / 10)
    assert photo.assess(1).enough
    assert photo.assess(1).score > 0.5
    assert speaker.assess(1).enough
    assert speaker.assess(1).score < 0.5
    assert "deformation" in str(speaker.assess(1))


def test_it_is_not_enough_before_min_s_however_many_looks() -> None:
    liveness = Liveness(config=LivenessConfig(min_s=1.0))
    for number in range(9):
        watch(liveness, face(8 * (number % 3), seed=number), number / 10)
    assert not liveness.assess(1).enough


def test_a_long_stay_is_always_judged_by_a_whole_run_and_keeps_no_more_than_one() -> None:
    liveness = Liveness(config=LivenessConfig())
    for number in range(40):
        watch(liveness, held(face(seed=number), number), number / 10)
        if number >= 10:
            assert liveness.assess(1).enough
        assert liveness.assess(1).looks <= 17


def test_a_forgotten_track_and_the_one_longest_unseen_of_too_many_are_unknown() -> None:
    liveness = Liveness(config=LivenessConfig())
    still = face()
    for number in range(MAX_TRACKS + 1):
        for moment in range(6):
            watch(liveness, still, moment / 10, number)
    assert liveness.assess(0) == NOTHING
    assert liveness.assess(1) != NOTHING
    liveness.forget(1)
    assert liveness.assess(1) == NOTHING


def test_a_face_outside_the_frame_gives_no_patch() -> None:
    away = Landmarks(np.zeros((468, 3), np.float32), FIVE + 5000, 1.0)
    assert patch(Frame(face(), 0, 0), away) is None


def test_a_patch_has_its_eyes_a_fixed_distance_apart_whatever_the_size_of_the_face() -> None:
    big = cv2.resize(face(), None, fx=3, fy=3, interpolation=cv2.INTER_LINEAR)
    landmarks = Landmarks(np.zeros((468, 3), np.float32), (FIVE + 0.5) * 3 - 0.5, 1.0)
    drawn = patch(Frame(np.asarray(big, np.uint8), 0, 0), landmarks)
    assert drawn is not None
    assert np.abs(drawn.grey - look(face()).grey).mean() < 4


def test_the_score_falls_as_the_face_deforms_more() -> None:
    assert attack_score(0.0) == pytest.approx(1.0)
    assert attack_score(MIDDLE) == pytest.approx(0.5)
    assert attack_score(1.0) < 0.001


def test_a_picture_cut_off_by_the_frames_edge_and_burnt_out_in_places_is_still_flat() -> None:
    bright = [np.clip(held(face(seed=n), n) * (1.3 + 0.05 * (n % 2)), 0, 255).astype(np.uint8) for n in range(8)]
    assert deformed(bright) < MIDDLE
    assert deformed([each[:205] for each in bright]) < MIDDLE
