"""Repeated failures: a pause and stricter demands for the visitor who failed, and for nobody else."""

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
    """A verdict about a face at a distance from Anna, and her threshold."""
    t_ns = round(t_s * S)
    match = Match(ANNA, *to_anna, runner_up_sq=4.0)
    return Verdict(
        Identification.UNKNOWN, track(number, t_ns=t_ns), match, embedding, 6, 1.0, Reason.BEYOND_THRESHOLD, t_ns
    )


def fail(lockout: Lockout, embedding: FloatArray, *times_s: float, number: int = 1) -> list[bool]:
    return [lockout.record_failure(seen(embedding, t_s, number=number), NOBODY) for t_s in times_s]


STEPS = [
    # what happens, at which second, and what it comes to
    ("fail", 0, False),
    ("fail", 10, False),
    ("fail", 20, False),
    ("fail", 30, False),
    ("look", 39, Restriction.USUAL),
    ("fail", 40, True),  # the fifth: the pause begins, and it is news
    ("look", 41, Restriction.PAUSED),
    ("fail", 50, False),  # within the pause: neither counts nor prolongs it
    ("look", 69.9, Restriction.PAUSED),
    ("look", 70, Restriction.STRICT),
    ("look", 80, Restriction.STRICT),
    ("fail", 81, False),  # each further one brings the next pause, and no news
    ("look", 110.9, Restriction.PAUSED),
    ("look", 111, Restriction.STRICT),
    ("succeed", 120, None),
    ("look", 121, Restriction.USUAL),
    ("fail", 122, False),
    ("look", 123, Restriction.USUAL),
]


def test_five_failures_a_pause_strict_demands_and_a_success() -> None:
    """The whole life of a lockout, step by step."""
    lockout = Lockout(CONFIG, 1.0)
    for what, t_s, expected in STEPS:
        verdict = seen(direction(5), t_s)
        done = {"fail": lockout.record_failure, "look": lockout.restriction_for, "succeed": lockout.record_success}[
            what
        ](verdict, NOBODY)
        assert done == expected, (what, t_s)


def test_a_success_in_between_begins_the_count_anew() -> None:
    lockout = Lockout(CONFIG, 1.0)
    fail(lockout, direction(5), 0, 1, 2, 3)
    lockout.record_success(seen(direction(5), 4, to_anna=(0.9, 1.0)), NOBODY)
    assert fail(lockout, direction(5), 5, 6, 7, 8) == [False] * 4
    assert lockout.restriction_for(seen(direction(5), 9), NOBODY) is Restriction.USUAL


@pytest.mark.parametrize(("distance_sq", "same"), [(0.0, True), (0.5, True), (0.99, True), (1.01, False), (2.0, False)])
def test_the_same_visitor_is_known_by_the_face_in_whatever_track(distance_sq: float, same: bool) -> None:
    lockout = Lockout(CONFIG, 1.0)
    fail(lockout, direction(5), 0, 1, 2, 3, 4)
    demand = lockout.restriction_for(seen(towards(direction(5), direction(6), distance_sq), 5, number=2), NOBODY)
    assert demand is (Restriction.PAUSED if same else Restriction.USUAL)


def test_nobody_is_taken_for_somebody_who_stands_beside_them() -> None:
    """Even the very same embedding in another track, while the first one is in the picture, is somebody else."""
    lockout = Lockout(CONFIG, 1.0)
    fail(lockout, direction(5), 0, 1, 2, 3, 4, number=1)
    assert lockout.restriction_for(seen(direction(5), 5, number=2), {1}) is Restriction.USUAL
    assert lockout.restriction_for(seen(direction(5), 5, number=2), NOBODY) is Restriction.PAUSED


@pytest.mark.parametrize(
    ("to_visitor_sq", "to_anna", "demand"),
    [
        (0.8, (0.5, 1.0), Restriction.USUAL),  # nearer to Anna, and within her threshold: it is she
        (0.5, (0.8, 1.0), Restriction.PAUSED),  # nearer to the visitor who failed
        (0.9, (0.8, 0.7), Restriction.PAUSED),  # nearer to Anna, and beyond her threshold: not she
        (0.8, (0.5, 0.5), Restriction.USUAL),  # at her threshold, which is within it
    ],
)
def test_a_person_who_resembles_a_visitor_is_the_nearer_of_the_two(
    to_visitor_sq: float, to_anna: tuple[float, float], demand: Restriction
) -> None:
    lockout = Lockout(CONFIG, 1.0)
    fail(lockout, direction(5), 0, 1, 2, 3, 4)
    face = towards(direction(5), direction(6), to_visitor_sq)
    assert lockout.restriction_for(seen(face, 5, number=2, to_anna=to_anna), NOBODY) is demand


