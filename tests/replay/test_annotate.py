"""Annotated clips."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.core.config import DoorConfig
from edge.core.errors import CameraError, GalleryError, InputError
from edge.demo.run_demo import CLIP, GALLERY
from edge.replay.annotate import Annotator
from edge.replay.replay import replay

CONFIG = DoorConfig(site="test", door="test")


@pytest.mark.parametrize(("name", "codec"), [("out.webm", b"V_VP8"), ("out.mp4", b"mp4v")])
def test_annotated_clip_of_every_frame(tmp_path: Path, name: str, codec: bytes) -> None:
    """Something is drawn into it, its owner alone may read it, and *.webm holds VP8, which browsers play."""
    out = tmp_path / name
    out.write_bytes(b"an older clip")
    out.chmod(0o644)
    with closing(Annotator(out, CONFIG.recognition.min_samples)) as annotator:
        list(replay(CONFIG, CLIP, GALLERY, [annotator]))
    assert out.stat().st_mode & 0o777 == 0o600
    assert codec in out.read_bytes()
    plain, drawn = cv2.VideoCapture(str(CLIP)), cv2.VideoCapture(str(out))
    frames, changed = 0, 0
    while True:
        ok, one = plain.read()
        other_ok, other = drawn.read()
        assert ok == other_ok
        if not ok:
            break
        frames += 1
        changed += int(np.count_nonzero(cv2.absdiff(one, other)[:460] > 60) > 300)  # above the time stamp
    assert frames > 90
    assert changed > 30


def test_bad_input_is_rejected_before_writing(tmp_path: Path) -> None:
    with pytest.raises(CameraError):
        list(replay(CONFIG, tmp_path / "absent.mp4", GALLERY))
    with pytest.raises(GalleryError):
        list(replay(CONFIG, CLIP, tmp_path / "absent.safetensors"))
    with pytest.raises(InputError, match=r"must be named \*\.webm, which browsers play, or \*\.mp4"):
        Annotator(tmp_path / "out.gif", CONFIG.recognition.min_samples)
    assert list(tmp_path.iterdir()) == []
