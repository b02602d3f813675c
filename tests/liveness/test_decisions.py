"""Liveness in the verdict: what would open is held back until it is shown, and nothing else is."""

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
MORNING = 1_790_000_000 * S - 1_790_000_000 * S % (24 * 3600 * S) + 9 * 3600 * S  # nine o'clock in UTC
NIGHT = MORNING + 14 * 3600 * S


def config(mode: str = "off", **changes: object) -> DoorConfig:
    liveness = msgspec.convert({"mode": mode, **changes}, LivenessConfig)
    return DoorConfig(site="test", door="front", liveness=liveness)


# At the door, with real models and simulated visitors.


@pytest.fixture(scope="module")
def portrait(vision: VisionStages, photo: Callable[[str], BgrImage]) -> BgrImage:
    """Somebody enrolled, as the camera sees him."""
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
    """Play somebody before a door until so many decisions have fallen; what they were, and what was asked."""
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


def test_who_follows_the_challenge_gets_in(vision: VisionStages, visitor: Visitor) -> None:
    """The opening comes after the last movement and is dated so; the event tells what was shown."""
    pipeline = a_door(config("challenge", challenge_steps=1), vision)
    (opened,), told = visit(pipeline, visitor, 12)
    assert (opened.kind, opened.required_liveness) == (AccessOutcome.DOOR_OPEN, LivenessMode.CHALLENGE)
    assert [prompt.state for prompt in told] == [ChallengeState.ASKED, ChallengeState.PASSED]
    assert opened.t_ns == told[-1].t_ns
    event = access_event(opened, id="x", at_ns=T0_NS, door=DOOR)
    assert event.liveness is not None
    assert (event.liveness.mode, event.liveness.challenge) == ("challenge", "passed")
    assert dict(pipeline.liveness_gate.counts) == {"shown": 1}


def test_a_release_between_two_frames_interrupts_a_challenge_and_who_follows_the_next_gets_in(
    vision: VisionStages, visitor: Visitor
) -> None:
    """The screen is told, and asked anew."""
    pipeline = a_door(config("challenge", challenge_steps=1), vision)
    _, told = visit(pipeline, visitor, 3)
    assert [prompt.state for prompt in told] == [ChallengeState.ASKED]
    pipeline.swap_models(vision, pipeline.aggregator.gallery, allow_list(("*",)))
    assert [prompt.reason for prompt in pipeline.drain_prompts()] == ["interrupted"]
    visitor.movement = None
    (opened,), told = visit(pipeline, visitor, 12, begin_s=3.0)
    assert (opened.kind, [prompt.challenge_id for prompt in told]) == (AccessOutcome.DOOR_OPEN, [2, 2])


def test_a_photo_does_not_follow_the_challenge(vision: VisionStages, held_photo: HeldPhoto) -> None:
    """However it is turned; it is denied by name, for the photo shows somebody."""
    (denied,), told = visit(
        a_door(config("challenge", challenge_steps=1, challenge_step_timeout_s=2.0), vision), held_photo, 8
    )
    assert (denied.kind, denied.rule) == (AccessOutcome.DENIED, "liveness")
    assert denied.reason in {"challenge-failed", "presentation-attack"}  # the latter where watching says so, too
    assert told[-1].state is ChallengeState.FAILED
    assert denied.liveness is not None
    assert denied.liveness.challenge == told[-1].reason


def test_a_moving_head_is_enough_where_the_door_only_watches(vision: VisionStages, visitor: Visitor) -> None:
    """Nothing is asked; it takes a second longer."""
    visitor.movement = draw_movement(ChallengeMovement.TURN_LEFT, 0.4, np.random.default_rng(1))
    (opened,), told = visit(a_door(config("passive"), vision), visitor, 6)
    assert (opened.kind, told) == (AccessOutcome.DOOR_OPEN, [])
    assert opened.t_ns >= S


