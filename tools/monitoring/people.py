"""The review of people: every photo with what became of it, each person's threshold, and who looks like whom."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from people.judge import centroid
from people.review import Review, review
from people.sight import ENROL_QUALITY
from photos import PhotoReader
from thresholds import caps_sq

from edge.errors import ThresholdError
from edge.records import Floats

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Reviewed:
    """A people folder as it was looked at.

    Attributes:
        review: what came of it.
        limits_sq: threshold by person id, a squared distance; lower is stricter.
        centroids: (N, D) float32 unit rows, of everybody enrolled in the order of `limits_sq`.
        nearest: for everybody enrolled, the id of whom they look most like, and the squared distance (lower: nearer).
        thumbs: JPEG of each photo's face, by number.
        numbers: each photo's number.
    """

    review: Review
    limits_sq: dict[str, float]
    centroids: Floats
    nearest: dict[str, tuple[str, float]]
    thumbs: tuple[bytes, ...]
    numbers: dict[Path, int]

    def most_like(self, vector: Floats) -> tuple[str, float] | None:
        """Of everybody enrolled, who is nearest to a (D,) unit vector, and the squared distance: a measurement only."""
        if not len(self.centroids):
            return None
        likeness = self.centroids @ vector
        row = int(likeness.argmax())
        return list(self.limits_sq)[row], max(2 - 2 * float(likeness[row]), 0.0)


class Reviewer:
    """Looks at a people folder in a thread of its own, when asked to.

    Attributes:
        folder: with one folder of photos per person.
        result: the latest; None before the first.
        trouble: why the last look failed, or "".
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.result: Reviewed | None = None
        self.trouble = ""
        self._busy = threading.Lock()

    @property
    def busy(self) -> bool:
        return self._busy.locked()

    def look(self) -> None:
        """Begin to look, unless it is being done."""
        if self._busy.acquire(blocking=False):
            threading.Thread(target=self._look, name="review", daemon=True).start()

    def _look(self) -> None:
        try:
            self.result = reviewed(review(self.folder, PhotoReader(ENROL_QUALITY)))
            self.trouble = ""
        except (ThresholdError, OSError) as error:
            log.warning("%s", error)
            self.trouble = str(error)
        finally:
            self._busy.release()


def reviewed(seen: Review) -> Reviewed:
    """Thresholds and look-alikes from a review."""
    ids = list(seen.kept)
    thumbs = [(path, sight.thumb) for path, sight in seen.sights.items() if sight.thumb]
    numbers = {path: number for number, (path, _) in enumerate(thumbs)}
    limits: dict[str, float] = {}
    nearest: dict[str, tuple[str, float]] = {}
    centroids = np.zeros((0, 0), np.float32)
    if ids:
        centroids = np.stack([centroid(seen.kept[person]) for person in ids])
        caps = caps_sq(centroids)
        limits = {person: min(seen.base_sq, float(cap)) for person, cap in zip(ids, caps, strict=True)}
        for row, person in enumerate(ids if len(ids) > 1 else []):
            likeness = centroids @ centroids[row]
            likeness[row] = -1
            other = int(likeness.argmax())
            nearest[person] = ids[other], max(2 - 2 * float(likeness[other]), 0.0)
    return Reviewed(seen, limits, centroids, nearest, tuple(thumb for _, thumb in thumbs), numbers)
