"""Decides which photos and people can be enrolled by comparing all of them; reads no file.

A single photo does not show that it is of another person or a copy. Every photo is compared with the person's other
photos and with all other people, and people are compared with each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.core.records import FloatArray
from threshold_tools.enroll.photo_quality import same_picture
from threshold_tools.photos import normalize

SAME_PERSON_FMR = 1e-3  # a photo farther from the others than the distance at this rate shows another person
TWIN_SHARE = 0.5  # two people nearer than this share of that distance are the same person
_PRODUCTS = 2**24  # in one matrix product: 64 MiB of float32; far faster than one product for each vector


@dataclass(frozen=True, slots=True, eq=False)
class UsablePhoto:
    """One usable photo."""

    path: Path
    embedding: FloatArray  # (D,) float32 unit vector of face and mirrored face
    weight: float  # quality, 0..1
    key: str = ""  # sha256 of the file
    fingerprint: bytes = b""  # of the aligned face, as in `PhotoAssessment`


Group = dict[str, list[UsablePhoto]]  # photos by person id


@dataclass(slots=True)
class Rejections:
    """Rejected photos and people, and notes on people who are enrolled; in order of discovery."""

    photos: dict[Path, str] = field(default_factory=dict)  # reason by photo
    people: dict[str, str] = field(default_factory=dict)  # reason by id
    notes: dict[str, str] = field(default_factory=dict)  # note by id

    @property
    def count(self) -> int:
        """Number of rejected photos and people."""
        return len(self.photos) + len(self.people)


def check_consistency(people: Mapping[str, Sequence[UsablePhoto]], same_sq: float, rejections: Rejections) -> Group:
    """Return the people who can be enrolled, with their photos; add the reasons for all others to `rejections`.

    Two photos at a squared distance above `same_sq` show different people.
    """
    once = {person: _drop_copies(photos, rejections) for person, photos in people.items()}
    own = {person: _drop_strangers(person, photos, same_sq, rejections) for person, photos in once.items()}
    own = {person: photos for person, photos in own.items() if photos}
    if not own:
        return {}
    return _drop_mislabelled(_drop_same_person(own, same_sq, rejections), same_sq, rejections)


def centroid(photos: Sequence[UsablePhoto]) -> FloatArray:
    """The unweighted mean of a person's photos, (D,) float32 unit length."""
    # Weights do not improve it, and favour a clear photo of another person. Medians and trimmed means do not improve
    # it either once photos unlike the others are left out.
    return normalize(np.sum([photo.embedding for photo in photos], axis=0))


def distance_sq(a: FloatArray, b: FloatArray) -> float:
    """Squared Euclidean distance of two unit vectors, 0..4; lower is nearer."""
    return max(2 - 2 * float(a @ b), 0.0)


def _drop_copies(photos: Sequence[UsablePhoto], rejections: Rejections) -> list[UsablePhoto]:
    """Leave out photos that are the same file or picture as a better one."""
    kept: list[UsablePhoto] = []
    for photo in sorted(photos, key=lambda photo: -photo.weight):
        twin = next((other for other in kept if photo.key and photo.key == other.key), None)
        likeness = next((other for other in kept if same_picture(photo.fingerprint, other.fingerprint)), None)
        if twin is not None:
            rejections.photos[photo.path] = f"the same photo as {twin.path.name}, byte for byte"
        elif likeness is not None:
            rejections.photos[photo.path] = f"nearly identical to {likeness.path.name}; use a photo from another moment"
        else:
            kept.append(photo)
    return [photo for photo in photos if photo in kept]


def _drop_strangers(
    person: str, photos: list[UsablePhoto], limit_sq: float, rejections: Rejections
) -> list[UsablePhoto]:
    """Leave out photos farther than `limit_sq` from the mean of the person's others, the worst first."""
    photos = list(photos)
    while len(photos) > 1:
        distances = [distance_sq(each.embedding, centroid(_others(photos, each))) for each in photos]
        worst = distances.index(max(distances))
        if distances[worst] <= limit_sq:
            return photos
        reason = f"unlike the person's other photos (distance {distances[worst]:.2f}, at most {limit_sq:.2f})"
        if len(photos) == 2:
            rejections.people[person] = f"its two photos show different people, {reason}; add a third photo"
            return []
        rejections.photos[photos[worst].path] = reason
        del photos[worst]
    return photos


