"""The review of people: every photo with what became of it, each person's threshold, and who looks like whom."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.core.errors import ThresholdError
from edge.core.records import FloatArray
from threshold_tools.enroll.consistency import centroid
from threshold_tools.enroll.gallery_builder import limits_sq
from threshold_tools.enroll.photo_quality import ENROL_QUALITY
from threshold_tools.enroll.review import FolderReview, review
from threshold_tools.monitor.publishing import GalleryPublisher
from threshold_tools.photos import PhotoSampler

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class PeopleReview:
    """A people folder as it was looked at.

    Attributes:
        review: what came of it.
        limits_sq: threshold by person id, a squared distance; lower is stricter.
        centroids: (N, D) float32 unit rows, of everybody enrolled in the order of `limits_sq`.
        nearest: for everybody enrolled, the id of whom they look most like, and the squared distance (lower: nearer).
        thumbs: JPEG of each photo's face, by number.
        numbers: each photo's number.
    """

    review: FolderReview
    limits_sq: dict[str, float]
    centroids: FloatArray
    nearest: dict[str, tuple[str, float]]
    thumbs: tuple[bytes, ...]
    numbers: dict[Path, int]

    def nearest_to(self, vector: FloatArray) -> tuple[str, float] | None:
        """Of everybody enrolled, who is nearest to a (D,) unit vector, and the squared distance: a measurement only."""
        if not len(self.centroids):
            return None
        likeness = self.centroids @ vector
        row = int(likeness.argmax())
        return list(self.limits_sq)[row], max(2 - 2 * float(likeness[row]), 0.0)


class PeopleReviewer:
    """Looks at a people folder in a thread of its own, when asked to.

    Attributes:
        folder: with one folder of photos per person.
        result: the latest; None before the first.
        trouble: why the last look failed, or "".
    """

    def __init__(self, folder: Path, publishing: GalleryPublisher | None = None) -> None:
        """
        Args:
            folder: with one folder of photos per person.
            publishing: where the thresholds that the doors run are read; None: shows those of the embedder's table.
        """
        self.folder = folder
        self._publishing = publishing
        self.result: PeopleReview | None = None
        self.error = ""
        self._busy = threading.Lock()

    @property
    def busy(self) -> bool:
        return self._busy.locked()

    def start(self) -> None:
        """Begin to look, unless it is being done."""
        if self._busy.acquire(blocking=False):
            threading.Thread(target=self._look, name="review", daemon=True).start()

    def result_now(self) -> PeopleReview | None:
        """The latest result; looks first, which may take long, where there is none. None: see `trouble`."""
        if self.result is None:
            with self._busy:
                if self.result is None:
                    self._look_now()
        return self.result

    def _look(self) -> None:
        try:
            self._look_now()
        finally:
            self._busy.release()

    def _look_now(self) -> None:
        try:
            reader = PhotoSampler(ENROL_QUALITY)
            kept = self._publishing.thresholds_sq(reader.embedder_sha256) if self._publishing else {}
            self.result = summarize_review(review(self.folder, reader), kept)
            self.error = ""
        except (ThresholdError, OSError) as error:
            log.warning("%s", error)
            self.error = str(error)


def summarize_review(seen: FolderReview, kept_sq: Mapping[str, float]) -> PeopleReview:
    """Thresholds and look-alikes from a review; `kept_sq` as in `make_gallery`."""
    ids = list(seen.kept)
    thumbs = [(path, sight.thumbnail) for path, sight in seen.assessments.items() if sight.thumbnail]
    numbers = {path: number for number, (path, _) in enumerate(thumbs)}
    limits: dict[str, float] = {}
    nearest: dict[str, tuple[str, float]] = {}
    centroids = np.zeros((0, 0), np.float32)
    if ids:
        centroids = np.stack([centroid(seen.kept[person]) for person in ids])
        limits = dict(zip(ids, limits_sq(ids, centroids, seen.base_sq, kept_sq).tolist(), strict=True))
        for row, person in enumerate(ids if len(ids) > 1 else []):
            likeness = centroids @ centroids[row]
            likeness[row] = -1
            other = int(likeness.argmax())
            nearest[person] = ids[other], max(2 - 2 * float(likeness[other]), 0.0)
    return PeopleReview(seen, limits, centroids, nearest, tuple(thumb for _, thumb in thumbs), numbers)
