"""Makes a gallery for the doors from a reviewed people folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edge.core.cli_support import counted
from edge.core.errors import InputError
from edge.core.records import FloatArray, Person
from edge.recognition.gallery_file import load_gallery, save_gallery
from threshold_tools.enroll.consistency import centroid
from threshold_tools.enroll.review import FolderReview
from threshold_tools.thresholds import max_thresholds_sq

_GALLERY_SUFFIX = ".safetensors"
_EQUAL_SQ = 1e-6  # rounding of a cap that is computed again; only a lower cap makes a kept threshold stricter


def make_gallery(
    reviewed: FolderReview, out: Path, embedder_sha256: str, kept_sq: Mapping[str, float] | None = None
) -> str:
    """Write the gallery of all people who can be enrolled; return a summary for the operator.

    `kept_sq` are thresholds in use by person id, kept as in `limits_sq`; None or empty: set all of them.

    Raises:
        InputError: no person can be enrolled.
    """
    if not reviewed.kept:
        raise InputError(f"{out}: not written, because no person could be enrolled; every photo was rejected")
    centroids = np.stack([centroid(photos) for photos in reviewed.kept.values()])
    limits = limits_sq(list(reviewed.kept), centroids, reviewed.base_sq, kept_sq)
    names = {person.id: person.name for person in reviewed.people}
    people = [Person(person_id, names[person_id]) for person_id in reviewed.kept]
    save_gallery(out, people, centroids, limits, embedder_sha256)
    photos = sum(len(photos) for photos in reviewed.kept.values())
    text = (
        f"{out}: {counted(len(people), 'person', 'people')} from {counted(photos, 'photo')}, "
        f"{counted(reviewed.rejections.count, 'problem')}; threshold_sq "
    )
    if kept_sq:
        new = newcomer_sq(reviewed.base_sq, kept_sq)
        kept = sum(person in kept_sq for person in reviewed.kept)
        return f"{text}kept for {kept}, at most {new:.2f} for {len(people) - kept} new (lower is stricter)"
    stricter = int((limits < reviewed.base_sq).sum())
    capped = f", stricter for {counted(stricter, 'person', 'people')} with a look-alike" if stricter else ""
    return f"{text}{reviewed.base_sq:.2f} (lower is stricter){capped}"


def thresholds_of(gallery: Path, embedder_sha256: str) -> dict[str, float]:
    """Thresholds of a gallery by person id, squared distances (lower is stricter).

    Raises:
        GalleryError: it cannot be read, is damaged, or is of another embedder.
    """
    loaded = load_gallery(gallery, embedder_sha256)
    return {person.id: float(limit) for person, limit in zip(loaded.people, loaded.thresholds_sq, strict=True)}


def limits_sq(
    people: Sequence[str], centroids: FloatArray, base_sq: float, kept_sq: Mapping[str, float] | None = None
) -> FloatArray:
    """The threshold of each person of a gallery, (N,) float32 squared distances; lower is stricter.

    Thresholds in use are kept exactly: `threshold calibrate` may have measured them, which is better than the shipped
    table. People without one get `newcomer_sq`. A look-alike caps both, so a kept threshold can only become stricter.

    Args:
        people: N ids.
        centroids: (N, D) float32 unit rows.
        base_sq: threshold by the shipped table for a gallery of N people.
        kept_sq: thresholds in use by person id; None or empty: all people get `base_sq`.
    """
    caps = max_thresholds_sq(centroids)
    if not kept_sq:
        return np.minimum(np.float32(base_sq), caps)
    new = newcomer_sq(base_sq, kept_sq)
    limits = np.array([kept_sq.get(person, new) for person in people], np.float32)
    return np.where(caps < limits - _EQUAL_SQ, caps, limits)


def newcomer_sq(base_sq: float, kept_sq: Mapping[str, float]) -> float:
    """The threshold of a person added to a gallery whose thresholds are kept; lower is stricter.

    It is the median of the kept ones, and never laxer than the shipped table. Calibration gives each person
    min(base + offset, cap) with offsets around a median of 0, so the median is the calibrated base, or stricter if
    look-alikes cap many. The next calibration measures how similar strangers look to the new person.
    """
    return min(base_sq, float(np.median(list(kept_sq.values()))))


def need_gallery_name(path: Path) -> None:
    """Reject a gallery name with the suffix of another kind of file, such as .npz, which is used for vectors.

    Raises:
        InputError: the name has another suffix; no suffix at all is accepted.
    """
    if path.suffix.lower() not in ("", _GALLERY_SUFFIX):
        raise InputError(f"{path}: a gallery needs a name that ends in {_GALLERY_SUFFIX}, not in {path.suffix}")
