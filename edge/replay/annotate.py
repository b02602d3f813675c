"""Draws what the door saw into a copy of a clip: boxes, landmarks, evidence and decisions."""

from __future__ import annotations

from pathlib import Path

import cv2

from edge.core.errors import InputError
from edge.core.files import captured_stderr, make_private_file, require_parent_dir
from edge.core.records import (
    AccessOutcome,
    BgrImage,
    Decision,
    FloatArray,
    Identification,
    LivenessResult,
    Match,
    Sample,
    Track,
)
from edge.liveness.prompts import ChallengeState
from edge.pipeline import Pipeline
from edge.recognition.aggregator import TrackProgress
from edge.replay.explain import REFUSAL_HINTS, describe
from edge.replay.replay import ReplayStep
from edge.vision.opencv import silence_opencv

_Colour = tuple[int, int, int]
_GREEN, _RED, _AMBER, _GREY = (80, 200, 60), (60, 60, 230), (40, 170, 250), (190, 190, 190)  # BGR
_WHITE = (255, 255, 255)
_COLOURS = {AccessOutcome.DOOR_OPEN: _GREEN, AccessOutcome.DENIED: _RED, AccessOutcome.UNKNOWN: _AMBER}
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SIZE = 0.42  # of letters, in a picture of
_WIDTH_PX = 640
_SHOWN_SQ = 2.5  # squared distance at the end of the scale under a face
_BANNER_S = 2.0
_CODECS = {".webm": "VP80", ".mp4": "mp4v"}  # browsers play VP8 in WebM; OpenCV's wheel has no encoder for H.264 or AV1
_DEFAULT_FPS = 25.0


class Annotator:
    """Writes an annotated copy of a clip for its owner alone: VP8 in *.webm, MPEG-4 part 2 in *.mp4."""

    def __init__(self, path: Path, wanted: int) -> None:
        """Raise InputError without folder, .webm or .mp4; a name needs `wanted` samples ([recognition] min_samples)."""
        if path.suffix.lower() not in _CODECS:
            raise InputError(f"{path}: an annotated clip must be named *.webm, which browsers play, or *.mp4")
        require_parent_dir(path)
        self._path = path
        self._wanted = wanted
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)  # width and height of the clip, those of its first frame
        self._pending: tuple[BgrImage, int] | None = None
        self._banner: tuple[str, _Colour, int] | None = None
        self._prompt: tuple[str, int] | None = None  # the last prompt, and until when it is shown

    def on_step(self, step: ReplayStep) -> None:
        """Add one frame with the state of the pipeline after it."""
        t_ns = step.frame.captured_ns
        canvas = _Canvas(step.frame.pixels.copy())
        for track in step.pipeline.tracks:
            if not track.lost:
                _draw_track(canvas, track, step.pipeline, self._wanted)
        for prompt in step.prompts:
            asked = prompt.state is ChallengeState.ASKED
            self._prompt = (describe(prompt), prompt.expires_ns if asked else t_ns + round(_BANNER_S * 1e9))
        for decision in step.decisions:
            self._banner = (_announcement(decision), _COLOURS[decision.kind], t_ns)
        if self._banner and t_ns - self._banner[2] < _BANNER_S * 1e9:
            canvas.banner(self._banner[0], self._banner[1])
        if self._prompt and t_ns < self._prompt[1]:
            canvas.text(f"challenge: {self._prompt[0]}", (canvas.row_px * 6, canvas.height - 10), _WHITE)
        canvas.text(f"{t_ns / 1e9:6.2f} s", (8, canvas.height - 10), _GREY)
        self._write(canvas.picture, t_ns)

    def close(self) -> None:
        """Finish the file; harmless when called again."""
        if self._pending:
            self._open(self._pending[0], _DEFAULT_FPS).write(self._pending[0])
            self._pending = None
        if self._writer:
            self._writer.release()
            self._writer = None

    def _write(self, picture: BgrImage, t_ns: int) -> None:
        """Write a frame; the rate of the file is that of the first two."""
        if self._writer is None and self._pending is None:
            self._pending = (picture, t_ns)
            return
        if self._pending:
            first, first_ns = self._pending
            self._pending = None
            self._open(first, 1e9 / max(t_ns - first_ns, 1)).write(first)
        assert self._writer is not None
        same = picture.shape[1::-1] == self._size  # stills may differ in size; a clip has one
        self._writer.write(picture if same else cv2.resize(picture, self._size))

    def _open(self, picture: BgrImage, fps: float) -> cv2.VideoWriter:
        self._size = (picture.shape[1], picture.shape[0])
        fps = min(max(fps, 1.0), 120.0)
        codec = _CODECS[self._path.suffix.lower()]
        make_private_file(self._path)  # it shows faces
        fourcc = cv2.VideoWriter.fourcc(*codec)
        silence_opencv()
        with captured_stderr():  # OpenCV remarks that WebM has no tag for VP8, and writes it well
            self._writer = cv2.VideoWriter(str(self._path), cv2.CAP_FFMPEG, fourcc, fps, self._size)
        if not self._writer.isOpened():
            raise InputError(f"{self._path}: cannot be written; does this OpenCV have an encoder for {codec}?")
        return self._writer


