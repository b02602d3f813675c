"""The tracker compared with a simple model, for random faces."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from support.face_images import face

from edge.core.config import TrackerConfig
from edge.core.records import Track
from edge.vision.tracker import Tracker

PATIENCE_NS = 800_000_000
spots = st.tuples(st.integers(0, 6), st.integers(0, 4), st.sampled_from([20, 60, 100]))


class Walks(RuleBasedStateMachine):
    """Faces appear, move, meet and leave; the model stores the first and the last time of each track."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker = Tracker(TrackerConfig(lost_after_s=PATIENCE_NS / 1e9))
        self.now_ns = 0
        self.alive: dict[int, Track] = {}
        self.ended: set[int] = set()

    @rule(places=st.lists(spots, max_size=5), step_ns=st.sampled_from([1, 66_000_000, 400_000_000, 800_000_000]))
    def frame(self, places: list[tuple[int, int, int]], step_ns: int) -> None:
        self.now_ns += step_ns
        faces = [face(x * 50.0, y * 50.0, side) for x, y, side in places]
        told = self.tracker.update(faces, self.now_ns)
        seen, lost = [track for track in told if not track.lost], [track for track in told if track.lost]
        assert len({track.id for track in told}) == len(told), "one track twice"
        assert sorted(map(id, faces)) == sorted(id(track.face) for track in seen), "a face in no track, or in two"
        for track in seen:
            self._seen(track)
        self._lost(lost)
        assert all(self.now_ns - track.last_ns < PATIENCE_NS for track in self.alive.values()), "lost, but not reported"

    @rule()
    def finish(self) -> None:
        ended = self.tracker.finish()
        assert {track.id for track in ended} == self.alive.keys()
        self._lost(ended, at_once=True)
        assert not self.tracker.has_tracks

    def _seen(self, track: Track) -> None:
        assert track.id not in self.ended, "back from the dead"
        before = self.alive.get(track.id)
        if before is None:
            assert track.id == len(self.alive) + len(self.ended) + 1, "ids rise one by one and are never used again"
            assert (track.first_ns, track.hits) == (self.now_ns, 1)
        else:
            assert (track.first_ns, track.hits) == (before.first_ns, before.hits + 1)
        assert track.last_ns == self.now_ns
        self.alive[track.id] = track

    def _lost(self, tracks: list[Track], *, at_once: bool = False) -> None:
        for track in tracks:
            before = self.alive.pop(track.id)  # fails for one that was lost before
            assert (track.lost, track.last_ns, track.hits) == (True, before.last_ns, before.hits)
            assert at_once or self.now_ns - track.last_ns >= PATIENCE_NS, "too early"
            self.ended.add(track.id)


TestWalks = Walks.TestCase
TestWalks.settings = settings(max_examples=60, stateful_step_count=25, deadline=None, derandomize=True)
