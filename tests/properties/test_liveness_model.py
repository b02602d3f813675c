"""The liveness gate compared with a simple model, for faces that come, go and replace each other."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.face_images import GOOD, direction, track
from support.living import meshed, shown, there_and_back, turned

from edge.access.model import allow_list
from edge.access.policy import Policy
from edge.core.config import LivenessConfig, LockoutConfig, RecognitionConfig
from edge.core.records import AccessOutcome, Decision, Frame, LivenessMode, Person, Quality, Sample
from edge.liveness.gate import LivenessGate
from edge.liveness.head_pose import AMPLITUDE_DEG
from edge.liveness.prompts import ChallengeMovement, ChallengePrompt, ChallengeState
from edge.recognition.aggregator import IdentityAggregator
from edge.recognition.gallery import Gallery, GalleryInfo
from edge.vision.face_mesh import pose_deg

S = 1_000_000_000
FACES = {"anna": direction(0), "bert": direction(1), "stranger": direction(20)}
NUMBERS = {"anna": 1, "bert": 2, "stranger": 3}
SIZES = {"anna": 1.0, "bert": 0.98, "stranger": 0.75}  # relative size of the head in the picture
UNTOLD = ("too-small", "turned-away", "blurred", "no-face")
ENROLLED = [Person("anna", "Anna"), Person("bert", "Bert")]
MODES: dict[str, dict[str, object]] = {
    "passive": {"mode": "passive"},
    "always": {"mode": "challenge", "challenge_steps": 1},
    "doubt": {"mode": "challenge", "challenge_steps": 1, "challenge_when": "doubt"},
}


@dataclass(frozen=True)
class Look:
    """True content of one frame."""

    t_ns: int
    who: str
    alive: bool
    told: bool  # the face can be identified
    left_deg: float = 0.0
    up_deg: float = 0.0

    def share(self, ask: ChallengeMovement) -> float:
        by = {
            ChallengeMovement.TURN_LEFT: self.left_deg,
            ChallengeMovement.TURN_RIGHT: -self.left_deg,
            ChallengeMovement.LOOK_UP: self.up_deg,
        }
        return by[ask] / AMPLITUDE_DEG[ask]


class Faces:
    """One track at a door; between two samples, any living face or photo may replace another.

    The model stores the true samples. It has no runs, scores or held decisions.
    """

    def __init__(self, mode: str, fps: float = 7.5, seed: int = 1, min_samples: int = 3, failures: int = 99) -> None:
        rows = np.stack([FACES["anna"], FACES["bert"]])
        gallery = Gallery(ENROLLED, rows, np.array([0.9, 0.9], np.float32), GalleryInfo("", "", 1))
        verdict = RecognitionConfig(cooldown_s=0.0, min_samples=min_samples)
        self.judge = IdentityAggregator(gallery, verdict, LockoutConfig(max_failures=failures), proven=False)
        self.now_ns = 0
        self.number = 1
        self.looks: list[Look] = []
        self.prompts: list[ChallengePrompt] = []
        self.opened: list[str] = []
        self.denied: list[str] = []  # reasons
        self.mode, self.frame_ns = mode, round(S / fps)
        liveness = msgspec.convert({"timeout_s": 4.0, "retry_s": 0.5, **MODES[mode]}, LivenessConfig)
        self.policy = Policy(allow_list(("*",)), "front", LivenessMode(liveness.mode))
        self.guard = LivenessGate(liveness, self.judge, random.Random(seed).random, 0.1)

    def show(self, who: str, *, alive: bool, times: int) -> None:
        """Show a person or a photo of the person."""
        for _ in range(times):
            self._look(Look(self.now_ns, who, alive, told=True))

    def show_untold(self, who: str, why: str, times: int) -> None:
        """Show a face that cannot be identified."""
        for _ in range(times):
            self._look(Look(self.now_ns, who, alive=True, told=False), why)

    def obey(self, parts: Sequence[str], told_deg: float, *, alive: bool = True) -> None:
        """Show the parts of a requested movement, each by a person; a face turned farther cannot be identified."""
        ask = self.asked
        for number, degrees in enumerate(there_and_back(26.0) if ask else ()):
            who = parts[0] if number < 10 else parts[1] if number < 13 else parts[2]
            left, up = (
                (0.0, degrees)
                if ask is ChallengeMovement.LOOK_UP
                else (degrees if ask is ChallengeMovement.TURN_LEFT else -degrees, 0.0)
            )
            told = degrees < told_deg and (who != "stranger" or told_deg > 60)
            self._look(
                Look(self.now_ns, who, alive, told, left, up), "too-small" if SIZES[who] < 0.8 else "turned-away"
            )

    def leave(self) -> None:
        """End the track."""
        self.now_ns += self.frame_ns
        self._decide(lost=True)
        self.number += 1
        self.looks, self.prompts = [], []

    @property
    def asked(self) -> ChallengeMovement | None:
        """Return the prompt on the screen."""
        last = self.prompts[-1] if self.prompts else None
        return last.movement if last is not None and last.state is ChallengeState.ASKED else None

    def _look(self, look: Look, why: str = "") -> None:
        self.now_ns += self.frame_ns
        here = track(self.number, t_ns=self.now_ns)
        due = [*self.judge.tracks_due([here], self.now_ns), *self.guard.tracks_due([here], self.now_ns)]
        if due:
            landmarks = meshed(turned(look.left_deg, look.up_deg, SIZES[look.who]))
            quality = Quality(float(look.told), 60.0, *pose_deg(landmarks), 500.0, why if not look.told else "")
            seen = Sample(FACES[look.who] if look.told else None, quality, landmarks)
            pixels = shown(self.now_ns // self.frame_ns, NUMBERS[look.who], alive=look.alive)
            self.judge.add_sample(here, seen, self.now_ns)
            self.guard.observe(here, Frame(pixels, 0, self.now_ns), seen, self.now_ns)
            self.looks.append(replace(look, t_ns=self.now_ns))
        self._decide(lost=False)

    def _decide(self, *, lost: bool) -> None:
        here = track(self.number, t_ns=self.now_ns, lost=lost)
        fell = [self.policy.decide(verdict, self.now_ns) for verdict in self.judge.take_verdicts([here], self.now_ns)]
        answers = self.guard.filter_decisions(
            fell, [here], self.now_ns, lambda verdict: self.policy.decide(verdict, self.now_ns)
        )
        self.prompts += self.guard.drain_prompts()
        for answer in answers:
            if answer.kind is AccessOutcome.DOOR_OPEN:
                self._check(answer)
            elif answer.kind is AccessOutcome.DENIED:
                assert answer.reason
                self.denied.append(answer.reason)

    def _check(self, opening: Decision) -> None:
        """The rule: the recognised face showed signs of life, and no other face appeared since."""
        person = opening.verdict.match.person
        assert person is not None
        self.opened.append(person.id)
        assert self.looks[-1].who == person.id, "the last look shows somebody else"
        watched, asked = self._watched(person.id), self._followed(person.id)
        assert {"passive": watched, "always": asked, "doubt": watched or asked}[self.mode], "without life of its own"

    def _watched(self, who: str) -> bool:
        """Return whether the face showed signs of life for long enough since the last sample of another face."""
        others = [number for number, look in enumerate(self.looks) if look.told and look.who != who]
        own = [look for look in self.looks[others[-1] + 1 if others else 0 :] if look.told and look.who == who]
        living = [look for look in own if look.alive]
        return len(living) >= 3 and own[-1].t_ns - own[0].t_ns >= S

    def _followed(self, who: str) -> bool:
        """Return whether the face made the last requested movement after the request."""
        asked = [prompt for prompt in self.prompts if prompt.state is ChallengeState.ASKED]
        if not asked or asked[-1].movement is None:
            return False
        moved = [look for look in self.looks if look.t_ns > asked[-1].t_ns and look.share(asked[-1].movement) >= 1]
        return len([look for look in moved if look.who == who]) >= 3


ANYBODY, TIMES = st.sampled_from(sorted(FACES)), st.sampled_from([14, 1, 3])
ACTS = st.one_of(
    st.tuples(st.just("show"), ANYBODY, st.booleans(), TIMES),
    st.tuples(st.just("show"), ANYBODY, st.booleans(), TIMES),
    st.tuples(st.just("untold"), ANYBODY, st.sampled_from(UNTOLD), TIMES),
    st.tuples(st.just("obey"), st.tuples(ANYBODY, ANYBODY, ANYBODY), st.sampled_from([4.0, 12.0, 22.0, 90.0])),
    st.just(("leave",)),
)


@given(
    st.sampled_from(sorted(MODES)),
    st.sampled_from([7.5, 10.0]),
    st.integers(0, 9),
    ANYBODY,
    st.lists(ACTS, max_size=4),
)
@example("passive", 7.5, 1, "stranger", [])
@example("doubt", 7.5, 1, "stranger", [("untold", "stranger", "blurred", 3)])
@settings(max_examples=30)
def test_openings_by_several_faces(mode: str, fps: float, seed: int, first: str, acts: list[tuple[Any, ...]]) -> None:
    """A living person comes first, a photo last. The door opens only for signs of life of the recognised face."""
    faces = Faces(mode, fps, seed)
    faces.show(first, alive=True, times=14)
    for act in acts:
        match act:
            case "show", who, alive, times:
                faces.show(who, alive=alive, times=times)
            case "untold", who, why, times:
                faces.show_untold(who, why, times)
            case "obey", parts, told_deg:
                faces.obey(parts, told_deg)
            case _:
                faces.leave()
    faces.show("anna", alive=False, times=24)


@pytest.mark.parametrize("mode", sorted(MODES))
def test_opening_to_a_living_face(mode: str) -> None:
    """In each mode the door opens to a person who does what it requests; so the model above is not empty."""
    faces = Faces(mode)
    faces.show("anna", alive=True, times=30)
    faces.obey(["anna"] * 3, 22.0)
    assert faces.opened == ["anna"]


@pytest.mark.parametrize("mode", ["passive", "doubt"])
@pytest.mark.parametrize("looks", [12, 22])
def test_photo_after_a_living_stranger(mode: str, looks: int) -> None:
    """The stranger is unknown; his signs of life do not count for the photo that replaces him."""
    faces = Faces(mode)
    faces.show("stranger", alive=True, times=looks)
    faces.show("anna", alive=False, times=60)
    assert faces.opened == []


def looks_until_open(faces: Faces, who: str) -> int:
    """Return the number of samples of a living person until the door opens."""
    opened = len(faces.opened)
    for number in range(1, 60):
        faces.show(who, alive=True, times=1)
        if len(faces.opened) > opened:
            return number
    raise AssertionError("never")


def test_one_look_at_another_face() -> None:
    """It resets earlier signs of life, before and after the visitor is recognised."""
    needed = looks_until_open(Faces("passive"), "anna")
    for before in (2, needed - 1):
        faces = Faces("passive")
        faces.show("anna", alive=True, times=before)
        faces.show("stranger", alive=True, times=1)
        assert looks_until_open(faces, "anna") >= needed - 1  # the first sample may come with the same frame


def test_another_face_between_two_signs_of_life() -> None:
    """After attacks, two signs of life are required; a sample of another face in between resets the first."""
    needed: list[int] = []
    for swapped in (False, True):
        faces = Faces("passive", failures=1)
        faces.show("anna", alive=False, times=26)
        assert faces.denied == ["presentation-attack"]
        faces.leave()
        if swapped:
            faces.show("anna", alive=True, times=needed[0] - 2)
            faces.show("stranger", alive=True, times=1)
        needed.append(looks_until_open(faces, "anna"))
    once = looks_until_open(Faces("passive"), "anna")
    assert needed[0] >= 2 * once - 3
    assert needed[1] >= needed[0] - 3


def test_photo_of_somebody_for_the_first_looks() -> None:
    """The living stranger comes first, and has no verdict yet when the photo replaces him."""
    for before in range(1, 10):
        faces = Faces("passive")
        faces.show("stranger", alive=True, times=before)
        faces.show("anna", alive=False, times=30)
        assert faces.opened == []


def test_last_look_before_an_opening() -> None:
    """The movement must show the recognised face; the door does not open for a face that cannot be identified."""
    faces = Faces("passive", min_samples=15)
    faces.show("anna", alive=True, times=15)
    faces.show_untold("anna", "blurred", 3)
    assert faces.opened == []
    faces.show("anna", alive=True, times=1)
    assert faces.opened == ["anna"]


def test_evidence_of_a_track_in_doubt() -> None:
    """A sample of another face resets it immediately, also before a verdict; then it begins again."""
    faces = Faces("passive")
    faces.show("anna", alive=True, times=2)
    faces.show("stranger", alive=True, times=1)
    assert faces.guard.result_for(1) is None
    faces.show("anna", alive=True, times=1)
    assert faces.guard.result_for(1) is not None


def test_evidence_of_a_track_with_a_decision() -> None:
    """An unknown or admitted visitor is no longer watched, and all state is deleted."""
    for who in ("stranger", "anna"):
        faces = Faces("passive")
        faces.show(who, alive=True, times=30)
        assert faces.opened == (["anna"] if who == "anna" else [])
        assert faces.guard.result_for(1) is None


def test_evidence_after_an_unnoticed_change_of_face() -> None:
    """Also if the change of the face was not detected: every watched sample must show the recognised face."""
    faces = Faces("passive")
    faces.show("stranger", alive=True, times=9)
    faces.judge.replace_gallery(faces.judge.gallery, RecognitionConfig(cooldown_s=0.0))
    faces.show("anna", alive=False, times=30)
    assert faces.opened == []


def test_evidence_of_a_track_that_is_lost() -> None:
    faces = Faces("passive")
    faces.show("anna", alive=True, times=2)
    assert faces.guard.result_for(1) is not None
    faces.leave()
    assert faces.guard.result_for(1) is None


def test_evidence_of_all_tracks_after_a_release() -> None:
    """Also for visitors without a verdict."""
    faces = Faces("passive")
    faces.show("anna", alive=True, times=2)
    assert faces.guard.result_for(1) is not None
    faces.guard.reset()
    assert faces.guard.result_for(1) is None


def test_photo_that_passes_a_challenge() -> None:
    """Watching decides after the challenge: a face without signs of life is an attack."""
    faces = Faces("always")
    faces.show("anna", alive=False, times=24)
    faces.obey(["anna"] * 3, 22.0, alive=False)
    assert [prompt.state for prompt in faces.prompts] == [ChallengeState.ASKED, ChallengeState.PASSED]
    assert (faces.opened, faces.denied) == ([], ["presentation-attack"])


def test_challenges_of_two_visitors() -> None:
    """A door has one screen: the second visitor is asked after the first has left."""
    faces = Faces("always")
    asked: list[int] = []
    for number in range(60):
        faces.now_ns += faces.frame_ns
        here = [track(1, t_ns=faces.now_ns, lost=number == 30)] if number <= 30 else []
        here.append(track(2, t_ns=faces.now_ns))
        for each in here:
            if each.lost:
                continue
            landmarks = meshed(turned())
            seen = Sample(FACES["anna" if each.id == 1 else "bert"], GOOD, landmarks)
            faces.judge.add_sample(each, seen, faces.now_ns)
            faces.guard.observe(each, Frame(shown(number, each.id, alive=True), 0, faces.now_ns), seen, faces.now_ns)
        fell = [faces.policy.decide(verdict, faces.now_ns) for verdict in faces.judge.take_verdicts(here, faces.now_ns)]
        faces.guard.filter_decisions(
            fell, here, faces.now_ns, lambda verdict: faces.policy.decide(verdict, faces.now_ns)
        )
        told = faces.guard.drain_prompts()
        asked += [prompt.track for prompt in told if prompt.state is ChallengeState.ASKED]
        assert asked in ([], [1]) if number < 30 else asked in ([1], [1, 2])
    assert asked == [1, 2]
