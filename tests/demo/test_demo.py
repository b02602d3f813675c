"""`edge demo`: its pictures and its next step. Its events are tested in tests/cli."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.demo.pictures import write_pictures
from edge.replay.clip_writer import has_h264

CLIP_NAME = f"threshold-demo.{'mp4' if has_h264() else 'webm'}"


def test_private_clip_and_picture_of_the_opening(tmp_path: Path) -> None:
    """Earlier ones are replaced; the picture is that of the opening, with a green status line."""
    for name in (CLIP_NAME, "threshold-demo.jpg"):
        (tmp_path / name).write_text("of an earlier run")
        (tmp_path / name).chmod(0o644)
    clip, picture = write_pictures(tmp_path)
    assert (clip.name, picture.name) == (CLIP_NAME, "threshold-demo.jpg")
    assert {path.stat().st_mode & 0o777 for path in (clip, picture)} == {0o600}
    assert cv2.VideoCapture(str(clip)).get(cv2.CAP_PROP_FRAME_COUNT) == 135
    shown = cv2.imread(str(picture))
    assert shown is not None
    blue, green, red = np.asarray(shown)[490, -20].tolist()
    assert green > 1.5 * max(blue, red)


@pytest.mark.parametrize("writable", [True, False])
def test_demo_ends_with_files_and_a_next_step(tmp_path: Path, writable: bool) -> None:
    """If the clip cannot be written, the demo reports it and continues; the commands have the right path."""
    edge = Path(sys.executable).with_name("edge")
    if not writable:
        (tmp_path / CLIP_NAME).mkdir()
    done = subprocess.run(
        [edge, "demo"], check=True, cwd=tmp_path, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}
    )
    if writable:
        assert f"\n{CLIP_NAME}: the clip with what the door saw\n" in done.stderr
        assert "\nthreshold-demo.jpg: the moment the door opened\n" in done.stderr
    else:
        assert re.search(rf"\n{CLIP_NAME}: .*; choose another folder with --out\n", done.stderr)
    command = re.search(r"^(\S+/edge) replay clip\.mp4 --gallery", done.stderr, re.MULTILINE)
    assert command
    assert (tmp_path / command[1]).samefile(edge)
