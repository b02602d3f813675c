"""Sets the thresholds of a gallery for a target rate, from strangers or from the embedder's table."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np

from edge.core.config import QualityConfig
from edge.core.errors import InputError
from edge.core.files import require_parent_dir
from edge.recognition.gallery import Gallery
from edge.recognition.gallery_file import load_gallery, save_gallery
from edge.vision.manifest import default_folder, read_manifest
from threshold_tools.calibrate.rates import Attempts, GenuineAttempts, ImpostorModel, attempts, limits
from threshold_tools.calibrate.report import CalibrationReport, CalibrationRow
from threshold_tools.calibrate.tail import FEWEST, fit_tail
from threshold_tools.embeddings import LabelledEmbeddings, load_or_embed
from threshold_tools.enroll.gallery_builder import need_gallery_name
from threshold_tools.stats import RankedScores, Rate
from threshold_tools.thresholds import fpir_at, smallest_supported_rate, threshold_sq

DECADE = 10  # a fitted tail of N strangers supports one stranger in N times this
FEWEST_STRANGERS = 100
ENROLLED_SQ = 0.54  # a stranger nearer than this may be an enrolled person,
ENROLLED_CHANCE = 0.01  # and is treated as one if the tail of the others expects fewer strangers than this so near
ROUND_TARGETS = (30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000)  # one stranger in N


def calibrate(
    gallery_path: Path,
    out: Path,
    one_stranger_in: float,
    *,
    strangers_path: Path | None = None,
    genuine_path: Path | None = None,
    html: Path | None = None,
) -> CalibrationReport:
    """Write the gallery with the thresholds for a target rate, and a page if one is requested.

    Args:
        gallery_path: gallery to read.
        out: gallery to write.
        one_stranger_in: accept at most one stranger's attempt in this many.
        strangers_path: photos or embeddings of people who are not enrolled; None: use the embedder's table.
        genuine_path: photos or embeddings of enrolled people, to measure false rejects; None: do not measure them.
        html: page to write, or None.

    Raises:
        InputError: an input cannot be used, or the data do not support the target.
    """
    need_gallery_name(out)
    for path in filter(None, (out, html)):
        require_parent_dir(path)
    model = read_manifest(default_folder()).models["embedder"]
    gallery = load_gallery(gallery_path, model.sha256, dimension=model.outputs["embedding"].shape[-1])
    if not gallery.people:
        raise InputError(f"{gallery_path}: the gallery is empty; enrol people first")
    genuine = None
    if genuine_path is not None:
        own = load_faces(genuine_path, model.sha256, gallery.centroids.shape[1])
        genuine = genuine_attempts(own, gallery, genuine_path)
    people = len(gallery.people)
    faces: LabelledEmbeddings | None = None
    left_out: list[str] = []
    if strangers_path is None:
        supported = 1 / smallest_supported_rate(model.impostors, people)
        if one_stranger_in > supported * (1 + 1e-9):
            raise InputError(
                f"{gallery_path}: the embedder's table supports one stranger in {supported:,.0f} at most for "
                f"{people:,} people; for one in {one_stranger_in:,.0f} give --strangers with "
                f"{strangers_needed(one_stranger_in):,} different people"
            )
    else:
        faces = load_faces(strangers_path, model.sha256, gallery.centroids.shape[1])
        faces, left_out = without_enrolled(faces, gallery)
        for each in left_out:
            print_report(f"left out: {strangers_path}/{each}")
        check_support(one_stranger_in, len(faces.names), strangers_path)
        supported = len(faces.names) * DECADE
    rules = limits(gallery.centroids, faces)
    impostors = ImpostorModel(attempts(faces, gallery.centroids), rules) if faces else None
    rows = []  # the target and round numbers around it, from lax to strict
    for number in sorted({float(each) for each in ROUND_TARGETS if each <= supported} | {one_stranger_in}):
        if impostors is None:
            base = threshold_sq(model.impostors, one_stranger_in=number, people=people)
            fpir = Rate(fpir_at(model.impostors, base, people), math.nan, math.nan)
        else:
            base = impostors.rule_for_rate(1 / number)
            fpir = impostors.rate(base)
        fnir = genuine.false_reject_rate(rules.thresholds_sq(base)) if genuine else None
        rows.append(CalibrationRow(number, base, fpir, fnir))
    chosen = next(row for row in rows if row.one_stranger_in == one_stranger_in)
    thresholds = rules.thresholds_sq(chosen.threshold_sq)
    save_gallery(out, gallery.people, gallery.centroids, thresholds, model.sha256)
    report = CalibrationReport(
        one_stranger_in=one_stranger_in,
        threshold_sq=chosen.threshold_sq,
        enrolled=people,
        strangers=len(faces.names) if faces else 0,
        stranger_photos=len(faces) if faces else 0,
        genuine_people=genuine.tried.people_count if genuine else 0,
        genuine_photos=len(genuine.own) if genuine else 0,
        left_out=left_out,
        rows=rows,
        thresholds_sq={
            person.id: round(float(limit), 4) for person, limit in zip(gallery.people, thresholds, strict=True)
        },
    )
    if html is not None:
        from threshold_tools.calibrate.page import page  # needs jinja2, a calibration does not
        from threshold_tools.reports.page import write_page

        write_page(html, page(report, out, impostors, genuine.bases_sq(rules) if genuine else None))
    return report


def load_faces(source: Path, embedder_sha256: str, dimension: int) -> LabelledEmbeddings:
    """Faces that a door would accept as samples: photos of a folder, embedded now and not mirrored, or stored vectors.

    Raises:
        InputError: there is no usable face in it, or another embedder made it.
    """
    stored = load_or_embed(source, mirror=False, quality=QualityConfig())
    if stored.embedder_sha256 != embedder_sha256:
        raise InputError(
            f"{source}: made by another embedder ({stored.embedder_sha256[:12]}) than the gallery "
            f"({embedder_sha256[:12]}); embed the photos again with threshold embed"
        )
    if stored.vectors.shape[1] != dimension:
        raise InputError(f"{source}: vectors have length {stored.vectors.shape[1]}, those of the gallery {dimension}")
    return stored.only(stored.found)


def strangers_needed(one_stranger_in: float) -> int:
    """Number of different strangers that a target needs."""
    return max(FEWEST_STRANGERS, math.ceil(one_stranger_in / DECADE))


def check_support(one_stranger_in: float, strangers: int, source: Path) -> None:
    """Reject a target that the number of strangers does not support.

    Raises:
        InputError: too few strangers; the message contains the number needed.
    """
    needed = strangers_needed(one_stranger_in)
    if strangers < needed:
        able = f"support one in {strangers * DECADE:,} at most" if strangers >= FEWEST_STRANGERS else "are too few"
        raise InputError(
            f"{source}: {strangers:,} strangers {able}; one in {one_stranger_in:,.0f} needs {needed:,} different "
            "people (a fitted tail is trusted for one decade beyond the data)"
        )


def without_enrolled(faces: LabelledEmbeddings, gallery: Gallery) -> tuple[LabelledEmbeddings, list[str]]:
    """Leave out strangers who are enrolled, by their id or by their face; also return the reasons."""
    ids = {person.id for person in gallery.people}
    reasons = [f"{label}: this id is enrolled" for label in sorted(set(faces.labels) & ids)]
    faces = faces.only(np.array([label not in ids for label in faces.labels], bool))
    if not len(faces):
        return faces, reasons
    tried = attempts(faces, gallery.centroids)
    enrolled: set[str] = set()
    for row in reject_lookalikes(tried):
        person = gallery.people[int(tried.nearest[row])].id
        reasons.append(f"{faces.paths[row]}: looks like the enrolled {person}, distance {tried.distance_sq[row]:.2f}")
        enrolled.add(faces.labels[row])
    return faces.only(np.array([label not in enrolled for label in faces.labels], bool)), reasons


def reject_lookalikes(tried: Attempts) -> list[int]:
    """Rows of the attempts that are too near to be strangers, nearest first.

    The farthest suspect is compared with the tail fitted to all farther attempts. If the tail explains it, it is added
    to them and the next suspect follows; the first unexplained suspect ends the search. A group of similar strangers is
    therefore not rejected.
    """
    by_distance = np.argsort(tried.distance_sq, kind="stable")
    suspects = int(np.searchsorted(tried.distance_sq[by_distance], ENROLLED_SQ))
    for place in reversed(range(min(suspects, len(by_distance) - FEWEST))):
        farther = by_distance[place + 1 :]
        weights = tried.weights[farther] / tried.weights[farther].sum()
        tail = fit_tail(RankedScores(tried.distance_sq[farther]), weights, tried.people_count)
        if tail.shares_below(tried.distance_sq[by_distance[place]]) * tried.people_count < ENROLLED_CHANCE:
            return [int(row) for row in by_distance[: place + 1]]
    return []


def genuine_attempts(faces: LabelledEmbeddings, gallery: Gallery, source: Path) -> GenuineAttempts:
    """The attempts of enrolled people; others are reported and left out.

    Raises:
        InputError: no person in it is enrolled.
    """
    rows = {person.id: row for row, person in enumerate(gallery.people)}
    for label in sorted(set(faces.labels) - rows.keys()):
        print_report(f"{source}/{label}: left out, because this person is not enrolled")
    faces = faces.only(np.array([label in rows for label in faces.labels], bool))
    if not len(faces):
        raise InputError(
            f"{source}: no person in it is enrolled; its folders must have the ids of the gallery as names"
        )
    own = np.array([rows[label] for label in faces.labels], np.intp)
    return GenuineAttempts(attempts(faces, gallery.centroids), own)


def print_report(text: str) -> None:
    """Print a line to standard error."""
    print(text, file=sys.stderr)
