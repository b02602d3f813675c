"""Passive liveness: distinguishes a living face from a flat picture that is moved."""

from __future__ import annotations

import cv2
import numpy as np
from support.living import FIVE, face, held

from edge.core.config import LivenessConfig
from edge.core.records import BgrImage, Box, Face, Frame, Landmarks, Quality, Sample, Track
from edge.liveness.cues.planar import FacePatch, PlanarReference, PlanarResidual, extract_patch, local_motion
from edge.liveness.cues.weights import CUE_WEIGHTS, NO_EVIDENCE, attack_score
from edge.liveness.passive import MAX_TRACKS, PassiveLiveness


def look(pixels: BgrImage) -> FacePatch:
    drawn = extract_patch(Frame(pixels, 0, 0), Landmarks(np.zeros((468, 3), np.float32), FIVE, 1.0))
    assert drawn is not None
    return drawn


def residuals(looks: list[BgrImage]) -> tuple[list[PlanarResidual], float]:
    """Residuals of all views except the first, which is the reference, and the gradient of the reference."""
    reference = PlanarReference(look(looks[0]))
    left = [reference.residual(look(each)) for each in looks[1:]]
    assert all(left)
    return [each for each in left if each], reference.gradient


def score(looks: list[BgrImage]) -> float:
    left, gradient = residuals(looks)
    unexplained = float(np.median([each.unexplained for each in left]))
    life = {"local-motion": local_motion(left, gradient), "unexplained": unexplained}
    return attack_score({**dict.fromkeys(CUE_WEIGHTS), **life})[0]


def watch(liveness: PassiveLiveness, pixels: BgrImage, t_s: float, number: int = 1, size_px: float = 60.0) -> None:
    box = Face(Box(100, 80, 200, 220), np.zeros((6, 2), np.float32), 1.0)
    t_ns = round(t_s * 1e9)
    landmarks = Landmarks(np.zeros((468, 3), np.float32), FIVE, 1.0)
    sample = Sample(None, Quality(1.0, size_px, 0.0, 0.0, 0.0, 100.0), landmarks)
    liveness.observe(Track(number, box, 0, t_ns, 1), Frame(pixels, 0, t_ns), sample, t_ns)


def test_flat_picture_and_moving_mouth() -> None:
    assert score([face(8 * (number % 3), seed=number) for number in range(8)]) < 0.1
    assert score([held(face(seed=number), number) for number in range(8)]) > 0.9


def test_changing_light_on_a_flat_picture() -> None:
    slope = np.linspace(0.7, 1.0, 320)[None, :, None]
    assert score([np.asarray(face(seed=n) * (slope if n % 2 else slope[:, ::-1]), np.uint8) for n in range(8)]) > 0.9


def test_noise_is_not_local_motion() -> None:
    left, gradient = residuals([face(seed=number) for number in range(8)])
    moving, _ = residuals([face(8 * (number % 3), seed=number) for number in range(8)])
    assert local_motion(left, gradient) < 0.1 < local_motion(moving, gradient)


def test_one_badly_registered_sample() -> None:
    left, gradient = residuals([held(face(seed=number), number) for number in range(8)])
    (slipped, _), _ = residuals([face(seed=0), face(20, seed=1), face(20, seed=2)])
    assert local_motion([*left, slipped], gradient) < 1.3 * local_motion(left, gradient) + 0.02


def test_times_until_genuine_and_attack() -> None:
    photo, speaker = PassiveLiveness(config=LivenessConfig()), PassiveLiveness(config=LivenessConfig())
    for number in range(27):
        watch(photo, held(face(seed=number), number), number / 10)
        watch(speaker, face(8 * (number % 3), seed=number), number / 10)
        assert photo.evaluate(1).enough == (number >= 25)
        assert speaker.evaluate(1).enough == (number >= 10)
    assert photo.evaluate(1).score > 0.5 > speaker.evaluate(1).score
    assert all(name in str(speaker.evaluate(1)) for name in CUE_WEIGHTS)


def test_visitor_who_speaks_late() -> None:
    liveness = PassiveLiveness(config=LivenessConfig())
    for number in range(12):
        watch(liveness, held(face(seed=number), number), number / 10)
    for number in range(12, 27):
        watch(liveness, face(8 * (number % 3), seed=number), number / 10)
    assert liveness.evaluate(1).enough
    assert liveness.evaluate(1).score < 0.5