def test_a_visitor_unseen_for_long_is_forgotten() -> None:
    lockout = Lockout(CONFIG, 1.0)
    fail(lockout, direction(5), 0, 1, 2, 3, 4)
    assert lockout.restriction_for(seen(direction(5), 603.9), NOBODY) is Restriction.STRICT
    assert lockout.restriction_for(seen(direction(5), 1203.8), NOBODY) is Restriction.STRICT  # seen in between
    assert lockout.restriction_for(seen(direction(5), 1803.8), NOBODY) is Restriction.USUAL
    assert len(lockout) == 0


def test_the_visitor_unseen_longest_is_forgotten_first() -> None:
    """Memory is bounded: a fourth visitor takes the place of the second, as the first was seen again."""
    lockout = Lockout(msgspec.structs.replace(CONFIG, max_failures=1, max_visitors=3), 1.0)
    for t_s, axis in enumerate((3, 4, 5)):
        fail(lockout, direction(axis), t_s, number=axis)
    lockout.restriction_for(seen(direction(3), 3, number=3), NOBODY)
    fail(lockout, direction(6), 4, number=6)
    assert len(lockout) == 3
    demands = [lockout.restriction_for(seen(direction(axis), 5, number=10 + axis), NOBODY) for axis in (3, 4, 5, 6)]
    assert demands == [Restriction.PAUSED, Restriction.USUAL, Restriction.PAUSED, Restriction.PAUSED]


def posed(person: Person, t_s: float, embedding: FloatArray | None = None) -> Verdict:
    """A name that turns out to be a presentation attack."""
    verdict = seen(direction(0) if embedding is None else embedding, t_s)
    return replace(verdict, finding=Identification.RECOGNISED, match=Match(person, 0.5, 1.0, 4.0))


def test_attacks_are_counted_by_name() -> None:
    """Five in a row, whatever the picture; they count for that name alone, and withhold nothing."""
    lockout = Lockout(CONFIG, 1.0)
    for t_s in range(5):
        assert not lockout.impersonated("anna", t_s * S)
        assert not lockout.record_failure(posed(ANNA, t_s, near_anna(0.5, 7 + t_s)), NOBODY)
    assert lockout.impersonated("anna", 5 * S)
    assert not lockout.impersonated("bert", 5 * S)
    assert lockout.restriction_for(posed(ANNA, 5), NOBODY) is Restriction.USUAL


def test_a_success_ends_the_demands_on_a_name() -> None:
    """So does nobody posing as this person for `forget_after_s`."""
    lockout = Lockout(CONFIG, 1.0)
    for person in (ANNA, BERT):
        for t_s in range(5):
            lockout.record_failure(posed(person, t_s), NOBODY)
    lockout.record_success(posed(ANNA, 6), NOBODY)
    assert not lockout.impersonated("anna", 6 * S)
    assert lockout.impersonated("bert", 603 * S)
    assert not lockout.impersonated("bert", 604 * S)
    assert len(lockout) == 0


def test_the_memory_of_attacks_is_bounded() -> None:
    """The name whose last attack is longest ago is forgotten first."""
    lockout = Lockout(msgspec.structs.replace(CONFIG, max_failures=1, max_visitors=3), 1.0)
    people = [Person(str(number), "") for number in range(4)]
    for t_s, person in enumerate([*people[:3], people[0], people[3]]):
        lockout.record_failure(posed(person, t_s), NOBODY)
    assert [lockout.impersonated(person.id, 5 * S) for person in people] == [True, False, True, True]
    assert len(lockout) == 3


class LockoutMachine(RuleBasedStateMachine):
    """Any course of events among visitors who have nothing in common, against a model that knows them by name."""

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
        """Time goes on, and a new track shows the visitor; whoever was unseen for long is forgotten."""
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


