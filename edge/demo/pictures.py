"""Writes what the door saw in the bundled clip: an annotated clip and a picture of the opening."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import cv2

from edge.core.config import DoorConfig
from edge.core.files import atomic_write
from edge.demo.run_demo import CLIP, GALLERY
from edge.replay.annotate import Annotator
from edge.replay.clip_writer import has_h264
from edge.replay.replay import replay

_NAME = "threshold-demo"


def write_pictures(folder: Path) -> tuple[Path, Path]:
    """Write threshold-demo.mp4 (.webm without PyAV) and threshold-demo.jpg, readable by their owner only.

    Files of these names are replaced.

    Returns:
        paths of the clip and of the picture.

    Raises:
        OSError: a file cannot be written.
        InputError: the folder does not exist.
    """
    config = DoorConfig(site="demo", door="front")
    clip, picture = folder / f"{_NAME}.{'mp4' if has_h264() else 'webm'}", folder / f"{_NAME}.jpg"
    with closing(Annotator(clip, config.recognition.min_samples)) as annotator:
        for _ in replay(config, CLIP, GALLERY, [annotator]):
            pass
    assert annotator.highlight is not None, "the bundled clip ends in decisions"
    _, content = cv2.imencode(".jpg", annotator.highlight)
    atomic_write(picture, content.tobytes(), private=True)
    return clip, picture
