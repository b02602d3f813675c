"""The losses by name, ready for the people they are to learn from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.lab.metric_learning.losses import ArcFace, Contrastive, Loss, Triplet


def arcface(photos: LabelledEmbeddings) -> ArcFace:
    """Prototypes begin as the mean vector of everybody with two photos or more; others have nothing to learn from."""
    rows_of = photos.rows_of
    several = [number for number, rows in enumerate(rows_of) if len(rows) > 1]
    prototypes = np.stack([photos.vectors[rows_of[who]].astype(np.float64).mean(axis=0) for who in several])
    prototype_of = np.full(len(photos.names), -1, np.intp)
    prototype_of[several] = np.arange(len(several))
    return ArcFace(prototypes / np.linalg.norm(prototypes, axis=1, keepdims=True), prototype_of)


LOSSES: dict[str, Callable[[LabelledEmbeddings], Loss]] = {
    "contrastive": lambda _: Contrastive(),
    "triplet-random": lambda _: Triplet("random"),
    "triplet-hard": lambda _: Triplet("hard"),
    "triplet-semihard": lambda _: Triplet("semihard"),
    "arcface": arcface,
}