# With the judge: what a visitor meets.


class Door:
    """Looks at tracks, every 100 ms of made-up time; Anna is enrolled at axis 0, Bert at axis 1, threshold 1."""

    def __init__(self, config: RecognitionConfig = RECOGNITION) -> None:
        rows = np.stack([direction(0), direction(1)])
        limits = np.full(2, 1.0, np.float32)
        self.judge = IdentityAggregator(Gallery([ANNA, BERT], rows, limits, GalleryInfo("", "", 2)), config, CONFIG)
        self.t_s = 0.0
        self.number = 0

    def show(self, face: FloatArray, looks: int, beside: int | None = None, number: int | None = None) -> list[Verdict]:
        """As many looks at one track, another one standing beside it if told; the verdicts that fell."""
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
        """A visitor comes, is looked at, and leaves."""
        self.number += 1
        verdicts = self.show(face, looks)
        t_ns = round(self.t_s * S)
        return verdicts + self.judge.take_verdicts([track(self.number, t_ns=t_ns, lost=True)], t_ns)


def unproven(*faces: FloatArray) -> tuple[Door, list[tuple[int, Verdict]]]:
    """A door that asks for liveness, a second of two tracks side by side before it, and the verdicts by second."""
    door = Door()
    door.judge.counts_names_as_success = False
    return door, stand_together(door, 10, *faces)


def stand_together(door: Door, looks: int, *faces: FloatArray | None) -> list[tuple[int, Verdict]]:
    """As many looks at tracks 1, 2, ... side by side; None has gone. The verdicts that fell, with their track."""
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


def test_a_photo_beside_a_person_does_not_keep_that_person_out() -> None:
    """The photo is recognised first, so the name of the other track is no news, until the photo is discredited."""
    door, ((number, photo),) = unproven(near_anna(0.4), near_anna(0.5, 8))
    assert number == 1
    door.judge.count_failure(photo, {2})
    ((number, anna),) = stand_together(door, 10, near_anna(0.4), near_anna(0.5, 8))
    assert (number, anna.match.person) == (2, ANNA)


def test_a_person_who_was_let_in_is_not_reported_again_for_a_photo() -> None:
    """Somebody holds a photo beside her: it is no news, and taking it back changes nothing for her."""
    door, fell = unproven(near_anna(0.4))
    assert len(fell) == 1
    assert stand_together(door, 10, near_anna(0.4), near_anna(0.5, 8)) == []
    door.judge.discredit(replace(posed(ANNA, door.t_s), track=track(2)))
    assert stand_together(door, 20, near_anna(0.4), near_anna(0.5, 8)) == []


def test_a_photo_does_not_prolong_the_cooldown_of_a_person() -> None:
    """She was let in and left; a photo that stays before the camera does not count as her."""
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
def test_a_stranger_who_stays_is_told_twice_first_as_unknown_then_as_failing(cooldown_s: float) -> None:
    """Groups of six looks: the first is told, the fifth begins the pause and is told, the others are not."""
    door = Door(msgspec.structs.replace(RECOGNITION, cooldown_s=cooldown_s))
    verdicts = door.show(direction(5), 300, number=1)
    assert told(verdicts) == [FAR, SECOND]
    assert [verdict.samples for verdict in verdicts] == [6, 30]


def test_a_stranger_who_returns_is_told_as_failing_at_the_fifth_visit() -> None:
    door = Door()
    assert told([verdict for _ in range(9) for verdict in door.visit(direction(5), 6)]) == [FAR, SECOND]


def test_a_stranger_who_comes_again_within_the_pause_is_told_as_ever() -> None:
    """The log of who was at the door has no holes; the pause only keeps the door shut."""
    door = Door()
    for _ in range(5):
        door.visit(direction(5), 6)
    door.t_s += 15
    assert told(door.visit(direction(5), 6)) == [FAR]


