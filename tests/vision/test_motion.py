"""The motion gate: movement opens it, noise and stillness do not."""

from __future__ import annotations

import numpy as np

from edge.core.config import MotionConfig
from edge.core.records import BgrImage, Frame
from edge.vision.motion import MotionDetector

S = 1_000_000_000
CONFIG = MotionConfig(keep_awake_s=1.0, idle_scan_every_s=4.0)


def scene(seed: int = 0, noise: float = 3.0) -> BgrImage:
    """A grey wall through a noisy sensor, 640x480."""
    grain = np.random.default_rng(seed).normal(120, noise, (480, 640, 3))
    return np.clip(grain, 0, 255).astype(np.uint8)


def looks(motion: MotionDetector, pictures: list[BgrImage], start_ns: int = 0) -> list[bool]:
    """The gate's answers at ten frames a second."""
    return [motion.has_motion(Frame(picture, i, start_ns + i * S // 10)) for i, picture in enumerate(pictures)]


def test_the_first_frame_is_looked_at() -> None:
    assert looks(MotionDetector(CONFIG), [scene()]) == [True]


def test_sensor_noise_is_no_movement() -> None:
    answers = looks(MotionDetector(CONFIG), [scene(seed) for seed in range(30)])
    assert answers[:10] == [True] * 10  # lingers for a second after the first frame
    assert not any(answers[10:])


def test_somebody_walking_in_is_movement() -> None:
    motion = MotionDetector(CONFIG)
    looks(motion, [scene(seed) for seed in range(20)])
    walker = scene(99)
    walker[200:300, 50:110] = 30
    assert motion.has_motion(Frame(walker, 20, 2 * S))


def test_what_was_put_down_becomes_part_of_the_scene() -> None:
    motion = MotionDetector(CONFIG)
    looks(motion, [scene(seed) for seed in range(20)])
    changed = []
    for seed in range(20, 80):
        parcel = scene(seed)
        parcel[200:300, 50:110] = 30
        changed.append(parcel)
    answers = looks(motion, changed, start_ns=2 * S)
    assert answers[0]
    assert answers[50:] == [False] * 10


def test_a_still_scene_is_looked_at_on_patrol() -> None:
    answers = looks(MotionDetector(CONFIG), [scene()] * 100)
    assert sum(answers[10:]) == 2  # at about five and nine seconds


def test_a_switched_off_gate_is_always_open() -> None:
    assert all(looks(MotionDetector(MotionConfig(enabled=False)), [scene()] * 50))


def test_a_camera_that_changes_its_size_is_movement() -> None:
    motion = MotionDetector(CONFIG)
    looks(motion, [scene()] * 20)
    assert motion.has_motion(Frame(np.ascontiguousarray(scene()[::2, ::2]), 20, 2 * S))