def test_life_shown_two_runs_ago() -> None:
    liveness = PassiveLiveness(config=LivenessConfig())
    for number in range(80):
        moved = face(8 * (number % 3), seed=number) if number < 14 else held(face(seed=number), number)
        watch(liveness, moved, number / 10)
    assert liveness.evaluate(1).enough
    assert liveness.evaluate(1).score > 0.5


def test_mesh_of_changing_size() -> None:
    liveness = PassiveLiveness(config=LivenessConfig())
    for number in range(30):
        watch(liveness, face(seed=number), number / 10, size_px=60.0 if number % 2 else 40.0)
    assert not liveness.evaluate(1).enough


def test_shortest_time_of_watching() -> None:
    liveness = PassiveLiveness(config=LivenessConfig(min_watch_s=1.0))
    for number in range(9):
        watch(liveness, face(8 * (number % 3), seed=number), number / 10)
    assert not liveness.evaluate(1).enough


def test_dropped_tracks() -> None:
    liveness = PassiveLiveness(config=LivenessConfig())
    still = face()
    for number in range(MAX_TRACKS + 1):
        for moment in range(6):
            watch(liveness, still, moment / 10, number)
    assert liveness.evaluate(0) == NO_EVIDENCE
    assert liveness.evaluate(1) != NO_EVIDENCE
    liveness.forget(1)
    assert liveness.evaluate(1) == NO_EVIDENCE


def test_face_outside_the_frame() -> None:
    away = Landmarks(np.zeros((468, 3), np.float32), FIVE + 5000, 1.0)
    assert extract_patch(Frame(face(), 0, 0), away) is None


def test_patch_of_a_cut_face() -> None:
    """Within the frame, it equals the patch of the whole face, also for a very narrow cut."""
    big = np.asarray(cv2.resize(face(), (960, 960)), np.uint8)
    whole, cut = (
        extract_patch(Frame(pixels, 0, 0), Landmarks(np.zeros((468, 3), np.float32), FIVE * 3, 1.0))
        for pixels in (big, big[:480])
    )
    assert whole is not None
    assert cut is not None
    assert 0.3 < cut.clear.mean() < 0.9
    assert np.abs(whole.grey - cut.grey)[cut.clear].max() < 3


def test_eye_distance_of_patches() -> None:
    big = cv2.resize(face(), None, fx=3, fy=3, interpolation=cv2.INTER_LINEAR)
    landmarks = Landmarks(np.zeros((468, 3), np.float32), (FIVE + 0.5) * 3 - 0.5, 1.0)
    drawn = extract_patch(Frame(np.asarray(big, np.uint8), 0, 0), landmarks)
    assert drawn is not None
    assert np.abs(drawn.grey - look(face()).grey).mean() < 4


def test_registration_of_a_known_motion() -> None:
    """The error is at most a quarter of a pixel."""
    first = face()
    turn = np.array([[1.032, 0.048, -6.4], [-0.048, 1.032, 11.2], [0, 0, 1]])
    there = np.asarray(cv2.warpPerspective(first, turn, (320, 320), borderMode=cv2.BORDER_REFLECT), np.uint8)
    residual = PlanarReference(look(first)).residual(look(there))
    assert residual
    x, y, w = residual.moved @ np.vstack([FIVE.T, np.ones(5)])
    wanted = turn[:2] @ np.vstack([FIVE.T, np.ones(5)])
    assert np.abs(np.stack([x / w, y / w]) - wanted).max() < 0.25


def test_flat_picture_cut_off_and_clipped() -> None:
    bright = [np.clip(held(face(seed=n), n) * (1.3 + 0.05 * (n % 2)), 0, 255).astype(np.uint8) for n in range(8)]
    assert score(bright) > 0.5
    assert score([each[:205] for each in bright]) > 0.5


def test_flat_picture_with_a_clipped_part() -> None:
    """The clipped part has no information; taken as unchanged, it would distort the registration."""
    lit = []
    for number in range(8):
        pixels = (face(seed=number) * (1 - 0.03 * number)).astype(np.uint8)
        pixels[:150, :150] = 255
        lit.append(pixels)
    assert score(lit) > 0.9
