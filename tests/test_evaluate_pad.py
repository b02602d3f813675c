"""Error rates of presentation attack detection, and the attacks that a script makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from spoofing.report import measure, show, wilson
from spoofing.simulate import SPECIES, draw_scene, shoot
from spoofing.watch import Case, Watched, read_cases

from edge.errors import InputError
from edge.liveness.evidence import Evidence


def judged(species: str, subject: str, score: float, looks: int = 10) -> Watched:
    case = Case(species, subject, Path("x.avi"))
    return Watched(case, (Evidence(score, (), True, looks, 1.0),), read_ns=1000, observe_ns=100)


def test_rates_are_told_by_species_real_and_simulated_apart() -> None:
    watched = [judged("genuine", "ann", 0.1), judged("genuine", "bob", 0.6), judged("print", "ann", 0.9)]
    watched += [judged("simulated-photo-held", "ann", 0.2), judged("simulated-photo-held", "bob", 0.9)]
    watched += [judged("print", "bob", 0.5, looks=2)]
    report = measure(
        watched, source="x", limit=0.5, chosen_on="others", seconds=(1.0,), groups={"ann": "a", "bob": "b"}
    )
    point = report.at[0]
    assert point.bpcer
    assert point.bpcer.value == 0.5
    assert [(kind.name, kind.simulated, kind.apcer and kind.apcer.value) for kind in point.species] == [
        ("print", False, 0.0),
        ("simulated-photo-held", True, 0.5),
    ]
    assert point.species[0].unjudged == 1
    assert (point.acer_real, point.acer_simulated) == (0.25, 0.5)
    assert {group: share and share.value for group, share in report.groups.items()} == {"a": 0.0, "b": 1.0}
    assert all(told in show(report) for told in ("APCER, print", "1 never judged", "others"))


def test_wilson_gives_the_published_interval() -> None:
    share = wilson(10, 100)  # 0.0552 to 0.1744 (Newcombe 1998, method 3)
    assert share
    assert (share.low, share.high) == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert wilson(0, 0) is None


def test_a_folder_without_attacks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "genuine" / "ann").mkdir(parents=True)
    (tmp_path / "genuine" / "ann" / "a.avi").touch()
    with pytest.raises(InputError, match="kind of attack"):
        read_cases(tmp_path)
    (tmp_path / "print").mkdir()
    (tmp_path / "print" / "bob.avi").touch()
    assert [(case.species, case.subject) for case in read_cases(tmp_path)] == [("genuine", "ann"), ("print", "bob")]


@pytest.mark.parametrize("species", SPECIES)
def test_a_simulated_attack_is_the_same_under_its_seed_and_moves_unless_it_stands_still(species: str) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (90, 70, 3), np.uint8)
    scene = draw_scene(species, 3, picture)
    first = shoot([picture], None, scene)
    one, two = next(first), next(first)
    assert one.shape == (scene.height_px, scene.width_px, 3)
    assert np.array_equal(one, next(shoot([picture], None, scene)))
    assert not np.array_equal(one, two)
    assert (scene.sway == 0) == (species == "photo-still")
