"""From a people folder that was looked at to a gallery for the doors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from thresholds import caps_sq

from edge.errors import InputError
from edge.identity.gallery import save_gallery
from edge.records import Person
from people.judge import centroid
from people.review import Review


def make_gallery(seen: Review, out: Path, embedder_sha256: str) -> str:
    """Write the gallery of everybody who can be enrolled; returns what to tell the operator.

    Raises:
        InputError: nobody can be.
    """
    if not seen.kept:
        raise InputError(f"{out}: not written, for nobody could be enrolled; every photo was refused")
    centroids = np.stack([centroid(photos) for photos in seen.kept.values()])
    limits = np.minimum(np.float32(seen.base_sq), caps_sq(centroids))
    names = {member.id: member.name for member in seen.members}
    people = [Person(person, names[person]) for person in seen.kept]
    save_gallery(out, people, centroids, limits, embedder_sha256)
    photos = sum(len(photos) for photos in seen.kept.values())
    stricter = int((limits < seen.base_sq).sum())
    return (
        f"{out}: {len(people)} people from {photos} photos, {seen.findings.count} problems; threshold_sq "
        f"{seen.base_sq:.2f} (lower is stricter), stricter still for {stricter} with a look-alike"
    )
