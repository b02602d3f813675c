"""Occupancy: reported when it changes."""

from __future__ import annotations

import numpy as np
from support.manual_clock import ManualClock

from edge.core.records import Box, Face, Track
from edge.events.schema import CameraState, PresenceReport
from edge.runtime.occupancy import OccupancyReporter


def a_track(hits: int, *, lost: bool = False) -> Track:
    return Track(1, Face(Box(0, 0, 9, 9), np.zeros((6, 2), np.float32), 0.9), 0, 0, hits, lost)


def test_presence_is_told_when_it_changes_and_a_glimpse_is_nobody() -> None:
    """And a camera that does not work sees neither somebody nor nobody."""
    told: list[PresenceReport] = []
    occupancy = OccupancyReporter("front", told.append, ManualClock())
    looks: list[tuple[list[Track], CameraState]] = [
        ([], CameraState.WORKING),
        ([], CameraState.WORKING),
        ([a_track(2)], CameraState.WORKING),
        ([a_track(3)], CameraState.WORKING),
        ([a_track(9)], CameraState.WORKING),
        ([a_track(9, lost=True)], CameraState.WORKING),
        ([a_track(9)], CameraState.BLIND),
        ([a_track(9)], CameraState.WORKING),
        ([], CameraState.LOST),
    ]
    counts = []
    for tracks, camera in looks:
        occupancy.update(tracks, camera)
        counts.append(len(told))
    assert [each.somebody for each in told] == [None, False, True, False, None, True, None]
    assert counts == [2, 2, 2, 3, 3, 4, 5, 6, 7], "somebody is told of with the third frame, not with the second"