def _draw_track(canvas: _Canvas, track: Track, pipeline: Pipeline, wanted: int) -> None:
    progress = pipeline.aggregator.snapshot(track)
    colour = _colour(progress)
    box = track.face.box
    canvas.box((box.left, box.top), (box.right, box.bottom), colour)
    sample = pipeline.samples.get(track.id)
    if sample and sample.landmarks:
        canvas.dots(sample.landmarks.points_px[::3, :2], colour)
    captions = _captions(track, progress, sample, wanted)
    if shown := pipeline.liveness_gate.result_for(track.id):
        captions.append(_liveness_caption(shown))
    above = box.top - canvas.row_px * len(captions)
    for row, caption in enumerate(captions):
        canvas.text(caption, (box.left, max(above, 0) + canvas.row_px * (row + 0.75)), colour)
    if progress.match and progress.match.person:
        canvas.scale(progress.match, (box.left, box.bottom + canvas.row_px / 2), box.width, colour)


class _Canvas:
    """Draws into one picture, in sizes that fit its width."""

    def __init__(self, picture: BgrImage) -> None:
        self.picture = picture
        self.height = picture.shape[0]
        self._zoom = min(max(picture.shape[1] / _WIDTH_PX, 0.75), 3.0)
        self._line = max(1, round(2 * self._zoom))
        self.row_px = 17 * self._zoom

    def box(self, corner: tuple[float, float], opposite: tuple[float, float], colour: _Colour) -> None:
        cv2.rectangle(self.picture, _round_point(corner), _round_point(opposite), colour, self._line, cv2.LINE_AA)

    def dots(self, points: FloatArray, colour: _Colour) -> None:
        for x, y in points.tolist():
            cv2.circle(self.picture, (round(x), round(y)), max(1, self._line // 2), colour, -1, cv2.LINE_AA)

    def text(self, text: str, at: tuple[float, float], colour: _Colour) -> None:
        """Draw text on a dark plate, moved into the picture if it fits."""
        size, weight = _SIZE * self._zoom, max(1, round(self._zoom))
        (width, height), below = cv2.getTextSize(_ascii(text), _FONT, size, weight)
        x = round(max(2, min(at[0], self.picture.shape[1] - width - 4)))
        y = round(max(height + 2, min(at[1], self.height - below)))
        cv2.rectangle(self.picture, (x - 2, y - height - 2), (x + width + 2, y + below), (25, 25, 25), -1)
        cv2.putText(self.picture, _ascii(text), (x, y), _FONT, size, colour, weight, cv2.LINE_AA)

    def scale(self, match: Match, at: tuple[float, float], width_px: float, colour: _Colour) -> None:
        """Draw a scale of the distance to the nearest person, with a white mark at the threshold."""
        per_sq = width_px / _SHOWN_SQ
        top, bottom = at[1], at[1] + self.row_px / 3
        reach = at[0] + min(match.distance_sq * per_sq, width_px)
        mark = at[0] + min(match.threshold_sq * per_sq, width_px)
        cv2.rectangle(
            self.picture, _round_point((at[0], top)), _round_point((at[0] + width_px, bottom)), (25, 25, 25), -1
        )
        cv2.rectangle(self.picture, _round_point((at[0], top)), _round_point((reach, bottom)), colour, -1)
        ends = _round_point((mark, top - self._line)), _round_point((mark, bottom + self._line))
        cv2.line(self.picture, *ends, _WHITE, self._line)

    def banner(self, text: str, colour: _Colour) -> None:
        deep = round(32 * self._zoom)
        cv2.rectangle(self.picture, (0, 0), (self.picture.shape[1], deep), colour, -1)
        at = round(10 * self._zoom), round(23 * self._zoom)
        weight = max(1, round(2 * self._zoom))
        cv2.putText(self.picture, _ascii(text), at, _FONT, 0.7 * self._zoom, _WHITE, weight, cv2.LINE_AA)


def _captions(track: Track, progress: TrackProgress, sample: Sample | None, wanted: int) -> list[str]:
    """Lines above a face: the person, the number of samples, the distance, and the quality of the last sample."""
    known = progress.verdict is not None and progress.verdict.finding is Identification.RECOGNISED
    match = progress.match
    who = match.person.name if known and match and match.person else "looking"
    if progress.verdict and not known:
        who = str(progress.verdict.finding)
    of = "" if progress.verdict else f" of {wanted}"
    captions = [f"#{track.id} {who}, {progress.samples}{of} samples"]
    if match and match.person:
        sign = "<=" if match.distance_sq <= match.threshold_sq else ">"
        captions.append(f"distance {match.distance_sq:.2f} {sign} {match.threshold_sq:.2f}")
    if sample:
        refusal = sample.quality.refusal
        captions.append(REFUSAL_HINTS.get(refusal, refusal) or f"quality {sample.quality.weight:.2f}")
    return captions


def _liveness_caption(shown: LivenessResult) -> str:
    """Attack score, 0 (genuine) to 1 (attack), and the challenge."""
    watched = "watching" if shown.score is None else f"attack {shown.score:.2f}"
    return f"{watched}, challenge {shown.challenge}" if shown.challenge else watched


def _announcement(decision: Decision) -> str:
    person = decision.verdict.match.person
    if decision.kind is AccessOutcome.UNKNOWN or person is None:
        return str(decision.kind)
    why = f", {decision.reason}" if decision.reason else ""
    return f"{decision.kind}: {person.name}{why}"


def _colour(progress: TrackProgress) -> _Colour:
    if progress.verdict is None:
        return _GREY
    return _GREEN if progress.verdict.finding is Identification.RECOGNISED else _AMBER


def _round_point(point: tuple[float, float]) -> tuple[int, int]:
    return round(point[0]), round(point[1])


def _ascii(text: str) -> str:
    """OpenCV's fonts have no other characters."""
    return text.encode("ascii", "replace").decode()
