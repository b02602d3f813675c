"""Error rates of presentation attack detection, and the attacks that a script makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluate_pad import page
from make_attack_clips import draw_photos, main, make, write_clip
from support.rendered_portraits import put
from threshold_tools.pad.attack_scenes import FLAT_PHOTOS, REPLAY, SPECIES, draw_scene, render_attack
from threshold_tools.pad.clip_evaluation import ClipResult, LabelledClip, evaluate_clip, find_clips
from threshold_tools.pad.rates import auc, det, wilson
from threshold_tools.pad.report import AT_THE_DOOR, WINDOWS, measure, show

from edge.core.config import LivenessConfig
from edge.core.errors import InputError
from edge.core.records import BgrImage
from edge.liveness.cues import CUE_WEIGHTS
from edge.liveness.evidence import Cue, LivenessEvidence
from edge.vision.face_sampler import VisionStages


def judged(species: str, subject: str, score: float, *, enough: bool = True) -> ClipResult:
    """A clip of two windows: of this score, in which the motion speaks; and of 1, in which nothing does."""
    case = LabelledClip(species, subject, Path("x.avi"))
    cues = Cue("local-motion", score, 0.5, 1.0, ""), Cue("surroundings", None, None, 1.0, "")
    seen = LivenessEvidence(score, cues, enough, 20, 2.5)
    silent = LivenessEvidence(1.0, (Cue("local-motion", None, None, 1.0, ""),), True, 6, 1.0)
    return ClipResult(
        case, (LivenessEvidence(0.5, (), False, 1, 0.0), seen), (seen, silent), read_ns=1000, observe_ns=100
    )


def test_rates_of_clips_are_told_by_species_real_and_simulated_apart() -> None:
    watched = [judged("genuine", "ann", 0.1), judged("genuine", "bob", 0.6), judged("print", "ann", 0.9)]
    watched += [judged("simulated-photo-held", "ann", 0.2), judged("simulated-photo-held", "bob", 0.9)]
    watched += [judged("print", "bob", 0.4, enough=False)]
    report = measure(watched, source="x", limit=0.5, chosen_on="others", groups={"ann": "a", "bob": "b"})
    door, end, windows = report.at
    assert (door.judged, windows.judged) == (AT_THE_DOOR, WINDOWS)
    assert door.bpcer
    assert door.bpcer.value == 0.5
    assert [(kind.name, kind.simulated, kind.apcer and kind.apcer.value) for kind in door.species] == [
        ("print", False, 0.0),
        ("simulated-photo-held", True, 0.5),
    ]
    assert door.species[0].unjudged == 1
    assert (door.acer_real, door.acer_simulated) == (0.25, 0.5)
    assert end.species[0].apcer
    assert end.species[0].apcer.value == 0.5
    assert windows.bpcer
    assert (windows.bpcer.errors, windows.bpcer.cases) == (3, 4)
    assert {group: share and share.value for group, share in report.groups.items()} == {"a": 0.0, "b": 1.0}
    assert all(told in show(report) for told in ("APCER, print", "1 never judged", "others", "10.0 %"))


def test_each_cue_is_told_by_itself_where_it_speaks() -> None:
    watched = [judged("genuine", "ann", 0.1), judged("genuine", "bob", 0.6), judged("print", "ann", 0.9)]
    watched += [judged("print", "bob", 0.4)]
    report = measure(watched, source="x", limit=0.5, chosen_on="others", groups={})
    cues = {cue.name: cue for cue in report.cues}
    assert list(cues) == list(CUE_WEIGHTS)
    genuine, prints = cues["local-motion"].of
    assert (genuine.species, genuine.windows, genuine.spoke) == ("genuine", 4, 2)
    assert (prints.windows, prints.spoke, prints.auc) == (4, 2, 0.75)
    assert cues["surroundings"].of[1].auc is None
    assert "0.75, 2/4" in show(report)


def test_the_page_holds_what_was_measured_and_its_curves() -> None:
    report = measure(
        [judged("genuine", "ann", 0.1), judged("print", "ann", 0.9)],
        source="x",
        limit=0.5,
        chosen_on="others",
        groups={},
    )
    written = page(report)
    assert written.count("data:image/svg+xml;base64,") == 1
    assert all(told in written for told in (AT_THE_DOOR, "Clips in x"))


def test_curves_and_areas_agree_with_counting() -> None:
    genuine, attacks = [0.1, 0.2, 0.2, 0.6], [0.2, 0.5, 0.9]
    for limit, bpcer, apcer in det(genuine, attacks):
        assert bpcer == pytest.approx(sum(score >= limit for score in genuine) / 4)
        assert apcer == pytest.approx(sum(score < limit for score in attacks) / 3)
    pairs = [(shown > real) + (shown == real) / 2 for real in genuine for shown in attacks]
    assert auc(genuine, attacks) == pytest.approx(sum(pairs) / len(pairs))
    assert det(genuine, []) == []
    assert auc([], attacks) is None


def test_wilson_gives_the_published_interval() -> None:
    share = wilson(10, 100)  # 0.0552 to 0.1744 (Newcombe 1998, method 3)
    assert share
    assert (share.low, share.high) == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert wilson(0, 0) is None


def test_a_folder_without_attacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_clips(tmp_path / "nowhere")
    with pytest.raises(InputError, match="put clips into genuine/"):
        find_clips(tmp_path)
    (tmp_path / "genuine" / "ann").mkdir(parents=True)
    (tmp_path / "genuine" / "ann" / "a.avi").touch()
    with pytest.raises(InputError, match="kind of attack"):
        find_clips(tmp_path)
    (tmp_path / "print").mkdir()
    (tmp_path / "print" / "bob.avi").touch()
    assert [(case.species, case.subject) for case in find_clips(tmp_path)] == [("genuine", "ann"), ("print", "bob")]


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


def test_photos_of_others_become_attacks_and_only_clips_are_genuine(
    tmp_path: Path, photo: Callable[[str], BgrImage]
) -> None:
    """Each person is shown once by each species but the replay; the attacks do not depend on the machine."""
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
    assert make(clips, out, count=1, species=["photo-still", REPLAY], seed=0, seconds=0.2, photos=drawn[1:]) == 3
    found = [(case.species, case.subject) for case in find_clips(out)]
    assert found == [
        ("genuine", "ann"),
        ("simulated-photo-still", "ann"),
        ("simulated-photo-still", "joe"),
        ("simulated-screen-replay", "ann"),
    ]
    assert not any(path.stat().st_mode & 0o077 for path in out.glob("simulated-*/*/*"))  # for their owner alone


@pytest.mark.parametrize(
    "words",
    [["--count", "-1"], ["--seed", "-1"], ["--people", "0"], ["--seconds", "0"], ["--seconds", "nan"]],
)
def test_attacks_that_make_no_sense_are_refused_before_anything_is_written(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), "--out", str(tmp_path / "out"), *words])
    assert ended.value.code == 2
    assert words[0] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_at_most_one_photo_in_twenty_passes_for_alive(
    watching: VisionStages, photo: Callable[[str], BgrImage], tmp_path: Path
) -> None:
    """Four people's photos, held, near, or still, as simulated; one in twenty is what the door promises."""
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