def test_who_has_failed_is_paused_then_held_to_a_tighter_threshold() -> None:
    """A face at 1.2 from Anna fails; at 0.95 it would have passed, but neither within the pause nor after it."""
    door = Door()
    assert told(door.visit(near_anna(0.95), 3)) == [RECOGNISED]
    door = Door()
    for _ in range(5):
        door.visit(near_anna(1.2), 6)
    paused_until_s = door.t_s + 30
    assert door.visit(near_anna(0.95), 290) == []
    assert door.t_s < paused_until_s
    door.t_s = paused_until_s
    assert door.visit(near_anna(0.95), 20) == []  # unknown, and as such no news
    assert told(door.visit(direction(1), 3)) == [RECOGNISED]  # Bert


def test_the_pause_holds_within_one_track_too() -> None:
    """Whoever tries on in the same track finds the door shut, until the pause is over and the demands are met."""
    door = Door()
    assert told(door.show(near_anna(1.2), 30, number=1)) == [FAR, SECOND]
    paused_until_s = door.t_s + 30
    better = near_anna(0.7)
    verdicts = door.show(better, 290, number=1)
    assert verdicts == []
    assert door.t_s < paused_until_s
    assert told(door.show(better, 20, number=1)) == [RECOGNISED]


def test_after_the_pause_a_person_in_better_light_passes_with_more_samples_and_is_free_again() -> None:
    door = Door()
    for _ in range(5):
        door.visit(near_anna(1.2), 6)
    door.t_s += 30
    door.number += 1
    assert door.show(near_anna(0.7), 5) == []  # three would do usually; six are asked now
    assert told(door.show(near_anna(0.7), 1)) == [RECOGNISED]
    door.t_s += 30
    assert told(door.visit(near_anna(0.95), 3)) == [RECOGNISED]


def test_a_stranger_at_the_door_keeps_nobody_else_out() -> None:
    """He fails on and on in his track; Anna, though as like him as can be, passes in hers with the usual samples."""
    door = Door()
    door.show(near_anna(1.2), 40, number=1)
    assert told(door.show(near_anna(0.9), 3, beside=1, number=2)) == [RECOGNISED]


def test_staff_pass_within_the_pause_of_a_stranger_who_resembles_them() -> None:
    """He has gone; Anna is within `same_stranger_sq` of him, but nearer to herself."""
    stranger = near_anna(1.1)
    anna = np.zeros_like(stranger)
    anna[[0, 7, 8]] = 0.75, 0.24, 0.616  # 0.5 from her centroid, 0.9 from the stranger
    anna /= np.linalg.norm(anna)
    assert 2 - 2 * float(anna @ stranger) < RECOGNITION.same_stranger_sq
    door = Door()
    for _ in range(5):
        door.visit(stranger, 6)
    assert told(door.visit(anna, 3)) == [RECOGNISED]


def test_who_leaves_before_a_verdict_has_not_failed() -> None:
    door = Door()
    for _ in range(20):
        assert door.visit(near_anna(1.2), 2) == []
    assert told(door.visit(near_anna(0.95), 3)) == [RECOGNISED]


def test_the_paused_are_looked_at_seldom() -> None:
    door = Door()
    for _ in range(5):
        door.visit(near_anna(1.2), 6)
    door.number += 1
    door.show(near_anna(0.95), 6)
    visitor, now_ns = track(door.number), round(door.t_s * S)
    assert door.judge.tracks_due([visitor], now_ns + S // 2) == []
    assert door.judge.tracks_due([visitor], now_ns + S) == [visitor]


def test_many_samples_asked_for_a_name_are_waited_for() -> None:
    """A door that asks more samples for a name than for an unknown calls nobody unknown for that."""
    door = Door(msgspec.structs.replace(RECOGNITION, min_samples=9))
    assert told(door.visit(near_anna(0.5), 9)) == [RECOGNISED]


@pytest.mark.parametrize(("factor", "threshold_sq", "finding"), [(1.0, 1.0, "recognised"), (0.9, 0.9, "unknown")])
@pytest.mark.parametrize("own_sq", [None, 1.0])
def test_the_factor_of_a_door_tightens_every_threshold(
    factor: float, threshold_sq: float, finding: str, own_sq: float | None
) -> None:
    door = Door(msgspec.structs.replace(RECOGNITION, threshold_factor=factor, threshold_sq=own_sq))
    (verdict,) = door.visit(near_anna(0.95), 6)
    assert verdict.finding == finding
    assert verdict.match.threshold_sq == pytest.approx(threshold_sq)