def test_a_photo_is_an_attack_each_time_it_is_tried(vision: VisionStages, held_photo: HeldPhoto) -> None:
    """The event says what was measured."""
    denials, _ = visit(a_door(config("passive", retry_s=0.2), vision), held_photo, 9, until=2)
    assert [(denial.kind, denial.reason) for denial in denials] == [(AccessOutcome.DENIED, "presentation-attack")] * 2
    shown = denials[0].liveness
    assert shown is not None
    assert shown.score is not None
    assert shown.score > 0.5
    assert {"local-motion", "unexplained"} <= {name for name, _ in shown.cues} <= set(CUE_WEIGHTS)


def test_photos_of_a_person_do_not_keep_that_person_out(
    vision: VisionStages, visitor: Visitor, held_photo: HeldPhoto
) -> None:
    """After repeated attacks the living person shows life twice, within the pause of a lockout, and gets in."""
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
    assert opened[0].t_ns > 14 * S  # once would do after one second


class Nobody:
    """An empty doorstep."""

    def on_prompt(self, prompt: ChallengePrompt, t_s: float) -> None:
        """There is nobody to hear."""

    def render(self, t_s: float) -> BgrImage:
        return np.full((480, 640, 3), 110, np.uint8)


class Instead:
    """A living stranger before the door, and a still photo of somebody enrolled in his place at times."""

    def __init__(self, stranger: RenderedHead, photo: BgrImage, by_photo: Callable[[int], bool]) -> None:
        """
        Args:
            stranger: moves all the time.
            photo: stands still.
            by_photo: whether it is shown in the frame of this number.
        """
        self._stranger, self._photo, self._by_photo = stranger, photo, by_photo
        self._lens = CameraModel(np.random.default_rng(2))
        self._frames = 0

    def on_prompt(self, prompt: ChallengePrompt, t_s: float) -> None:
        """Nobody follows."""

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
def test_the_life_of_one_face_is_no_proof_for_another(
    challenge_when: str | None, vision: VisionStages, portrait: BgrImage, stranger: RenderedHead
) -> None:
    """A living stranger becomes unknown; then a photo of somebody enrolled takes his place, and inherits nothing."""
    door = config("passive") if challenge_when is None else config("challenge", challenge_when=challenge_when)
    actor = Instead(stranger, portrait, lambda frame: frame > 3 * FPS)
    answers, told = visit(a_door(door, vision), actor, 9, until=2)
    assert answers[0].kind is AccessOutcome.UNKNOWN
    assert AccessOutcome.DOOR_OPEN not in {answer.kind for answer in answers}
    asked = [prompt.state for prompt in told if prompt.state is ChallengeState.ASKED]
    assert answers[1:] if challenge_when is None else asked, "the photo was not recognised"


@pytest.mark.parametrize("every", [4, 7])
def test_faces_in_turn(every: int, vision: VisionStages, portrait: BgrImage, stranger: RenderedHead) -> None:
    """A living stranger in one frame of so many does not bring the photo beside him to life."""
    actor = Instead(stranger, portrait, lambda frame: frame % every != 0)
    answers, _ = visit(a_door(config("passive", timeout_s=2.5), vision), actor, 4, until=2)
    assert AccessOutcome.DOOR_OPEN not in {answer.kind for answer in answers}


def test_in_doubt_alone_the_door_asks(vision: VisionStages, visitor: Visitor, held_photo: HeldPhoto) -> None:
    """Who moves by himself need not be asked; a photo is."""
    door = config("challenge", challenge_when="doubt")
    visitor.movement = draw_movement(ChallengeMovement.TURN_LEFT, 0.4, np.random.default_rng(1))
    (opened,), told = visit(a_door(door, vision), visitor, 6)
    assert (opened.kind, told) == (AccessOutcome.DOOR_OPEN, [])
    _, told = visit(a_door(door, vision), held_photo, 5)
    assert [prompt.state for prompt in told] == [ChallengeState.ASKED]


def test_with_liveness_off_the_golden_events_come_and_nothing_is_watched(watching: VisionStages) -> None:
    """Nothing is held and no look is compared with another."""
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


