"""A plain configuration, and the result of one check."""

from __future__ import annotations

from pathlib import Path

from edge.core.config import (
    CameraConfig,
    DoorConfig,
)
from edge.demo.run_demo import CLIP, GALLERY
from edge.diagnostics.report import CheckResult, State

PLAIN = DoorConfig(site="a", door="b", camera=CameraConfig(source=str(CLIP)))


def one(findings: object, what: str) -> CheckResult:
    (found,) = [finding for finding in findings if finding.what == what]  # type: ignore[attr-defined]
    assert (found.state is State.OK) is (found.remedy == "")
    assert isinstance(found, CheckResult)
    return found


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def a_door(folder: Path, more: str, gallery: Path = GALLERY) -> Path:
    (folder / "state").mkdir(exist_ok=True)
    return write(
        folder / "door.toml",
        f'site = "a"\ndoor = "b"\nstate_folder = "{folder}/state"\ngallery = "{gallery}"\n'
        f'[camera]\nsource = "{folder}/none.mp4"\n{more}'
        + ("" if "[mqtt]" in more else '[mqtt]\nurl = "mqtt://127.0.0.1:1"\n'),
    )
