"""Samples of photos and of degraded copies, measured by the models of a door."""

from __future__ import annotations

import itertools
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.core.config import QualityConfig
from edge.core.errors import ImageError, InputError
from edge.core.records import FloatArray, Quality
from edge.vision.images import read_image
from edge.vision.quality import apply_limits
from threshold_tools.lab.fusion.augment import KINDS, degrade
from threshold_tools.photos import ANY_QUALITY, PhotoSample, PhotoSampler, normalize, photos_in
from threshold_tools.reports.terminal import progress

PLAIN = "plain"


@dataclass(frozen=True, slots=True, eq=False)
class SampleSet:
    """Every sample in which a face was found."""

    embedding: FloatArray  # (N, D) float32 unit rows, as a door embeds a sample
    enrolled: FloatArray  # (N, D) float32 unit rows, mean of face and mirrored face; zeros for degraded copies
    quality: list[Quality]  # measured quality of each sample, with the weight or refusal of a door
    people: NDArray[np.intp]  # (N,) number of the person
    photos: NDArray[np.intp]  # (N,) number of the photo that it shows, over all people
    kinds: NDArray[np.str_]  # (N,) "plain", or the kind of degradation
    names: list[str]  # names of the people
    tried: dict[str, int]  # samples of each kind, with or without a face

    def __len__(self) -> int:
        return len(self.embedding)

    @property
    def plain(self) -> NDArray[np.bool_]:
        """(N,) whether each sample is of an unchanged photo."""
        return np.asarray(self.kinds == PLAIN)

    @property
    def refused(self) -> NDArray[np.bool_]:
        """(N,) whether a door rejects each sample."""
        return np.array([bool(each.refusal) for each in self.quality])


def collect_samples(
    folder: Path, config: QualityConfig, *, copies: int, most: int, seed: int
) -> tuple[SampleSet, PhotoSampler]:
    """Sample `most` photos of each person's folder, and `copies` differently degraded copies of each photo.

    The samples of a person do not depend on the other people. Returns the samples and the sampler.

    Raises:
        InputError: no such folder, no photo in a person's folder, or no face.
    """
    by_person: dict[str, list[Path]] = {}
    for path in photos_in(folder):
        parts = path.relative_to(folder).parts
        if len(parts) > 1:
            by_person.setdefault(parts[0], []).append(path)
    names = sorted(by_person)
    sampler = PhotoSampler(ANY_QUALITY)
    embeddings: list[FloatArray] = []
    enrolled: list[FloatArray] = []
    quality: list[Quality] = []
    marks: list[tuple[int, int, str]] = []
    tried: Counter[str] = Counter()
    photos = itertools.count()
    total = sum(min(len(paths), most) for paths in by_person.values())
    with progress(total, "Sampling photos") as advance:
        for number, name in enumerate(names):
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            for place in sorted(rng.permutation(len(by_person[name]))[:most].tolist()):
                photo = next(photos)
                for kind, shown in _sample_copies(sampler, by_person[name][place], copies, rng):
                    tried[kind] += 1
                    sample, mirrored = shown.sample, shown.mirrored
                    if sample is None or sample.embedding is None or sample.landmarks is None:
                        continue
                    vector = sample.embedding
                    embeddings.append(vector)
                    enrolled.append(np.zeros_like(vector) if mirrored is None else normalize(vector + mirrored))
                    quality.append(apply_limits(sample.quality, sample.landmarks.presence, config))
                    marks.append((number, photo, kind))
                advance()
    if not marks:
        raise InputError(f"{folder}: no face found in the photos of its folders; nothing can be measured")
    people, photo_of, kinds = (np.array(column) for column in zip(*marks, strict=True))
    collected = SampleSet(
        np.stack(embeddings), np.stack(enrolled), quality, people, photo_of, kinds, names, dict(tried)
    )
    return collected, sampler


def _sample_copies(
    sampler: PhotoSampler, path: Path, copies: int, rng: np.random.Generator
) -> Iterator[tuple[str, PhotoSample]]:
    """The photo and its copies; a photo without a face has no copies; an unreadable one is reported and left out."""
    try:
        pixels = read_image(path)
    except ImageError as error:
        print(error, file=sys.stderr)
        return
    plain = sampler.sample(pixels, mirror=True)
    kinds = rng.permutation(np.array(KINDS))[:copies].tolist()
    yield PLAIN, plain
    if plain.sample is not None and plain.sample.embedding is not None and plain.sample.landmarks is not None:
        for kind in kinds:
            yield kind, sampler.sample(degrade(kind, pixels, plain.sample.landmarks, rng))
