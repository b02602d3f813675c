"""Network camera on a local port; it repeats the demo's enrolled person."""

from __future__ import annotations

import itertools
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.fake_camera import Webcam, jpeg

from edge.demo.run_demo import CLIP
from edge.vision.camera_file import VideoFileCamera

with VideoFileCamera(CLIP) as clip:
    pictures = [jpeg(frame.pixels) for frame in itertools.islice(clip, 20, 50)]
webcam = Webcam(pictures, port=int(sys.argv[1]))
webcam.plug()
signal.pause()
