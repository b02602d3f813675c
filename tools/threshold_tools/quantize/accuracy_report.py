"""What int8 costs in recognition: the same photos through float and int8 models, judged on the same pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from rich.table import Table

from edge.core.errors import InputError
from edge.core.records import BgrImage, FloatArray
from edge.vision.manifest import AnchorLayer
from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.evaluate.cross_validation import Accuracies, draw_pairs, judge
from threshold_tools.evaluate.verification import sweep
from threshold_tools.photos import CANDIDATE
from threshold_tools.quantize import calibration_photos
from threshold_tools.quantize.stages import Cropper, Runner, SubjectFinder

FLOAT = "all float"
FMRS = (1e-3, 1e-4, 1e-5)


@dataclass(frozen=True, slots=True, eq=False)
class ModelChain:
    """One way from photo to vector, all float or all int8."""

    detector: Runner
    mesh: Runner
    embedder: Runner


class ChainAccuracy(msgspec.Struct, frozen=True):
    """One chain of models.

    Attributes:
        chain: which models are int8.
        ten_fold_percent: mean accuracy in folds over all draws of pairs; a photo without a face is an error.
        below_float: percentage points by which that is below the float chain's, on the same pairs.
        standard_error: of `below_float`, over the draws of pairs; it says nothing of other people.
        tar_percent: over all pairs, at each of `FMRS`.
        eer_percent: over all pairs.
        cosine_median, cosine_p1: of the vectors to the float chain's.
        no_face: photos in which none was found.
    """

    chain: str
    ten_fold_percent: float
    below_float: float
    standard_error: float
    tar_percent: tuple[float, ...]
    eer_percent: float
    cosine_median: float
    cosine_p1: float
    no_face: int


class AccuracyReport(msgspec.Struct, frozen=True):
    """The cost of int8 on one set of photos."""

    images: str
    photos: int
    people: int
    draws: int
    rows: tuple[ChainAccuracy, ...]


def embed(
    paths: Iterable[Path], floating: ModelChain, integer: ModelChain, anchors: tuple[AnchorLayer, ...], side_px: int
) -> dict[str, list[FloatArray]]:
    """A vector for each photo by each chain; zeros where no face was found.

    Args:
        paths: of the photos.
        floating: the float models.
        integer: the int8 models.
        anchors: of the detectors.
        side_px: of the embedders' input.
    """
    rows: dict[str, list[FloatArray]] = {}
    croppers = [
        (name, Cropper(SubjectFinder(models.detector, anchors, CANDIDATE), models.mesh, side_px))
        for name, models in (("float", floating), ("int8", integer))
    ]
    for path in paths:
        image = calibration_photos.read(path)
        for finder, cropper in croppers:
            crops = cropper.crop(image)
            for last, models in (("float", floating), ("int8", integer)):
                name = _NAMES[finder, last]
                rows.setdefault(name, []).append(
                    np.zeros(0, np.float32) if crops is None else _unit(models, crops.face)
                )
    width = max(len(vector) for vectors in rows.values() for vector in vectors)
    empty = np.zeros(width, np.float32)
    return {name: [vector if len(vector) else empty for vector in vectors] for name, vectors in rows.items()}


_NAMES = {
    ("float", "float"): FLOAT,
    ("float", "int8"): "embedder int8",
    ("int8", "float"): "detector and mesh int8",
    ("int8", "int8"): "all int8",
}


def _unit(models: ModelChain, face: BgrImage) -> FloatArray:
    vector = models.embedder(face)["embedding"].ravel()
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def report(vectors: dict[str, list[FloatArray]], names: Sequence[str], images: str, draws: int) -> AccuracyReport:
    """Judge each chain's vectors on the same draws of pairs.

    Args:
        vectors: by chain, a row for each photo; zeros where no face was found. The float chain is one of them.
        names: "person/photo" of each photo.
        images: what they are, for people.
        draws: how often to deal the people into ten folds and draw pairs.

    Raises:
        InputError: too few people for ten folds, or no face.
    """
    chains = {name: _photos(np.stack(rows), names) for name, rows in vectors.items()}
    reference = chains[FLOAT]
    accuracy: dict[str, list[float]] = {name: [] for name in chains}
    for seed in range(draws):
        pairs = draw_pairs(reference, seed)
        if pairs is None:
            raise InputError(f"{images}: too few people with two photos to compare recognition in ten folds")
        for name, chain in chains.items():
            judged: Accuracies = judge(chain, pairs)
            accuracy[name].append(100 * float(judged.with_failures.mean()))
    rows = tuple(_row(name, chain, reference, accuracy[name], accuracy[FLOAT]) for name, chain in chains.items())
    return AccuracyReport(images, len(reference), len(reference.names), draws, rows)


def _row(
    name: str, chain: LabelledEmbeddings, reference: LabelledEmbeddings, own: list[float], other: list[float]
) -> ChainAccuracy:
    below = np.array(other) - np.array(own)
    swept = sweep(chain)
    if swept is None:
        raise InputError("no two photos of one person with a face in both; nothing can be compared")
    both = chain.found & reference.found
    cosines = np.einsum("ij,ij->i", chain.vectors[both], reference.vectors[both])
    tars = [100 * swept.accepted(swept.threshold_sq(fmr)) / len(swept.genuine_sq) for fmr in FMRS]
    return ChainAccuracy(
        name,
        round(float(np.mean(own)), 3),
        round(float(below.mean()), 3),
        round(float(below.std(ddof=1) / np.sqrt(len(below))), 3) if len(below) > 1 else 0.0,
        tuple(round(tar, 2) for tar in tars),
        round(100 * swept.eer(), 3),
        round(float(np.median(cosines)), 5),
        round(float(np.percentile(cosines, 1)), 5),
        int((~chain.found).sum()),
    )


def _photos(vectors: FloatArray, names: Sequence[str]) -> LabelledEmbeddings:
    return LabelledEmbeddings(vectors, np.linalg.norm(vectors, axis=1) > 0, list(names), "")


def table(found: AccuracyReport) -> Table:
    """The report for people."""
    title = f"{found.photos} photos of {found.people} people, {found.draws} draws of pairs in ten folds"
    heads = [f"TAR {fmr:.0e}" for fmr in FMRS]
    result = Table("int8", "ten folds", "below float", *heads, "EER", "cosine", "no face", title=title + ", in %")
    for row in found.rows:
        result.add_row(
            row.chain,
            f"{row.ten_fold_percent:.3f}",
            f"{row.below_float:+.3f} ± {row.standard_error:.3f}",
            *(f"{tar:.2f}" for tar in row.tar_percent),
            f"{row.eer_percent:.3f}",
            f"{row.cosine_median:.5f}",
            str(row.no_face),
        )
    return result
