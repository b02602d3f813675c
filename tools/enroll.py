#!/usr/bin/env python3
"""Enrol people from photos: PHOTOS/<person>/*.jpg to a gallery for the doors.

The name of each folder is the person's id. Every photo is looked at by the very models that run at a door; one that
cannot serve is named with its reason and left out, and the rest goes on: no face, several faces, too small, blurred,
turned away, unlike the person's other photos, or like another person. Three to five sharp, frontal photos in different
light serve best; one will do.

Each person's threshold_sq (a squared distance; lower is stricter) follows from the wish that at most one stranger in
so many is accepted by this whole gallery, and is tighter for people with a look-alike.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from photos import SUFFIXES, Look, PhotoReader, photos_in, unit
from thresholds import distance_at, threshold_sq
from tqdm import tqdm

from edge.config import QualityConfig
from edge.errors import ImageError, InputError
from edge.identity.gallery import save_gallery
from edge.program import run
from edge.records import Floats, Person

ENROL_QUALITY = QualityConfig(min_size_px=20, max_yaw_deg=35, max_pitch_deg=30, min_sharpness=20)
RIVAL_SHARE = 0.35  # a second face with more than this share of the main one's area: whose photo is it?
SAME_PERSON_FMR = 1e-3  # a photo farther from the others than the distance at this rate shows somebody else
TWIN_SHARE = 0.5  # two people nearer than this share of that distance are one person under two ids
LOOKALIKE_SHARE = 0.9  # a threshold ends before a look-alike's centroid by this share


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """One usable photo: (D,) float32 unit vector of face and mirrored face, and the weight of its quality, 0..1."""

    path: Path
    embedding: Floats
    weight: float


class Reports:
    """Tells the user at once what was left out and why, and counts it for the summary."""

    def __init__(self) -> None:
        self.count = 0

    def refuse(self, where: Path | str, reason: str) -> None:
        """Name one photo or person and what is wrong with it."""
        self.count += 1
        tell(f"{where}: {reason}")


def tell(text: str) -> None:
    """A line to the user that leaves a progress bar whole."""
    tqdm.write(text, file=sys.stderr)


def read_people(folder: Path, reader: PhotoReader, reports: Reports) -> dict[str, list[Photo]]:
    """The usable photos of every person below `folder`, by person id, sorted."""
    photos_in(folder)
    for stray in sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES):
        reports.refuse(stray, "belongs to nobody; put it into a folder named after the person")
    people: dict[str, list[Photo]] = {}
    paths = [path for path in photos_in(folder) if path.parent != folder]
    for path in tqdm(paths, desc="enrol", unit=" photos", disable=None):
        person = path.relative_to(folder).parts[0]
        photos = people.setdefault(person, [])
        try:
            look = reader.look(path, mirror=True)
        except ImageError as error:
            reports.refuse(path, str(error).removeprefix(f"{path}: "))
            continue
        reason = fault(look)
        if reason:
            reports.refuse(path, reason)
            continue
        assert look.sample is not None
        assert look.sample.embedding is not None
        assert look.mirrored is not None
        photos.append(Photo(path, unit(look.sample.embedding + look.mirrored), look.sample.quality.value))
    return people


def fault(look: Look) -> str:
    """Why a photo cannot serve, in the operator's words, or ""."""
    if look.main is None or look.sample is None:
        return "no face"
    rivals = [face for face in look.faces if face is not look.main and face.box.area > RIVAL_SHARE * look.main.box.area]
    if rivals:
        return f"several faces ({len(rivals) + 1}); crop it to one"
    quality = look.sample.quality
    return {
        "": "",
        "no-face": "no face (the mesh finds none where the detector saw one)",
        "too-small": f"too small (eyes {quality.size_px:.0f} px apart, need {ENROL_QUALITY.min_size_px:.0f})",
        "blurred": f"blurred (sharpness {quality.sharpness:.0f}, need {ENROL_QUALITY.min_sharpness:.0f})",
        "turned-away": f"turned away (yaw {quality.yaw_deg:+.0f} degrees)",
        "tilted": f"looking up or down (pitch {quality.pitch_deg:+.0f} degrees)",
    }[quality.refusal]


def centroid(photos: Sequence[Photo]) -> Floats:
    """The quality-weighted mean of a person's photos, (D,) float32 unit length."""
    return unit(np.sum([photo.embedding * np.float32(photo.weight) for photo in photos], axis=0))


def drop_strangers(person: str, photos: list[Photo], limit_sq: float, reports: Reports) -> list[Photo]:
    """Leave out photos farther than `limit_sq` from the mean of the person's others, the worst first."""
    photos = list(photos)
    while len(photos) > 1:
        distances = [
            distance_sq(photo.embedding, centroid(photos[:i] + photos[i + 1 :])) for i, photo in enumerate(photos)
        ]
        worst = int(np.argmax(distances))
        if distances[worst] <= limit_sq:
            return photos
        told = f"unlike the person's other photos (distance {distances[worst]:.2f}, at most {limit_sq:.2f})"
        if len(photos) == 2:
            reports.refuse(person, f"two photos that show different people, {told}; add a third")
            return []
        reports.refuse(photos[worst].path, told)
        del photos[worst]
    return photos


