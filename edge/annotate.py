"""What the door saw, drawn into a clip: boxes, landmarks, evidence and decisions, for people to look at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge.errors import InputError
from edge.identity.verdict import Progress
from edge.pipeline import Pipeline
from edge.records import Decision, Finding, Frame, Kind, Pixels, Track

_GREEN, _RED, _AMBER, _GREY = (80, 200, 60), (60, 60, 230), (40, 170, 250), (190, 190, 190)  # BGR
_COLOURS = {Kind.DOOR_OPEN: _GREEN, Kind.DENIED: _RED, Kind.UNKNOWN: _AMBER}
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SIZE = 0.42
_BANNER_S = 2.0
_CODEC = "mp4v"
_DEFAULT_FPS = 25.0


class Annotator:
    """Writes an annotated copy of a clip, frame by frame."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            InputError: the folder does not exist, or the name does not end in .mp4.
        """
        if path.suffix.lower() != ".mp4":
            raise InputError(f"{path}: an annotated clip must be named *.mp4")
        if not path.parent.is_dir():
            raise InputError(f"{path.parent}: no such folder")
        self._path = path
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)  # width and height of the clip, those of its first frame
        self._pending: tuple[Pixels, int] | None = None
        self._banner: tuple[str, tuple[int, int, int], int] | None = None

    def draw(self, frame: Frame, pipeline: Pipeline, decisions: list[Decision]) -> None:
        """Add one frame with the state of the pipeline after it."""
        picture = frame.pixels.copy()
        for track in pipeline.tracks:
            if not track.lost:
                _draw_track(picture, track, pipeline)
        for decision in decisions:
            self._banner = (_announcement(decision), _COLOURS[decision.kind], frame.t_ns)
        if self._banner and frame.t_ns - self._banner[2] < _BANNER_S * 1e9:
            _draw_banner(picture, self._banner[0], self._banner[1])
        _text(picture, f"{frame.t_ns / 1e9:6.2f} s", (8, picture.shape[0] - 10), _GREY)
        self._write(picture, frame.t_ns)

    def close(self) -> None:
        """Finish the file; harmless when called again."""
        if self._pending:
            self._open(self._pending[0], _DEFAULT_FPS).write(self._pending[0])
            self._pending = None
        if self._writer:
            self._writer.release()
            self._writer = None

    def _write(self, picture: Pixels, t_ns: int) -> None:
        """Write a frame; the rate of the file is that of the first two."""
        if self._writer is None and self._pending is None:
            self._pending = (picture, t_ns)
            return
        if self._pending:
            first, first_ns = self._pending
            self._pending = None
            self._open(first, 1e9 / max(t_ns - first_ns, 1)).write(first)
        assert self._writer is not None
        self._writer.write(_fitted(picture, self._size))

    def _open(self, picture: Pixels, fps: float) -> cv2.VideoWriter:
        self._size = (picture.shape[1], picture.shape[0])
        fps = min(max(fps, 1.0), 120.0)
        self._writer = cv2.VideoWriter(str(self._path), cv2.VideoWriter.fourcc(*_CODEC), fps, self._size)
        if not self._writer.isOpened():
            raise InputError(f"{self._path}: cannot be written")
        return self._writer


def _fitted(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """Stills may differ in size; a clip has one."""
    return picture if picture.shape[1::-1] == size else np.asarray(cv2.resize(picture, size), np.uint8)


def _draw_track(picture: Pixels, track: Track, pipeline: Pipeline) -> None:
    progress = pipeline.judge.progress(track)
    colour = _colour(progress)
    box = track.face.box
    corner = round(box.left), round(box.top)
    cv2.rectangle(picture, corner, (round(box.right), round(box.bottom)), colour, 2, cv2.LINE_AA)
    sample = pipeline.samples.get(track.id)
    if sample and sample.landmarks:
        for x, y in sample.landmarks.points_px[::3, :2]:
            cv2.circle(picture, (round(float(x)), round(float(y))), 1, colour, -1, cv2.LINE_AA)
    refusal = sample.quality.refusal if sample else ""
    captions = [caption for caption in _captions(track, progress, refusal) if caption]
    top = max(14, corner[1] - 8 - 17 * (len(captions) - 1))
    for row, caption in enumerate(captions):
        _text(picture, caption, (corner[0], top + 17 * row), colour)


def _captions(track: Track, progress: Progress, refusal: str) -> list[str]:
    """Two lines above a face: who, and on what evidence."""
    if progress.match is None or progress.match.person is None:
        return [f"#{track.id} looking", refusal]
    known = progress.verdict is not None and progress.verdict.finding is Finding.RECOGNISED
    match = progress.match
    who = match.person.name if known and match.person else (progress.verdict.finding if progress.verdict else "looking")
    sign = "<=" if match.distance_sq <= match.threshold_sq else ">"
    return [
        f"#{track.id} {who} ({progress.samples} samples)",
        f"distance {match.distance_sq:.2f} {sign} {match.threshold_sq:.2f} {refusal}",
    ]


def _announcement(decision: Decision) -> str:
    person = decision.verdict.match.person
    if decision.kind is Kind.UNKNOWN or person is None:
        return str(decision.kind)
    return f"{decision.kind}: {person.name}"


def _colour(progress: Progress) -> tuple[int, int, int]:
    if progress.verdict is None:
        return _GREY
    return _GREEN if progress.verdict.finding is Finding.RECOGNISED else _AMBER


def _draw_banner(picture: Pixels, text: str, colour: tuple[int, int, int]) -> None:
    cv2.rectangle(picture, (0, 0), (picture.shape[1], 32), colour, -1)
    cv2.putText(picture, _ascii(text), (10, 23), _FONT, 0.7, (255, 255, 255), 2, cv2.LINE_AA)


def _text(picture: Pixels, text: str, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """Legible on any ground: on a dark plate."""
    (width, height), below = cv2.getTextSize(_ascii(text), _FONT, _SIZE, 1)
    x, y = at
    cv2.rectangle(picture, (x - 2, y - height - 2), (x + width + 2, y + below), (25, 25, 25), -1)
    cv2.putText(picture, _ascii(text), at, _FONT, _SIZE, colour, 1, cv2.LINE_AA)


def _ascii(text: str) -> str:
    """OpenCV's fonts have no other characters."""
    return text.encode("ascii", "replace").decode()