def test_rules_that_ask_for_liveness_from_now_on(vision: VisionStages, held_photo: HeldPhoto) -> None:
    """A release may bring them to a door whose own configuration asks for nothing, and take them back."""
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
def test_rules_that_ask_for_no_liveness_while_somebody_is_held(
    rules: AccessRules, vision: VisionStages, held_photo: HeldPhoto
) -> None:
    """They are recognised again and answered by the new rules, once."""
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


def test_what_counts_as_a_success_after_a_release(vision: VisionStages) -> None:
    """A name alone does where the rules ask for no liveness, whatever they asked for before."""
    pipeline = a_door(config("off"), vision)
    gallery, asked = pipeline.aggregator.gallery, []
    for rules in (allow_list(("*",)), ASKING, allow_list(("*",))):
        pipeline.swap_models(vision, gallery, rules)
        asked.append(not pipeline.aggregator.counts_names_as_success)
    assert asked == [False, True, False]


def test_rules_that_ask_for_liveness_where_nothing_can_be_drawn(vision: VisionStages) -> None:
    """They are refused, and the rules before stay in force."""
    pipeline = Pipeline(config("off"), vision, load_gallery(GALLERY, vision.reader.embedder.sha256))
    with pytest.raises(ConfigError, match="source of random numbers"):
        pipeline.swap_models(vision, pipeline.aggregator.gallery, ASKING)
    assert pipeline.aggregator.counts_names_as_success


def test_a_clip_cannot_know_what_is_asked_and_strangers_are_not_asked() -> None:
    """The demo's clip at a door with challenges: no opening, the same answer to the stranger, the same at every run."""
    lines = list(replay(config("challenge"), CLIP, GALLERY))
    stranger = [line for line in read_expected(EXPECTED) if line.kind == "unknown"]
    assert {line.kind for line in lines} == {"denied", "unknown"}
    assert [(line.t, line.reason) for line in lines if line.kind == "unknown"] == [
        (line.t, line.reason) for line in stranger
    ]
    assert lines == list(replay(config("challenge"), CLIP, GALLERY))


def test_a_door_that_asks_has_to_be_given_chance(vision: VisionStages) -> None:
    """Or its challenges could be foretold."""
    with pytest.raises(ConfigError, match="source of random numbers"):
        Pipeline(config("challenge"), vision, load_gallery(GALLERY, vision.reader.embedder.sha256))


# The guard alone: made-up faces without a mesh, so that there is never enough to see.


def a_judge() -> IdentityAggregator:
    gallery = Gallery([ANNA], direction(0)[None], np.array([0.9], np.float32), GalleryInfo("", "", 1))
    return IdentityAggregator(gallery, RecognitionConfig(), LockoutConfig(), proven=False)