def drop_mislabelled(people: dict[str, list[Photo]], limit_sq: float, reports: Reports) -> dict[str, list[Photo]]:
    """Leave out photos within `limit_sq` of another person and nearer to them than to the rest of their own."""
    centroids = {person: centroid(photos) for person, photos in people.items()}
    everybody = np.stack(list(centroids.values()))
    kept: dict[str, list[Photo]] = {}
    for row, (person, photos) in enumerate(people.items()):
        kept[person] = []
        for photo in photos:
            rest = [each for each in photos if each is not photo]
            other, other_sq = _nearest_other(everybody, photo.embedding, row)
            if rest and other_sq <= min(limit_sq, distance_sq(photo.embedding, centroid(rest))):
                reports.refuse(photo.path, f"like another person, {list(people)[other]} (distance {other_sq:.2f})")
            else:
                kept[person].append(photo)
    return {person: photos for person, photos in kept.items() if photos}


def drop_twins(people: dict[str, list[Photo]], limit_sq: float, reports: Reports) -> dict[str, list[Photo]]:
    """Leave out a person who is clearly one enrolled before under another id; warn of look-alikes."""
    kept: dict[str, list[Photo]] = {}
    centroids: list[Floats] = []
    for person, photos in people.items():
        vector = centroid(photos)
        other, other_sq = _nearest_other(np.stack(centroids), vector, None) if centroids else (0, 4.0)
        if other_sq < TWIN_SHARE * limit_sq:
            twin = list(kept)[other]
            reports.refuse(person, f"like another person, {twin} (distance {other_sq:.2f}): the same under two ids?")
            continue
        if other_sq <= limit_sq:
            tell(f"{person}: looks like {list(kept)[other]} (distance {other_sq:.2f}); both get a stricter threshold")
        kept[person] = photos
        centroids.append(vector)
    return kept


def _nearest_other(everybody: Floats, vector: Floats, own_row: int | None) -> tuple[int, float]:
    """Row and squared distance of the nearest of (N, D) unit vectors, the own row aside."""
    likeness = everybody @ vector
    if own_row is not None:
        likeness[own_row] = -1
    nearest = int(likeness.argmax())
    return nearest, float(2 - 2 * likeness[nearest])


def thresholds(centroids: Floats, base_sq: float) -> Floats:
    """(N,) float32 thresholds: the base, stricter where another person's centroid is near."""
    nearest = [_nearest_other(centroids, vector, row)[1] for row, vector in enumerate(centroids)]
    return np.asarray(np.minimum(base_sq, LOOKALIKE_SHARE * np.array(nearest)), np.float32)


def distance_sq(a: Floats, b: Floats) -> float:
    """Squared Euclidean distance of two unit vectors, 0..4; lower is nearer."""
    return max(2 - 2 * float(a @ b), 0.0)


def enrol(folder: Path, out: Path, one_stranger_in: float) -> None:
    """Write the gallery of everybody below `folder` who can be enrolled.

    Raises:
        InputError: no photos, no folder to write to, or nobody could be enrolled.
    """
    if not out.resolve().parent.is_dir():
        raise InputError(f"{out.parent}: no such folder")
    reader = PhotoReader(ENROL_QUALITY)
    reports = Reports()
    found = read_people(folder, reader, reports)
    same_sq = distance_at(reader.impostors, SAME_PERSON_FMR)
    people = {person: drop_strangers(person, photos, same_sq, reports) for person, photos in found.items() if photos}
    people = {person: photos for person, photos in people.items() if photos}
    if people:
        people = drop_twins(drop_mislabelled(people, same_sq, reports), same_sq, reports)
    if not people:
        raise InputError(f"{folder}: nobody could be enrolled; the reasons are named above")
    for person in sorted(found.keys() - people.keys()):
        tell(f"{person}: not enrolled, no photo could serve")
    base_sq = threshold_sq(reader.impostors, one_stranger_in=one_stranger_in, people=len(people))
    centroids = np.stack([centroid(photos) for photos in people.values()])
    limits = thresholds(centroids, base_sq)
    save_gallery(out, [Person(person, person) for person in people], centroids, limits, reader.embedder_sha256)
    photos = sum(len(photos) for photos in people.values())
    tell(
        f"{out}: {len(people)} people from {photos} photos, {reports.count} problems; threshold_sq {base_sq:.2f} "
        f"(lower is stricter), stricter still for {int((limits < base_sq).sum())} with a look-alike"
    )


def main() -> None:
    """Parse the command line and enrol."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="PHOTOS", help="folder with one folder of photos per person")
    parser.add_argument("--out", type=Path, required=True, metavar="G", help="gallery to write (.safetensors)")
    parser.add_argument(
        "--one-stranger-in",
        type=float,
        default=1000,
        metavar="N",
        help="accept at most one stranger in N, whatever the gallery's size (default: %(default)s)",
    )
    arguments = parser.parse_args()
    if not arguments.one_stranger_in >= 2:
        parser.error("--one-stranger-in must be at least 2")
    enrol(arguments.folder, arguments.out, arguments.one_stranger_in)


if __name__ == "__main__":
    run(main)
