"""The motion test: it detects movement and ignores noise."""

from __future__ import annotations

import numpy as np

from edge.core.config import MotionConfig
from edge.core.records import BgrImage, Frame
from edge.vision.motion import MotionDetector

S = 1_000_000_000
CONFIG = MotionConfig(keep_awake_s=1.0, idle_scan_every_s=4.0)


def scene(seed: int = 0, noise: float = 3.0) -> BgrImage:
    """A grey wall with sensor noise, 640x480."""
    grain = np.random.default_rng(seed).normal(120, noise, (480, 640, 3))
    return np.clip(grain, 0, 255).astype(np.uint8)


def looks(motion: MotionDetector, pictures: list[BgrImage], start_ns: int = 0) -> list[bool]:
    """Results of the motion test at 10 frames/s."""
    return [motion.has_motion(Frame(picture, i, start_ns + i * S // 10)) for i, picture in enumerate(pictures)]


def test_first_frame_is_processed() -> None:
    assert looks(MotionDetector(CONFIG), [scene()]) == [True]


def test_no_motion_by_sensor_noise() -> None:
    answers = looks(MotionDetector(CONFIG), [scene(seed) for seed in range(30)])
    assert answers[:10] == [True] * 10  # `keep_awake_s` after the first frame
    assert not any(answers[10:])


def test_motion_of_a_visitor() -> None:
    motion = MotionDetector(CONFIG)
    looks(motion, [scene(seed) for seed in range(20)])
    walker = scene(99)
    walker[200:300, 50:110] = 30
    assert motion.has_motion(Frame(walker, 20, 2 * S))


def test_object_left_in_the_scene() -> None:
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


def test_interval_of_scans_without_motion() -> None:
    answers = looks(MotionDetector(CONFIG), [scene()] * 100)
    assert sum(answers[10:]) == 2  # at about 5 and 9 s


def test_disabled_motion_test() -> None:
    assert all(looks(MotionDetector(MotionConfig(enabled=False)), [scene()] * 50))


def test_motion_by_another_frame_size() -> None:
    motion = MotionDetector(CONFIG)
    looks(motion, [scene()] * 20)
    assert motion.has_motion(Frame(np.ascontiguousarray(scene()[::2, ::2]), 20, 2 * S))
