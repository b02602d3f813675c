"""The tracker: begin, continuation and end of tracks, by time instead of frames."""

from __future__ import annotations

from support.face_images import face

from edge.core.config import TrackerConfig
from edge.vision.tracker import Tracker

CONFIG = TrackerConfig(min_iou=0.2, max_centre_step=0.6, lost_after_s=1.0)
S = 1_000_000_000


def test_track_of_a_slowly_moving_face() -> None:
    tracker = Tracker(CONFIG)
    ids = {tracker.update([face(100 + 10 * step, 100)], step * S // 10)[0].id for step in range(10)}
    assert ids == {1}


def test_hits_and_times_of_a_track() -> None:
    tracker = Tracker(CONFIG)
    tracker.update([face(100, 100)], 5)
    (track,) = tracker.update([face(104, 100)], 9)
    assert (track.first_ns, track.last_ns, track.hits, track.lost) == (5, 9, 2, False)


def test_quick_step_at_a_low_frame_rate() -> None:
    """Boxes that overlap too little but have near centres belong to one walking person."""
    tracker = Tracker(TrackerConfig(min_iou=0.5, max_centre_step=0.6))
    tracker.update([face(100, 100)], 0)
    (track,) = tracker.update([face(150, 100)], S // 4)
    assert track.id == 1


def test_new_track_for_a_face_elsewhere() -> None:
    tracker = Tracker(CONFIG)
    tracker.update([face(100, 100)], 0)
    (track,) = tracker.update([face(300, 100)], S // 10)
    assert track.id == 2


def test_tracks_of_two_passing_faces() -> None:
    tracker = Tracker(CONFIG)
    tracker.update([face(100, 100), face(300, 160)], 0)
    for step in range(1, 21):
        left, right = face(100 + 10 * step, 100), face(300 - 10 * step, 160)
        first, second = tracker.update([right, left], step * S // 20)
        assert {first.face, second.face} == {left, right}
    by_id = {track.id: track.face for track in (first, second)}
    assert by_id[1] is left


def test_end_of_an_unseen_track() -> None:
    tracker = Tracker(CONFIG)
    tracker.update([face(100, 100)], 0)
    assert tracker.update([], S - 1) == []
    assert tracker.has_tracks
    (ended,) = tracker.update([], S)
    assert (ended.id, ended.lost, ended.last_ns) == (1, True, 0)
    assert not tracker.has_tracks
    assert tracker.update([], 2 * S) == []


def test_track_of_a_returning_face() -> None:
    tracker = Tracker(CONFIG)
    tracker.update([face(100, 100)], 0)
    tracker.update([], S // 2)
    (track,) = tracker.update([face(100, 100)], S - 1)
    assert (track.id, track.hits) == (1, 2)


def test_tracks_at_the_end_of_the_source() -> None:
    tracker = Tracker(CONFIG)
    tracker.update([face(100, 100), face(400, 100)], 0)
    assert [(track.id, track.lost) for track in tracker.finish()] == [(1, True), (2, True)]
    assert not tracker.has_tracks


def test_unchanging_snapshot() -> None:
    tracker = Tracker(CONFIG)
    (before,) = tracker.update([face(100, 100)], 0)
    tracker.update([face(110, 100)], S // 10)
    assert (before.last_ns, before.hits) == (0, 1)
