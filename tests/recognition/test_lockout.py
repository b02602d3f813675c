"""Lockout after repeated failures: pause and stricter limits, only for the visitor who failed."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.face_images import RECOGNITION, direction, sample, towards, track

from edge.core.config import LockoutConfig, RecognitionConfig
from edge.core.reasons import Reason
from edge.core.records import FloatArray, Identification, Match, Person, Verdict
from edge.recognition.aggregator import IdentityAggregator
from edge.recognition.gallery import Gallery, GalleryInfo
from edge.recognition.lockout import Lockout, Restriction

S = 1_000_000_000
ANNA, BERT = Person("anna", "Anna"), Person("bert", "Bert")
CONFIG = LockoutConfig(
    max_failures=5, lockout_s=30.0, threshold_factor=0.85, extra_samples=3, forget_after_s=600.0, max_visitors=64
)
NOBODY: frozenset[int] = frozenset()


def seen(embedding: FloatArray, t_s: float, *, number: int = 1, to_anna: tuple[float, float] = (2.0, 1.0)) -> Verdict:
    """A verdict on a face at this distance from Anna, with her threshold."""
    t_ns = round(t_s * S)
    match = Match(ANNA, *to_anna, runner_up_sq=4.0)
    return Verdict(
        Identification.UNKNOWN, track(number, t_ns=t_ns), match, embedding, 6, 1.0, Reason.BEYOND_THRESHOLD, t_ns
    )


def fail(lockout: Lockout, embedding: FloatArray, *times_s: float, number: int = 1) -> list[bool]:
    return [lockout.record_failure(seen(embedding, t_s, number=number), NOBODY) for t_s in times_s]


STEPS = [
    # event, time in seconds, and result
    ("fail", 0, False),
    ("fail", 10, False),
    ("fail", 20, False),
    ("fail", 30, False),
    ("look", 39, Restriction.USUAL),
    ("fail", 40, True),  # the fifth: the pause begins and is reported
    ("look", 41, Restriction.PAUSED),
    ("fail", 50, False),  # during the pause: neither counts nor extends it
    ("look", 69.9, Restriction.PAUSED),
    ("look", 70, Restriction.STRICT),
    ("look", 80, Restriction.STRICT),
    ("fail", 81, False),  # each further one starts the next pause without a report
    ("look", 110.9, Restriction.PAUSED),
    ("look", 111, Restriction.STRICT),
    ("succeed", 120, None),
    ("look", 121, Restriction.USUAL),
    ("fail", 122, False),
    ("look", 123, Restriction.USUAL),
]


def test_complete_course_of_a_lockout() -> None:
    """All steps of a lockout."""
    lockout = Lockout(CONFIG, 1.0)
    for what, t_s, expected in STEPS:
        verdict = seen(direction(5), t_s)
        done = {"fail": lockout.record_failure, "look": lockout.restriction_for, "succeed": lockout.record_success}[
            what
        ](verdict, NOBODY)
        assert done == expected, (what, t_s)


def test_success_between_failures() -> None:
    lockout = Lockout(CONFIG, 1.0)
    fail(lockout, direction(5), 0, 1, 2, 3)
    lockout.record_success(seen(direction(5), 4, to_anna=(0.9, 1.0)), NOBODY)
    assert fail(lockout, direction(5), 5, 6, 7, 8) == [False] * 4
    assert lockout.restriction_for(seen(direction(5), 9), NOBODY) is Restriction.USUAL


@pytest.mark.parametrize(("distance_sq", "same"), [(0.0, True), (0.5, True), (0.99, True), (1.01, False), (2.0, False)])
def test_same_visitor_in_another_track(distance_sq: float, same: bool) -> None:
    lockout = Lockout(CONFIG, 1.0)
    fail(lockout, direction(5), 0, 1, 2, 3, 4)
    demand = lockout.restriction_for(seen(towards(direction(5), direction(6), distance_sq), 5, number=2), NOBODY)
    assert demand is (Restriction.PAUSED if same else Restriction.USUAL)


def test_similar_visitors_present_together() -> None:
    """An equal embedding in another track is another visitor while the first track is present."""
    lockout = Lockout(CONFIG, 1.0)
    fail(lockout, direction(5), 0, 1, 2, 3, 4, number=1)
    assert lockout.restriction_for(seen(direction(5), 5, number=2), {1}) is Restriction.USUAL
    assert lockout.restriction_for(seen(direction(5), 5, number=2), NOBODY) is Restriction.PAUSED


@pytest.mark.parametrize(
    ("to_visitor_sq", "to_anna", "demand"),
    [
        (0.8, (0.5, 1.0), Restriction.USUAL),  # nearer to Anna and within her threshold: Anna
        (0.5, (0.8, 1.0), Restriction.PAUSED),  # nearer to the visitor who failed
        (0.9, (0.8, 0.7), Restriction.PAUSED),  # nearer to Anna and beyond her threshold: the visitor
        (0.8, (0.5, 0.5), Restriction.USUAL),  # at her threshold: within it
    ],
)
def test_person_who_resembles_a_failed_visitor(
    to_visitor_sq: float, to_anna: tuple[float, float], demand: Restriction
) -> None:
    lockout = Lockout(CONFIG, 1.0)
    fail(lockout, direction(5), 0, 1, 2, 3, 4)
    face = towards(direction(5), direction(6), to_visitor_sq)
    assert lockout.restriction_for(seen(face, 5, number=2, to_anna=to_anna), NOBODY) is demand


def test_expiry_of_a_failed_visitor() -> None:
    lockout = Lockout(CONFIG, 1.0)
    fail(lockout, direction(5), 0, 1, 2, 3, 4)
    assert lockout.restriction_for(seen(direction(5), 603.9), NOBODY) is Restriction.STRICT
    assert lockout.restriction_for(seen(direction(5), 1203.8), NOBODY) is Restriction.STRICT  # seen in between
    assert lockout.restriction_for(seen(direction(5), 1803.8), NOBODY) is Restriction.USUAL
    assert len(lockout) == 0


def test_limit_of_remembered_visitors() -> None:
    """The fourth visitor replaces the second, because the first was seen again."""
    lockout = Lockout(msgspec.structs.replace(CONFIG, max_failures=1, max_visitors=3), 1.0)
    for t_s, axis in enumerate((3, 4, 5)):
        fail(lockout, direction(axis), t_s, number=axis)
    lockout.restriction_for(seen(direction(3), 3, number=3), NOBODY)
    fail(lockout, direction(6), 4, number=6)
    assert len(lockout) == 3
    demands = [lockout.restriction_for(seen(direction(axis), 5, number=10 + axis), NOBODY) for axis in (3, 4, 5, 6)]
    assert demands == [Restriction.PAUSED, Restriction.USUAL, Restriction.PAUSED, Restriction.PAUSED]


def posed(person: Person, t_s: float, embedding: FloatArray | None = None) -> Verdict:
    """A recognition that is a presentation attack."""
    verdict = seen(direction(0) if embedding is None else embedding, t_s)
    return replace(verdict, finding=Identification.RECOGNISED, match=Match(person, 0.5, 1.0, 4.0))


def test_attacks_are_counted_by_person() -> None:
    """Five in a row with any picture count for that person only; recognition is not withheld."""
    lockout = Lockout(CONFIG, 1.0)
    for t_s in range(5):
        assert not lockout.impersonated("anna", t_s * S)
        assert not lockout.record_failure(posed(ANNA, t_s, near_anna(0.5, 7 + t_s)), NOBODY)
    assert lockout.impersonated("anna", 5 * S)
    assert not lockout.impersonated("bert", 5 * S)
    assert lockout.restriction_for(posed(ANNA, 5), NOBODY) is Restriction.USUAL


def test_success_after_attacks() -> None:
    """A success, or `forget_after_s` without an attack, ends the requirement."""
    lockout = Lockout(CONFIG, 1.0)
    for person in (ANNA, BERT):
        for t_s in range(5):
            lockout.record_failure(posed(person, t_s), NOBODY)
    lockout.record_success(posed(ANNA, 6), NOBODY)
    assert not lockout.impersonated("anna", 6 * S)
    assert lockout.impersonated("bert", 603 * S)
    assert not lockout.impersonated("bert", 604 * S)
    assert len(lockout) == 0


def test_limit_of_remembered_attacks() -> None:
    """The person whose last attack is oldest is dropped first."""
    lockout = Lockout(msgspec.structs.replace(CONFIG, max_failures=1, max_visitors=3), 1.0)
    people = [Person(str(number), "") for number in range(4)]
    for t_s, person in enumerate([*people[:3], people[0], people[3]]):
        lockout.record_failure(posed(person, t_s), NOBODY)
    assert [lockout.impersonated(person.id, 5 * S) for person in people] == [True, False, True, True]
    assert len(lockout) == 3


class LockoutMachine(RuleBasedStateMachine):
    """Random events of dissimilar visitors, compared with a model that identifies them by name."""

    visitors = st.integers(0, 5)

    def __init__(self) -> None:
        super().__init__()
        self.config = LockoutConfig(max_failures=3, lockout_s=30.0, forget_after_s=100.0, max_visitors=3)
        self.lockout = Lockout(self.config, 1.0)
        self.t_s = 0
        self.number = 0
        self.failures: dict[int, int] = {}
        self.paused_until_s: dict[int, int] = {}
        self.seen_s: dict[int, int] = {}

    def look(self, visitor: int) -> Verdict:
        """Advance the time and show the visitor in a new track; visitors unseen for long are forgotten."""
        self.t_s += 1
        self.number += 1
        for other in [one for one, when in self.seen_s.items() if self.t_s - when >= 100]:
            self.forget(other)
        wobble = towards(direction(visitor), direction(100 + self.number % 50), 0.3)
        return seen(wobble, self.t_s, number=self.number)

    def forget(self, visitor: int) -> None:
        for memory in (self.failures, self.paused_until_s, self.seen_s):
            memory.pop(visitor, None)

    @rule(seconds=st.sampled_from([5, 29, 30, 99, 100]))
    def wait(self, seconds: int) -> None:
        self.t_s += seconds

    @rule(visitor=visitors, times=st.integers(1, 4))
    def fail(self, visitor: int, times: int) -> None:
        for _ in range(times):
            verdict = self.look(visitor)
            if visitor not in self.seen_s and len(self.seen_s) == 3:
                self.forget(min(self.seen_s, key=lambda one: self.seen_s[one]))
            self.seen_s[visitor] = self.t_s
            begins = False
            if self.t_s >= self.paused_until_s.get(visitor, 0):
                self.failures[visitor] = self.failures.get(visitor, 0) + 1
                begins = self.failures[visitor] == 3
                if self.failures[visitor] >= 3:
                    self.paused_until_s[visitor] = self.t_s + 30
            assert self.lockout.record_failure(verdict, NOBODY) is begins

    @rule(visitor=visitors)
    def succeed(self, visitor: int) -> None:
        self.lockout.record_success(self.look(visitor), NOBODY)
        self.forget(visitor)

    @rule(visitor=visitors)
    def demand(self, visitor: int) -> None:
        verdict = self.look(visitor)
        expected = Restriction.USUAL
        if visitor in self.seen_s:
            self.seen_s[visitor] = self.t_s
            if self.failures[visitor] >= 3:
                expected = Restriction.PAUSED if self.t_s < self.paused_until_s[visitor] else Restriction.STRICT
        assert self.lockout.restriction_for(verdict, NOBODY) is expected

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.lockout) <= 3


LockoutMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLockoutAgainstAModel = LockoutMachine.TestCase


# With the aggregator: the result for a visitor.


class Door:
    """Samples of tracks, every 100 ms of simulated time; Anna is enrolled at axis 0, Bert at axis 1, threshold 1."""

    def __init__(self, config: RecognitionConfig = RECOGNITION) -> None:
        rows = np.stack([direction(0), direction(1)])
        limits = np.full(2, 1.0, np.float32)
        self.judge = IdentityAggregator(Gallery([ANNA, BERT], rows, limits, GalleryInfo("", "", 2)), config, CONFIG)
        self.t_s = 0.0
        self.number = 0

    def show(self, face: FloatArray, looks: int, beside: int | None = None, number: int | None = None) -> list[Verdict]:
        """Take this many samples of one track, optionally with another track present; returns the verdicts."""
        verdicts = []
        for _ in range(looks):
            self.t_s = round(self.t_s + 0.1, 1)
            t_ns = round(self.t_s * S)
            one = track(number or self.number, t_ns=t_ns)
            others = [] if beside is None else [track(beside, t_ns=t_ns)]
            self.judge.add_sample(one, sample(face), t_ns)
            verdicts += self.judge.take_verdicts([one, *others], t_ns)
        return verdicts

    def visit(self, face: FloatArray, looks: int) -> list[Verdict]:
        """A visitor comes, is sampled, and leaves."""
        self.number += 1
        verdicts = self.show(face, looks)
        t_ns = round(self.t_s * S)
        return verdicts + self.judge.take_verdicts([track(self.number, t_ns=t_ns, lost=True)], t_ns)


def unproven(*faces: FloatArray) -> tuple[Door, list[tuple[int, Verdict]]]:
    """A door that requires liveness, with two tracks for a second; returns the verdicts by second."""
    door = Door()
    door.judge.counts_names_as_success = False
    return door, stand_together(door, 10, *faces)


def stand_together(door: Door, looks: int, *faces: FloatArray | None) -> list[tuple[int, Verdict]]:
    """Take samples of the tracks 1, 2, ...; None: that track is lost. Returns the verdicts with their tracks."""
    verdicts = []
    for _ in range(looks):
        door.t_s = round(door.t_s + 0.1, 1)
        t_ns = round(door.t_s * S)
        tracks = [track(number, t_ns=t_ns, lost=face is None) for number, face in enumerate(faces, 1)]
        for one, face in zip(tracks, faces, strict=True):
            if face is not None:
                door.judge.add_sample(one, sample(face), t_ns)
        verdicts += [(verdict.track.id, verdict) for verdict in door.judge.take_verdicts(tracks, t_ns)]
    return verdicts


def test_photo_next_to_the_person() -> None:
    """The photo is recognised first, so the person is not reported until the photo is discredited."""
    door, ((number, photo),) = unproven(near_anna(0.4), near_anna(0.5, 8))
    assert number == 1
    door.judge.count_failure(photo, {2})
    ((number, anna),) = stand_together(door, 10, near_anna(0.4), near_anna(0.5, 8))
    assert (number, anna.match.person) == (2, ANNA)


def test_photo_next_to_an_admitted_person() -> None:
    """A photo next to her is not reported, and discrediting it does not affect her."""
    door, fell = unproven(near_anna(0.4))
    assert len(fell) == 1
    assert stand_together(door, 10, near_anna(0.4), near_anna(0.5, 8)) == []
    door.judge.discredit(replace(posed(ANNA, door.t_s), track=track(2)))
    assert stand_together(door, 20, near_anna(0.4), near_anna(0.5, 8)) == []


def test_photo_does_not_extend_the_cooldown() -> None:
    """She was admitted and left; a photo that stays in view does not count as her."""
    door, fell = unproven(near_anna(0.4))
    assert len(fell) == 1
    stand_together(door, 1, None)
    assert stand_together(door, 150, None, near_anna(0.5, 8)) == []
    ((number, anna),) = stand_together(door, 10, None, near_anna(0.5, 8), near_anna(0.4))
    assert (number, anna.match.person) == (3, ANNA)


def told(verdicts: list[Verdict]) -> list[tuple[str, str]]:
    return [(str(verdict.finding), verdict.reason) for verdict in verdicts]


def near_anna(distance_sq: float, axis: int = 7) -> FloatArray:
    return towards(direction(0), direction(axis), distance_sq)


FAR, SECOND = ("unknown", "beyond-threshold"), ("unknown", "repeated-failures")
RECOGNISED = ("recognised", "within-threshold")


@pytest.mark.parametrize("cooldown_s", [10.0, 0.0])
def test_reports_of_a_stranger_who_stays(cooldown_s: float) -> None:
    """Of groups of six samples, the first is reported, and the fifth, which begins the pause; the others are not."""
    door = Door(msgspec.structs.replace(RECOGNITION, cooldown_s=cooldown_s))
    verdicts = door.show(direction(5), 300, number=1)
    assert told(verdicts) == [FAR, SECOND]
    assert [verdict.samples for verdict in verdicts] == [6, 30]


def test_reports_of_a_stranger_who_returns() -> None:
    door = Door()
    assert told([verdict for _ in range(9) for verdict in door.visit(direction(5), 6)]) == [FAR, SECOND]


def test_stranger_who_returns_during_the_pause() -> None:
    """Visits are reported completely; the pause only keeps the door closed."""
    door = Door()
    for _ in range(5):
        door.visit(direction(5), 6)
    door.t_s += 15
    assert told(door.visit(direction(5), 6)) == [FAR]


def test_pause_and_stricter_threshold() -> None:
    """A face at 1.2 from Anna fails; at 0.95 it would pass, but not during the pause or after it."""
    door = Door()
    assert told(door.visit(near_anna(0.95), 3)) == [RECOGNISED]
    door = Door()
    for _ in range(5):
        door.visit(near_anna(1.2), 6)
    paused_until_s = door.t_s + 30
    assert door.visit(near_anna(0.95), 290) == []
    assert door.t_s < paused_until_s
    door.t_s = paused_until_s
    assert door.visit(near_anna(0.95), 20) == []  # unknown, not reported again
    assert told(door.visit(direction(1), 3)) == [RECOGNISED]  # Bert


def test_pause_within_one_track() -> None:
    """The door stays closed for this track until the pause is over and the stricter limits are met."""
    door = Door()
    assert told(door.show(near_anna(1.2), 30, number=1)) == [FAR, SECOND]
    paused_until_s = door.t_s + 30
    better = near_anna(0.7)
    verdicts = door.show(better, 290, number=1)
    assert verdicts == []
    assert door.t_s < paused_until_s
    assert told(door.show(better, 20, number=1)) == [RECOGNISED]


def test_recognition_after_the_pause() -> None:
    door = Door()
    for _ in range(5):
        door.visit(near_anna(1.2), 6)
    door.t_s += 30
    door.number += 1
    assert door.show(near_anna(0.7), 5) == []  # usually three; now six
    assert told(door.show(near_anna(0.7), 1)) == [RECOGNISED]
    door.t_s += 30
    assert told(door.visit(near_anna(0.95), 3)) == [RECOGNISED]


def test_stranger_does_not_lock_out_others() -> None:
    """He keeps failing in his track; Anna, although very similar, passes in hers with the usual samples."""
    door = Door()
    door.show(near_anna(1.2), 40, number=1)
    assert told(door.show(near_anna(0.9), 3, beside=1, number=2)) == [RECOGNISED]


def test_person_during_the_pause_of_a_similar_stranger() -> None:
    """He has left; Anna is within `same_stranger_sq` of him, but nearer to her own centroid."""
    stranger = near_anna(1.1)
    anna = np.zeros_like(stranger)
    anna[[0, 7, 8]] = 0.75, 0.24, 0.616  # 0.5 from her centroid, 0.9 from the stranger
    anna /= np.linalg.norm(anna)
    assert 2 - 2 * float(anna @ stranger) < RECOGNITION.same_stranger_sq
    door = Door()
    for _ in range(5):
        door.visit(stranger, 6)
    assert told(door.visit(anna, 3)) == [RECOGNISED]


def test_visitor_who_leaves_has_not_failed() -> None:
    door = Door()
    for _ in range(20):
        assert door.visit(near_anna(1.2), 2) == []
    assert told(door.visit(near_anna(0.95), 3)) == [RECOGNISED]


def test_sampling_rate_during_the_pause() -> None:
    door = Door()
    for _ in range(5):
        door.visit(near_anna(1.2), 6)
    door.number += 1
    door.show(near_anna(0.95), 6)
    visitor, now_ns = track(door.number), round(door.t_s * S)
    assert door.judge.tracks_due([visitor], now_ns + S // 2) == []
    assert door.judge.tracks_due([visitor], now_ns + S) == [visitor]


def test_min_samples_above_unknown_samples() -> None:
    """If a recognition needs more samples than an unknown, the door waits for them."""
    door = Door(msgspec.structs.replace(RECOGNITION, min_samples=9))
    assert told(door.visit(near_anna(0.5), 9)) == [RECOGNISED]


@pytest.mark.parametrize(("factor", "threshold_sq", "finding"), [(1.0, 1.0, "recognised"), (0.9, 0.9, "unknown")])
@pytest.mark.parametrize("own_sq", [None, 1.0])
def test_threshold_factor_of_the_door(factor: float, threshold_sq: float, finding: str, own_sq: float | None) -> None:
    door = Door(msgspec.structs.replace(RECOGNITION, threshold_factor=factor, threshold_sq=own_sq))
    (verdict,) = door.visit(near_anna(0.95), 6)
    assert verdict.finding == finding
    assert verdict.match.threshold_sq == pytest.approx(threshold_sq)
