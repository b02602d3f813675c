"""Recorded cameras: a video file or a folder of stills. They deliver every frame, immediately or in real time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edge.core.errors import CameraError, ImageError
from edge.core.records import BgrImage, Frame
from edge.vision.images import read_image
from edge.vision.opencv import rotate, silence_opencv

log = logging.getLogger(__name__)

_STILLS = frozenset({".jpg", ".jpeg", ".png"})
_FALLBACK_FPS = 25.0


class PlaybackClock:
    """Maps clip time to frame time: equal to it, or in real time on the monotonic clock."""

    def __init__(self, realtime: bool) -> None:
        self._realtime = realtime
        self._start_ns: int | None = None
        self._over = threading.Event()

    @property
    def is_done(self) -> bool:
        """Whether the source has been closed."""
        return self._over.is_set()

    def wait_until(self, clip_ns: int) -> int:
        """In real time, wait until `clip_ns` is reached; returns the time of the frame."""
        if not self._realtime:
            return clip_ns
        if self._start_ns is None:
            self._start_ns = time.monotonic_ns() - clip_ns
        t_ns = self._start_ns + clip_ns
        self._over.wait(max(t_ns - time.monotonic_ns(), 0) / 1e9)
        return t_ns

    def finish(self) -> None:
        self._over.set()


class VideoFileCamera:
    """A video file as a camera.

    The time of a frame is its time stamp in the container; times strictly increase. With `realtime` the frames are
    delivered at that pace, on the monotonic clock; a slow reader loses none. Pixels are valid until the next frame.
    """

    recorded = True
    dropped = 0

    def __init__(self, path: Path, *, realtime: bool = False, rotate_deg: int = 0) -> None:
        """
        Raises:
            CameraError: the file does not exist, or none of its frames can be decoded.
        """
        silence_opencv()
        self.name = str(path)
        self.live = realtime
        self._rotate_deg = rotate_deg
        self._pace = PlaybackClock(realtime)
        self._using = threading.Lock()  # a capture released in the middle of a read crashes the process
        _inspect(Path(path))
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        got, first = self._capture.read() if self._capture.isOpened() else (False, None)
        if not got or first is None:
            self._capture.release()
            raise CameraError(f"{path}: no frame can be decoded: not a video, or a truncated copy of one")
        self._first: BgrImage = np.asarray(first, np.uint8)
        self._first_ns = max(0, round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6))
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self._fps = fps if 0 < fps <= 1000 else _FALLBACK_FPS  # NaN too fails the comparison

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over all frames of the clip, once."""
        pixels, turned, seq, clip_ns = self._first, None, 0, self._first_ns
        while not self._pace.is_done:
            t_ns = self._pace.wait_until(clip_ns)
            if self._pace.is_done:
                return
            turned = rotate(pixels, self._rotate_deg, turned)
            yield Frame(turned, seq, t_ns)
            seq += 1
            with self._using:
                if self._pace.is_done:
                    return
                got, picture = self._capture.read(pixels)
                if not got:
                    self._report_end(seq)
                    return
                clip_ns = self._next_ns(clip_ns)
            pixels = np.asarray(picture, np.uint8)

    def __enter__(self) -> VideoFileCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; can be called again."""
        self._pace.finish()
        with self._using:
            self._capture.release()

    def _next_ns(self, previous_ns: int) -> int:
        """Clip time of the frame just read; the previous one plus a frame interval if its stamp does not rise."""
        stamp_ns = round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        return stamp_ns if stamp_ns > previous_ns else previous_ns + round(1e9 / self._fps)

    def _report_end(self, read: int) -> None:
        """Log a warning if a clip is much shorter than its header states; a few missing frames are normal rounding."""
        announced = round(max(self._capture.get(cv2.CAP_PROP_FRAME_COUNT), 0))
        if announced - read > max(2, announced // 50):
            log.warning("%s: truncated or damaged: it ends after frame %d of %d", self.name, read, announced)


def _inspect(path: Path) -> None:
    """Reject files for which FFmpeg has no clear error, and text, which FFmpeg plays as a video of letters."""
    if not path.is_file():
        raise CameraError(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise CameraError(f"{path}: cannot be read ({error.strerror})") from error
    if not head:
        raise CameraError(f"{path}: an empty file (0 bytes)")
    if head.isascii() and b"\0" not in head:
        raise CameraError(f"{path}: a text file, not a video")


class ImageFolderCamera:
    """A folder of JPEG and PNG pictures as a camera, in order of their names, `fps` per second.

    A picture that cannot be decoded is skipped with a warning and counts as dropped; its time slot stays empty.
    """

    recorded = True

    def __init__(self, folder: Path, fps: float, *, realtime: bool = False, rotate_deg: int = 0) -> None:
        """
        Raises:
            CameraError: the folder does not exist or has no pictures.
        """
        self.name = str(folder)
        self.live = realtime
        self.dropped = 0
        self._fps = fps
        self._rotate_deg = rotate_deg
        self._pace = PlaybackClock(realtime)
        if not Path(folder).is_dir():
            raise CameraError(f"{folder}: no such folder")
        try:
            self._paths = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in _STILLS)
        except OSError as error:
            raise CameraError(f"{folder}: cannot be read ({error.strerror})") from error
        if not self._paths:
            raise CameraError(f"{folder}: no .jpg or .png picture in this folder")

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over the pictures in order.

        Raises:
            CameraError: at the end, if none of them could be decoded.
        """
        for seq, path in enumerate(self._paths):
            try:
                pixels = read_image(path)
            except ImageError as error:
                log.warning("skipped: %s", error)
                self.dropped += 1
                continue
            t_ns = self._pace.wait_until(round(seq * 1e9 / self._fps))
            if self._pace.is_done:
                return
            yield Frame(rotate(pixels, self._rotate_deg), seq, t_ns)
        if self.dropped == len(self._paths):
            raise CameraError(f"{self.name}: none of its {len(self._paths)} pictures can be decoded")

    def __enter__(self) -> ImageFolderCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration; can be called again."""
        self._pace.finish()
