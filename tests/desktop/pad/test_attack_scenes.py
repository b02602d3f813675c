"""Simulated presentation attacks."""

from __future__ import annotations

import numpy as np
import pytest
from threshold_tools.pad.attack_scenes import SPECIES, draw_scene, render_attack


@pytest.mark.parametrize("species", SPECIES)
def test_a_simulated_attack_is_the_same_under_its_seed_and_moves_unless_it_stands_still(species: str) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (90, 70, 3), np.uint8)
    scene = draw_scene(species, 3, picture, 1.0)
    first = render_attack([picture], None, scene)
    one, two = next(first), next(first)
    assert one.shape == (scene.height_px, scene.width_px, 3)
    assert np.array_equal(one, next(render_attack([picture], None, scene)))
    assert not np.array_equal(one, two)
    assert (scene.sway == 0) == (species == "photo-still")