class Scene:
    """One track before a gate.

    Attributes:
        challenges: those that the gate has begun.
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


def test_who_never_shows_enough_is_denied_in_the_end_and_may_try_again() -> None:
    """Fail-secure; it is no attack, so it does not count as one."""
    scene = Scene()
    first = scene.looks(direction(0), 24)
    assert [(one.kind, one.reason, one.t_ns) for one in first] == [
        (AccessOutcome.DENIED, "liveness-not-shown", round(2.3 * S))
    ]
    assert first[0].liveness is not None
    assert first[0].liveness.score is None
    assert [one.reason for one in scene.looks(direction(0), 120)] == ["liveness-not-shown"] * 2


def test_who_leaves_before_it_is_shown_is_denied_and_is_news_when_back() -> None:
    """Somebody was recognised and did not get in: the operator wants to know."""
    scene = Scene()
    assert scene.looks(direction(0), 6) == []
    (denied,) = scene.look(direction(0), lost=True)
    assert denied.reason == "liveness-not-shown"
    assert scene.gate.tracks_due([track()], scene.t_ns + S) == []
    assert scene.aggregator.take_verdicts([track(t_ns=scene.t_ns)], scene.t_ns) == []
    assert [one.reason for one in scene.looks(direction(0), 24)] == ["liveness-not-shown"]


def test_another_face_in_the_same_place_is_not_held_for_the_first() -> None:
    """A picture gives the name, a living face the proof: nothing opens, and each is answered by itself."""
    scene = Scene()
    scene.looks(direction(0), 5)
    answers = scene.looks(direction(1), 30)
    assert [(one.kind, one.reason) for one in answers] == [
        (AccessOutcome.DENIED, "liveness-not-shown"),
        (AccessOutcome.UNKNOWN, None),
    ]


def test_an_answer_after_waiting_is_dated_and_placed_as_of_now() -> None:
    """The lock counts the age of an opening from this moment; the lockout counts its pause from it."""
    scene = Scene()
    scene.looks(direction(0), 20)
    (denied,) = scene.looks(direction(0), 4)
    assert denied.t_ns == denied.verdict.decided_ns == denied.verdict.track.last_ns == scene.t_ns - S // 10


def test_who_gives_up_once_it_is_asked_has_failed_and_who_was_not_asked_has_not() -> None:
    """Otherwise a recording could be tried until the question suits it, by taking it away each time before the end."""
    verdict = _recognised(Scene("challenge"))
    for challenge, failed in ((MovementChallenge, False), (_Prompted, True)):
        scene = Scene("challenge", challenge=challenge)
        for _ in range(LockoutConfig().max_failures):
            assert not scene.aggregator.impersonated(replace(verdict, decided_ns=scene.t_ns))
            scene.recognise_and_leave()
        assert scene.aggregator.impersonated(replace(verdict, decided_ns=scene.t_ns)) is failed


class _Prompted(MovementChallenge):
    """Has asked for a movement from the start."""

    @property
    def was_prompted(self) -> bool:
        return True


def test_a_release_in_the_middle_of_a_challenge_begins_it_anew() -> None:
    """What was shown so far was shown under other models and people; the screen is told."""
    scene = Scene("challenge")
    scene.looks(direction(0), 6)
    scene.gate.reset()
    scene.aggregator.replace_gallery(scene.aggregator.gallery, RecognitionConfig())
    scene.looks(direction(0), 80)
    assert [(one.challenge_id, one.reason) for one in scene.gate.drain_prompts()] == [
        (1, "interrupted"),
        (2, "not-still"),
    ]


def test_who_is_denied_and_missed_for_a_moment_has_to_wait_all_the_same() -> None:
    """One frame without the face is not leaving."""
    scene = Scene()
    assert len(scene.looks(direction(0), 24)) == 1
    scene.t_ns += S // 10
    assert scene.gate.filter_decisions([], [], scene.t_ns, lambda _: pytest.fail("nothing to decide")) == []
    assert scene.aggregator.verdict_of(scene.here()) is not None


def test_an_attack_is_doubtful_whatever_the_limit_of_doubt_is() -> None:
    """A door that asks only in doubt, with the limits the wrong way round, asks."""
    seen = _Seen(0.5)
    scene = Scene("challenge", passive=seen, challenge_when="doubt", attack_score=0.1, challenge_score=0.9)
    assert scene.looks(direction(0), 4) == []
    assert len(scene.challenges) == 1


class _Seen(PassiveLiveness):
    """Has seen enough of everybody."""

    def __init__(self, score: float = 0.0) -> None:
        super().__init__(config=LivenessConfig())
        self._score = score

    def evaluate(self, track_id: int) -> LivenessEvidence:
        return LivenessEvidence(self._score, (), True, 9, 1.0)


def test_a_rule_that_asks_for_more_by_the_time_liveness_is_shown_is_obeyed() -> None:
    """The night began while somebody was watched: now a challenge is asked."""
    scene = Scene("passive", passive=_AliveAfter(6))
    assert scene.looks(direction(0), 4) == []
    scene.policy = Policy(allow_list(("*",)), "front", LivenessMode.CHALLENGE)
    assert scene.looks(direction(0), 4) == []
    assert len(scene.challenges) == 1
    scene.challenges[0].state = ChallengeState.PASSED
    (opened,) = scene.look(direction(0))
    assert opened.required_liveness is LivenessMode.CHALLENGE


def test_whoever_the_rules_deny_is_not_held() -> None:
    """A denial needs no proof of life."""
    scene = Scene()
    scene.policy = Policy(allow_list(()), "front", LivenessMode.CHALLENGE)
    (denied,) = scene.looks(direction(0), 4)
    assert (denied.kind, denied.reason, denied.liveness) == (AccessOutcome.DENIED, "no-rule-for-this-person", None)


def test_a_denied_visitor_is_sampled_again_after_a_release() -> None:
    """New models or rules end the waiting time after a denial (3 s)."""
    scene = Scene()
    assert len(scene.looks(direction(0), 24)) == 1
    scene.gate.reset()
    assert [one.reason for one in scene.looks(direction(0), 26)] == ["liveness-not-shown"]


def test_an_opening_without_liveness_ends_a_run_of_attacks() -> None:
    """Where no liveness is required, a recognised person counts as a success."""
    scene = Scene()
    scene.policy = Policy(allow_list(("*",)), "front", LivenessMode.OFF)
    verdict = _recognised(Scene())
    for _ in range(LockoutConfig().max_failures):
        scene.aggregator.count_failure(verdict, set())
    assert scene.aggregator.impersonated(replace(verdict, decided_ns=scene.t_ns))
    assert [one.kind for one in scene.looks(direction(0), 4)] == [AccessOutcome.DOOR_OPEN]
    assert not scene.aggregator.impersonated(replace(verdict, decided_ns=scene.t_ns))


def test_a_stranger_never_counts_as_a_success() -> None:
    """Or repeated failures would never add up where liveness is on."""
    answers = Scene().looks(direction(1), 50)
    assert {one.kind for one in answers} == {AccessOutcome.UNKNOWN}
    assert answers[-1].verdict.reason == "repeated-failures"


def test_life_is_shown_twice_after_repeated_attacks() -> None:
    """Once is enough after the success. The two times of watching share no look; each may last `timeout_s` (2 s)."""
    scene = Scene(passive=_AliveAfter(15))
    verdict = _recognised(Scene())
    for _ in range(LockoutConfig().max_failures):
        scene.aggregator.count_failure(verdict, set())
    fell = [(look, one.kind) for look in range(1, 41) for one in scene.look(direction(0))]
    assert fell == [(30, AccessOutcome.DOOR_OPEN)]
    assert not scene.aggregator.impersonated(replace(verdict, decided_ns=scene.t_ns))


class _AliveAfter(PassiveLiveness):
    """Alive after so many looks since it began to watch."""

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


def test_a_photo_that_shows_no_life_beside_the_person() -> None:
    """The photo has the name first; when it is denied, the person beside it is judged again, and gets in."""
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
    """Has seen enough of one track, and nothing of the others."""

    def __init__(self, alive: int, *, config: LivenessConfig) -> None:
        super().__init__(config=config)
        self._alive = alive

    def evaluate(self, track_id: int) -> LivenessEvidence:
        return LivenessEvidence(0.0, (), track_id == self._alive, 9, 1.0)


def test_a_second_challenge_follows_repeated_attacks() -> None:
    """The door asks again, by another number, before it opens."""
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


def test_a_held_visitor_is_looked_at_as_often_as_before_the_verdict() -> None:
    """The verdict alone would be content with one look a second."""
    scene = Scene()
    scene.looks(direction(0), 4)
    here = track(t_ns=scene.t_ns)
    assert scene.aggregator.tracks_due([here], scene.t_ns + S // 10) == []
    assert scene.gate.tracks_due([here], scene.t_ns + S // 10) == [here]


# What the rules ask for.


@given(
    st.lists(st.sampled_from(LivenessMode), max_size=4), st.sampled_from(LivenessMode), st.sampled_from(LivenessMode)
)
def test_the_stricter_wins_and_nothing_is_weaker_than_door_toml(
    asked: Sequence[LivenessMode], by_door: LivenessMode, by_config: LivenessMode
) -> None:
    """Every rule that lets this person pass may ask for more, none for less."""
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
def test_a_policy_asks_for_more_at_night_and_while_the_clock_is_not_set(
    tmp_path: Path, wall_ns: int | None, proof: LivenessMode
) -> None:
    """A second way for everybody, at night only, that asks for more."""
    path = tmp_path / "policy.toml"
    path.write_text(
        'timezone = "UTC"\n[schedules.night]\nmon-sun = ["20:00-06:00"]\n[doors.front]\nliveness = "passive"\n'
        'allow = [{people = ["*"]}, {people = ["*"], schedule = "night", liveness = "challenge"}]\n'
    )
    policy = Policy(parse_policy(path), "front")
    decision = policy.decide(_recognised(Scene()), 0, wall_ns)
    assert (decision.kind, decision.required_liveness) == (AccessOutcome.DOOR_OPEN, proof)


def test_a_word_that_is_no_liveness_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('[doors.front]\nliveness = "chalenge"\nallow = []\n')
    with pytest.raises(ConfigError, match=r"doors\.front\.liveness"):
        parse_policy(path)


# Telling it.


@pytest.mark.parametrize("kind", BROKERS)
def test_what_is_asked_reaches_a_screen_and_what_is_late_does_not(kind: str, tmp_path: Path) -> None:
    """All messages of one challenge have one id; none is retained."""
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
                heard = [next(messages) for _ in range(2)]
    finally:
        broker.close()
    records = [message.record for message in heard if isinstance(message.record, Challenge)]
    assert [(one.ask, one.state, one.door) for one in records] == [
        ("look-up", "asked", "front"),
        ("look-up", "passed", "front"),
    ]
    assert len({one.id for one in records}) == 1
    assert not any(message.retained for message in heard)


def test_a_door_that_asks_says_so_to_everybody_and_opens_nothing_for_a_clip(tmp_path: Path) -> None:
    """The whole door: the event with what was shown, the count in health, the end of the challenge on its topic."""
    heard = _heard_of_a_door(tmp_path, threading.Event())
    denied = next(one.record for one in heard if isinstance(one.record, Event) and one.record.kind == "denied")
    assert (denied.reason, denied.liveness and denied.liveness.challenge) == ("challenge-failed", "left")
    assert [one.record.reason for one in heard if isinstance(one.record, Challenge)] == ["left"]
    assert not [one for one in heard if one.channel is Channel.OPEN]
    stages = {stage for one in heard if isinstance(one.record, Health) for stage in one.record.stages}
    assert "liveness" in stages


class _StopAfter(threading.Event):
    """Set once it was asked for so often, which a door does with each frame."""

    def __init__(self, asked: int) -> None:
        super().__init__()
        self._left = asked

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


def test_who_waits_for_the_door_when_it_is_told_to_stop_is_on_record(tmp_path: Path) -> None:
    """A name was given and nothing opened: that is an event, also at a restart."""
    heard = _heard_of_a_door(tmp_path, _StopAfter(26))
    kinds = [one.record.kind for one in heard if isinstance(one.record, Event)]
    assert kinds == ["started", "denied", "stopped"]


def _heard_of_a_door(folder: Path, stop: threading.Event) -> list[Message]:
    """All that a door with challenges says while somebody enrolled walks up to it, from its start to its end."""
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
        heard: list[Message] = []
        with Subscriber(mqtt) as subscriber:
            Daemon(door).run(stop)
            for message in subscriber.messages(8.0):
                heard.append(message)
                if isinstance(message.record, Status) and message.record.status == "offline":
                    break
    return heard


def _prompt(number: int, state: ChallengeState, t_ns: int) -> ChallengePrompt:
    return ChallengePrompt(number, 1, state, ChallengeMovement.LOOK_UP, 1, 1, ChallengeFailure.NONE, t_ns, t_ns + 4 * S)


def test_an_event_stored_by_an_older_version_has_no_liveness() -> None:
    """And is read all the same."""
    stored = msgspec.json.decode(encode(_an_event()))
    del stored["liveness"]
    event = decode(Channel.EVENTS, msgspec.json.encode(stored))
    assert isinstance(event, Event)
    assert event.liveness is None


def _an_event() -> Event:
    return access_event(
        Decision(AccessOutcome.DOOR_OPEN, "allow *", _recognised(Scene()), 0), id=IDS.new(1), at_ns=T0_NS, door=DOOR
    )
