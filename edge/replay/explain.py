"""Explains a replay: every visitor, all their samples, why samples were refused, liveness cues and challenges."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from dataclasses import field as own

import msgspec
from msgspec import field

from edge.core.cli_support import counted
from edge.core.records import LivenessResult
from edge.events.reasons import reason_meaning
from edge.liveness.cues.weights import CUE_WEIGHTS
from edge.liveness.prompts import ChallengePrompt, ChallengeState
from edge.recognition.gallery import MAX_DISTANCE_SQ
from edge.replay.replay import ReplayEvent, ReplayStep

REFUSAL_HINTS = {  # why a sample was refused, and what to do
    "too-small": "too small: come closer",
    "too-dark": "too dark: add light in front of the visitor",
    "too-bright": "too bright: shade the lamp or the sun",
    "turned-away": "turned away: look at the camera",
    "tilted": "tilted: mount the camera at eye height",
    "blurred": "blurred: clean and focus the lens, add light",
    "unclear": "unclear: come closer, clean the lens",
    "no-face": "covered, or not a face",
}
_NEUTRAL = 0.05  # log-odds below which a cue indicates nothing
_COLUMNS = """\
time: seconds into the clip; used: samples used so far; distance: to the nearest person, lower is
nearer; quality: weight of the sample, 0 to 1; eyes: distance between the eyes; yaw, pitch: degrees;
sharp: sharpness; light: mean grey level, 0 to 255; clear: strength of the embedding, 1 is typical;
attack: attack score, 0 (genuine) to 1."""


class SampleTrace(msgspec.Struct, frozen=True):
    """One sample of a visitor; fields without a comment are as in `records.Quality`."""

    t: float  # seconds into the clip
    refusal: str  # why the sample was refused, or ""
    samples: int  # number of samples used so far
    distance_sq: float | None  # of the fused samples to the nearest person; lower is nearer; None: no sample or person
    quality: float
    size_px: float
    yaw_deg: float
    pitch_deg: float
    sharpness: float
    brightness: float
    strength: float
    doubted: bool = False  # it showed another face than the samples before
    attack: float | None = None  # attack score, 0 (genuine) to 1; None: not known yet, or liveness is off


class VisitorTrace(msgspec.Struct):
    """One track of a replay; times in seconds into the clip."""

    track: int
    first_s: float
    last_s: float
    looks: list[SampleTrace] = field(default_factory=list)
    liveness: list[str] = field(default_factory=list)  # challenges and liveness results, with their times
    answers: list[ReplayEvent] = field(default_factory=list)

    @property
    def refused(self) -> Counter[str]:
        """Number of refused samples by reason."""
        return Counter(look.refusal for look in self.looks if look.refusal)


class PromptLog:
    """Prints the challenges of a replay to standard error; the visitors in a clip cannot respond to them."""

    def on_step(self, step: ReplayStep) -> None:
        """Print the prompts of one frame."""
        for prompt in step.prompts:
            print(f"{prompt.t_ns / 1e9:8.2f} s  challenge {prompt.challenge_id}: {describe(prompt)}", file=sys.stderr)


def describe(prompt: ChallengePrompt) -> str:
    """Short description of a prompt."""
    if prompt.state is ChallengeState.ASKED:
        until_s = prompt.expires_ns / 1e9
        return f"{_words(str(prompt.movement))}, step {prompt.step} of {prompt.steps}, until {until_s:.2f} s"
    return f"{prompt.state}{': ' + _words(prompt.reason) if prompt.reason else ''}"


@dataclass(slots=True)
class Explainer:
    """Records all visitors of a replay, and describes them afterwards."""

    visitors: dict[int, VisitorTrace] = own(default_factory=dict)
    _counted: dict[int, int] = own(default_factory=dict)

    def on_step(self, step: ReplayStep) -> None:
        """Record the samples of one frame; `on_event` records the decisions."""
        pipeline, now = step.pipeline, _seconds(step.frame.captured_ns)
        for track in pipeline.tracks:
            visitor = self.visitors.setdefault(track.id, VisitorTrace(track.id, _seconds(track.first_ns), now))
            visitor.last_s = _seconds(track.last_ns)
            sample = pipeline.samples.get(track.id)
            if sample is None:
                continue
            progress = pipeline.aggregator.snapshot(track)
            before, self._counted[track.id] = self._counted.get(track.id, 0), progress.samples
            liveness = pipeline.liveness_gate.result_for(track.id)
            quality, match = sample.quality, progress.match
            visitor.looks.append(
                SampleTrace(
                    t=now,
                    refusal=quality.refusal,
                    samples=progress.samples,
                    distance_sq=round(match.distance_sq, 4) if match and match.person else None,
                    quality=round(quality.weight, 3),
                    size_px=round(quality.size_px, 1),
                    yaw_deg=round(quality.yaw_deg, 1),
                    pitch_deg=round(quality.pitch_deg, 1),
                    sharpness=round(quality.sharpness, 1),
                    brightness=round(quality.brightness, 1),
                    strength=round(quality.embedding_norm, 3),
                    doubted=not quality.refusal and 0 < progress.samples <= before,
                    attack=liveness.score if liveness else None,
                )
            )
        for prompt in step.prompts:
            self.visitors[prompt.track].liveness.append(f"{now:.2f} s: challenge, {describe(prompt)}")
        for decision in step.decisions:
            if decision.liveness:
                result, *cues = _liveness_text(decision.liveness)
                self.visitors[decision.verdict.track.id].liveness += [f"{now:.2f} s: {result}", *cues]

    def on_event(self, answer: ReplayEvent) -> None:
        """Record a decision of the door."""
        self.visitors[answer.track].answers.append(answer)

    def why_nothing(self, min_samples: int) -> str:
        """Reason for a replay without decisions, for people; a decision needs `min_samples` usable samples."""
        samples = sum(len(visitor.looks) for visitor in self.visitors.values())
        refused = sum((visitor.refused for visitor in self.visitors.values()), Counter[str]())
        if not self.visitors:
            return "no face was found"
        if not samples:
            return "nobody stayed in sight long enough for one sample"
        if refused:
            reason = refused.most_common(1)[0][0]
            hint = REFUSAL_HINTS.get(reason, reason)
            return f"{refused.total()} of {counted(samples, 'sample')} could not be used, most of them {hint}"
        return f"nobody stayed in sight long enough: {counted(samples, 'sample')}, at least {min_samples} are needed"

    def render(self) -> str:
        """The explanation for people, at most 100 columns."""
        if not self.visitors:
            return "No face was found."
        return "\n\n".join([*map(_visitor_text, self.visitors.values()), _COLUMNS])


def _visitor_text(visitor: VisitorTrace) -> str:
    looks = visitor.looks
    used = len(looks) - visitor.refused.total()
    refused = "".join(f", {count} {_words(reason)}" for reason, count in visitor.refused.most_common())
    when = f"{visitor.first_s:.2f} to {visitor.last_s:.2f} s"
    lines = [f"Visitor {visitor.track}: {when}, {counted(len(looks), 'sample')}, {used} used{refused}"]
    for answer in visitor.answers:
        who = f" {answer.person.id}" if answer.person else ""
        lines += [
            f"  {answer.t:.2f} s: {_words(answer.kind)}{who}",
            f"      {reason_meaning(answer.reason)} (rule: {answer.rule})",
            f"      {distance_text(answer)}, {counted(answer.samples, 'sample')},"
            f" {answer.t - visitor.first_s:.2f} s after first seen",
        ]
    lines += [f"  {line}" for line in visitor.liveness]
    if not visitor.answers:
        lines.append("  no decision: " + ("too few usable samples" if looks else "left before the first sample"))
    if looks:
        lines.append("     time     used  distance  quality  eyes px   yaw  pitch  sharp  light  clear  attack")
    lines += [_row(look) for look in looks]
    return "\n".join(lines)


def distance_text(answer: ReplayEvent) -> str:
    """Distance, threshold and runner-up of a decision, as far as people are enrolled."""
    if not answer.threshold_sq:
        return "nobody is enrolled"
    runner_up = f", runner-up {answer.runner_up_sq:.2f}" if answer.runner_up_sq < MAX_DISTANCE_SQ else ""
    return f"distance {answer.distance_sq:.2f}, threshold {answer.threshold_sq:.2f}{runner_up}"


def _liveness_text(result: LivenessResult) -> list[str]:
    """Attack score and challenge, then each cue: value, what it indicates with its log-odds, and its meaning."""
    score = "no score yet" if result.score is None else f"attack score {result.score:.2f} (0 genuine, 1 attack)"
    lines = [f"liveness, {score}{', challenge ' + _words(result.challenge) if result.challenge else ''}"]
    for name, value in result.cues:
        cue = CUE_WEIGHTS[name]
        odds = cue.log_odds(value)
        side = (
            "not weighed" if not cue.weight else "neutral" if abs(odds) < _NEUTRAL else "photo" if odds > 0 else "face"
        )
        indicates = f"{side} {odds:+.1f}" if cue.weight else side
        lines.append(f"    {_words(name):13} {value:8.3g}  {indicates:12}  {cue.why}")
    return lines


def _row(look: SampleTrace) -> str:
    measured = look.brightness > 0  # not for faces that were refused at first sight
    numbers = (
        (f"{look.t:9.2f}", True),
        (f"{look.samples:9}", True),
        (f"{look.distance_sq or 0:10.2f}", look.distance_sq is not None),
        (f"{look.quality:9.2f}", not look.refusal),
        (f"{look.size_px:9.0f}", True),
        (f"{round(look.yaw_deg):6}", measured),
        (f"{round(look.pitch_deg):7}", measured),
        (f"{look.sharpness:7.0f}", measured),
        (f"{look.brightness:7.0f}", measured),
        (f"{look.strength:7.2f}", look.strength > 0),
        (f"{look.attack or 0:8.2f}", look.attack is not None),
    )
    note = _words(look.refusal) or ("another face" if look.doubted else "" if look.samples else "reset")
    row = "".join(text if shown else "-".rjust(len(text)) for text, shown in numbers)
    return f"{row}  {note}".rstrip()


def _words(code: str) -> str:
    return code.replace("-", " ")


def _seconds(t_ns: int) -> float:
    return round(t_ns / 1e9, 3)
