"""Cost of int8 in recognition accuracy: float and int8 models process the same photos, compared on the same pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from rich.table import Table

from edge.core.errors import InputError
from edge.core.records import FloatArray
from edge.vision.images import read_image
from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.evaluate.cross_validation import draw_pairs, judge
from threshold_tools.evaluate.verification import sweep
from threshold_tools.photos import CANDIDATE, normalize
from threshold_tools.quantize.runner import ModelRunner
from threshold_tools.quantize.stages import Cropper
from threshold_tools.reports.terminal import track

FLOAT = "all float"
FMRS = (1e-3, 1e-4, 1e-5)
_CHAINS = {  # form of detector and mesh, form of the embedder
    ("float", "float"): FLOAT,
    ("float", "int8"): "embedder int8",
    ("int8", "float"): "detector and mesh int8",
    ("int8", "int8"): "all int8",
}


class ChainAccuracy(msgspec.Struct, frozen=True):
    """The accuracy of one chain of models."""

    chain: str  # models that are int8
    ten_fold_percent: float  # mean accuracy in folds over all draws of pairs; a photo without a face is an error
    below_float: float  # percentage points below the float chain, on the same pairs
    standard_error: float  # of `below_float`, over the draws of pairs; not over people
    tar_percent: tuple[float, ...]  # over all pairs, at each of `FMRS`
    eer_percent: float  # over all pairs
    cosine_median: float  # to the vectors of the float chain
    cosine_p1: float
    no_face: int  # photos without a detected face


class AccuracyReport(msgspec.Struct, frozen=True):
    """The cost of int8 on one set of photos."""

    images: str
    photos: int
    people: int
    draws: int
    rows: tuple[ChainAccuracy, ...]


def embed(
    paths: Sequence[Path], floats: Mapping[str, ModelRunner], integers: Mapping[str, ModelRunner]
) -> dict[str, FloatArray]:
    """A unit vector for each photo by each chain, (N, D) float32; zeros if no face was found.

    Args:
        paths: paths of the photos.
        floats, integers: models by name.

    Raises:
        InputError: no photo shows a face.
    """
    forms = {"float": floats, "int8": integers}
    croppers = {form: Cropper(models, CANDIDATE) for form, models in forms.items()}
    rows: dict[str, dict[int, FloatArray]] = {chain: {} for chain in _CHAINS.values()}
    for number, path in enumerate(track(paths, "Comparing chains")):
        image = read_image(path)
        crops = {form: cropper.crop(image) for form, cropper in croppers.items()}
        for (first, last), chain in _CHAINS.items():
            if (found := crops[first]) is not None:
                rows[chain][number] = normalize(forms[last]["embedder"](found.face)["embedding"].ravel())
    sizes = {len(vector) for vectors in rows.values() for vector in vectors.values()}
    if not sizes:
        raise InputError("no face found in the photos")
    empty = np.zeros(sizes.pop(), np.float32)
    return {chain: np.stack([rows[chain].get(k, empty) for k in range(len(paths))]) for chain in rows}


def report(vectors: Mapping[str, FloatArray], names: Sequence[str], images: str, draws: int) -> AccuracyReport:
    """The accuracy of each chain's vectors on the same draws of pairs.

    Args:
        vectors: by chain, (N, D) with a row for each photo, zeros without a face. The float chain must be included.
        names: "person/photo" of each photo.
        images: description of the photos, for people.
        draws: number of random assignments to ten folds with new pairs.

    Raises:
        InputError: too few people for ten folds, or no two photos of a person with a face.
    """
    chains = {
        name: LabelledEmbeddings(rows, np.linalg.norm(rows, axis=1) > 0, list(names), "")
        for name, rows in vectors.items()
    }
    reference = chains[FLOAT]
    accuracy: dict[str, list[float]] = {name: [] for name in chains}
    for seed in range(draws):
        pairs = draw_pairs(reference, seed)
        if pairs is None:
            raise InputError(f"{images}: too few people with two photos to compare recognition in ten folds")
        for name, chain in chains.items():
            accuracy[name].append(100 * float(judge(chain, pairs).with_failures.mean()))
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


def table(found: AccuracyReport) -> Table:
    """The report for people."""
    title = f"{found.photos} photos of {found.people} people, {found.draws} draws of pairs in ten folds, in %"
    heads = [f"TAR {fmr:.0e}" for fmr in FMRS]
    result = Table("int8", "ten folds", "below float", *heads, "EER", "cosine", "no face", title=title)
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
