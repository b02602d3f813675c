"""OccupancyReporter: whether somebody is at the door, reported when it changes."""

from __future__ import annotations

import numpy as np
from support.manual_clock import ManualClock

from edge.core.records import Box, Face, Track
from edge.events.schema import CameraState, PresenceReport
from edge.runtime.occupancy import OccupancyReporter


def a_track(hits: int, *, lost: bool = False) -> Track:
    return Track(1, Face(Box(0, 0, 9, 9), np.zeros((6, 2), np.float32), 0.9), 0, 0, hits, lost)


def test_occupancy_is_reported_when_it_changes() -> None:
    """A track counts from its third frame on; without a working camera the occupancy is unknown."""
    reports: list[PresenceReport] = []
    occupancy = OccupancyReporter("front", reports.append, ManualClock(unix_s=1_900_000_000))
    steps: list[tuple[list[Track], CameraState]] = [
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
    for tracks, camera in steps:
        occupancy.update(tracks, camera)
        counts.append(len(reports))
    assert [report.somebody for report in reports] == [None, False, True, False, None, True, None]
    assert counts == [2, 2, 2, 3, 3, 4, 5, 6, 7]
    assert {(report.door, report.at) for report in reports} == {("front", "2030-03-17T17:46:40.000Z")}
