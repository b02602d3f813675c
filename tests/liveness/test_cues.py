"""Each cue by itself, and the score from all of them."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.core.config import LivenessConfig
from edge.core.records import BgrImage, Box, Face, FloatArray, Frame, Landmarks, Quality, Sample, Track
from edge.liveness.cues.background_motion import BackgroundMotion, background_follows_face
from edge.liveness.cues.mouth import mouth_openness, mouth_variation
from edge.liveness.cues.recapture import flicker_energy, moire_energy
from edge.liveness.cues.weights import CUE_WEIGHTS, LivenessEvidence, Values, attack_score, combine
from edge.liveness.passive import PassiveLiveness
from edge.vision.face_sampler import VisionStages

FIVE = np.array([[290, 220], [350, 220], [320, 255], [295, 290], [345, 290]], np.float32)
SIZE = (640, 480)
LIFE = [name for name, rule in CUE_WEIGHTS.items() if rule.is_sign_of_life]
MIDDLE: Values = {name: rule.middle if rule.weight else None for name, rule in CUE_WEIGHTS.items()}


def landmarks(shift: float = 0.0) -> Landmarks:
    return Landmarks(np.zeros((468, 3), np.float32), FIVE + np.float32(shift), 1.0)


def texture(seed: int, grain_px: float = 12.0) -> FloatArray:
    """A detailed picture, (480, 640) float32."""
    noise = np.random.default_rng(seed).uniform(0, 255, SIZE[::-1]).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), grain_px)
    return np.asarray((blurred - blurred.mean()) / blurred.std() * 35 + 120, np.float32)


def filmed(grey: FloatArray, seed: int = 0) -> BgrImage:
    noisy = grey + np.random.default_rng(seed).normal(0, 2, grey.shape)
    return np.repeat(np.clip(noisy, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def moved_by(grey: FloatArray, motion: NDArray[np.float64]) -> FloatArray:
    return np.asarray(cv2.warpPerspective(grey, motion, SIZE, borderMode=cv2.BORDER_REFLECT), np.float32)


def slid(px: float) -> NDArray[np.float64]:
    return np.array([[1, 0, px], [0, 1, px], [0, 0, 1]], np.float64)


def tilted(px: float) -> NDArray[np.float64]:
    return np.array([[1, 0, px], [0, 1, px], [2e-6 * px, 1e-6 * px, 1]], np.float64)


WAY = (4, 8, 12, 8, 4, -4, -8)


def told(first: FloatArray, looks: list[FloatArray], motions: list[NDArray[np.float64]]) -> float | None:
    """Value of the cue for a face with this motion."""
    surroundings = BackgroundMotion(Frame(filmed(first), 0, 0), landmarks())
    changes = []
    for number, (grey, motion) in enumerate(zip(looks, motions, strict=True), 1):
        seen = surroundings.add_frame(Frame(filmed(grey, number), number, 0))
        assert seen is not None
        change = surroundings.compare(seen, motion)
        if change is not None:
            changes.append(change)
    return background_follows_face(changes)


@pytest.mark.parametrize("moves", [slid, tilted])
def test_background_of_a_picture_and_of_a_room(moves: Callable[[float], NDArray[np.float64]]) -> None:
    wall, motions = texture(1), [moves(px) for px in WAY]
    carried = told(wall, [moved_by(wall, motion) for motion in motions], motions)
    stays = told(wall, [wall] * len(WAY), motions)
    assert carried is not None
    assert stays is not None
    assert stays < 0.3 < 3 < carried


def test_edge_of_a_screen_moves_along() -> None:
    bezel = np.full(SIZE[::-1], 120, np.float32)
    cv2.rectangle(bezel, (90, 10), (550, 460), 10.0, 16)
    motions = [slid(px) for px in WAY]
    carried = told(bezel, [moved_by(bezel, motion) for motion in motions], motions)
    assert carried is not None
    assert carried > 3


def test_moving_background_in_changing_light() -> None:
    wall, motions = texture(1), [slid(px) for px in WAY]
    lit = [moved_by(wall, motion) * (0.7 if number % 2 else 1.1) for number, motion in enumerate(motions)]
    value = told(wall, lit, motions)
    assert value is not None
    assert value > 3


def test_no_value_without_detail_or_motion() -> None:
    wall, plain = texture(1), np.full(SIZE[::-1], 120, np.float32)
    motions = [slid(px) for px in WAY]
    assert told(plain, [plain] * len(WAY), motions) is None
    assert told(wall, [wall] * len(WAY), [slid(0.1)] * len(WAY)) is None


def test_lamp_and_knocked_camera() -> None:
    wall, motions = texture(1), [slid(px) for px in WAY]
    lit = [wall * (1.2 if number > 2 else 1.0) for number in range(len(WAY))]
    knocked = [moved_by(wall, motions[3]) if number == 3 else wall for number in range(len(WAY))]
    for looks in (lit, knocked):
        value = told(wall, looks, motions)
        assert value is not None
        assert value < 0.5


def test_hair_is_excluded_from_the_background() -> None:
    """Up to 2.7 eye distances to the sides are excluded; the wall beyond is measured."""
    wall, hair, motions = texture(1), texture(2, 4), [slid(px) for px in WAY]

    def before(motion: NDArray[np.float64]) -> FloatArray:
        head = cv2.ellipse(np.zeros(SIZE[::-1], np.float32), (320, 230), (140, 170), 0, 0, 360, 1.0, -1)
        where = cv2.warpPerspective(head, motion, SIZE)
        return np.asarray(where * moved_by(hair, motion) + (1 - where) * wall, np.float32)

    value = told(before(slid(0)), [before(motion) for motion in motions], motions)
    assert value is not None
    assert value < 0.5


def test_no_background_around_a_large_face() -> None:
    near = Landmarks(np.zeros((468, 3), np.float32), (FIVE - 320) * 5 + 320, 1.0)
    frame = Frame(filmed(texture(1)), 0, 0)
    assert BackgroundMotion(frame, near).add_frame(frame) is None


def test_moire_of_a_recaptured_screen() -> None:
    skin = texture(3, 6)
    y, x = np.mgrid[0:480, 0:640]
    grid = (skin + 8 * np.sin(x * 2.1) + 8 * np.sin(y * 1.7)).astype(np.float32)
    plain, shown = filmed(skin), filmed(grid)
    packed = np.asarray(cv2.imdecode(cv2.imencode(".jpg", plain, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 1), np.uint8)
    values = [moire_energy(Frame(pixels, 0, 0), landmarks()) for pixels in (plain, packed, shown)]
    assert all(value is not None for value in values)
    assert max(values[0] or 0, values[1] or 0) < 2.4 < 3 < (values[2] or 0)
    assert moire_energy(Frame(plain, 0, 0), landmarks(-300)) is None


def test_flicker_of_a_screen_and_of_a_room() -> None:
    beat = [1 + 0.04 * (-1) ** number for number in range(10)]
    screen = flicker_energy([(100 * each, 80) for each in beat])
    room = flicker_energy([(100 * each, 80 * each) for each in beat])
    faded = flicker_energy([(100 * 0.97**number, 80) for number in range(10)])
    assert max(room, faded) < 0.005 < 0.03 < screen


def test_mouth_variation(vision: VisionStages, photo: Callable[[str], BgrImage]) -> None:
    pixels = photo("obama2")
    (face,) = vision.detector.detect(Frame(pixels, 0, 0))
    mesh = vision.reader.sample(Frame(pixels, 0, 0), face).landmarks
    assert mesh is not None
    nearer = Landmarks(mesh.points_px * np.float32(1.4), mesh.five_px, 1.0)
    speaks = mesh.points_px.copy()
    speaks[17, 1] += 0.1 * float(np.linalg.norm(speaks[152] - speaks[10]))
    said = Landmarks(speaks, mesh.five_px, 1.0)
    assert mouth_variation([mouth_openness(mesh), mouth_openness(nearer)]) < 1e-4
    assert mouth_variation([mouth_openness(mesh), mouth_openness(said)]) > 0.03


@pytest.mark.parametrize("name", LIFE)
def test_score_by_signs_of_life(name: str) -> None:
    assert attack_score(MIDDLE)[0] == pytest.approx(0.5)
    assert attack_score({**MIDDLE, name: 0.0})[0] > 0.9
    assert attack_score({**MIDDLE, name: 5 * CUE_WEIGHTS[name].middle})[0] < 0.1


def test_score_by_signs_of_a_picture() -> None:
    alive = {**MIDDLE, **{name: 3 * CUE_WEIGHTS[name].middle for name in LIFE}}
    for silent in (None, 0.01, 1.0):
        assert attack_score({**alive, "surroundings": silent})[0] == attack_score(alive)[0] < 0.1
    assert attack_score({**alive, "surroundings": 2.0})[0] > 0.9


def test_cue_without_weight() -> None:
    told_by = attack_score({**MIDDLE, "mouth": 0.5, "moire": 9.0, "flicker": 1.0})
    assert told_by[0] == attack_score(MIDDLE)[0]
    assert {cue.name: cue.value for cue in told_by[1]}["moire"] == 9.0
    assert all(cue.score is None for cue in told_by[1] if not cue.weight)


def test_combination_of_two_runs() -> None:
    quiet: Values = {**MIDDLE, "local-motion": 0.05, "unexplained": 0.001, "surroundings": 2.0}
    lively: Values = {**MIDDLE, "local-motion": 0.4, "unexplained": 0.001, "surroundings": None}
    assert combine(quiet, lively) == combine(lively, quiet) == {**lively, "surroundings": 2.0}
    assert combine(quiet, None) == quiet


def test_only_measured_cues_in_events() -> None:
    cues = attack_score({**MIDDLE, "surroundings": None, "moire": 1.5})[1]
    named = dict(LivenessEvidence(0.5, cues, True, 12, 1.5).as_cues)
    assert "surroundings" not in named
    assert named["moire"] == 1.5


def speaker(number: int, px: float, *, replayed: bool) -> BgrImage:
    """A person who speaks and moves in front of a wall; or a moved screen that shows all of it."""
    wall, skin = texture(1), texture(4, 14)
    y, x = np.mgrid[0:480, 0:640].astype(np.float32)
    pull = 8 * (number % 3) * np.exp(-(((x - 320) / 30) ** 2) - ((y - 295) / 20) ** 2)
    drawn = cv2.remap(skin, x, (y - pull).astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    speaks, head = np.asarray(drawn, np.float32), np.zeros(SIZE[::-1], np.float32)
    cv2.ellipse(head, (320, 250), (100, 130), 0, 0, 360, 1.0, -1)
    if replayed:
        shown = np.asarray(head * speaks + (1 - head) * wall, np.float32)
        return filmed(moved_by(shown, slid(px)), number)
    where = moved_by(head, slid(px))
    return filmed(where * moved_by(speaks, slid(px)) + (1 - where) * wall, number)


def test_speaker_and_moving_screen() -> None:
    scores = {}
    for replayed in (False, True):
        liveness = PassiveLiveness(config=LivenessConfig())
        for number in range(16):
            px, t_ns = 6 * float(np.sin(number)), number * 90_000_000
            frame = Frame(speaker(number, px, replayed=replayed), number, t_ns)
            sample = Sample(None, Quality(1.0, 60.0, 0.0, 0.0, 0.0, 100.0), landmarks(px))
            face = Face(Box(220, 120, 420, 380), np.zeros((6, 2), np.float32), 1.0)
            liveness.observe(Track(1, face, 0, t_ns, 1), frame, sample, t_ns)
        scores[replayed] = liveness.evaluate(1).score
    assert scores[False] < 0.1
    assert scores[True] > 0.9
