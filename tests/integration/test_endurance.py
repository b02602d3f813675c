"""Long tests: memory over time, the packaged program, the service file."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from edge.core.config import DoorConfig, RecognitionConfig
from edge.core.records import Frame
from edge.demo.run_demo import CLIP, GALLERY
from edge.pipeline import Pipeline
from edge.recognition.gallery_file import load_gallery
from edge.runtime.system_stats import memory_mb
from edge.vision.camera_file import VideoFileCamera
from edge.vision.face_sampler import VisionStages

ROOT = Path(__file__).parents[2]
MINUTES = 10


@pytest.mark.slow
def test_memory_of_ten_minutes_of_replay(vision: VisionStages) -> None:
    """The bundled clip is repeated in clip time; the second half needs no more memory than the first."""
    gallery = load_gallery(GALLERY, vision.reader.embedder.sha256)
    config = DoorConfig(site="a", door="b", recognition=RecognitionConfig(cooldown_s=1.0))
    pipeline = Pipeline(config, vision, gallery)
    seconds, seq, offset_ns, resident = 0.0, 0, 0, []
    decisions = 0
    while seconds < MINUTES * 60:
        with VideoFileCamera(CLIP) as clip:
            for frame in clip:
                t_ns = offset_ns + frame.captured_ns
                decisions += len(pipeline.step(Frame(frame.pixels, seq, t_ns)))
                seq += 1
        offset_ns = t_ns + 66_666_667
        seconds = offset_ns / 1e9
        gc.collect()
        resident.append(memory_mb()[0])
    assert decisions >= 2 * (len(resident) - 1)
    settled = resident[len(resident) // 5 :]
    half = len(settled) // 2
    assert max(settled[half:]) <= max(settled[:half]) + 1.0


@pytest.mark.slow
def test_wheel_with_its_models_and_demo(tmp_path: Path) -> None:
    """The wheel is installed into an empty environment with its own dependencies only, and run in another folder."""
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT], check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{wheel}[demo]"], check=True)
    shown = subprocess.run(
        [python.with_name("edge"), "demo", "--json"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    kinds = [json.loads(line)["kind"] for line in shown.stdout.splitlines()]
    assert kinds == ["started", "door-open", "unknown", "stopped"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_service_file_is_valid(tmp_path: Path) -> None:
    """systemd reports only that this machine has no /opt/threshold."""
    unit = tmp_path / "edge.service"
    text = (ROOT / "systemd" / "edge.service").read_text()
    unit.write_text(text.replace("/opt/threshold/venv/bin/edge", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
