"""Explains a replay: every visitor, every sample of them, why a sample did not count, and what challenges asked."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from dataclasses import field as own

import msgspec
from msgspec import field

from edge.core.records import LivenessResult
from edge.liveness.cues.weights import CUE_WEIGHTS
from edge.liveness.prompts import ChallengePrompt, ChallengeState
from edge.replay.replay import ReplayEvent, ReplayStep

REFUSAL_HINTS = {  # why a sample did not count, and what helps
    "too-small": "too small: come closer",
    "too-dark": "too dark: add light in front of the visitor",
    "too-bright": "too bright: shade the lamp or the sun",
    "turned-away": "turned away: look at the camera",
    "tilted": "tilted: mount the camera at eye height",
    "blurred": "blurred: clean and focus the lens, add light",
    "unclear": "unclear: come closer, clean the lens",
    "no-face": "covered, or not a face",
}


class SampleTrace(msgspec.Struct, frozen=True):
    """One sample of a visitor; qualities without a comment are as in `records.Quality`."""

    t: float  # seconds into the clip
    refusal: str  # why it did not count, or ""
    samples: int  # how many counted so far
    distance_sq: float | None  # of the fused samples to the nearest person; lower is nearer; None if no sample counted
    quality: float
    size_px: float
    yaw_deg: float
    pitch_deg: float
    sharpness: float
    brightness: float
    strength: float
    doubted: bool = False  # it showed another face than the samples before: the evidence was reset or waits
    attack: float | None = None  # score, 0 (genuine) to 1 (attack); None: not known yet, or liveness is off


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
        """Samples that did not count, by reason."""
        return Counter(look.refusal for look in self.looks if look.refusal)


class PromptLog:
    """Prints the challenges of a replay to standard error: the visitors in a clip cannot hear them."""

    def on_step(self, step: ReplayStep) -> None:
        """Print the prompts of one frame."""
        for prompt in step.prompts:
            print(f"{prompt.t_ns / 1e9:8.2f} s  challenge {prompt.challenge_id}: {describe(prompt)}", file=sys.stderr)


def describe(prompt: ChallengePrompt) -> str:
    """A prompt in a few words."""
    if prompt.state is ChallengeState.ASKED:
        movement = str(prompt.movement).replace("-", " ")
        return f"{movement}, step {prompt.step} of {prompt.steps}, until {prompt.expires_ns / 1e9:.2f} s"
    return f"{prompt.state}{': ' + prompt.reason.replace('-', ' ') if prompt.reason else ''}"


@dataclass(slots=True)
class Explainer:
    """Records all visitors of a replay, and describes them afterwards."""

    visitors: dict[int, VisitorTrace] = own(default_factory=dict)
    _counted: dict[int, int] = own(default_factory=dict)

    def on_step(self, step: ReplayStep) -> None:
        """Record the samples of one frame; decisions come by `on_event`."""
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
            quality = sample.quality
            visitor.looks.append(
                SampleTrace(
                    t=now,
                    refusal=quality.refusal,
                    samples=progress.samples,
                    distance_sq=round(progress.match.distance_sq, 4) if progress.match else None,
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
                summed, *cues = _liveness_text(decision.liveness)
                self.visitors[decision.verdict.track.id].liveness += [f"{now:.2f} s: {summed}", *cues]

    def on_event(self, answer: ReplayEvent) -> None:
        """Record a decision of the door."""
        self.visitors[answer.track].answers.append(answer)

    def why_nothing(self, wanted: int) -> str:
        """Why there was no decision at all, for people; a decision needs at least `wanted` samples."""
        looks = sum(len(visitor.looks) for visitor in self.visitors.values())
        refused = sum((visitor.refused for visitor in self.visitors.values()), Counter[str]())
        if not self.visitors:
            return "no face was found"
        if not looks:
            return "nobody stayed in sight long enough for one look"
        if looks - refused.total() >= wanted or not refused:
            return "nobody stayed in sight long enough"
        reason, count = refused.most_common(1)[0]
        return f"{count} of {looks} looks showed a face that was {REFUSAL_HINTS.get(reason, reason)}"

    def render(self) -> str:
        """The explanation for people, at most 100 columns."""
        if not self.visitors:
            return "Nobody was seen."
        return "\n\n".join(_visitor_text(visitor) for visitor in self.visitors.values())


def _visitor_text(visitor: VisitorTrace) -> str:
    looks = visitor.looks
    counted = len(looks) - visitor.refused.total()
    refused = "".join(f", {count} {reason}" for reason, count in visitor.refused.most_common())
    when = f"{visitor.first_s:.2f} to {visitor.last_s:.2f} s"
    lines = [f"Visitor {visitor.track}: {when}, {len(looks)} looks, {counted} counted{refused}"]
    for answer in visitor.answers:
        who = f" {answer.person.id}" if answer.person else ""
        after_s = answer.t - visitor.first_s
        lines += [
            f"  {answer.t:.2f} s: {answer.kind}{who}, {answer.reason}; rule: {answer.rule}",
            f"      distance {answer.distance_sq:.2f}, threshold {answer.threshold_sq:.2f} (lower is nearer, stricter)",
            f"      runner-up {answer.runner_up_sq:.2f}, {answer.samples} samples, {after_s:.2f} s after first seen",
        ]
    lines += [f"  {line}" for line in visitor.liveness]
    if not visitor.answers:
        lines.append("  no answer: " + ("too few looks counted" if looks else "no look was due before they left"))
    if looks:
        lines.append("     time  counted  distance  quality  eyes px   yaw  pitch  sharp  light  clear  attack")
    lines += [_row(look) for look in looks]
    return "\n".join(lines)


def _liveness_text(result: LivenessResult) -> list[str]:
    """Attack score, and each cue with its log-odds: above 0 speaks for an attack; "-": the cue has no weight."""
    score = "watched too short" if result.score is None else f"attack {result.score:.2f} (0 genuine, 1 attack)"
    lines = [f"shown {score}{', challenge ' + result.challenge if result.challenge else ''}"]
    for name, value in result.cues:
        rule = CUE_WEIGHTS[name]
        counts = f"{rule.log_odds(value):+.1f}" if rule.weight else "-"
        lines.append(f"    {name:12} {value:7.3g} {counts:>5}  {rule.why}")
    return lines


def _row(look: SampleTrace) -> str:
    distance = "-" if look.distance_sq is None else f"{look.distance_sq:.2f}"
    attack = "-" if look.attack is None else f"{look.attack:.2f}"
    note = look.refusal or ("another face" if look.doubted else "" if look.samples else "reset")
    return (
        f"  {look.t:7.2f}  {look.samples:7}  {distance:>8}  {look.quality:7.2f}  {look.size_px:7.0f}"
        f"  {look.yaw_deg:4.0f}  {look.pitch_deg:5.0f}  {look.sharpness:5.0f}  {look.brightness:5.0f}"
        f"  {look.strength:5.2f}  {attack:>6}  {note}"
    ).rstrip()


def _seconds(t_ns: int) -> float:
    return round(t_ns / 1e9, 3)
