"""Draws what the door saw into a copy of a clip: boxes, landmarks, evidence, decisions and a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.core.cli_support import counted
from edge.core.records import (
    AccessOutcome,
    BgrImage,
    Box,
    Decision,
    FloatArray,
    Identification,
    LivenessResult,
    Sample,
    Track,
)
from edge.events.reasons import reason_meaning
from edge.liveness.prompts import ChallengeState
from edge.recognition.aggregator import TrackProgress
from edge.replay.canvas import Canvas, Colour, Layout, LegendEntry
from edge.replay.clip_writer import open_clip_writer
from edge.replay.explain import REFUSAL_HINTS, describe
from edge.replay.replay import ReplayStep

_GREEN, _RED, _AMBER, _GREY = (70, 170, 40), (60, 50, 215), (20, 140, 240), (205, 205, 205)  # BGR
_BLUE = (180, 110, 40)
_COLOURS = {AccessOutcome.DOOR_OPEN: _GREEN, AccessOutcome.DENIED: _RED, AccessOutcome.UNKNOWN: _AMBER}
_LEGEND = (
    LegendEntry(_GREY, "not sure yet"),
    LegendEntry(_GREEN, "door opens"),
    LegendEntry(_RED, "denied"),
    LegendEntry(_AMBER, "unknown visitor"),
    LegendEntry(_GREY, "distance to the nearest person, lower is nearer", bar=(0.6, None)),
    LegendEntry(_GREY, "threshold", bar=(0.0, 0.5)),
)
_MESSAGE_S = 2.0  # how long a decision or the end of a challenge is shown
_SAMPLE_S = 1.5  # how long a sample is shown; after a verdict there is one a second


class Annotator:
    """Writes an annotated copy of a clip, readable by its owner only: *.mp4 (H.264) or *.webm (VP8)."""

    def __init__(self, path: Path, min_samples: int) -> None:
        """
        Args:
            path: output file, *.mp4 or *.webm.
            min_samples: samples that a name needs, `[recognition] min_samples`.

        Raises:
            InputError: other ending, missing folder, or PyAV is missing for *.mp4.
        """
        self._writer = open_clip_writer(path)
        self._min_samples = min_samples
        self._layout: Layout | None = None
        self._shown: dict[int, _ShownSample] = {}  # by track id
        self._outcomes: dict[str, AccessOutcome] = {}  # last outcome of a person, by id
        self._message: tuple[str, Colour, int] | None = None  # text, colour and the time at which it disappears
        self.highlight: BgrImage | None = None  # picture of the first decision, with everything drawn

    def on_step(self, step: ReplayStep) -> None:
        """Add one frame with the state of the pipeline after it."""
        t_ns = step.frame.captured_ns
        self._layout = self._layout or Layout(step.frame.pixels, _LEGEND)
        canvas = Canvas(step.frame.pixels, self._layout)
        self._note_messages(step)
        present = [
            (track, step.pipeline.aggregator.snapshot(track)) for track in step.pipeline.tracks if not track.lost
        ]
        self._update_samples([track for track, _ in present], step)
        for track, progress in present:
            self._draw_face(canvas, track, progress)
        for track, progress in present:
            self._draw_label(canvas, track, progress, step.pipeline.liveness_gate.result_for(track.id))
        text, colour = f"{counted(len(present), 'visitor')} in sight" if present else "nobody in sight", None
        if self._message and t_ns < self._message[2]:
            text, colour = self._message[:2]
        canvas.status(f"{t_ns / 1e9:.1f} s   {text}", colour)
        if step.decisions and self.highlight is None:
            self.highlight = canvas.picture
        self._writer.write(canvas.picture, t_ns)

    def close(self) -> None:
        """Finish the file; can be called again."""
        self._writer.close()

    def _note_messages(self, step: ReplayStep) -> None:
        """Remember challenges and decisions of this frame for the status line."""
        t_ns = step.frame.captured_ns
        until_ns = t_ns + round(_MESSAGE_S * 1e9)
        for prompt in step.prompts:
            asked = prompt.state is ChallengeState.ASKED
            self._message = (f"challenge: {describe(prompt)}", _BLUE, prompt.expires_ns if asked else until_ns)
        for decision in step.decisions:
            if person := decision.verdict.match.person:
                self._outcomes[person.id] = decision.kind
            self._message = (_announcement(decision), _COLOURS[decision.kind], until_ns)

    def _update_samples(self, present: Sequence[Track], step: ReplayStep) -> None:
        """Add the samples of this frame; forget old ones, and those of visitors who left."""
        t_ns = step.frame.captured_ns
        for track in present:
            if sample := step.pipeline.samples.get(track.id):
                self._shown[track.id] = _ShownSample(sample, track.face.box, t_ns)
        self._shown = {number: shown for number, shown in self._shown.items() if t_ns - shown.t_ns <= _SAMPLE_S * 1e9}

    def _draw_face(self, canvas: Canvas, track: Track, progress: TrackProgress) -> None:
        shown, box = self._shown.get(track.id), track.face.box
        colour = self._colour(progress)
        canvas.face(box, shown.points_in(box) if shown else None, colour)
        if progress.match and progress.match.person:
            canvas.distance(box, progress.match, colour)

    def _draw_label(
        self, canvas: Canvas, track: Track, progress: TrackProgress, liveness: LivenessResult | None
    ) -> None:
        lines = [f"#{track.id} {_title(progress, self._outcome(progress), self._min_samples)}"]
        if progress.match and progress.match.person:
            lines.append(f"distance {progress.match.distance_sq:.2f}, threshold {progress.match.threshold_sq:.2f}")
        if shown := self._shown.get(track.id):
            lines.append(_quality_text(shown.sample))
        if liveness:
            lines.append(_liveness_text(liveness))
        canvas.label(track.face.box, lines, self._colour(progress))

    def _colour(self, progress: TrackProgress) -> Colour:
        outcome = self._outcome(progress)
        return _COLOURS[outcome] if outcome else _GREY

    def _outcome(self, progress: TrackProgress) -> AccessOutcome | None:
        """Decision of the door about a visitor, or None."""
        if progress.verdict is None or progress.verdict.finding is Identification.UNDECIDED:
            return None
        if progress.verdict.finding is Identification.UNKNOWN:
            return AccessOutcome.UNKNOWN
        person = progress.verdict.match.person
        return self._outcomes.get(person.id) if person else None


@dataclass(frozen=True, slots=True)
class _ShownSample:
    """The last sample of a track, which is drawn until the next one."""

    sample: Sample
    box: Box  # of the face in the frame of the sample
    t_ns: int

    def points_in(self, box: Box) -> FloatArray | None:
        """Every third landmark, (156, 2) frame pixels, moved and scaled with the box; None if there are none."""
        if self.sample.landmarks is None or self.box.width <= 0:
            return None
        points = self.sample.landmarks.points_px[::3, :2]
        return (points - self.box.centre) * (box.width / self.box.width) + box.centre


def _title(progress: TrackProgress, outcome: AccessOutcome | None, min_samples: int) -> str:
    verdict = progress.verdict
    if outcome is AccessOutcome.UNKNOWN:
        return "unknown visitor"
    if verdict is None or verdict.finding is not Identification.RECOGNISED or verdict.match.person is None:
        of = f" of {min_samples}" if progress.samples < min_samples else ""
        return f"not sure yet: {progress.samples}{of} samples"
    name = verdict.match.person.name or verdict.match.person.id
    if outcome is None:
        return f"{name}: checking liveness"
    return f"{name}: denied" if outcome is AccessOutcome.DENIED else name


def _quality_text(sample: Sample) -> str:
    refusal = sample.quality.refusal
    return REFUSAL_HINTS.get(refusal, refusal) or f"picture quality {sample.quality.weight:.0%}"


def _liveness_text(shown: LivenessResult) -> str:
    """Attack score, 0 (genuine) to 1 (attack), and the challenge."""
    watched = "liveness: watching" if shown.score is None else f"attack score {shown.score:.2f} of 1"
    return f"{watched}, challenge {shown.challenge}" if shown.challenge else watched


def _announcement(decision: Decision) -> str:
    person = decision.verdict.match.person
    if decision.kind is AccessOutcome.UNKNOWN or person is None:
        return "unknown visitor"
    name = person.name or person.id
    if decision.kind is AccessOutcome.DOOR_OPEN:
        return f"door opens for {name}"
    meaning = reason_meaning(decision.reason or decision.verdict.reason)
    return f"{name} is denied: {meaning[:1].lower()}{meaning[1:]}"
