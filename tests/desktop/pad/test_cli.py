"""The command line of presentation attack detection."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from threshold_tools.pad.attack_clips import write_clip
from threshold_tools.pad.cli import MAX_STEPS, main
from threshold_tools.pad.report import PadReport

from edge.core.config import LivenessConfig
from edge.core.errors import InputError
from edge.demo.run_demo import FOLDER
from edge.vision.camera_file import VideoFileCamera


@pytest.mark.parametrize(
    "words",
    [
        ["challenge", "no-folder-is-needed", "--tries", "0"],
        ["challenge", "no-folder-is-needed", "--seed", "-1"],
        ["challenge", "no-folder-is-needed", "--steps", "0"],
        ["challenge", "no-folder-is-needed", "--steps", str(MAX_STEPS + 1)],
        ["challenge", "no-folder-is-needed", "--looks", "0"],
        ["clips", "no-folder-is-needed", "--out", "nowhere", "--count", "-1"],
        ["clips", "no-folder-is-needed", "--out", "nowhere", "--seed", "-1"],
        ["clips", "no-folder-is-needed", "--out", "nowhere", "--people", "0"],
        ["clips", "no-folder-is-needed", "--out", "nowhere", "--seconds", "0"],
        ["clips", "no-folder-is-needed", "--out", "nowhere", "--seconds", "nan"],
    ],
)
def test_numbers_that_make_no_sense_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The check happens before any file is read or written."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert words[-2] in capsys.readouterr().err


def test_a_trial_asks_for_as_many_movements_as_a_door_may() -> None:
    msgspec.convert({"challenge_steps": MAX_STEPS}, LivenessConfig)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"challenge_steps": MAX_STEPS + 1}, LivenessConfig)


def test_clips_are_made_and_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a clip of a person to its rates and those of attacks made from it, as text, JSON and HTML."""
    with VideoFileCamera(FOLDER / "door.mp4") as camera:
        frames = [frame.pixels.copy() for _, frame in zip(range(40), camera, strict=False)]
    (tmp_path / "clips" / "ann").mkdir(parents=True)
    write_clip(tmp_path / "clips" / "ann" / "a.avi", frames, 15)
    (tmp_path / "groups.csv").write_text("ann,some\n")
    attacks = str(tmp_path / "attacks")
    made = ["--count", "1", "--species", "photo-still", "--seconds", "0.5"]
    main(["clips", str(tmp_path / "clips"), "--out", attacks, *made])
    assert "1 simulated attack " in capsys.readouterr().out
    written = ["--json", str(tmp_path / "x.json"), "--html", str(tmp_path / "x.html")]
    main(["evaluate", attacks, "--groups", str(tmp_path / "groups.csv"), *written])
    shown = capsys.readouterr().out
    report = msgspec.json.decode((tmp_path / "x.json").read_bytes(), type=PadReport)
    assert [kind.name for kind in report.at[0].species] == ["simulated-photo-still"]
    assert list(report.groups) == ["some"]
    assert "simulated-photo-still" in shown
    assert "simulated-photo-still" in (tmp_path / "x.html").read_text()
    assert {(tmp_path / name).stat().st_mode & 0o077 for name in ("x.json", "x.html")} == {0}


def test_a_limit_needs_what_it_was_chosen_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--chosen-on"):
        main(["evaluate", str(tmp_path), "--limit", "0.4"])


def test_trials_are_printed_by_species(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each species."""
    main(["challenge", str(FOLDER / "people"), "--tries", "1", "--species", "photo-still", "--seed", "3"])
    shown = capsys.readouterr()
    assert "2 of 2 portraits used" in shown.err
    assert shown.out.startswith("photo-still         0 of 1 passed,   0.0 % (0.0 to 97.5)")


def test_a_folder_without_a_portrait_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image"):
        main(["challenge", str(tmp_path)])
