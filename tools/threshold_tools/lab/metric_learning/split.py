"""People, not photos, are split: a head that has seen somebody says nothing about how it treats strangers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.core.errors import InputError
from threshold_tools.embeddings import LabelledEmbeddings

TENTHS = (5, 2, 3)  # of ten: to learn from, to stop by, to judge on
MAX_PHOTOS = 20  # photos of anybody: with all, a few celebrities own nearly every pair of one person
MIN_PEOPLE = 40  # people with two photos with a face, or the judgement is of a handful


@dataclass(frozen=True, slots=True, eq=False)
class PeopleSplit:
    """Three sets of people; nobody is in two of them."""

    train: LabelledEmbeddings
    validation: LabelledEmbeddings
    held_out: LabelledEmbeddings


def split_people(photos: LabelledEmbeddings, seed: int) -> PeopleSplit:
    """Five tenths to learn from, two to stop by, three to judge on, alike in photos per person.

    Takes photos with a face only, and no more than `MAX_PHOTOS` of anybody, at random. People are sorted by their
    number of photos, and of each ten in a row five, two and three are drawn.

    Raises:
        InputError: too few people.
    """
    faces = photos.only(_at_most(photos, MAX_PHOTOS, np.random.default_rng([seed, 0])))
    counts = np.bincount(faces.people, minlength=len(faces.names))
    paired = int((counts > 1).sum())
    if paired < MIN_PEOPLE:
        raise InputError(
            f"only {paired} people have two photos with a face; a head that can be judged takes {MIN_PEOPLE} or more"
        )
    rng = np.random.default_rng([seed, 1])
    order = np.lexsort((rng.random(len(counts)), -counts))
    part = np.zeros(len(counts), np.intp)
    for start in range(0, len(order), sum(TENTHS)):
        ten = order[start : start + sum(TENTHS)]
        part[ten] = rng.permutation(np.repeat(np.arange(len(TENTHS)), TENTHS))[: len(ten)]
    train, validation, held_out = (faces.only(part[faces.people] == number) for number in range(len(TENTHS)))
    return PeopleSplit(train, validation, held_out)


def _at_most(photos: LabelledEmbeddings, most: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    keep = np.zeros(len(photos), bool)
    for rows in photos.rows_of:
        keep[rng.permutation(rows[photos.found[rows]])[:most]] = True
    return keep
