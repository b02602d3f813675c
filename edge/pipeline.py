"""Processes one frame and returns the decisions it completes.

This module reads no clock, file or network. The daemon and the replay of a clip run the same loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from edge.access.model import AccessRules, default_rules
from edge.access.policy import Policy
from edge.core.config import DoorConfig
from edge.core.errors import ConfigError
from edge.core.records import AccessOutcome, Decision, Frame, Identification, LivenessMode, Sample, Track
from edge.liveness.challenge import Chance
from edge.liveness.gate import LivenessGate
from edge.liveness.prompts import ChallengePrompt
from edge.recognition.aggregator import IdentityAggregator
from edge.recognition.gallery import Gallery
from edge.recognition.retry import Retries
from edge.vision.face_sampler import VisionStages
from edge.vision.motion import MotionDetector
from edge.vision.stage_timing import StageTimer, no_timing
from edge.vision.tracker import Tracker


class Pipeline:
    """Motion, detector, tracker, samples, verdict, liveness and access rules, in this order; not thread-safe.

    The public attributes are read-only: tracks and samples (by track id) of the last step, the aggregator and the
    liveness gate. The gate is inactive while no rule requires liveness.
    """

    def __init__(
        self,
        config: DoorConfig,
        vision: VisionStages,
        gallery: Gallery,
        timer: StageTimer = no_timing,
        *,
        rules: AccessRules | None = None,
        random_number: Chance | None = None,
    ) -> None:
        """
        Args:
            config: door configuration; each stage gets its own table.
            vision: loaded models, which have the timer already.
            gallery: enrolled people, made by the embedder in `vision`.
            timer: times the stages bound here.
            rules: access rules; None: [access] allow of the configuration.
            random_number: returns a number in [0, 1) to choose the movements of challenges; required for liveness.

        Raises:
            ConfigError: [access] names a policy and no rules are given, or liveness is required without
                `random_number`.
        """
        self._config = config
        self._timer = timer
        self.tracks: Sequence[Track] = ()
        self.samples: dict[int, Sample] = {}
        self._random_number = random_number
        self._policy = self._make_policy(default_rules(config.access) if rules is None else rules)
        self.aggregator = IdentityAggregator(gallery, self._policy.apply_to(config.recognition), config.lockout)
        self.liveness_gate = LivenessGate(
            config.liveness, self.aggregator, random_number, config.recognition.sample_every_s
        )
        self._observe_liveness = timer("liveness", self.liveness_gate.observe)
        self._apply_liveness()
        self._tracker = Tracker(config.tracker)
        self._last_scan_ns = 0
        self._denied_person_ids: set[str] = set()  # people whose latest decision was a denial
        self._retries = Retries(config.mqtt.open_max_age_s)
        self._has_motion = timer("motion", MotionDetector(config.motion).has_motion)
        self._detect = timer("detect", vision.detector.detect)
        self._sample = vision.reader.sample

    def step(self, frame: Frame, wall_minus_monotonic_ns: int | None = None) -> list[Decision]:
        """Process one frame; returns the decisions it completes, usually none.

        Args:
            frame: next frame.
            wall_minus_monotonic_ns: wall clock (nanoseconds since 1970 UTC) minus the clock of the frames; None: unset.
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
            # Frames of one visit are similar. Embeddings of mirror images have other errors, at no cost.
            mirrored = self.aggregator.sample_count(track) % 2 == 1
            self.samples[track.id] = self._sample(frame, self.liveness_gate.face_to_read(track), mirrored=mirrored)
            self.aggregator.add_sample(track, self.samples[track.id], frame.captured_ns)
            if self.liveness_gate.active:
                self._observe_liveness(track, frame, self.samples[track.id], frame.captured_ns)
        return self._decide(frame.captured_ns, wall_minus_monotonic_ns)

    def swap_models(self, vision: VisionStages, gallery: Gallery, rules: AccessRules) -> None:
        """Use other models, people and rules from the next frame on; tracks continue without their evidence.

        Visitors whose decision was pending are recognised again within a few samples, under the new rules.

        Raises:
            ConfigError: the new rules require liveness without `random_number`; nothing is changed.
        """
        self._policy = self._make_policy(rules)
        self.liveness_gate.reset()
        self._apply_liveness()
        self.aggregator.replace_gallery(gallery, self._policy.apply_to(self._config.recognition))
        self._detect = self._timer("detect", vision.detector.detect)
        self._sample = vision.reader.sample

    def flush(self, t_ns: int, wall_minus_monotonic_ns: int | None = None) -> list[Decision]:
        """End all tracks when the source has ended; returns the decisions that this completes."""
        self.tracks = self._tracker.finish()
        return self._decide(t_ns, wall_minus_monotonic_ns)

    def open_failed(self, person_id: str) -> None:
        """Recognise this person again, because their last open command expired or could not be stored.

        This happens after the command would have expired (`[mqtt] open_max_age_s` after its frame), if the person is
        still present, or when they return. Required liveness must be shown again, too.
        """
        self._retries.record_failure(person_id)

    def drain_prompts(self) -> list[ChallengePrompt]:
        """Challenge prompts since the last call."""
        return self.liveness_gate.drain_prompts()

    def _make_policy(self, rules: AccessRules) -> Policy:
        policy = Policy(rules, self._config.door, LivenessMode(self._config.liveness.mode))
        if policy.liveness is not LivenessMode.OFF and self._random_number is None:
            raise ConfigError("[liveness]: challenges need a source of random numbers")
        return policy

    def _apply_liveness(self) -> None:
        """Activate the gate if a rule requires liveness; without it a recognised face counts as a success."""
        self.liveness_gate.active = self._policy.liveness is not LivenessMode.OFF
        self.aggregator.counts_names_as_success = not self.liveness_gate.active

    def _tracks_to_sample(self, t_ns: int) -> list[Track]:
        """Tracks for which the aggregator or the liveness gate needs a sample now."""
        due = self.aggregator.tracks_due(self.tracks, t_ns)
        return due + [track for track in self.liveness_gate.tracks_due(self.tracks, t_ns) if track not in due]

    def _still_scan_due(self, t_ns: int) -> bool:
        """Whether the detector must run without motion, for visitors who do not move."""
        still_ns = t_ns - self._last_scan_ns
        return still_ns >= self._config.motion.still_scan_every_s * 1e9 or bool(self._tracks_to_sample(t_ns))

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
        """Re-sample people who were denied by a rule and would be allowed now, so that they do not have to return.

        The old verdict does not open the door, because it may be outdated; the aggregator is reset.
        """
        for track in self.tracks:
            verdict = None if track.lost else self.aggregator.snapshot(track).verdict
            person = verdict.match.person if verdict and verdict.finding is Identification.RECOGNISED else None
            if verdict is None or person is None or person.id not in self._denied_person_ids:
                continue
            if self._policy.decide(verdict, t_ns, wall_ns).kind is AccessOutcome.DOOR_OPEN:
                self._denied_person_ids.discard(person.id)
                self.aggregator.reset(verdict)
