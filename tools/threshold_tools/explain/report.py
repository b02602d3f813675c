"""An explanation as data; JSON, the text and the page are made of it."""

from __future__ import annotations

import msgspec


class QualityPart(msgspec.Struct, frozen=True):
    """One part of a sample's quality."""

    name: str  # as in `edge.core.records.Quality`, or `score` (the detector's) and `presence` (the mesh's)
    label: str  # the same for people
    value: float  # with the unit of the name's suffix
    gate: str  # limits of the door, such as "at least 18"; "" without any
    ok: bool  # whether the value keeps to the gate
    full: float | None  # value from which on the weight is full; None where it never costs weight


class OcclusionMap(msgspec.Struct, frozen=True):
    """How the distance changes when a part of the aligned face is covered."""

    # Rows of (distance with the patch there) - (distance without); above 0: what is there brings the two together;
    # below 0: it keeps them apart.
    grid: list[list[float]]
    regions: dict[str, float]  # by part of the face, the mean over its cells, farthest from 0 first
    patch_px: int  # side of the grey patch in the aligned face


class PhotoReport(msgspec.Struct, frozen=True):
    """What a photo shows a door."""

    photo: str  # its path
    width_px: int  # of the photo
    height_px: int  # of the photo
    faces: int  # how many faces it shows; the largest, most central one is used
    box: tuple[float, float, float, float]  # left, top, right, bottom of that face, pixels of the photo
    # Right eye, left eye, nose tip, right and left mouth corner, pixels of the photo; the person's own right and left.
    five_px: list[tuple[float, float]]
    parts: list[QualityPart]  # of its quality
    weight: float  # of the sample as evidence, 0..1; 0 means rejected
    refusal: str  # why a door rejects the sample, or ""
    occlusion: OcclusionMap | None = None  # what in this face drives the distance, or None where it was not measured


class NearestPerson(msgspec.Struct, frozen=True):
    """A person to measure against: squared distance 0..4, lower is nearer; a lower threshold is stricter."""

    id: str
    name: str
    distance_sq: float
    threshold_sq: float


class SimulatedDecision(msgspec.Struct, frozen=True):
    """What a door does with a visitor all of whose samples are like this one."""

    kind: str  # door-open, denied, unknown; "" when it never comes to an answer
    samples: int  # how many it takes
    reason: str  # which condition decided
    rule: str  # the access rule that decided, "" without one
    needed: int  # samples that must agree on a name
    counts: bool  # whether a single one counts towards the nearest person


class Explanation(msgspec.Struct, frozen=True):
    """The whole explanation."""

    a: PhotoReport  # the photo that comes to the door
    b: PhotoReport | None  # the photo it is compared with, as if it were enrolled, or None
    # The person that `distance_sq` is measured to: that photo, the person asked for, or the nearest one.
    target: NearestPerson
    # Share of strangers who come as near to one given person, by the embedder's table of impostors, and the smallest
    # and largest share that this table knows: beyond these it says no more.
    strangers: tuple[float, float, float]
    nearest: list[NearestPerson]  # of the gallery, nearest first; empty without a gallery
    gallery: str  # its path, or "": then the photo `b` is the only one enrolled
    answer: SimulatedDecision  # of the door
    verdict: list[str]  # the same in plain words, a sentence each
    embedder_sha256: str  # the model that the distances belong to
