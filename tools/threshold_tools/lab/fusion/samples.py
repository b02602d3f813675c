"""Looks at people as a door might get them: photos, and copies harmed on purpose, each seen by the door's models."""

from __future__ import annotations

import math
import sys
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge.core.config import QualityConfig
from edge.core.errors import ImageError, InputError
from edge.core.records import BgrImage, FloatArray, Landmarks, Quality
from edge.vision.camera import read_image
from edge.vision.quality import apply_limits
from threshold_tools.lab.fusion.augment import KINDS, degrade
from threshold_tools.photos import ANY_QUALITY, PhotoSampler, normalize, photos_in

PLAIN = "plain"
Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SampleSet:
    """Every look in which a face was found.

    Attributes:
        embedding: (N, D) float32 unit rows, as a door embeds a sample.
        enrolled: (N, D) float32 unit rows, as enrolment does: face and mirrored face; of plain looks, else zeros.
        quality: what each look measured, and the weight or refusal that a door gives it.
        presence: (N,) the mesh's belief that there is a face, 0..1.
        people: (N,) number of the person.
        photos: (N,) number of the photo that it shows, over all people.
        kinds: (N,) "plain", or how it was harmed.
        names: of the people.
        tried: looks by kind, those without a face included.
    """

    embedding: FloatArray
    enrolled: FloatArray
    quality: list[Quality]
    presence: Reals
    people: NDArray[np.intp]
    photos: NDArray[np.intp]
    kinds: NDArray[np.str_]
    names: list[str]
    tried: dict[str, int]

    def __len__(self) -> int:
        return len(self.embedding)

    @property
    def plain(self) -> NDArray[np.bool_]:
        """(N,) whether each look is at a photo as it is."""
        return np.asarray(self.kinds == PLAIN)

    @property
    def values(self) -> Reals:
        """(N,) weight 0..1; 0 where it is refused."""
        return np.array([each.weight for each in self.quality])

    @property
    def refused(self) -> NDArray[np.bool_]:
        """(N,) whether a door refuses each look."""
        return np.array([bool(each.refusal) for each in self.quality])

    @property
    def cues(self) -> dict[str, Reals]:
        """(N,) each of what foretells how good a sample is; more is better."""
        seen = self.quality
        pose = [math.cos(math.radians(each.yaw_deg)) * math.cos(math.radians(each.pitch_deg)) for each in seen]
        return {
            "weight": self.values,
            "strength": np.array([each.embedding_norm for each in seen]),
            "presence": self.presence,
            "sharpness": np.array([each.sharpness for each in seen]),
            "size": np.array([each.size_px for each in seen]),
            "pose": np.array(pose),
            "brightness": np.array([each.brightness for each in seen]),
            "no glare": np.array([-each.glare for each in seen]),
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """One look."""

    embedding: FloatArray
    enrolled: FloatArray
    quality: Quality
    landmarks: Landmarks


def collect_samples(
    folder: Path, config: QualityConfig, *, copies: int, most: int, seed: int
) -> tuple[SampleSet, PhotoSampler]:
    """Look at the photos of FOLDER/<person>/ and at harmed copies of each; also what has looked.

    Args:
        folder: one folder of photos for each person.
        config: what a door refuses and how it weighs the rest.
        copies: harmed copies of each photo, each in another way.
        most: photos of one person at most, drawn under the seed.
        seed: of everything drawn; a person's looks do not depend on who else is there.

    Raises:
        InputError: no such folder, no photo in a person's folder, or not one face.
    """
    by_person: dict[str, list[Path]] = {}
    for path in photos_in(folder):
        parts = path.relative_to(folder).parts
        if len(parts) > 1:
            by_person.setdefault(parts[0], []).append(path)
    names = sorted(by_person)
    reader = PhotoSampler(ANY_QUALITY)
    looks: list[_Seen] = []
    marks: list[tuple[int, int, str]] = []
    tried: Counter[str] = Counter()
    photo = -1
    total = sum(min(len(paths), most) for paths in by_person.values())
    with tqdm(total=total, desc="look", unit=" photos", disable=None) as progress:
        for number, name in enumerate(names):
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            for place in sorted(rng.permutation(len(by_person[name]))[:most].tolist()):
                photo += 1
                for kind, look in _of_photo(reader, by_person[name][place], copies, rng):
                    tried[kind] += 1
                    if look is not None:
                        looks.append(look)
                        marks.append((number, photo, kind))
                progress.update()
    if not looks:
        raise InputError(f"{folder}: not one face in the photos of its folders; nothing can be measured")
    people, photos, kinds = zip(*marks, strict=True)
    return (
        SampleSet(
            np.stack([each.embedding for each in looks]),
            np.stack([each.enrolled for each in looks]),
            [apply_limits(each.quality, each.landmarks.presence, config) for each in looks],
            np.array([each.landmarks.presence for each in looks]),
            np.array(people, np.intp),
            np.array(photos, np.intp),
            np.array(kinds),
            names,
            dict(tried),
        ),
        reader,
    )


def _of_photo(
    reader: PhotoSampler, path: Path, copies: int, rng: np.random.Generator
) -> list[tuple[str, _Seen | None]]:
    """The photo and its copies; one without a face has no copies, one that cannot be read is told and left out."""
    try:
        pixels = read_image(path)
    except ImageError as error:
        tqdm.write(str(error), file=sys.stderr)
        return []
    plain = _look(reader, pixels, mirror=True)
    kinds = rng.permutation(np.array(KINDS))[:copies].tolist()
    if plain is None:
        return [(PLAIN, None)]
    harmed = [(kind, _look(reader, degrade(kind, pixels, plain.landmarks, rng), mirror=False)) for kind in kinds]
    return [(PLAIN, plain), *harmed]


def _look(reader: PhotoSampler, pixels: BgrImage, *, mirror: bool) -> _Seen | None:
    look = reader.sample(pixels, mirror=mirror)
    sample = look.sample
    if sample is None or sample.embedding is None or sample.landmarks is None:
        return None
    enrolled = np.zeros_like(sample.embedding) if look.mirrored is None else normalize(sample.embedding + look.mirrored)
    return _Seen(sample.embedding, enrolled, sample.quality, sample.landmarks)
