"""Camera candidates and samples."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.door_checks import PLAIN, one
from support.fake_camera import Webcam, jpeg

from edge.core.config import (
    CameraConfig,
)
from edge.core.errors import CameraError
from edge.demo.run_demo import CLIP
from edge.diagnostics.image_checks import check_image
from edge.diagnostics.probes import camera_candidates, sample_camera
from edge.diagnostics.report import State
from edge.vision.camera_file import VideoFileCamera


def test_working_and_missing_camera() -> None:
    with VideoFileCamera(CLIP) as clip:
        pictures = [jpeg(frame.pixels) for frame, _ in zip(clip, range(20), strict=False)]
    webcam = Webcam(pictures)
    webcam.plug()
    seen = sample_camera(CameraConfig(source=webcam.url))
    webcam.unplug()
    assert seen.size == "640x480 px"
    assert 1 <= len(seen.frames) <= 8
    assert seen.fps > 0
    assert one(check_image(PLAIN, sample_camera(PLAIN.camera)), "camera").state is State.WARN  # a recording
    with pytest.raises(CameraError):
        sample_camera(CameraConfig(source=webcam.url))


def test_codec_nodes_of_a_pi_are_no_candidates(tmp_path: Path) -> None:
    for number, name in ((10, "bcm2835-codec-decode"), (2, "UVC Camera"), (0, "UVC Camera"), (14, "bcm2835-isp")):
        folder = tmp_path / f"sys/class/video4linux/video{number}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (tmp_path / f"video{number}").touch()
    found = [source for source in camera_candidates(tmp_path, tmp_path / "sys") if source != "picamera2"]
    assert found == [str(tmp_path / "video0"), str(tmp_path / "video2")]
