"""Review of the people folder: every photo with its result, each person's threshold, and who looks like whom."""

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
from threshold_tools.monitor.gallery_publisher import GalleryPublisher
from threshold_tools.photos import PhotoSampler

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class PeopleReview:
    """The result of a review.

    Attributes:
        folder: every photo with its result.
        limits_sq: thresholds of everybody enrolled by person id, squared distances; lower is stricter.
        centroids: (N, D) float32 unit rows, in the order of `limits_sq`.
        thumbnails: JPEG of each photo's face, by number.
        numbers: number of each photo.
    """

    folder: FolderReview
    limits_sq: dict[str, float]
    centroids: FloatArray
    thumbnails: tuple[bytes, ...]
    numbers: dict[Path, int]

    def nearest_to(self, vector: FloatArray, *, excluding: str = "") -> tuple[str, float] | None:
        """Who is nearest to a (D,) unit vector, and the squared distance (lower: nearer): a measurement only.

        Args:
            excluding: id of a person who is not considered, or "".
        """
        ids = list(self.limits_sq)
        rows = [row for row, person in enumerate(ids) if person != excluding]
        if not rows:
            return None
        likeness = self.centroids[rows] @ vector
        nearest = int(likeness.argmax())
        return ids[rows[nearest]], max(2 - 2 * float(likeness[nearest]), 0.0)

    def nearest_other(self, person: str) -> tuple[str, float] | None:
        """Who of the others looks most like a person, and the squared distance; None if that person is not enrolled."""
        if person not in self.limits_sq:
            return None
        return self.nearest_to(self.centroids[list(self.limits_sq).index(person)], excluding=person)


class PeopleReviewer:
    """Reviews a people folder in its own thread, when asked to.

    Attributes:
        folder: the people folder.
        result: the latest; None before the first.
        error: why the last review failed, or "".
    """

    def __init__(self, folder: Path, publisher: GalleryPublisher | None = None) -> None:
        """
        Args:
            folder: with one folder of photos per person.
            publisher: has the thresholds that the doors run; None: those of the embedder's table are shown.
        """
        self.folder = folder
        self.result: PeopleReview | None = None
        self.error = ""
        self._publisher = publisher
        self._busy = threading.Lock()

    @property
    def busy(self) -> bool:
        """Whether a review is running."""
        return self._busy.locked()

    def start(self) -> None:
        """Start a review, unless one is running."""
        if self._busy.acquire(blocking=False):
            threading.Thread(target=self._run, name="review", daemon=True).start()

    def start_first(self) -> None:
        """Start a review if there was none."""
        if self.result is None and not self.error:
            self.start()

    def wait_for_result(self) -> PeopleReview | None:
        """The latest result; without one a review is done now, which may take long. None: see `error`."""
        if self.result is None:
            with self._busy:
                if self.result is None:
                    self._review()
        return self.result

    def _run(self) -> None:
        try:
            self._review()
        finally:
            self._busy.release()

    def _review(self) -> None:
        try:
            reader = PhotoSampler(ENROL_QUALITY)
            kept_sq = self._publisher.thresholds_sq(reader.embedder_sha256) if self._publisher else {}
            self.result = summarize_review(review(self.folder, reader), kept_sq)
            self.error = ""
        except (ThresholdError, OSError) as error:
            log.warning("%s", error)
            self.error = str(error)


def summarize_review(folder: FolderReview, kept_sq: Mapping[str, float]) -> PeopleReview:
    """Thresholds and thumbnails from a review; `kept_sq` as in `make_gallery`."""
    ids = list(folder.kept)
    faces = [(path, photo.thumbnail) for path, photo in folder.assessments.items() if photo.thumbnail]
    numbers = {path: number for number, (path, _) in enumerate(faces)}
    limits: dict[str, float] = {}
    centroids = np.zeros((0, 0), np.float32)
    if ids:
        centroids = np.stack([centroid(folder.kept[person]) for person in ids])
        limits = dict(zip(ids, limits_sq(ids, centroids, folder.base_sq, kept_sq).tolist(), strict=True))
    return PeopleReview(folder, limits, centroids, tuple(jpeg for _, jpeg in faces), numbers)
