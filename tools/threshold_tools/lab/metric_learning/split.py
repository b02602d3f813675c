"""People, not photos, are split: a head that has seen somebody says nothing about how it treats strangers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.core.errors import InputError
from threshold_tools.embeddings import LabelledEmbeddings

PARTS = (5, 2, 3)  # of ten: to learn from, to stop by, to judge on
MOST = 20  # photos of anybody: with all, a few celebrities own nearly every pair of one person
FEWEST = 40  # people with two photos with a face, or the judgement is of a handful


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Three sets of people; nobody is in two of them."""

    train: LabelledEmbeddings
    validation: LabelledEmbeddings
    held_out: LabelledEmbeddings


def split_people(photos: LabelledEmbeddings, seed: int) -> Split:
    """Five tenths to learn from, two to stop by, three to judge on, alike in photos per person.

    Only photos with a face, and no more than `MOST` of anybody, drawn by lot. People are sorted by their number of
    photos, equal ones by lot, and of each ten in a row five, two and three are drawn.

    Raises:
        InputError: too few people.
    """
    faces = photos.only(_at_most(photos, MOST, np.random.default_rng([seed, 0])))
    counts = np.bincount(faces.people, minlength=len(faces.names))
    paired = int((counts > 1).sum())
    if paired < FEWEST:
        raise InputError(
            f"only {paired} people have two photos with a face; a head that can be judged takes {FEWEST} or more"
        )
    rng = np.random.default_rng([seed, 1])
    order = np.lexsort((rng.random(len(counts)), -counts))
    part = np.zeros(len(counts), np.intp)
    for start in range(0, len(order), sum(PARTS)):
        ten = order[start : start + sum(PARTS)]
        part[ten] = rng.permutation(np.repeat(np.arange(len(PARTS)), PARTS))[: len(ten)]
    train, validation, held_out = (faces.only(part[faces.people] == number) for number in range(len(PARTS)))
    return Split(train, validation, held_out)


def _at_most(photos: LabelledEmbeddings, most: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    keep = np.zeros(len(photos), bool)
    for rows in photos.rows_of:
        keep[rng.permutation(rows[photos.found[rows]])[:most]] = True
    return keep
