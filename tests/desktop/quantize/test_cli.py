"""The quantizer's command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.small_network import flipped_weight
from threshold_tools.quantize.cli import PORTRAITS, main

from edge.core.errors import InputError
from edge.vision.manifest import default_folder


def test_bad_usage_is_said_in_one_line(tmp_path: Path) -> None:
    """An unknown model, and a folder without photos."""
    with pytest.raises(InputError, match="--only mobile: no such model; known models are detector-far"):
        main(["--only", "mobile"])
    with pytest.raises(InputError, match="no image"):
        main(["--images", str(tmp_path), "--out", str(tmp_path / "out")])


@pytest.mark.network
def test_check_catches_one_flipped_weight(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` passes the committed file and names what was changed in a tampered one."""
    shutil.copytree(default_folder(), tmp_path / "models")
    assert main(["--check", "--only", "landmarks", "--out", str(tmp_path / "models")]) == 0
    path = tmp_path / "models" / "landmarks.tflite"
    path.write_bytes(flipped_weight(path.read_bytes()))
    assert main(["--check", "--only", "landmarks", "--out", str(tmp_path / "models")]) == 1
    said = capsys.readouterr().out
    assert "the same, byte for byte" in said
    assert "landmarks: the manifest names another sha256" in said
    assert "bytes differ, first at 7" in said


@pytest.mark.network
def test_too_few_people_for_the_chains_are_refused(tmp_path: Path) -> None:
    """`--chain` refuses nine people: ten folds need twenty."""
    out = tmp_path / "out"
    shutil.copytree(default_folder(), out)
    with pytest.raises(InputError, match="too few people"):
        main(["--chain", str(PORTRAITS), "--out", str(out)])


@pytest.mark.network
def test_models_are_made_again_with_their_manifest(tmp_path: Path) -> None:
    """The same bytes, and the report of an unchanged model stays."""
    out = tmp_path / "models"
    shutil.copytree(default_folder(), out)
    (out / "landmarks.tflite").unlink()
    assert main(["--only", "landmarks", "--out", str(out)]) == 0
    for name in ("landmarks.tflite", "manifest.json"):
        assert (out / name).read_bytes() == (default_folder() / name).read_bytes()


@pytest.mark.network
def test_calibration_data_is_complete(tmp_path: Path) -> None:
    """Ranges measured on the bundled portraits; a model is made of them."""
    out = tmp_path / "models"
    shutil.copytree(default_folder(), out)
    assert main(["--only", "detector-near", "--calibrate", str(PORTRAITS), "--out", str(out)]) == 0
    assert (out / "ranges/detector-near.json").read_bytes() != (
        default_folder() / "ranges/detector-near.json"
    ).read_bytes()
    assert main(["--check", "--only", "detector-near", "--out", str(out)]) == 0
