"""The heart of a door: one frame in, the decisions that it tips out.

Nothing here reads a clock, a file or the network. The daemon and the replay of a clip run this very loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from edge.access.model import AccessRules, default_rules
from edge.access.policy import Policy
from edge.core.config import DoorConfig
from edge.core.errors import ConfigError
from edge.core.records import (
    AccessOutcome,
    ChallengePrompt,
    Decision,
    Frame,
    Identification,
    LivenessMode,
    Sample,
    Track,
)
from edge.liveness.challenge import Chance
from edge.liveness.gate import LivenessGate
from edge.recognition.aggregator import IdentityAggregator
from edge.recognition.gallery import Gallery
from edge.recognition.retry import Retries
from edge.vision.face_sampler import VisionStages
from edge.vision.motion import MotionDetector
from edge.vision.stage_timing import StageTimer, no_timing
from edge.vision.tracker import Tracker


class Pipeline:
    """Motion, detector, tracker, samples, verdict, access rules, in this order; not thread-safe.

    Attributes:
        tracks: those of the last step, to look at.
        samples: of the last step by track id, to look at.
        aggregator: the samples and verdicts of every track, to look at.
        liveness_gate: holds decisions until liveness is shown; inactive while no rule requires it.
    """

    def __init__(
        self,
        config: DoorConfig,
        vision: VisionStages,
        gallery: Gallery,
        meter: StageTimer = no_timing,
        *,
        rules: AccessRules | None = None,
        chance: Chance | None = None,
    ) -> None:
        """
        Args:
            config: of the door; each stage gets its own table.
            vision: the loaded models; the meter was given to them already.
            gallery: who is enrolled, made by the embedder in `vision`.
            meter: watches the stages bound here.
            rules: who may pass; None: as [access] allow says.
            chance: draws what a challenge asks, each call a number of [0, 1); a door that asks for liveness needs it.

        Raises:
            ConfigError: [access] names a policy, and no rules are given; or there is no chance, and liveness is asked.
        """
        self._config = config
        self._meter = meter
        self.tracks: Sequence[Track] = ()
        self.samples: dict[int, Sample] = {}
        self._chance = chance
        self._policy = self._make_policy(default_rules(config.access) if rules is None else rules)
        self.aggregator = IdentityAggregator(gallery, self._policy.apply_to(config.recognition), config.lockout)
        self.liveness_gate = LivenessGate(config.liveness, self.aggregator, chance, config.recognition.sample_every_s)
        self._observe_liveness = meter("liveness", self.liveness_gate.observe)
        self._apply_liveness()
        self._tracker = Tracker(config.tracker)
        self._last_scan_ns = 0
        self._denied_person_ids: set[str] = set()  # ids of people whose last answer was a denial
        self._retries = Retries(config.mqtt.open_max_age_s)
        self._has_motion = meter("motion", MotionDetector(config.motion).has_motion)
        self._detect = meter("detect", vision.detector.detect)
        self._read = vision.reader.sample

    def step(self, frame: Frame, wall_minus_monotonic_ns: int | None = None) -> list[Decision]:
        """Take one frame; returns the decisions that fell with it, seldom any.

        Args:
            frame: the next one.
            utc_offset_ns: wall clock (nanoseconds since 1970 UTC) minus the frames' clock; None: it is not set.
        """
        self.samples = {}
        if not self._has_motion(frame):
            if not self._tracker.has_tracks:
                self.tracks = ()
                return []
            if not self._still_scan_due(frame.captured_ns):
                return []
        self._last_scan_ns = frame.captured_ns
        self.tracks = self._tracker.update(self._detect(frame, self._tracker.faces), frame.captured_ns)
        for track in self._tracks_to_sample(frame.captured_ns):
            # Frames of one visit are much alike; an embedding of the mirror image errs in its own way, at no cost.
            mirrored = self.aggregator.sample_count(track) % 2 == 1
            self.samples[track.id] = self._read(frame, self.liveness_gate.face_to_read(track), mirrored=mirrored)
            self.aggregator.add_sample(track, self.samples[track.id], frame.captured_ns)
            if self.liveness_gate.active:
                self._observe_liveness(track, frame, self.samples[track.id], frame.captured_ns)
        return self._decide(frame.captured_ns, wall_minus_monotonic_ns)

    def swap_models(self, vision: VisionStages, gallery: Gallery, rules: AccessRules) -> None:
        """Use other models, people and rules from the next frame on; tracks continue, their evidence is dropped.

        Visitors whose opening was held are recognised again within a few looks, and answered by the new rules.

        Raises:
            ConfigError: the new rules ask for liveness, and there is no chance; then nothing has changed.
        """
        self._policy = self._make_policy(rules)
        self.liveness_gate.reset()
        self._apply_liveness()
        self.aggregator.replace_gallery(gallery, self._policy.apply_to(self._config.recognition))
        self._detect = self._meter("detect", vision.detector.detect)
        self._read = vision.reader.sample

    def flush(self, t_ns: int, wall_minus_monotonic_ns: int | None = None) -> list[Decision]:
        """The source has ended: everybody has left, and what is ripe falls now."""
        self.tracks = self._tracker.finish()
        return self._decide(t_ns, wall_minus_monotonic_ns)

    def open_failed(self, person_id: str) -> None:
        """The last opening for this person expired or could not be recorded.

        They are judged again while they stand there, or when they return, once the opening would have expired
        (`[mqtt] open_max_age_s` after its frame). Liveness is asked for again, too.
        """
        self._retries.record_failure(person_id)

    def drain_prompts(self) -> list[ChallengePrompt]:
        """What visitors are to be told since the last call."""
        return self.liveness_gate.drain_prompts()

    def _make_policy(self, rules: AccessRules) -> Policy:
        policy = Policy(rules, self._config.door, LivenessMode(self._config.liveness.mode))
        if policy.liveness is not LivenessMode.OFF and self._chance is None:
            raise ConfigError("[liveness]: challenges are asked for, and there is nothing to draw them by")
        return policy

    def _apply_liveness(self) -> None:
        """Where no rule asks for liveness, nobody is watched, and a name is a success by itself."""
        self.liveness_gate.active = self._policy.liveness is not LivenessMode.OFF
        self.aggregator.counts_names_as_success = not self.liveness_gate.active

    def _tracks_to_sample(self, t_ns: int) -> list[Track]:
        """The tracks that the verdict or the proof of life wants to look at now."""
        wanting = self.aggregator.tracks_due(self.tracks, t_ns)
        return wanting + [track for track in self.liveness_gate.tracks_due(self.tracks, t_ns) if track not in wanting]

    def _still_scan_due(self, t_ns: int) -> bool:
        """Whether those who stand there, perfectly still, have to be looked at all the same."""
        rested_ns = t_ns - self._last_scan_ns
        return rested_ns >= self._config.motion.still_scan_every_s * 1e9 or bool(self._tracks_to_sample(t_ns))

    def _decide(self, t_ns: int, wall_minus_monotonic_ns: int | None) -> list[Decision]:
        wall_ns = None if wall_minus_monotonic_ns is None else t_ns + wall_minus_monotonic_ns
        for verdict in self._retries.take_due(t_ns):
            self.aggregator.reset(verdict)
        decisions = [
            self._policy.decide(verdict, t_ns, wall_ns) for verdict in self.aggregator.take_verdicts(self.tracks, t_ns)
        ]
        decide = partial(self._policy.decide, t_ns=t_ns, wall_ns=wall_ns)
        decisions = self.liveness_gate.filter_decisions(decisions, self.tracks, t_ns, decide)
        for decision in decisions:
            self._note_denial(decision)
        if self._denied_person_ids:
            self._retry_denied_people(t_ns, wall_ns)
        return decisions

    def _note_denial(self, decision: Decision) -> None:
        person = decision.verdict.match.person
        if (
            decision.kind is AccessOutcome.DENIED
            and decision.required_liveness is LivenessMode.OFF
            and person is not None
        ):
            self._denied_person_ids.add(person.id)
        elif decision.kind is AccessOutcome.DOOR_OPEN and person is not None:
            self._denied_person_ids.discard(person.id)
            self._retries.record_open(decision.verdict)

    def _retry_denied_people(self, t_ns: int, wall_ns: int | None) -> None:
        """Whoever was denied and is here when a window opens, the clock is set or the rules change, need not go away.

        The old verdict opens nothing: it may be a while ago. The aggregator samples the track again.
        """
        for track in self.tracks:
            verdict = None if track.lost else self.aggregator.snapshot(track).verdict
            person = verdict.match.person if verdict and verdict.finding is Identification.RECOGNISED else None
            if verdict is None or person is None or person.id not in self._denied_person_ids:
                continue
            if self._policy.decide(verdict, t_ns, wall_ns).kind is AccessOutcome.DOOR_OPEN:
                self._denied_person_ids.discard(person.id)
                self.aggregator.reset(verdict)
