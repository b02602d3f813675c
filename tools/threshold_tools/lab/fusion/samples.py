"""Samples as a door may get them: photos, and degraded copies, each measured by the door's models."""

from __future__ import annotations

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
from edge.vision.images import read_image
from edge.vision.quality import apply_limits
from threshold_tools.lab.fusion.augment import KINDS, degrade
from threshold_tools.photos import ANY_QUALITY, PhotoSampler, normalize, photos_in

PLAIN = "plain"


@dataclass(frozen=True, slots=True, eq=False)
class SampleSet:
    """Every sample in which a face was found.

    Attributes:
        embedding: (N, D) float32 unit rows, as a door embeds a sample.
        enrolled: (N, D) float32 unit rows, as enrolment does: face and mirrored face; of plain samples, else zeros.
        quality: what each sample measured, and the weight or refusal that a door gives it.
        people: (N,) number of the person.
        photos: (N,) number of the photo that it shows, over all people.
        kinds: (N,) "plain", or the kind of degradation.
        names: of the people.
        tried: samples of each kind, those without a face included.
    """

    embedding: FloatArray
    enrolled: FloatArray
    quality: list[Quality]
    people: NDArray[np.intp]
    photos: NDArray[np.intp]
    kinds: NDArray[np.str_]
    names: list[str]
    tried: dict[str, int]

    def __len__(self) -> int:
        return len(self.embedding)

    @property
    def plain(self) -> NDArray[np.bool_]:
        """(N,) whether each sample is of a photo as it is."""
        return np.asarray(self.kinds == PLAIN)

    @property
    def refused(self) -> NDArray[np.bool_]:
        """(N,) whether a door refuses each sample."""
        return np.array([bool(each.refusal) for each in self.quality])


@dataclass(frozen=True, slots=True, eq=False)
class _DegradedSample:
    """One sample."""

    embedding: FloatArray
    enrolled: FloatArray
    quality: Quality
    landmarks: Landmarks


def collect_samples(
    folder: Path, config: QualityConfig, *, copies: int, most: int, seed: int
) -> tuple[SampleSet, PhotoSampler]:
    """Sample the photos of FOLDER/<person>/ and degraded copies of each; returns the sampler, too.

    Args:
        folder: one folder of photos for each person.
        config: what a door refuses and how it weighs the rest.
        copies: degraded copies of each photo, each of another kind.
        most: photos of one person at most, drawn under the seed.
        seed: of everything drawn; a person's samples do not depend on who else is there.

    Raises:
        InputError: no such folder, no photo in a person's folder, or not one face.
    """
    by_person: dict[str, list[Path]] = {}
    for path in photos_in(folder):
        parts = path.relative_to(folder).parts
        if len(parts) > 1:
            by_person.setdefault(parts[0], []).append(path)
    names = sorted(by_person)
    sampler = PhotoSampler(ANY_QUALITY)
    samples: list[_DegradedSample] = []
    marks: list[tuple[int, int, str]] = []
    tried: Counter[str] = Counter()
    photo = -1
    total = sum(min(len(paths), most) for paths in by_person.values())
    with tqdm(total=total, desc="sample", unit=" photos", disable=None) as progress:
        for number, name in enumerate(names):
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            for place in sorted(rng.permutation(len(by_person[name]))[:most].tolist()):
                photo += 1
                for kind, sample in _sample_copies(sampler, by_person[name][place], copies, rng):
                    tried[kind] += 1
                    if sample is not None:
                        samples.append(sample)
                        marks.append((number, photo, kind))
                progress.update()
    if not samples:
        raise InputError(f"{folder}: not one face in the photos of its folders; nothing can be measured")
    people, photos, kinds = zip(*marks, strict=True)
    collected = SampleSet(
        np.stack([each.embedding for each in samples]),
        np.stack([each.enrolled for each in samples]),
        [apply_limits(each.quality, each.landmarks.presence, config) for each in samples],
        np.array(people, np.intp),
        np.array(photos, np.intp),
        np.array(kinds),
        names,
        dict(tried),
    )
    return collected, sampler


def _sample_copies(
    sampler: PhotoSampler, path: Path, copies: int, rng: np.random.Generator
) -> list[tuple[str, _DegradedSample | None]]:
    """The photo and its copies; a photo without a face has none, an unreadable one is reported and left out."""
    try:
        pixels = read_image(path)
    except ImageError as error:
        tqdm.write(str(error), file=sys.stderr)
        return []
    plain = _sample(sampler, pixels, mirror=True)
    kinds = rng.permutation(np.array(KINDS))[:copies].tolist()
    if plain is None:
        return [(PLAIN, None)]
    copied = [(kind, _sample(sampler, degrade(kind, pixels, plain.landmarks, rng), mirror=False)) for kind in kinds]
    return [(PLAIN, plain), *copied]


def _sample(sampler: PhotoSampler, pixels: BgrImage, *, mirror: bool) -> _DegradedSample | None:
    photo = sampler.sample(pixels, mirror=mirror)
    sample = photo.sample
    if sample is None or sample.embedding is None or sample.landmarks is None:
        return None
    mirrored = photo.mirrored
    enrolled = np.zeros_like(sample.embedding) if mirrored is None else normalize(sample.embedding + mirrored)
    return _DegradedSample(sample.embedding, enrolled, sample.quality, sample.landmarks)
