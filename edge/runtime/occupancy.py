"""Whether somebody stands at the door, told when it changes: on `…/presence`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from edge.core.records import Track
from edge.core.timestamps import format_unix_ns
from edge.events.schema import VERSION, CameraState, PresenceReport

_MIN_HITS = 3  # frames: what was seen in fewer may be no face at all


class OccupancyReporter:
    """Watches the tracks of one door; that nothing is known is told at once.

    Args:
        door: its name.
        publish: takes a report.
    """

    def __init__(self, door: str, publish: Callable[[PresenceReport], None]) -> None:
        self._door = door
        self._publish = publish
        self._somebody: bool | None = None
        self._tell()

    def update(self, tracks: Sequence[Track], camera: CameraState) -> None:
        """Take what is followed after one step; a camera that does not work sees neither somebody nor nobody."""
        somebody: bool | None = None
        if camera is CameraState.WORKING:
            somebody = any(track.hits >= _MIN_HITS for track in tracks if not track.lost)
        if somebody is not self._somebody:
            self._somebody = somebody
            self._tell()

    def _tell(self) -> None:
        at = format_unix_ns(time.time_ns())
        self._publish(PresenceReport(v=VERSION, door=self._door, at=at, somebody=self._somebody))