def _drop_mislabelled(people: Group, limit_sq: float, rejections: Rejections) -> Group:
    """Leave out photos within `limit_sq` of another person and nearer to them than to the rest of their own."""
    everybody = np.stack([centroid(photos) for photos in people.values()])
    vectors = np.stack([photo.embedding for photos in people.values() for photo in photos])
    own_rows = np.repeat(np.arange(len(people)), [len(photos) for photos in people.values()])
    nearest = iter(_nearest_others(everybody, vectors, own_rows))
    ids = list(people)
    kept: Group = {}
    for person, photos in people.items():
        stay = []
        for photo in photos:
            rest = _others(photos, photo)
            other, other_sq = next(nearest)
            if rest and other_sq <= min(limit_sq, distance_sq(photo.embedding, centroid(rest))):
                rejections.photos[photo.path] = f"looks like another person, {ids[other]} (distance {other_sq:.2f})"
            else:
                stay.append(photo)
        if stay:
            kept[person] = stay
    return kept


def _drop_same_person(people: Group, limit_sq: float, rejections: Rejections) -> Group:
    """Leave out a person who is clearly the same as an earlier one under another id."""
    everybody = np.stack([centroid(photos) for photos in people.values()])
    ids = list(people)
    kept_rows: list[int] = []
    for row, before_sq in enumerate(_nearest_before_sq(everybody)):
        if before_sq >= TWIN_SHARE * limit_sq:  # far from all earlier people, so also from the kept ones
            kept_rows.append(row)
            continue
        likeness = everybody[kept_rows] @ everybody[row]
        other_sq = 2 - 2 * float(likeness.max())
        if other_sq >= TWIN_SHARE * limit_sq:
            kept_rows.append(row)
            continue
        person, twin = ids[row], ids[kept_rows[int(likeness.argmax())]]
        files = {photo.key for photo in people[twin] if photo.key}
        copies = [photo.path.name for photo in people[person] if photo.key in files]
        shared = f", and {copies[0]} is the same file" if copies else ""
        rejections.people[person] = (
            f"looks like {twin} (distance {other_sq:.2f}{shared}): the same person under two ids?"
        )
    return {ids[row]: people[ids[row]] for row in kept_rows}


def flag_similar_people(people: Group, limit_sq: float, rejections: Rejections) -> None:
    """Note enrolled people within `limit_sq` of each other: both get a stricter threshold."""
    if len(people) < 2:
        return
    centroids = np.stack([centroid(photos) for photos in people.values()])
    ids = list(people)
    nearest = _nearest_others(centroids, centroids, np.arange(len(ids)))
    for person, (other, other_sq) in zip(ids, nearest, strict=True):
        if other_sq < limit_sq:
            rejections.notes[person] = f"looks like {ids[other]} (distance {other_sq:.2f}); gets a stricter threshold"


def _others(photos: Sequence[UsablePhoto], photo: UsablePhoto) -> list[UsablePhoto]:
    return [each for each in photos if each is not photo]


def _nearest_others(
    everybody: FloatArray, vectors: FloatArray, own_rows: NDArray[np.intp]
) -> Iterator[tuple[int, float]]:
    """For each of (M, D) unit vectors: row and squared distance of the nearest of (N, D) others, except its own row."""
    for start, stop in _blocks(len(vectors), len(everybody)):
        likeness = vectors[start:stop] @ everybody.T
        likeness[np.arange(stop - start), own_rows[start:stop]] = -1
        nearest = likeness.argmax(axis=1)
        yield from zip(nearest.tolist(), (2 - 2 * likeness.max(axis=1)).tolist(), strict=True)


def _nearest_before_sq(everybody: FloatArray) -> Iterator[float]:
    """For each of (N, D) unit vectors: the squared distance of the nearest one before it; 4 for the first."""
    for start, stop in _blocks(len(everybody), len(everybody)):
        likeness = everybody[start:stop] @ everybody[:stop].T
        likeness[:, start:][np.triu_indices(stop - start)] = -1
        yield from (2 - 2 * likeness.max(axis=1)).tolist()


def _blocks(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    """Start and end of blocks of rows whose products with all columns fit into memory."""
    size = max(_PRODUCTS // max(columns, 1), 1)
    return ((start, min(start + size, rows)) for start in range(0, rows, size))
