"""The complete `edge check`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.door_checks import a_door, one, write
from support.mqtt_brokers import free_port

from edge.demo.run_demo import CLIP
from edge.diagnostics.check import check
from edge.diagnostics.report import State


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ("http://127.0.0.1:9/x", "check address, user and password"),
        ("/dev/video97", "plug it in"),
        ("picamera2", "install what is missing"),
        ("none.mp4", "set [camera] source to a camera, or to a file"),
    ],
)
def test_remedies_for_a_missing_camera(tmp_path: Path, source: str, remedy: str) -> None:
    """Each kind of camera has a different remedy."""
    path = a_door(tmp_path, "")
    path.write_text(path.read_text().replace(f"{tmp_path}/none.mp4", source))
    assert one(check(path), "camera").remedy.startswith(remedy)


def edge_check(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", "check", "--config", str(path), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "80"})


def test_every_problem_with_remedy_in_80_columns(tmp_path: Path) -> None:
    path = tmp_path / "door.toml"
    path.write_text(
        f'site = "a"\ndoor = "b"\nstate_folder = "{tmp_path}/none"\ngallery = "{tmp_path}/none"\n'
        f'[camera]\nsource = "{CLIP}"\n[mqtt]\nurl = "mqtt://127.0.0.1:1"\n[lock]\npin = 17\n'
        f"[metrics]\nport = {free_port()}\n"
    )
    done = edge_check(path, "--json")
    assert done.returncode == 1
    found = {each["what"]: each for each in json.loads(done.stdout)}
    assert [found[what]["state"] for what in ("config", "models")] == ["ok"] * 2
    assert [found[what]["state"] for what in ("gallery", "broker", "state", "lock")] == ["fail"] * 4
    assert all(each["remedy"] for each in found.values() if each["state"] != "ok")
    shown = edge_check(path)
    assert shown.returncode == 1
    words = [word for word in shown.stdout.split() if len(word) > 60]  # a path is not wrapped
    assert all(len(line) <= 80 or any(word in line for word in words) for line in shown.stdout.splitlines())
    assert shown.stderr == ""  # no log line between the results
    assert re.fullmatch(r"✗ \d+ errors, \d+ warnings?", shown.stdout.splitlines()[-1])


def test_unreadable_configuration_is_the_only_result(tmp_path: Path) -> None:
    path = write(tmp_path / "door.toml", 'site = "a"\n')
    (finding,) = check(path)
    assert (finding.what, finding.state) == ("config", State.FAIL)
