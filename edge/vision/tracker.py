"""Tracks faces from frame to frame.

A track begins with its first face and continues with the face that overlaps its last box most (or, at low frame rates,
is nearest to it). It ends when it was not seen for `lost_after_s`. Age is time, not a number of frames.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

from edge.core.config import TrackerConfig
from edge.core.records import Face, Track


class Tracker:
    """Tracks faces; every returned track is a frozen snapshot."""

    def __init__(self, config: TrackerConfig) -> None:
        self._config = config
        self._tracks: list[Track] = []
        self._ids = itertools.count(1)

    @property
    def has_tracks(self) -> bool:
        """Whether there is any track."""
        return bool(self._tracks)

    @property
    def faces(self) -> list[Face]:
        """Last detection of every track."""
        return [track.face for track in self._tracks]

    def update(self, faces: list[Face], t_ns: int) -> list[Track]:
        """Continue the tracks with the faces of one frame.

        Returns:
            tracks seen in this frame, then tracks that ended, marked `lost`.
        """
        pairs = self._match(faces)
        seen = [
            Track(track.id, faces[j], track.first_ns, t_ns, track.hits + 1)
            for track, j in ((self._tracks[i], j) for i, j in pairs)
        ]
        continued = {i for i, _ in pairs}
        taken = {j for _, j in pairs}
        born = [Track(next(self._ids), face, t_ns, t_ns, hits=1) for j, face in enumerate(faces) if j not in taken]
        unseen = [track for i, track in enumerate(self._tracks) if i not in continued]
        patience_ns = self._config.lost_after_s * 1e9
        waiting = [track for track in unseen if t_ns - track.last_ns < patience_ns]
        ended = [replace(track, lost=True) for track in unseen if t_ns - track.last_ns >= patience_ns]
        self._tracks = seen + born + waiting
        return seen + born + ended

    def finish(self) -> list[Track]:
        """End all tracks, because the source has no more frames."""
        ended = [replace(track, lost=True) for track in self._tracks]
        self._tracks = []
        return ended

    def _match(self, faces: list[Face]) -> list[tuple[int, int]]:
        """Greedy assignment of tracks to faces, best score first."""
        likeness = [
            (_match_score(track.face, face, self._config), i, j)
            for i, track in enumerate(self._tracks)
            for j, face in enumerate(faces)
        ]
        likeness.sort(key=lambda entry: (-entry[0], entry[1], entry[2]))
        pairs: list[tuple[int, int]] = []
        used_tracks: set[int] = set()
        used_faces: set[int] = set()
        for value, i, j in likeness:
            if value > 0 and i not in used_tracks and j not in used_faces:
                pairs.append((i, j))
                used_tracks.add(i)
                used_faces.add(j)
        return pairs


def _match_score(old: Face, new: Face, config: TrackerConfig) -> float:
    """Score of `new` as continuation of `old`: 1 + IoU if they overlap enough, below 1 if centres are near, or 0."""
    overlap = old.box.iou(new.box)
    if overlap >= config.min_iou:
        return 1 + overlap
    side = math.sqrt(max(old.box.area, new.box.area))
    if side <= 0:
        return 0.0
    step = math.dist(old.box.centre, new.box.centre) / side
    return max(0.0, 1 - step / config.max_centre_step)
