"""The door's liveness on clips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from threshold_tools.pad.attack_clips import FLAT_PHOTOS, draw_scene, render_attack, write_clip
from threshold_tools.pad.clip_evaluation import LabelledClip, evaluate_clip, find_clips

from edge.core.config import LivenessConfig
from edge.core.errors import InputError
from edge.core.records import BgrImage
from edge.vision.face_sampler import VisionStages


def test_a_folder_without_attacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_clips(tmp_path / "nowhere")
    with pytest.raises(InputError, match="needs clips in genuine/"):
        find_clips(tmp_path)
    (tmp_path / "genuine" / "ann").mkdir(parents=True)
    (tmp_path / "genuine" / "ann" / "a.avi").touch()
    with pytest.raises(InputError, match="kind of attack"):
        find_clips(tmp_path)
    (tmp_path / "print").mkdir()
    (tmp_path / "print" / "bob.avi").touch()
    assert [(case.species, case.subject) for case in find_clips(tmp_path)] == [("genuine", "ann"), ("print", "bob")]


@pytest.mark.slow
def test_at_most_one_photo_in_twenty_passes_for_alive(
    watching: VisionStages, photo: Callable[[str], BgrImage], tmp_path: Path
) -> None:
    """Simulated held, near and still photos of four people; the limit is one in twenty."""
    passed, judged = 0, 0
    for name in ("obama2", "obama3", "biden", "astronaut"):
        for seed, species in enumerate(FLAT_PHOTOS * 2):
            scene = draw_scene(species, seed, photo(name), 2.8)
            path = tmp_path / f"{name}-{species}-{seed}.avi"
            write_clip(path, list(render_attack([photo(name)], None, scene)), scene.fps)
            seen = evaluate_clip(
                LabelledClip(species, name, path), watching, LivenessConfig().attack_score
            ).first_decision
            judged += seen is not None
            passed += seen is not None and seen < LivenessConfig().attack_score
    assert judged >= 20
    assert passed <= 0.05 * judged
