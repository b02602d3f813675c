"""An explanation as data; JSON, the text and the page are made of it."""

from __future__ import annotations

import msgspec


class QualityPart(msgspec.Struct, frozen=True):
    """One part of a sample's quality.

    Attributes:
        name: as in `edge.core.records.Quality`, or `score` (the detector's) and `presence` (the mesh's).
        label: the same for people.
        value: with the unit of the name's suffix.
        gate: limits of the door, such as "at least 18"; "" without any.
        ok: whether the value keeps to the gate.
        full: value from which on the weight is full; None where it never costs weight.
    """

    name: str
    label: str
    value: float
    gate: str
    ok: bool
    full: float | None


class OcclusionMap(msgspec.Struct, frozen=True):
    """How the distance changes when a part of the aligned face is covered.

    Attributes:
        grid: rows of (distance with the patch there) - (distance without); above 0: what is there brings the two
            together; below 0: it keeps them apart.
        regions: by part of the face, the mean over its cells, farthest from 0 first.
        patch_px: side of the grey patch in the aligned face.
    """

    grid: list[list[float]]
    regions: dict[str, float]
    patch_px: int


class PhotoReport(msgspec.Struct, frozen=True):
    """What a photo shows a door.

    Attributes:
        photo: its path.
        width_px, height_px: of the photo.
        faces: how many faces it shows; the largest, most central one is used.
        box: left, top, right, bottom of that face, pixels of the photo.
        five_px: right eye, left eye, nose tip, right and left mouth corner, pixels of the photo; the person's own
            right and left.
        parts: of its quality.
        weight: of the sample as evidence, 0..1; 0 means rejected.
        refusal: why a door rejects the sample, or "".
        occlusion: what in this face drives the distance, or None where it was not measured.
    """

    photo: str
    width_px: int
    height_px: int
    faces: int
    box: tuple[float, float, float, float]
    five_px: list[tuple[float, float]]
    parts: list[QualityPart]
    weight: float
    refusal: str
    occlusion: OcclusionMap | None = None


class NearestPerson(msgspec.Struct, frozen=True):
    """A person to measure against: squared distance 0..4, lower is nearer; a lower threshold is stricter."""

    id: str
    name: str
    distance_sq: float
    threshold_sq: float


class SimulatedDecision(msgspec.Struct, frozen=True):
    """What a door does with a visitor all of whose samples are like this one.

    Attributes:
        kind: door-open, denied, unknown; "" when it never comes to an answer.
        samples: how many it takes.
        reason: which condition decided.
        rule: the access rule that decided, "" without one.
        needed: samples that must agree on a name.
        counts: whether a single one counts towards the nearest person.
    """

    kind: str
    samples: int
    reason: str
    rule: str
    needed: int
    counts: bool


class Explanation(msgspec.Struct, frozen=True):
    """The whole explanation.

    Attributes:
        a: the photo that comes to the door.
        b: the photo it is compared with, as if it were enrolled, or None.
        target: the person that `distance_sq` is measured to: that photo, the person asked for, or the nearest one.
        strangers: share of strangers who come as near to one given person, by the embedder's table of impostors, and
            the smallest and largest share that this table knows: beyond these it says no more.
        nearest: of the gallery, nearest first; empty without a gallery.
        gallery: its path, or "": then the photo `b` is the only one enrolled.
        answer: of the door.
        verdict: the same in plain words, a sentence each.
        embedder_sha256: the model that the distances belong to.
    """

    a: PhotoReport
    b: PhotoReport | None
    target: NearestPerson
    strangers: tuple[float, float, float]
    nearest: list[NearestPerson]
    gallery: str
    answer: SimulatedDecision
    verdict: list[str]
    embedder_sha256: str
