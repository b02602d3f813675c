"""The aggregator compared with a simple model, for random visitors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from support.face_images import direction, sample, towards, track

from edge.core.config import LockoutConfig, RecognitionConfig
from edge.core.records import FloatArray, Identification, Person, Verdict
from edge.recognition.aggregator import IdentityAggregator
from edge.recognition.gallery import Gallery, GalleryInfo

S = 1_000_000_000
ANNA, BERT = Person("anna", "Anna"), Person("bert", "Bert")
CONFIG = RecognitionConfig(min_samples=3, unknown_samples=4, cooldown_s=5.0, vote_slack_sq=0.1, recheck_every_s=0.5)
LOCKOUT = LockoutConfig(max_failures=2, lockout_s=20.0, extra_samples=2, threshold_factor=0.85)
LOOKS: dict[str, FloatArray | None] = {
    "anna": towards(direction(0), direction(7), 0.5),
    "anna, badly": towards(direction(0), direction(7), 1.3),  # beyond her threshold, and similar to the good sample
    "bert": towards(direction(1), direction(8), 0.4),
    "stranger": direction(20),
    "blurred": None,
}
PARTS = {"anna": ["anna", "anna, badly", "blurred"], "bert": ["bert", "blurred"], "stranger": ["stranger", "blurred"]}


class Visits(RuleBasedStateMachine):
    """Visitors at a door where Anna and Bert are enrolled; the model counts the samples of each track."""

    def __init__(self) -> None:
        super().__init__()
        rows = np.stack([direction(0), direction(1)])
        limits = np.ones(2, np.float32)
        self.judge = IdentityAggregator(Gallery([ANNA, BERT], rows, limits, GalleryInfo("", "", 2)), CONFIG, LOCKOUT)
        self.now_ns = 0
        self.number = 0
        self.here = ""
        self.shown: list[str] = []
        self.told: list[Verdict] = []
        self.last_seen_ns: dict[str, int] = {}
        self.paused_until_ns: dict[str, int] = {}

    @precondition(lambda self: not self.here)
    @rule(who=st.sampled_from(sorted(PARTS)), after_s=st.sampled_from([0.5, 4.0, 6.0, 25.0]))
    def come(self, who: str, after_s: float) -> None:
        self.now_ns += round(after_s * S)
        self.number += 1
        self.here, self.shown, self.told = who, [], []

    @precondition(lambda self: self.here)
    @rule(data=st.data(), times=st.sampled_from([1, 3, 9]))
    def look(self, data: st.DataObject, times: int) -> None:
        what = data.draw(st.sampled_from(PARTS[self.here]))
        for _ in range(times):
            self.now_ns += S // 10
            seen = track(self.number, t_ns=self.now_ns)
            self.judge.add_sample(seen, sample(LOOKS[what]), self.now_ns)
            if LOOKS[what] is not None:
                self.shown.append(what)
            self._hear(self.judge.take_verdicts([seen], self.now_ns))

    @precondition(lambda self: self.here)
    @rule()
    def go(self) -> None:
        self.now_ns += S // 10
        self._hear(self.judge.take_verdicts([replace(track(self.number, t_ns=self.now_ns), lost=True)], self.now_ns))
        self.here = ""

    def _hear(self, verdicts: list[Verdict]) -> None:
        assert len(verdicts) <= 1
        for verdict in verdicts:
            assert verdict.finding is not Identification.UNDECIDED
            assert verdict.samples <= len(self.shown)
            if verdict.finding is Identification.RECOGNISED:
                self._recognised(verdict)
            else:
                self._unknown(verdict)
            self.told.append(verdict)
        now = self.judge.snapshot(track(self.number)).verdict
        if now is not None and now.finding is Identification.RECOGNISED and now.match.person is not None:
            self.last_seen_ns[now.match.person.id] = self.now_ns

    def _recognised(self, verdict: Verdict) -> None:
        person = verdict.match.person
        assert person is not None
        assert person.id == self.here, "taken for somebody else"
        assert self.shown.count(person.id) >= CONFIG.min_samples, "too few looks that agree"
        assert verdict.match.distance_sq <= verdict.match.threshold_sq
        assert all(one.finding is not Identification.RECOGNISED for one in self.told), "one verdict for a visit"
        last_ns = self.last_seen_ns.get(person.id)
        assert last_ns is None or self.now_ns - last_ns >= CONFIG.cooldown_s * S, "announced again too soon"
        assert self.now_ns >= self.paused_until_ns.get(self.here, 0), "opened within the pause after failures"

    def _unknown(self, verdict: Verdict) -> None:
        assert len(self.shown) >= CONFIG.min_samples
        if verdict.reason == "repeated-failures":
            self.paused_until_ns[self.here] = self.now_ns + round(LOCKOUT.lockout_s * S)
        else:
            assert all(one.finding is not Identification.UNKNOWN for one in self.told), "one verdict for a visit"


TestVisits = Visits.TestCase
TestVisits.settings = settings(max_examples=80, stateful_step_count=30, deadline=None, derandomize=True)
