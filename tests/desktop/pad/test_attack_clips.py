"""Clips of simulated attacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.rendered_portraits import put
from threshold_tools.pad.attack_clips import REPLAY, SPECIES, draw_photos, draw_scene, make_clips, render_attack
from threshold_tools.pad.clip_evaluation import find_clips

from edge.core.records import BgrImage


def test_photos_of_other_people_become_attacks(tmp_path: Path, photo: Callable[[str], BgrImage]) -> None:
    """Each species except the replay shows each person once; attacks do not depend on the machine."""
    clips, photos, out = tmp_path / "clips", tmp_path / "photos", tmp_path / "out"
    for person, name in (("barack", "obama2"), ("barack", "obama3"), ("joe", "biden")):
        put(photos / person / f"{name}.png", photo(name))
    writer = Path(clips / "ann" / "a.avi")
    writer.parent.mkdir(parents=True)
    film = cv2.VideoWriter(str(writer), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for level in (50, 60):
        film.write(np.full((48, 64, 3), level, np.uint8))
    film.release()
    drawn = draw_photos(photos, 5, 0)
    assert [path.name for path in drawn] == ["obama2.png", "biden.png"]
    assert make_clips(clips, out, count=1, species=["photo-still", REPLAY], seed=0, seconds=0.2, photos=drawn[1:]) == 3
    found = [(case.species, case.subject) for case in find_clips(out)]
    assert found == [
        ("genuine", "ann"),
        ("simulated-photo-still", "ann"),
        ("simulated-photo-still", "joe"),
        ("simulated-screen-replay", "ann"),
    ]
    assert not any(path.stat().st_mode & 0o077 for path in out.glob("simulated-*/*/*"))  # for their owner alone


@pytest.mark.parametrize("species", SPECIES)
def test_attack_is_reproducible_and_moves_unless_still(species: str) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (90, 70, 3), np.uint8)
    scene = draw_scene(species, 3, picture, 1.0)
    first = render_attack([picture], None, scene)
    one, two = next(first), next(first)
    assert one.shape == (scene.height_px, scene.width_px, 3)
    assert np.array_equal(one, next(render_attack([picture], None, scene)))
    assert not np.array_equal(one, two)
    assert (scene.sway == 0) == (species == "photo-still")
