"""Writes clips: H.264 in *.mp4 with PyAV, which browsers and chats play, or VP8 in *.webm with OpenCV alone."""

from __future__ import annotations

import importlib.util
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from edge.core.errors import InputError
from edge.core.files import captured_stderr, make_private_file, require_parent_dir
from edge.core.records import BgrImage
from edge.vision.opencv import silence_opencv

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import OutputContainer
    from av.video.stream import VideoStream

_TIME_BASE = Fraction(1, 90_000)  # seconds of one tick in *.mp4
_H264_OPTIONS = {"preset": "veryfast", "crf": "21", "bf": "0"}
_BT709 = 1  # colour space of the code points in ITU-T H.273; players assume different ones if it is not written
_LIMITED_RANGE = 1
_DEFAULT_FPS = 25.0
_MIN_FPS, _MAX_FPS = 1.0, 120.0


class ClipWriter(Protocol):
    """A video file that is being written; all frames have the size of the first, with even sides."""

    def write(self, picture: BgrImage, t_ns: int) -> None:
        """Append a frame; `t_ns` must increase."""

    def close(self) -> None:
        """Finish the file; can be called again."""


def has_h264() -> bool:
    """Whether PyAV is installed, which writes *.mp4."""
    return importlib.util.find_spec("av") is not None


def open_clip_writer(path: Path) -> ClipWriter:
    """Create a writer; the file is created with the first frame, readable by its owner only, because it shows faces.

    Raises:
        InputError: the name does not end in .mp4 or .webm, the folder does not exist, or PyAV is missing for .mp4.
    """
    suffix = path.suffix.lower()
    if suffix not in (".mp4", ".webm"):
        raise InputError(f"{path}: name the annotated clip *.mp4 (H.264) or *.webm (VP8)")
    require_parent_dir(path)
    if suffix == ".webm":
        return _WebmWriter(path)
    if not has_h264():
        raise InputError(f"{path}: an .mp4 needs PyAV; run: pip install av, or name the clip {path.stem}.webm")
    return _Mp4Writer(path)


class _Mp4Writer:
    """H.264; every frame keeps its time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._first_ns = 0
        self._last_pts = self._interval = 0  # ticks of _TIME_BASE

    def write(self, picture: BgrImage, t_ns: int) -> None:
        import av

        if self._container is None:
            self._first_ns = t_ns
            make_private_file(self._path)
            self._container = av.open(str(self._path), "w", format="mp4", options={"movflags": "faststart"})
            self._stream = _add_h264_stream(self._container, picture)
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(
            format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED_RANGE
        )
        frame.time_base = _TIME_BASE
        pts = round((t_ns - self._first_ns) / 1e9 / _TIME_BASE)
        self._interval, self._last_pts = pts - self._last_pts, pts
        frame.pts = pts
        self._mux(frame)

    def close(self) -> None:
        if self._container:
            self._mux(None)
            self._release()

    def _mux(self, frame: VideoFrame | None) -> None:
        assert self._container is not None
        assert self._stream is not None
        try:
            for packet in self._stream.encode(frame):
                packet.duration = self._interval  # matters for the last frame only: shown as long as the one before
                self._container.mux(packet)
        except OSError as error:  # for example a full disk; another `mux` after it crashes the process
            self._release()
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def _release(self) -> None:
        assert self._container is not None
        self._container.close()
        self._container = self._stream = None


def _add_h264_stream(container: OutputContainer, picture: BgrImage) -> VideoStream:
    stream = container.add_stream("libx264", options=_H264_OPTIONS)
    stream.height, stream.width = picture.shape[:2]
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = _TIME_BASE
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED_RANGE
    return stream


class _WebmWriter:
    """VP8; the frame rate is that of the first two frames."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: cv2.VideoWriter | None = None
        self._pending: tuple[BgrImage, int] | None = None

    def write(self, picture: BgrImage, t_ns: int) -> None:
        if self._writer is None and self._pending is None:
            self._pending = (picture, t_ns)
            return
        if self._pending:
            first, first_ns = self._pending
            self._pending = None
            self._open(first, 1e9 / max(t_ns - first_ns, 1)).write(first)
        assert self._writer is not None
        self._writer.write(picture)

    def close(self) -> None:
        if self._pending:
            self._open(self._pending[0], _DEFAULT_FPS).write(self._pending[0])
            self._pending = None
        if self._writer:
            self._writer.release()
            self._writer = None

    def _open(self, picture: BgrImage, fps: float) -> cv2.VideoWriter:
        make_private_file(self._path)
        silence_opencv()
        with captured_stderr():  # OpenCV warns that WebM has no tag for VP8, but writes it correctly
            self._writer = cv2.VideoWriter(
                str(self._path),
                cv2.CAP_FFMPEG,
                cv2.VideoWriter.fourcc(*"VP80"),
                float(np.clip(fps, _MIN_FPS, _MAX_FPS)),
                (picture.shape[1], picture.shape[0]),
            )
        if not self._writer.isOpened():
            raise InputError(
                f"{self._path}: this OpenCV cannot write VP8; run: pip install av, and name the clip *.mp4"
            )
        return self._writer
