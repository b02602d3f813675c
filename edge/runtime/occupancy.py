"""Publishes on `…/presence` whether somebody is at the door, when this changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge.core.clock import Clock
from edge.core.records import Track
from edge.core.timestamps import format_unix_ns
from edge.events.schema import VERSION, CameraState, PresenceReport

_MIN_HITS = 3  # detections; a track with fewer may not be a face


class OccupancyReporter:
    """Reports the occupancy of one door; the constructor publishes "not known".

    Args:
        door: name of the door.
        publish: publishes a report.
        clock: time source.
    """

    def __init__(self, door: str, publish: Callable[[PresenceReport], None], clock: Clock) -> None:
        self._door = door
        self._publish = publish
        self._clock = clock
        self._somebody: bool | None = None
        self._report()

    def update(self, tracks: Sequence[Track], camera: CameraState) -> None:
        """Update from the tracks of one step; the occupancy is unknown while the camera does not work."""
        somebody: bool | None = None
        if camera is CameraState.WORKING:
            somebody = any(track.hits >= _MIN_HITS for track in tracks if not track.lost)
        if somebody is not self._somebody:
            self._somebody = somebody
            self._report()

    def _report(self) -> None:
        at = format_unix_ns(self._clock.unix_ns())
        self._publish(PresenceReport(v=VERSION, door=self._door, at=at, somebody=self._somebody))
