"""A camera that opens beside everything else, and what a door does not import for nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge.core.config import CameraConfig
from edge.core.errors import CameraError
from edge.demo.run_demo import CLIP
from edge.vision.camera_opener import CameraOpener


def test_the_camera_that_was_opened_meanwhile_gives_frames() -> None:
    with CameraOpener(CameraConfig(source=str(CLIP))) as opening, opening.result() as camera:
        assert next(iter(camera)).pixels.shape == (480, 640, 3)


def test_what_was_wrong_is_said_when_the_camera_is_asked_for(tmp_path: Path) -> None:
    absent = CameraConfig(source=str(tmp_path / "absent.mp4"))
    with CameraOpener(absent) as opening, pytest.raises(CameraError, match=r"absent\.mp4: no such file or camera"):
        opening.result()


def test_a_camera_that_nobody_has_taken_is_closed() -> None:
    """As when the models turn out to be damaged while it opens: a closed clip gives no more frames."""
    opening = CameraOpener(CameraConfig(source=str(CLIP)))
    with opening:
        pass
    with opening.result() as camera:
        assert not list(camera)


def test_a_door_without_releases_does_not_import_what_verifies_them() -> None:
    code = "import edge.cli.main, edge.runtime.daemon, sys; sys.exit('tuf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
