"""Liveness in decisions: openings are held until liveness is shown, other decisions are not."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.daemon_runs import fast_clip
from support.face_images import direction, sample, track
from support.manual_clock import ManualClock
from support.mqtt_brokers import BROKERS, DOOR, IDS, T0_NS, announce, config_for, make_broker
from threshold_tools.pad.challenge_trials import SampledPortrait
from threshold_tools.pad.presenters import CameraModel, HeldPhoto, MotionStyle, Presenter, Visitor, draw_movement
from threshold_tools.pad.rendering import Pose, RenderedHead, fit_portrait

from edge.access.model import AccessRules, AllowRule, DoorRules, allow_list
from edge.access.policy import Policy
from edge.access.policy_file import parse_policy
from edge.core.clock import SYSTEM_CLOCK
from edge.core.config import CameraConfig, DoorConfig, LivenessConfig, LockoutConfig, OutboxConfig, RecognitionConfig
from edge.core.errors import ConfigError
from edge.core.records import (
    AccessOutcome,
    BgrImage,
    Decision,
    FloatArray,
    Frame,
    LivenessMode,
    Person,
    Sample,
    Track,
    Verdict,
    strictest_mode,
)
from edge.demo.run_demo import CLIP, FOLDER, GALLERY
from edge.events.factory import access_event
from edge.events.schema import Challenge, Event, Health, Status, decode, encode
from edge.events.topics import Channel, Topics
from edge.liveness.challenge import MovementChallenge
from edge.liveness.cues.weights import CUE_WEIGHTS, LivenessEvidence
from edge.liveness.gate import LivenessGate
from edge.liveness.passive import PassiveLiveness
from edge.liveness.prompts import ChallengeFailure, ChallengeMovement, ChallengePrompt, ChallengeState
from edge.mqtt.publisher import Publisher
from edge.mqtt.subscriber import Message, Subscriber
from edge.outbox.outbox import Outbox
from edge.pipeline import Pipeline
from edge.recognition.aggregator import IdentityAggregator
from edge.recognition.gallery import Gallery, GalleryInfo
from edge.recognition.gallery_file import load_gallery
from edge.replay.expected import read_expected
from edge.replay.replay import replay
from edge.runtime.challenge_publisher import ChallengePublisher
from edge.runtime.daemon import Daemon
from edge.vision.camera_file import VideoFileCamera
from edge.vision.face_sampler import VisionStages

P = ParamSpec("P")
R = TypeVar("R")
FPS = 12
ASKING = AccessRules(doors=(("front", DoorRules("d", (AllowRule("all", ("*",)),), liveness=LivenessMode.PASSIVE)),))
EXPECTED = FOLDER / "expected.jsonl"
S = 1_000_000_000
ANNA = Person("anna", "Anna")
MORNING = 1_790_000_000 * S - 1_790_000_000 * S % (24 * 3600 * S) + 9 * 3600 * S  # 09:00 UTC
NIGHT = MORNING + 14 * 3600 * S


def config(mode: str = "off", **changes: object) -> DoorConfig:
    liveness = msgspec.convert({"mode": mode, **changes}, LivenessConfig)
    return DoorConfig(site="test", door="front", liveness=liveness)


# At the door, with real models and simulated visitors.


@pytest.fixture(scope="module")
def portrait(vision: VisionStages, photo: Callable[[str], BgrImage]) -> BgrImage:
    """An enrolled person, as the camera sees him."""
    model = SampledPortrait.of(photo("obama2"), vision)
    assert model is not None
    return fit_portrait(model.portrait, model.landmarks, 45.0)


@pytest.fixture(scope="module")
def head(vision: VisionStages, portrait: BgrImage) -> RenderedHead:
    (face,) = vision.detector.detect(Frame(portrait, 0, 0))
    landmarks = vision.reader.sample(Frame(portrait, 0, 0), face).landmarks
    assert landmarks is not None
    return RenderedHead(portrait, landmarks)


@pytest.fixture
def visitor(head: RenderedHead) -> Visitor:
    return Visitor(head, np.random.default_rng(5))


@pytest.fixture
def held_photo(portrait: BgrImage) -> HeldPhoto:
    return HeldPhoto(portrait, np.random.default_rng(5))


def a_door(door: DoorConfig, vision: VisionStages, rules: AccessRules | None = None) -> Pipeline:
    gallery = load_gallery(GALLERY, vision.reader.embedder.sha256)
    return Pipeline(door, vision, gallery, rules=rules, random_number=random.Random(3).random)


def visit(
    pipeline: Pipeline, actor: Presenter, seconds: float, until: int = 1, begin_s: float = 0.0
) -> tuple[list[Decision], list[ChallengePrompt]]:
    """Show a visitor to a door until this number of decisions; returns decisions and prompts."""
    decisions: list[Decision] = []
    told: list[ChallengePrompt] = []
    for number in range(round(seconds * FPS)):
        t_s = begin_s + number / FPS
        decisions += pipeline.step(Frame(actor.render(t_s), number, round(t_s * S)))
        for prompt in pipeline.drain_prompts():
            told.append(prompt)
            actor.on_prompt(prompt, t_s)
        if len(decisions) >= until:
            break
    return decisions, told


def test_visitor_who_follows_the_challenge(vision: VisionStages, visitor: Visitor) -> None:
    """The opening follows the last movement and has its time; the event has the result."""
    pipeline = a_door(config("challenge", challenge_steps=1), vision)
    (opened,), told = visit(pipeline, visitor, 12)
    assert (opened.kind, opened.required_liveness) == (AccessOutcome.DOOR_OPEN, LivenessMode.CHALLENGE)
    assert [prompt.state for prompt in told] == [ChallengeState.ASKED, ChallengeState.PASSED]
    assert opened.t_ns == told[-1].t_ns
    event = access_event(opened, id="x", at_ns=T0_NS, door=DOOR)
    assert event.liveness is not None
    assert (event.liveness.mode, event.liveness.challenge) == ("challenge", "passed")
    assert dict(pipeline.liveness_gate.counts) == {"shown": 1}


def test_release_during_a_challenge(vision: VisionStages, visitor: Visitor) -> None:
    """The screen shows the interruption and a new challenge."""
    pipeline = a_door(config("challenge", challenge_steps=1), vision)
    _, told = visit(pipeline, visitor, 3)
    assert [prompt.state for prompt in told] == [ChallengeState.ASKED]
    pipeline.swap_models(vision, pipeline.aggregator.gallery, allow_list(("*",)))
    assert [prompt.reason for prompt in pipeline.drain_prompts()] == ["interrupted"]
    visitor.movement = None
    (opened,), told = visit(pipeline, visitor, 12, begin_s=3.0)
    assert (opened.kind, [prompt.challenge_id for prompt in told]) == (AccessOutcome.DOOR_OPEN, [2, 2])


def test_photo_at_a_challenge(vision: VisionStages, held_photo: HeldPhoto) -> None:
    """Turned in any way, it is denied, with the name of the person on the photo."""
    (denied,), told = visit(
        a_door(config("challenge", challenge_steps=1, challenge_step_timeout_s=2.0), vision), held_photo, 8
    )
    assert (denied.kind, denied.rule) == (AccessOutcome.DENIED, "liveness")
    # An attack if passive liveness detects the photo, too.
    assert denied.reason in ("challenge-failed", "presentation-attack")
    assert told[-1].state is ChallengeState.FAILED
    assert denied.liveness is not None
    assert denied.liveness.challenge == told[-1].reason


def test_moving_head_with_passive_liveness(vision: VisionStages, visitor: Visitor) -> None:
    """No movement is requested; the opening comes a second later."""
    visitor.movement = draw_movement(ChallengeMovement.TURN_LEFT, 0.4, np.random.default_rng(1))
    (opened,), told = visit(a_door(config("passive"), vision), visitor, 6)
    assert (opened.kind, told) == (AccessOutcome.DOOR_OPEN, [])
    assert opened.t_ns >= S


def test_repeated_photo_attacks(vision: VisionStages, held_photo: HeldPhoto) -> None:
    """The event has the measured values."""
    denials, _ = visit(a_door(config("passive", retry_s=0.2), vision), held_photo, 9, until=2)
    assert [(denial.kind, denial.reason) for denial in denials] == [(AccessOutcome.DENIED, "presentation-attack")] * 2
    shown = denials[0].liveness
    assert shown is not None
    assert shown.score is not None
    assert shown.score > 0.5
    assert {"local-motion", "unexplained"} <= {name for name, _ in shown.cues} <= set(CUE_WEIGHTS)


def test_person_after_photo_attacks_on_them(vision: VisionStages, visitor: Visitor, held_photo: HeldPhoto) -> None:
    """After repeated attacks the living person shows liveness twice, without a pause, and enters."""
    door = msgspec.structs.replace(config("passive", retry_s=0.2), lockout=LockoutConfig(max_failures=2, lockout_s=60))
    pipeline = a_door(door, vision)
    denials, _ = visit(pipeline, held_photo, 9, until=2)
    assert [denial.reason for denial in denials] == ["presentation-attack"] * 2
    visit(pipeline, Nobody(), 2, begin_s=10)
    a_little = MotionStyle(reaction_s=(0, 0), way_s=(0.4, 0.5), hold_s=(0, 0.1), sideways_deg=(12, 13))
    opened: list[Decision] = []
    for begin_s in (12.0, 13.0, 14.0, 15.0):
        visitor.movement = draw_movement(ChallengeMovement.TURN_LEFT, begin_s + 0.1, np.random.default_rng(1), a_little)
        opened, _ = visit(pipeline, visitor, 1, begin_s=begin_s)
        if opened:
            break
    assert [decision.kind for decision in opened] == [AccessOutcome.DOOR_OPEN]
    assert opened[0].t_ns > 14 * S  # without the attacks, one second would be enough


class Nobody:
    """An empty scene."""

    def on_prompt(self, prompt: ChallengePrompt, t_s: float) -> None:
        """No visitor responds to prompts."""

    def render(self, t_s: float) -> BgrImage:
        return np.full((480, 640, 3), 110, np.uint8)


class Instead:
    """A living stranger in front of the door, replaced in some frames by a still photo of an enrolled person."""

    def __init__(self, stranger: RenderedHead, photo: BgrImage, by_photo: Callable[[int], bool]) -> None:
        """
        Args:
            stranger: moves in all frames.
            photo: does not move.
            by_photo: whether the photo is shown in the frame with this number.
        """
        self._stranger, self._photo, self._by_photo = stranger, photo, by_photo
        self._lens = CameraModel(np.random.default_rng(2))
        self._frames = 0

    def on_prompt(self, prompt: ChallengePrompt, t_s: float) -> None:
        """No visitor follows the prompts."""

    def render(self, t_s: float) -> BgrImage:
        self._frames += 1
        if self._by_photo(self._frames):
            return self._lens.capture(self._photo)
        return self._lens.capture(self._stranger.render(Pose(14 * math.sin(4 * t_s), 7 * math.sin(3 * t_s))))


@pytest.fixture(scope="module")
def stranger(vision: VisionStages, photo: Callable[[str], BgrImage]) -> RenderedHead:
    model = SampledPortrait.of(photo("biden"), vision)
    assert model is not None
    picture = fit_portrait(model.portrait, model.landmarks, 45.0)
    (face,) = vision.detector.detect(Frame(picture, 0, 0))
    landmarks = vision.reader.sample(Frame(picture, 0, 0), face).landmarks
    assert landmarks is not None
    return RenderedHead(picture, landmarks)


@pytest.mark.parametrize("challenge_when", [None, "doubt"])
def test_liveness_of_another_face(
    challenge_when: str | None, vision: VisionStages, portrait: BgrImage, stranger: RenderedHead
) -> None:
    """A living stranger becomes unknown; a photo of an enrolled person in his place has no evidence of liveness."""
    door = config("passive") if challenge_when is None else config("challenge", challenge_when=challenge_when)
    actor = Instead(stranger, portrait, lambda frame: frame > 3 * FPS)
    answers, told = visit(a_door(door, vision), actor, 9, until=2)
    assert answers[0].kind is AccessOutcome.UNKNOWN
    assert AccessOutcome.DOOR_OPEN not in {answer.kind for answer in answers}
    asked = [prompt.state for prompt in told if prompt.state is ChallengeState.ASKED]
    assert answers[1:] if challenge_when is None else asked, "the photo was not recognised"


@pytest.mark.parametrize("every", [4, 7])
def test_faces_in_turn(every: int, vision: VisionStages, portrait: BgrImage, stranger: RenderedHead) -> None:
    """A living stranger in every n-th frame is not evidence for the photo in the others."""
    actor = Instead(stranger, portrait, lambda frame: frame % every != 0)
    answers, _ = visit(a_door(config("passive", timeout_s=2.5), vision), actor, 4, until=2)
    assert AccessOutcome.DOOR_OPEN not in {answer.kind for answer in answers}


def test_challenge_only_in_doubt(vision: VisionStages, visitor: Visitor, held_photo: HeldPhoto) -> None:
    """A moving visitor gets no challenge; a photo does."""
    door = config("challenge", challenge_when="doubt")
    visitor.movement = draw_movement(ChallengeMovement.TURN_LEFT, 0.4, np.random.default_rng(1))
    (opened,), told = visit(a_door(door, vision), visitor, 6)
    assert (opened.kind, told) == (AccessOutcome.DOOR_OPEN, [])
    _, told = visit(a_door(door, vision), held_photo, 5)
    assert [prompt.state for prompt in told] == [ChallengeState.ASKED]


def test_golden_events_without_liveness(watching: VisionStages) -> None:
    """No decision is held and no samples are compared."""
    ran: set[str] = set()

    def meter(stage: str, verb: Callable[P, R]) -> Callable[P, R]:
        def noted(*args: P.args, **kwargs: P.kwargs) -> R:
            ran.add(stage)
            return verb(*args, **kwargs)

        return noted

    gallery = load_gallery(GALLERY, watching.reader.embedder.sha256)
    pipeline = Pipeline(config("off"), watching, gallery, meter)
    with VideoFileCamera(CLIP) as clip:
        opened = [each for frame in clip for each in pipeline.step(frame) if each.kind is AccessOutcome.DOOR_OPEN]
    assert opened
    assert {"detect", "motion"} <= ran
    assert "liveness" not in ran
    expected = [(line.kind, line.person, line.t) for line in read_expected(EXPECTED)]
    assert [(line.kind, line.person, line.t) for line in replay(config("off"), CLIP, GALLERY)] == expected


def test_new_rules_that_require_liveness(vision: VisionStages, held_photo: HeldPhoto) -> None:
    """A release can require liveness at a door whose configuration does not, and stop requiring it."""
    pipeline = a_door(config("off"), vision)
    (opened,), _ = visit(pipeline, held_photo, 3)
    assert (opened.kind, opened.required_liveness) == (AccessOutcome.DOOR_OPEN, LivenessMode.OFF)
    pipeline.swap_models(vision, pipeline.aggregator.gallery, ASKING)
    (denied,), _ = visit(pipeline, held_photo, 6, begin_s=20.0)
    assert (denied.kind, denied.reason) == (AccessOutcome.DENIED, "presentation-attack")
    pipeline.swap_models(vision, pipeline.aggregator.gallery, allow_list(("*",)))
    (opened,), _ = visit(pipeline, held_photo, 3, begin_s=40.0)
    assert (opened.kind, opened.required_liveness, opened.liveness) == (AccessOutcome.DOOR_OPEN, LivenessMode.OFF, None)


@pytest.mark.parametrize("rules", [allow_list(("*",)), allow_list(())])
def test_new_rules_without_liveness_for_a_held_visitor(
    rules: AccessRules, vision: VisionStages, held_photo: HeldPhoto
) -> None:
    """The visitor is recognised again and decided on by the new rules, once."""
    pipeline = Pipeline(
        config("off"),
        vision,
        load_gallery(GALLERY, vision.reader.embedder.sha256),
        rules=ASKING,
        random_number=lambda: 0.5,
    )
    nothing, _ = visit(pipeline, held_photo, 1)
    assert nothing == []
    assert [pipeline.aggregator.snapshot(track).verdict is not None for track in pipeline.tracks] == [True]
    pipeline.swap_models(vision, pipeline.aggregator.gallery, rules)
    answers, _ = visit(pipeline, held_photo, 3, until=9, begin_s=1.0)
    assert [(one.kind, one.liveness) for one in answers] == [
        (AccessOutcome.DOOR_OPEN if rules == allow_list(("*",)) else AccessOutcome.DENIED, None)
    ]


def test_success_after_a_release(vision: VisionStages) -> None:
    """Without required liveness, a recognition is a success, independent of the previous rules."""
    pipeline = a_door(config("off"), vision)
    gallery, asked = pipeline.aggregator.gallery, []
    for rules in (allow_list(("*",)), ASKING, allow_list(("*",))):
        pipeline.swap_models(vision, gallery, rules)
        asked.append(not pipeline.aggregator.counts_names_as_success)
    assert asked == [False, True, False]


def test_liveness_rules_without_random_numbers(vision: VisionStages) -> None:
    """They are rejected, and the previous rules stay in force."""
    pipeline = Pipeline(config("off"), vision, load_gallery(GALLERY, vision.reader.embedder.sha256))
    with pytest.raises(ConfigError, match="source of random numbers"):
        pipeline.swap_models(vision, pipeline.aggregator.gallery, ASKING)
    assert pipeline.aggregator.counts_names_as_success


def test_demo_clip_at_a_door_with_challenges() -> None:
    """The door does not open, the stranger is unknown as before, and every run gives the same events."""
    lines = list(replay(config("challenge"), CLIP, GALLERY))
    stranger = [line for line in read_expected(EXPECTED) if line.kind == "unknown"]
    assert {line.kind for line in lines} == {"denied", "unknown"}
    assert [(line.t, line.reason) for line in lines if line.kind == "unknown"] == [
        (line.t, line.reason) for line in stranger
    ]
    assert lines == list(replay(config("challenge"), CLIP, GALLERY))


def test_challenges_need_random_numbers(vision: VisionStages) -> None:
    """Otherwise its challenges could be predicted."""
    with pytest.raises(ConfigError, match="source of random numbers"):
        Pipeline(config("challenge"), vision, load_gallery(GALLERY, vision.reader.embedder.sha256))


# The gate alone: simulated faces without a mesh, so that there is never enough evidence.


def a_judge() -> IdentityAggregator:
    gallery = Gallery([ANNA], direction(0)[None], np.array([0.9], np.float32), GalleryInfo("", "", 1))
    return IdentityAggregator(gallery, RecognitionConfig(), LockoutConfig(), proven=False)


class Scene:
    """One track before a gate.

    Attributes:
        challenges: challenges that the gate has begun.
    """

    def __init__(
        self,
        mode: str = "passive",
        *,
        passive: PassiveLiveness | None = None,
        challenge: type[MovementChallenge] = MovementChallenge,
        **changes: object,
    ) -> None:
        self.challenges: list[MovementChallenge] = []

        def begin(*arguments: Any) -> MovementChallenge:
            self.challenges.append(challenge(*arguments))
            return self.challenges[-1]

        self.aggregator = a_judge()
        self.policy = Policy(allow_list(("*",)), "front", LivenessMode(mode))
        settings = msgspec.convert({"mode": mode, "timeout_s": 2.0, **changes}, LivenessConfig)
        self.gate = LivenessGate(settings, self.aggregator, lambda: 0.5, 0.1, passive=passive, make_challenge=begin)
        self.t_ns = 0

    def look(self, embedding: FloatArray | None, *, lost: bool = False) -> list[Decision]:
        self.t_ns += S // 10
        here = self.here(lost=lost)
        if not lost:
            self.aggregator.add_sample(here, sample(embedding), self.t_ns)
            self.gate.observe(here, Frame(np.zeros((8, 8, 3), np.uint8), 0, self.t_ns), sample(embedding), self.t_ns)
        fell = [self.policy.decide(verdict, self.t_ns) for verdict in self.aggregator.take_verdicts([here], self.t_ns)]
        return self.gate.filter_decisions(
            fell, [here], self.t_ns, lambda verdict: self.policy.decide(verdict, self.t_ns)
        )

    def here(self, *, lost: bool = False) -> Track:
        return track(t_ns=self.t_ns, lost=lost)

    def recognise_and_leave(self) -> None:
        self.looks(direction(0), 6)
        self.look(direction(0), lost=True)

    def looks(self, embedding: FloatArray | None, count: int) -> list[Decision]:
        return [decision for _ in range(count) for decision in self.look(embedding)]


def test_denial_after_the_timeout() -> None:
    """The door stays closed; this does not count as an attack."""
    scene = Scene()
    first = scene.looks(direction(0), 24)
    assert [(one.kind, one.reason, one.t_ns) for one in first] == [
        (AccessOutcome.DENIED, "liveness-not-shown", round(2.3 * S))
    ]
    assert first[0].liveness is not None
    assert first[0].liveness.score is None
    assert [one.reason for one in scene.looks(direction(0), 120)] == ["liveness-not-shown"] * 2


def test_visitor_who_leaves_before_showing_liveness() -> None:
    """A recognised person did not enter; the operator is informed."""
    scene = Scene()
    assert scene.looks(direction(0), 6) == []
    (denied,) = scene.look(direction(0), lost=True)
    assert denied.reason == "liveness-not-shown"
    assert scene.gate.tracks_due([track()], scene.t_ns + S) == []
    assert scene.aggregator.take_verdicts([track(t_ns=scene.t_ns)], scene.t_ns) == []
    assert [one.reason for one in scene.looks(direction(0), 24)] == ["liveness-not-shown"]


def test_other_face_at_a_held_track() -> None:
    """A picture is recognised and a living face shows liveness: the door stays closed, with a decision on each."""
    scene = Scene()
    scene.looks(direction(0), 5)
    answers = scene.looks(direction(1), 30)
    assert [(one.kind, one.reason) for one in answers] == [
        (AccessOutcome.DENIED, "liveness-not-shown"),
        (AccessOutcome.UNKNOWN, None),
    ]


def test_time_and_place_of_a_held_decision() -> None:
    """The age of an opening and the pause of a lockout begin at this time."""
    scene = Scene()
    scene.looks(direction(0), 20)
    (denied,) = scene.looks(direction(0), 4)
    assert denied.t_ns == denied.verdict.decided_ns == denied.verdict.track.last_ns == scene.t_ns - S // 10


def test_visitor_who_gives_up_a_challenge() -> None:
    """Otherwise a recording could be withdrawn and tried until the request fits it."""
    verdict = _recognised(Scene("challenge"))
    for challenge, failed in ((MovementChallenge, False), (_Prompted, True)):
        scene = Scene("challenge", challenge=challenge)
        for _ in range(LockoutConfig().max_failures):
            assert not scene.aggregator.impersonated(replace(verdict, decided_ns=scene.t_ns))
            scene.recognise_and_leave()
        assert scene.aggregator.impersonated(replace(verdict, decided_ns=scene.t_ns)) is failed


class _Prompted(MovementChallenge):
    """A challenge that has requested a movement from the beginning."""

    @property
    def was_prompted(self) -> bool:
        return True


def test_challenge_starts_again_after_a_release() -> None:
    """The evidence so far belongs to other models and people; the screen shows the interruption."""
    scene = Scene("challenge")
    scene.looks(direction(0), 6)
    scene.gate.reset()
    scene.aggregator.replace_gallery(scene.aggregator.gallery, RecognitionConfig())
    scene.looks(direction(0), 80)
    assert [(one.challenge_id, one.reason) for one in scene.gate.drain_prompts()] == [
        (1, "interrupted"),
        (2, "not-still"),
    ]


def test_waiting_time_after_a_missed_frame() -> None:
    """One frame without the face does not end the waiting time."""
    scene = Scene()
    assert len(scene.looks(direction(0), 24)) == 1
    scene.t_ns += S // 10
    assert scene.gate.filter_decisions([], [], scene.t_ns, lambda _: pytest.fail("nothing to decide")) == []
    assert scene.aggregator.verdict_of(scene.here()) is not None


def test_attack_with_challenge_score_above_attack_score() -> None:
    """A door that challenges only in doubt does so also if the two limits are swapped."""
    seen = _Seen(0.5)
    scene = Scene("challenge", passive=seen, challenge_when="doubt", attack_score=0.1, challenge_score=0.9)
    assert scene.looks(direction(0), 4) == []
    assert len(scene.challenges) == 1


class _Seen(PassiveLiveness):
    """Passive liveness with enough evidence of every track."""

    def __init__(self, score: float = 0.0) -> None:
        super().__init__(config=LivenessConfig())
        self._score = score

    def evaluate(self, track_id: int) -> LivenessEvidence:
        return LivenessEvidence(self._score, (), True, 9, 1.0)


def test_stricter_rule_while_waiting_for_liveness() -> None:
    """Night begins during watching, so a challenge follows."""
    scene = Scene("passive", passive=_AliveAfter(6))
    assert scene.looks(direction(0), 4) == []
    scene.policy = Policy(allow_list(("*",)), "front", LivenessMode.CHALLENGE)
    assert scene.looks(direction(0), 4) == []
    assert len(scene.challenges) == 1
    scene.challenges[0].state = ChallengeState.PASSED
    (opened,) = scene.look(direction(0))
    assert opened.required_liveness is LivenessMode.CHALLENGE


def test_denied_person_is_not_held() -> None:
    """A denial requires no liveness."""
    scene = Scene()
    scene.policy = Policy(allow_list(()), "front", LivenessMode.CHALLENGE)
    (denied,) = scene.looks(direction(0), 4)
    assert (denied.kind, denied.reason, denied.liveness) == (AccessOutcome.DENIED, "no-rule-for-this-person", None)


def test_denied_visitor_after_a_release() -> None:
    """New models or rules end the waiting time after a denial (3 s)."""
    scene = Scene()
    assert len(scene.looks(direction(0), 24)) == 1
    scene.gate.reset()
    assert [one.reason for one in scene.looks(direction(0), 26)] == ["liveness-not-shown"]


def test_opening_without_liveness_after_attacks() -> None:
    """If no liveness is required, a recognition counts as a success."""
    scene = Scene()
    scene.policy = Policy(allow_list(("*",)), "front", LivenessMode.OFF)
    verdict = _recognised(Scene())
    for _ in range(LockoutConfig().max_failures):
        scene.aggregator.count_failure(verdict, set())
    assert scene.aggregator.impersonated(replace(verdict, decided_ns=scene.t_ns))
    assert [one.kind for one in scene.looks(direction(0), 4)] == [AccessOutcome.DOOR_OPEN]
    assert not scene.aggregator.impersonated(replace(verdict, decided_ns=scene.t_ns))


def test_stranger_is_not_a_success() -> None:
    """Otherwise failures would never accumulate with liveness."""
    answers = Scene().looks(direction(1), 50)
    assert {one.kind for one in answers} == {AccessOutcome.UNKNOWN}
    assert answers[-1].verdict.reason == "repeated-failures"


def test_liveness_twice_after_repeated_attacks() -> None:
    """Once is enough after the success. The two periods of watching are separate; each may last `timeout_s` (2 s)."""
    scene = Scene(passive=_AliveAfter(15))
    verdict = _recognised(Scene())
    for _ in range(LockoutConfig().max_failures):
        scene.aggregator.count_failure(verdict, set())
    fell = [(look, one.kind) for look in range(1, 41) for one in scene.look(direction(0))]
    assert fell == [(30, AccessOutcome.DOOR_OPEN)]
    assert not scene.aggregator.impersonated(replace(verdict, decided_ns=scene.t_ns))


class _AliveAfter(PassiveLiveness):
    """Passive liveness that is satisfied after this number of samples."""

    def __init__(self, needed: int) -> None:
        super().__init__(config=LivenessConfig())
        self._needed = needed
        self._looks = 0

    def observe(self, track: Track, frame: Frame, sample: Sample, t_ns: int) -> None:
        self._looks += 1

    def forget(self, track_id: int) -> None:
        self._looks = 0

    def evaluate(self, track_id: int) -> LivenessEvidence:
        return LivenessEvidence(0.0, (), self._looks >= self._needed, self._looks, self._looks / 10)


def test_photo_without_life_next_to_the_person() -> None:
    """The photo is recognised first; after its denial the person next to it is judged again, and enters."""
    scene = Scene(passive=_AliveIn(2, config=LivenessConfig()))
    answers: list[tuple[int, AccessOutcome]] = []
    for look in range(1, 36):
        scene.t_ns = look * S // 10
        tracks = [track(number, t_ns=scene.t_ns) for number in (1, 2)]
        frame = Frame(np.zeros((8, 8, 3), np.uint8), 0, scene.t_ns)
        for one in tracks:
            scene.aggregator.add_sample(one, sample(direction(0)), scene.t_ns)
            scene.gate.observe(one, frame, sample(direction(0)), scene.t_ns)
        fell = [
            scene.policy.decide(verdict, scene.t_ns) for verdict in scene.aggregator.take_verdicts(tracks, scene.t_ns)
        ]
        decided = scene.gate.filter_decisions(
            fell, tracks, scene.t_ns, lambda verdict: scene.policy.decide(verdict, scene.t_ns)
        )
        answers += [(one.verdict.track.id, one.kind) for one in decided]
    assert answers == [(1, AccessOutcome.DENIED), (2, AccessOutcome.DOOR_OPEN)]


class _AliveIn(PassiveLiveness):
    """Passive liveness with enough evidence of one track and none of the others."""

    def __init__(self, alive: int, *, config: LivenessConfig) -> None:
        super().__init__(config=config)
        self._alive = alive

    def evaluate(self, track_id: int) -> LivenessEvidence:
        return LivenessEvidence(0.0, (), track_id == self._alive, 9, 1.0)


def test_second_challenge_after_repeated_attacks() -> None:
    """A second challenge with another number follows before the door opens."""
    scene = Scene("challenge", timeout_s=20.0)
    verdict = _recognised(Scene("challenge"))
    for _ in range(LockoutConfig().max_failures):
        scene.aggregator.count_failure(verdict, set())
    scene.looks(direction(0), 5)
    (first,) = scene.challenges
    first.state = ChallengeState.PASSED
    assert scene.looks(direction(0), 2) == []
    second = scene.challenges[1]
    second.state = ChallengeState.PASSED
    assert [one.kind for one in scene.look(direction(0))] == [AccessOutcome.DOOR_OPEN]


def test_sampling_rate_of_a_held_visitor() -> None:
    """The verdict alone would require only one sample per second."""
    scene = Scene()
    scene.looks(direction(0), 4)
    here = track(t_ns=scene.t_ns)
    assert scene.aggregator.tracks_due([here], scene.t_ns + S // 10) == []
    assert scene.gate.tracks_due([here], scene.t_ns + S // 10) == [here]


# Liveness required by the rules.


@given(
    st.lists(st.sampled_from(LivenessMode), max_size=4), st.sampled_from(LivenessMode), st.sampled_from(LivenessMode)
)
def test_strictest_liveness_of_rules_and_door_toml(
    asked: Sequence[LivenessMode], by_door: LivenessMode, by_config: LivenessMode
) -> None:
    """Rules that admit this person can require more, never less."""
    ways = tuple(AllowRule(f"r{number}", ("anna",), liveness=one) for number, one in enumerate(asked))
    rules = AccessRules(doors=(("front", DoorRules("d", (*ways, AllowRule("all", ("*",))), liveness=by_door)),))
    policy = Policy(rules, "front", by_config)
    scene = Scene()
    held = policy.decide(_recognised(scene), 0)
    strict = strictest_mode((*asked, by_door, by_config))
    assert (held.required_liveness, policy.liveness) == (strict, strict)


def _recognised(scene: Scene) -> Verdict:
    for number in range(4):
        scene.aggregator.add_sample(track(), sample(direction(0)), number)
    (verdict,) = scene.aggregator.take_verdicts([track()], 4)
    return verdict


@pytest.mark.parametrize(
    ("wall_ns", "proof"),
    [(MORNING, LivenessMode.PASSIVE), (NIGHT, LivenessMode.CHALLENGE), (None, LivenessMode.CHALLENGE)],
)
def test_stricter_liveness_at_night_or_without_clock(tmp_path: Path, wall_ns: int | None, proof: LivenessMode) -> None:
    """A second rule for everybody, only at night, requires more."""
    path = tmp_path / "policy.toml"
    path.write_text(
        'timezone = "UTC"\n[schedules.night]\nmon-sun = ["20:00-06:00"]\n[doors.front]\nliveness = "passive"\n'
        'allow = [{people = ["*"]}, {people = ["*"], schedule = "night", liveness = "challenge"}]\n'
    )
    policy = Policy(parse_policy(path), "front")
    decision = policy.decide(_recognised(Scene()), 0, wall_ns)
    assert (decision.kind, decision.required_liveness) == (AccessOutcome.DOOR_OPEN, proof)


def test_invalid_liveness_in_the_policy(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('[doors.front]\nliveness = "chalenge"\nallow = []\n')
    with pytest.raises(ConfigError, match=r"doors\.front\.liveness"):
        parse_policy(path)


# Reporting liveness.


@pytest.mark.parametrize("kind", BROKERS)
def test_challenge_messages_for_a_screen(kind: str, tmp_path: Path) -> None:
    """All messages of a challenge have the same id; none is retained."""
    broker = make_broker(kind, tmp_path)
    broker.start()
    mqtt, topics = config_for(broker), Topics("home", "front")
    clock = ManualClock(monotonic_s=10)
    try:
        with (
            Outbox(tmp_path / "outbox.db", OutboxConfig(), announce=announce) as outbox,
            Subscriber(mqtt, topics, [Channel.CHALLENGE]) as screen,
        ):
            publisher = Publisher(mqtt, topics, outbox, on_open_expired=lambda *_: None, clock=clock)
            announcer = ChallengePublisher("front", publisher.challenge, SYSTEM_CLOCK)
            announcer.publish([_prompt(1, ChallengeState.ASKED, t_ns=0)])
            announcer.publish([_prompt(2, ChallengeState.ASKED, t_ns=8 * S), _prompt(2, ChallengeState.PASSED, 9 * S)])
            with publisher:
                messages = screen.messages(8.0)
                received = [next(messages) for _ in range(2)]
    finally:
        broker.close()
    records = [message.record for message in received if isinstance(message.record, Challenge)]
    assert [(one.ask, one.state, one.door) for one in records] == [
        ("look-up", "asked", "front"),
        ("look-up", "passed", "front"),
    ]
    assert len({one.id for one in records}) == 1
    assert not any(message.retained for message in received)


def test_events_of_a_door_with_challenges(tmp_path: Path) -> None:
    """The whole door: the event with the result, the count in health, the end of the challenge on its topic."""
    received = _heard_of_a_door(tmp_path, threading.Event())
    denied = next(one.record for one in received if isinstance(one.record, Event) and one.record.kind == "denied")
    assert (denied.reason, denied.liveness and denied.liveness.challenge) == ("challenge-failed", "left")
    assert [one.record.reason for one in received if isinstance(one.record, Challenge)] == ["left"]
    assert not [one for one in received if one.channel is Channel.OPEN]
    stages = {stage for one in received if isinstance(one.record, Health) for stage in one.record.stages}
    assert "liveness" in stages


class _StopAfter(threading.Event):
    """An event that is set after this number of checks; the door checks once per frame."""

    def __init__(self, asked: int) -> None:
        super().__init__()
        self._left = asked

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


def test_held_visitor_at_a_stop(tmp_path: Path) -> None:
    """A recognised visitor who did not enter is an event, also at a restart."""
    received = _heard_of_a_door(tmp_path, _StopAfter(26))
    kinds = [one.record.kind for one in received if isinstance(one.record, Event)]
    assert kinds == ["started", "denied", "stopped"]


def _heard_of_a_door(folder: Path, stop: threading.Event) -> list[Message]:
    """All messages of a door with challenges while an enrolled person approaches, from start to stop."""
    with make_broker("embedded", folder) as broker:
        mqtt = config_for(broker)
        door = DoorConfig(
            site="test",
            door="front",
            state_folder=str(folder / "state"),
            gallery=str(GALLERY),
            camera=CameraConfig(source=str(fast_clip(folder / "short.avi", 15, 30))),
            liveness=LivenessConfig(mode="challenge"),
            recognition=RecognitionConfig(sample_every_s=0.0),
            mqtt=msgspec.structs.replace(mqtt, health_every_s=0.1),
        )
        received: list[Message] = []
        with Subscriber(mqtt) as subscriber:
            Daemon(door).run(stop)
            for message in subscriber.messages(8.0):
                received.append(message)
                if isinstance(message.record, Status) and message.record.status == "offline":
                    break
    return received


def _prompt(number: int, state: ChallengeState, t_ns: int) -> ChallengePrompt:
    return ChallengePrompt(number, 1, state, ChallengeMovement.LOOK_UP, 1, 1, ChallengeFailure.NONE, t_ns, t_ns + 4 * S)


def test_stored_event_without_liveness() -> None:
    """It can still be read."""
    stored = msgspec.json.decode(encode(_an_event()))
    del stored["liveness"]
    event = decode(Channel.EVENTS, msgspec.json.encode(stored))
    assert isinstance(event, Event)
    assert event.liveness is None


def _an_event() -> Event:
    return access_event(
        Decision(AccessOutcome.DOOR_OPEN, "allow *", _recognised(Scene()), 0), id=IDS.new(1), at_ns=T0_NS, door=DOOR
    )
