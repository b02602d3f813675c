"""Fitting the table of cues: what is told of weights, and from what."""

from __future__ import annotations

import numpy as np
import pytest
from fit_liveness import Fit, Window, current_weights, fit_life, fit_sign, print_report
from threshold_tools.pad.disturbances import DISTURBANCES, UNDISTURBED

from edge.core.errors import InputError
from edge.core.records import Frame
from edge.liveness.cues import CUE_WEIGHTS

LIFE = list(current_weights().weights)


def window(species: str, subject: str, life: float, surroundings: float | None = None) -> Window:
    """Both signs of life so many times their middle."""
    values = {name: life * CUE_WEIGHTS[name].middle if name in LIFE else None for name in CUE_WEIGHTS}
    return Window(species, subject, {**values, "surroundings": surroundings})


def drawn(seed: int) -> list[Window]:
    """People who mostly show more life than photos, and screens that show as much and are moved."""
    rng = np.random.default_rng(seed)
    windows = []
    for number in range(200):
        life, photo, screen = np.exp(rng.normal([1.0, -1.0, 1.0], 0.7)).tolist()
        subject = f"person {number % 5}"
        windows += [
            window("genuine", subject, life, 0.4 if number % 3 else None),
            window("simulated-photo-held", subject, photo),
            window("simulated-screen-replay", subject, screen, float(rng.uniform(1.2, 3))),
        ]
    return windows


def test_signs_of_life_weigh_against_and_moving_surroundings_for_an_attack() -> None:
    windows = drawn(0)
    life = fit_life(windows, LIFE)
    assert all(weight < -0.3 for weight in life.weights.values())
    middle = {**dict.fromkeys(CUE_WEIGHTS), **{name: CUE_WEIGHTS[name].middle for name in LIFE}}
    assert abs(life.exponent(middle)) < 0.5
    heavier = Fit({name: 2 * weight for name, weight in life.weights.items()}, 2 * life.constant)
    assert fit_sign(windows, "surroundings", heavier) > fit_sign(windows, "surroundings", life) > 3


def test_the_weights_stand_beside_the_table_with_their_spread() -> None:
    lines = print_report(drawn(1), LIFE)
    assert "of 5 people" in lines[0]
    assert [line.split()[0] for line in lines[2:-1]] == [*LIFE, "constant", "surroundings"]
    low, high = (float(each) for each in lines[-2].split()[2:5:2])
    assert low <= float(lines[-2].split()[1]) <= high + 0.5
    assert "in 133 of the genuine windows, at most 0.40" in lines[-1]


def test_without_both_classes_there_is_nothing_to_fit() -> None:
    with pytest.raises(InputError, match="no windows"):
        fit_life([window("genuine", "ann", 1.0)], LIFE)


def test_a_disturbed_clip_is_the_same_each_time_and_keeps_its_times() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    clip = [Frame(pixels, number, number * 40) for number in range(6)]
    for disturbance in DISTURBANCES:
        once, again = list(disturbance.of(clip)), list(disturbance.of(clip))
        assert [frame.captured_ns for frame in once] == [frame.captured_ns for frame in clip[:: disturbance.every]]
        assert all(np.array_equal(one.pixels, two.pixels) for one, two in zip(once, again, strict=True))
        changed = disturbance.every > 1 or once[0].pixels.shape != pixels.shape or (once[0].pixels != pixels).any()
        assert changed == (disturbance is not UNDISTURBED)
