"""Closed-set identification: everybody is enrolled, and every probe is somebody's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from calibration.rates import attempts

from evaluation.pairs import Reals
from evaluation.search import centroids_of, faces_of
from evaluation.vectors import Photos

CLOSED_PHOTOS = 10  # people with fewer take no part in the closed set
SPLITS = 20
TEST_SHARE = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Closed:
    """Shares of probes named rightly, one for each split, (S,) float64; lowered by failures where it says so."""

    people: int
    photos: int
    centroid: Reals
    sample: Reals
    centroid_with_failures: Reals
    sample_with_failures: Reals


def closed_set(photos: Photos, seed: int) -> Closed | None:
    """Split every person's photos at random, four parts enrolled, one part probes, and name the probes.

    A photo without a face adds nothing where it is to be enrolled and is an error where it is a probe. None when
    nobody, or one alone, has ten photos.
    """
    groups = [rows for rows in photos.rows_of if len(rows) >= CLOSED_PHOTOS]
    if len(groups) <= 1:
        return None
    shares = []
    for split in range(SPLITS):
        rng = np.random.default_rng([seed, split])
        enrolled, probes = [], []
        for rows in groups:
            mixed = rng.permutation(rows)
            cut = round(TEST_SHARE * len(rows))
            probes.append(mixed[:cut])
            enrolled.append(mixed[cut:])
        tested = np.concatenate(probes)
        usable = tested[photos.found[tested]]
        own = photos.people[usable]
        kept = [rows[photos.found[rows]] for rows in enrolled]
        kept = [rows for rows in kept if len(rows)]
        if not len(usable) or not kept:
            return None
        samples = np.concatenate(kept)
        faces = faces_of(photos.vectors[usable])
        by_centroid = photos.people[[rows[0] for rows in kept]][attempts(faces, centroids_of(photos, kept)).nearest]
        by_sample = photos.people[samples][attempts(faces, photos.vectors[samples]).nearest]
        right = (int((by_centroid == own).sum()), int((by_sample == own).sum()))
        shares.append([count / of for of in (len(usable), len(tested)) for count in right])
    columns = np.array(shares).T
    photos_used = sum(len(rows) for rows in groups)
    return Closed(len(groups), photos_used, columns[0], columns[1], columns[2], columns[3])
