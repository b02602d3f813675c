"""Which photos and which people may be enrolled, judged from all of them together; pure, no file is read.

A photo alone cannot tell that it shows somebody else, or that it is the same picture again: here every photo is held
against the person's others, against everybody else, and people against each other.
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

SAME_PERSON_FMR = 1e-3  # a photo farther from the others than the distance at this rate shows somebody else
TWIN_SHARE = 0.5  # two people nearer than this share of that distance are one person under two ids
_PRODUCTS = 2**24  # at once: 64 MiB of float32; one matrix product is many times faster than a product for each vector


@dataclass(frozen=True, slots=True, eq=False)
class UsablePhoto:
    """One usable photo.

    Attributes:
        path: of the file.
        embedding: (D,) float32 unit vector of face and mirrored face.
        weight: of its quality, 0..1.
        key: sha256 of the file; two photos with one key are one.
        print: fingerprint of the aligned face, see people.sight.
    """

    path: Path
    embedding: FloatArray
    weight: float
    key: str = ""
    fingerprint: bytes = b""


Group = dict[str, list[UsablePhoto]]  # photos by person id


@dataclass(slots=True)
class Rejections:
    """What was found against photos and people, in the order in which it was.

    Attributes:
        photos: why each refused photo is refused.
        people: why each refused person is refused.
        notes: what is worth knowing of people who are enrolled all the same.
    """

    photos: dict[Path, str] = field(default_factory=dict)
    people: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Photos and people refused."""
        return len(self.photos) + len(self.people)


def check_consistency(people: Mapping[str, Sequence[UsablePhoto]], same_sq: float, findings: Rejections) -> Group:
    """Who can be enrolled, and with which photos; why not, goes into `findings`.

    Args:
        people: usable photos by person id.
        same_sq: beyond this squared distance two photos show different people.
    """
    once = {person: _drop_copies(photos, findings) for person, photos in people.items()}
    own = {person: _drop_strangers(person, photos, same_sq, findings) for person, photos in once.items()}
    own = {person: photos for person, photos in own.items() if photos}
    if not own:
        return {}
    return _drop_mislabelled(_drop_same_person(own, same_sq, findings), same_sq, findings)


def centroid(photos: Sequence[UsablePhoto]) -> FloatArray:
    """The plain mean of a person's photos, (D,) float32 unit length.

    Weights gain nothing here, and give a clear photo of somebody else a say of its own; nor do medians and trimmed
    means, once what is unlike the others has been left out.
    """
    return normalize(np.sum([photo.embedding for photo in photos], axis=0))


def distance_sq(a: FloatArray, b: FloatArray) -> float:
    """Squared Euclidean distance of two unit vectors, 0..4; lower is nearer."""
    return max(2 - 2 * float(a @ b), 0.0)


def _drop_copies(photos: Sequence[UsablePhoto], findings: Rejections) -> list[UsablePhoto]:
    """Leave out what is the same file or picture as a better one: it is no second piece of evidence."""
    kept: list[UsablePhoto] = []
    for photo in sorted(photos, key=lambda photo: -photo.weight):
        twin = next((other for other in kept if photo.key and photo.key == other.key), None)
        likeness = next((other for other in kept if same_picture(photo.fingerprint, other.fingerprint)), None)
        if twin is not None:
            findings.photos[photo.path] = f"the same photo as {twin.path.name}, byte for byte"
        elif likeness is not None:
            findings.photos[photo.path] = f"the same picture as {likeness.path.name}"
        else:
            kept.append(photo)
    return [photo for photo in photos if photo in kept]


def _drop_strangers(person: str, photos: list[UsablePhoto], limit_sq: float, findings: Rejections) -> list[UsablePhoto]:
    """Leave out photos farther than `limit_sq` from the mean of the person's others, the worst first."""
    photos = list(photos)
    while len(photos) > 1:
        distances = [distance_sq(each.embedding, centroid(_others(photos, each))) for each in photos]
        worst = distances.index(max(distances))
        if distances[worst] <= limit_sq:
            return photos
        told = f"unlike the person's other photos (distance {distances[worst]:.2f}, at most {limit_sq:.2f})"
        if len(photos) == 2:
            findings.people[person] = f"two photos that show different people, {told}; add a third"
            return []
        findings.photos[photos[worst].path] = told
        del photos[worst]
    return photos


def _drop_mislabelled(people: Group, limit_sq: float, findings: Rejections) -> Group:
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
                findings.photos[photo.path] = f"like another person, {ids[other]} (distance {other_sq:.2f})"
            else:
                stay.append(photo)
        if stay:
            kept[person] = stay
    return kept


def _drop_same_person(people: Group, limit_sq: float, findings: Rejections) -> Group:
    """Leave out a person who is clearly one before them under another id."""
    everybody = np.stack([centroid(photos) for photos in people.values()])
    ids = list(people)
    kept_rows: list[int] = []
    for row, before_sq in enumerate(_nearest_before_sq(everybody)):
        if before_sq >= TWIN_SHARE * limit_sq:  # of nobody before, so of nobody kept before
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
        told = f"like another person, {twin} (distance {other_sq:.2f}{shared}): the same under two ids?"
        findings.people[person] = told
    return {ids[row]: people[ids[row]] for row in kept_rows}


def flag_similar_people(people: Group, limit_sq: float, findings: Rejections) -> None:
    """Note people who stay enrolled, but within `limit_sq` of each other, so that both get a stricter threshold."""
    if len(people) < 2:
        return
    centroids = np.stack([centroid(photos) for photos in people.values()])
    ids = list(people)
    nearest = _nearest_others(centroids, centroids, np.arange(len(ids)))
    for person, (other, other_sq) in zip(ids, nearest, strict=True):
        if other_sq < limit_sq:
            findings.notes[person] = f"looks like {ids[other]} (distance {other_sq:.2f}); gets a stricter threshold"


def _others(photos: Sequence[UsablePhoto], photo: UsablePhoto) -> list[UsablePhoto]:
    return [each for each in photos if each is not photo]


def _nearest_others(
    everybody: FloatArray, vectors: FloatArray, own_rows: NDArray[np.intp]
) -> Iterator[tuple[int, float]]:
    """For each of (M, D) unit vectors: row and squared distance of the nearest of (N, D) others, its own row aside."""
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
    """Start and end of so many rows that their products with all columns fit into memory."""
    size = max(_PRODUCTS // max(columns, 1), 1)
    return ((start, min(start + size, rows)) for start in range(0, rows, size))
