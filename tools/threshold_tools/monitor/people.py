"""The page of people: every photo with its result, thresholds, and look-alikes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from edge.core.errors import ThresholdError
from edge.core.records import FloatArray
from threshold_tools.enroll.consistency import centroid
from threshold_tools.enroll.folder import PersonFolder
from threshold_tools.enroll.gallery_builder import limits_sq
from threshold_tools.enroll.photo_quality import ENROL_QUALITY
from threshold_tools.enroll.review import FolderReview, review
from threshold_tools.monitor.fleet import MAX_NAME
from threshold_tools.monitor.gallery_publisher import GalleryPublisher
from threshold_tools.monitor.pages import query_number, render
from threshold_tools.photos import PhotoSampler
from threshold_tools.thresholds import LOOKALIKE_SHARE

log = logging.getLogger(__name__)

PAGE_SIZE = 40  # people
_MAX_LOOSE = 50  # photos without a person


@dataclass(frozen=True, slots=True, eq=False)
class PeopleReview:
    """Result of a review."""

    folder: FolderReview  # every photo with its result
    limits_sq: dict[str, float]  # thresholds by person id, squared distances; lower is stricter
    centroids: FloatArray  # (N, D) float32 unit rows, in the order of `limits_sq`
    thumbnails: tuple[bytes, ...]  # JPEG of the face of each photo, by number
    numbers: dict[Path, int]  # number of each photo

    def nearest_to(self, vector: FloatArray, *, excluding: str = "") -> tuple[str, float] | None:
        """The nearest person to a (D,) unit vector except `excluding`, and the squared distance."""
        ids = list(self.limits_sq)
        rows = [row for row, person in enumerate(ids) if person != excluding]
        if not rows:
            return None
        likeness = self.centroids[rows] @ vector
        nearest = int(likeness.argmax())
        return ids[rows[nearest]], max(2 - 2 * float(likeness[nearest]), 0.0)

    def nearest_other(self, person: str) -> tuple[str, float] | None:
        """The most similar other person, and the squared distance; None if `person` is not enrolled."""
        if person not in self.limits_sq:
            return None
        return self.nearest_to(self.centroids[list(self.limits_sq).index(person)], excluding=person)


class PeopleReviewer:
    """Reviews a people folder in a thread of its own, on request."""

    def __init__(self, folder: Path, publisher: GalleryPublisher | None = None) -> None:
        self.folder = folder  # the people folder
        self.result: PeopleReview | None = None  # of the latest review; None before the first
        self.error = ""  # why the last review failed, or ""
        self._publisher = publisher  # for the thresholds in use; None: those of the table of the embedder
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
        """Start a review if there was none yet."""
        if self.result is None and not self.error:
            self.start()

    def wait_for_result(self) -> PeopleReview | None:
        """The latest result, after a first review if there was none. None: the review failed, see `error`."""
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


def people_routes(reviewer: PeopleReviewer) -> Sequence[BaseRoute]:
    """The routes; the first request of the page starts a review."""

    def page(request: Request) -> Response:
        reviewer.start_first()
        search = request.query_params.get("q", "")[:MAX_NAME]
        doubtful = request.query_params.get("doubt") == "1"
        result = reviewer.result
        found = _select(result.folder, search, doubtful) if result else []
        pages = max(-(-len(found) // PAGE_SIZE), 1)
        number = min(query_number(request, "page", 1, 10**6) or 1, pages)
        return render(
            request,
            "people.html",
            result=result,
            folder=result.folder if result else None,
            busy=reviewer.busy,
            error=reviewer.error,
            search=search,
            doubtful=doubtful,
            found=len(found),
            number=number,
            pages=pages,
            people=found[(number - 1) * PAGE_SIZE : number * PAGE_SIZE],
            loose=_loose_photos(result.folder) if result else [],
            lookalike_share=LOOKALIKE_SHARE,
        )

    def start(_request: Request) -> Response:
        reviewer.start()
        return RedirectResponse("/people", 303)

    def photo(request: Request) -> Response:
        number, result = request.path_params["number"], reviewer.result
        if result is None or number >= len(result.thumbnails):
            raise HTTPException(404, "No such photo.")
        return Response(result.thumbnails[number], media_type="image/jpeg")

    return [
        Route("/people", page, methods=["GET"]),
        Route("/people", start, methods=["POST"]),
        Route("/people/photo/{number:int}.jpg", photo),
    ]


def _select(folder: FolderReview, search: str, doubtful: bool) -> list[PersonFolder]:
    """People whose name or id contains `search`; with `doubtful`, only people with rejected photos or warnings."""
    flagged = folder.rejections.people | folder.rejections.notes
    return [
        person
        for person in folder.people
        if search.casefold() in f"{person.name} {person.id}".casefold()
        and not (doubtful and person.id not in flagged and len(folder.kept.get(person.id, ())) == len(person.photos))
    ]


def _loose_photos(folder: FolderReview) -> list[tuple[str, str]]:
    """Names of photos outside of a person's folder, and the reasons of their rejection."""
    known = {photo for person in folder.people for photo in person.photos}
    return [(path.name, why) for path, why in folder.rejections.photos.items() if path not in known][:_MAX_LOOSE]
