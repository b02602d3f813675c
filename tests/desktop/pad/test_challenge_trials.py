"""Simulated trials of the challenge with the door's real models."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from threshold_tools.pad.challenge_trials import ATTACKS, GENUINE, SampledPortrait, measure_species, try_species

from edge.core.records import BgrImage
from edge.vision.face_sampler import VisionStages


@pytest.fixture(scope="module")
def portraits(vision: VisionStages, photo: Callable[[str], BgrImage]) -> list[SampledPortrait]:
    found = [SampledPortrait.of(photo(stem), vision) for stem in ("obama2", "obama3", "biden", "astronaut")]
    return [each for each in found if each is not None]


@pytest.mark.parametrize(
    ("species", "outcome"),
    [("genuine", "passed"), ("photo-turned", "too-late"), ("replay-direction", "wrong-movement")],
)
def test_one_of_each_kind_through_the_real_models(
    species: str, outcome: str, portraits: list[SampledPortrait], vision: VisionStages
) -> None:
    """A simulated head that follows passes; its photo and its recording do not."""
    assert try_species(portraits[2], species, (0, 2), vision) == outcome


@pytest.mark.slow
@pytest.mark.parametrize("species", ["genuine", "genuine-slow", *ATTACKS])
def test_challenge_passes_visitors_and_no_attack(
    species: str, portraits: list[SampledPortrait], watching: VisionStages
) -> None:
    """Six simulated trials of each species; docs/lab/challenge.md has two hundred."""
    trials = measure_species(portraits, species, watching, tries=6, seed=0, steps=2, sample_s=1 / 15)
    assert sum(trials.reasons.values()) == 6
    assert trials.passed >= 0.95 * 6 if species in GENUINE else trials.passed == 0
