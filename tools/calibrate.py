#!/usr/bin/env python3
"""Set a gallery's thresholds from a wish: "at most one stranger in 10,000 attempts opens a door".

Strangers are people who are not enrolled: a folder with one folder of photos each, or vectors of tools/embed.py. The
tail of their distances to this very gallery is fitted (peaks over threshold, generalised Pareto) and the threshold is
read off it; people to whom strangers come near, and people with a look-alike in the gallery, get a stricter one.
Without strangers the table that ships with the embedder serves.

A wish is refused that the data cannot support: a fitted tail is trusted for one decade beyond the data, so a wish of
one in N takes N / 10 strangers, and never fewer than 100.

The rate is for one photo, by the nearest person and their threshold, and for strangers and cameras like those of the
photos. A door asks more of a visitor (several samples that agree, and a runner-up that is clearly farther), but a
visitor who walks up shows many looks, and each is a try: an outside review measured about one stranger in 500 for a
target of one in 1,000. threshold_sq is a squared distance, 0 to 4: lower is stricter.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from threshold_tools.calibrate.forecast import SEED, GenuineAttempts, from_strangers, from_table, target_rates
from threshold_tools.calibrate.rates import Attempts, ImpostorModel, ThresholdRule, attempts, limits
from threshold_tools.calibrate.report import Report, Row, show
from threshold_tools.calibrate.tail import FEWEST, EmpiricalTail
from threshold_tools.embeddings import LabelledEmbeddings, load_or_embed
from threshold_tools.outputs import need_gallery_name
from threshold_tools.thresholds import table_reach

from edge.core.cli_support import run_main
from edge.core.config import QualityConfig
from edge.core.errors import InputError
from edge.core.files import atomic_write
from edge.core.records import FloatArray
from edge.recognition.gallery import Gallery
from edge.recognition.gallery_file import load_gallery, save_gallery
from edge.vision.manifest import default_folder, read_manifest

DECADE = 10  # a fitted tail reaches so many times beyond one in as many strangers as there are
FEWEST_STRANGERS = 100
ENROLLED_SQ = 0.54  # a stranger nearer than this may be somebody enrolled ...
ENROLLED_CHANCE = 0.01  # ... and is taken for them where the tail of the others expects fewer than so many so near


def load_faces(source: Path, embedder_sha256: str, dimension: int) -> LabelledEmbeddings:
    """Faces that a door would take as samples: below a folder, embedded now and not mirrored, or stored ones.

    Raises:
        InputError: there is no usable face in it, or another embedder made it.
    """
    stored = load_or_embed(source, mirror=False, quality=QualityConfig())
    if stored.embedder_sha256 != embedder_sha256:
        raise InputError(
            f"{source}: made by another embedder ({stored.embedder_sha256[:12]}, the gallery by "
            f"{embedder_sha256[:12]}); embed the photos again with tools/embed.py"
        )
    if stored.vectors.shape[1] != dimension:
        raise InputError(f"{source}: vectors of length {stored.vectors.shape[1]}, the gallery's have {dimension}")
    return stored.only(stored.found)


def check_support(wish: float, strangers: int, source: Path) -> None:
    """Refuse what so many strangers cannot tell.

    Raises:
        InputError: with the number that would do.
    """
    needed = max(FEWEST_STRANGERS, math.ceil(wish / DECADE))
    if strangers < needed:
        able = f"support one in {strangers * DECADE:,} at most" if strangers >= FEWEST_STRANGERS else "are too few"
        raise InputError(
            f"{source}: {strangers:,} strangers {able}; one in {wish:,.0f} needs {needed:,} different people "
            "(a fitted tail is trusted for one decade beyond the data)"
        )


def without_enrolled(faces: LabelledEmbeddings, gallery: Gallery) -> tuple[LabelledEmbeddings, list[str]]:
    """Leave out strangers who are in fact enrolled, by their id or by their face; says who."""
    ids = {person.id for person in gallery.people}
    told = [f"{label}: has the id of somebody enrolled" for label in sorted(set(faces.labels) & ids)]
    faces = faces.only(np.array([label not in ids for label in faces.labels], bool))
    if not len(faces):
        return faces, told
    tried = attempts(faces, gallery.centroids)
    guilty: set[str] = set()
    for row in reject_lookalikes(tried):
        who = gallery.people[int(tried.nearest[row])].id
        told.append(f"{faces.paths[row]}: seems to be {who}, distance {tried.distance_sq[row]:.2f}")
        guilty.add(faces.labels[row])
    return faces.only(np.array([label not in guilty for label in faces.labels], bool)), told


def reject_lookalikes(tried: Attempts) -> list[int]:
    """The attempts that the tail of all farther ones does not explain, nearest first.

    From the body outwards: the farthest of the suspects is held against the tail fitted to everybody farther; what it
    explains joins them, and what it does not ends the walk. So a crowd of near strangers is no crowd of outliers.
    """
    by_distance = np.argsort(tried.distance_sq, kind="stable")
    suspects = int(np.searchsorted(tried.distance_sq[by_distance], ENROLLED_SQ))
    for place in reversed(range(min(suspects, len(by_distance) - FEWEST))):
        farther = by_distance[place + 1 :]
        weights = tried.weights[farther] / tried.weights[farther].sum()
        tail = EmpiricalTail(tried.distance_sq[farther]).fit(weights, tried.people_count)
        if tail.share_below(float(tried.distance_sq[by_distance[place]])) * tried.people_count < ENROLLED_CHANCE:
            return [int(row) for row in by_distance[: place + 1]]
    return []


def genuine_attempts(
    faces: LabelledEmbeddings, gallery: Gallery, centroids: FloatArray, source: Path
) -> GenuineAttempts:
    """The attempts of people who are enrolled; others are named and left out.

    Raises:
        InputError: nobody in it is enrolled.
    """
    rows = {person.id: row for row, person in enumerate(gallery.people)}
    for label in sorted(set(faces.labels) - rows.keys()):
        print_report(f"{source}/{label}: not enrolled, so no genuine attempt; left out")
    faces = faces.only(np.array([label in rows for label in faces.labels], bool))
    if not len(faces):
        raise InputError(f"{source}: nobody in it is enrolled; name its folders after the ids in the gallery")
    return GenuineAttempts(attempts(faces, centroids), np.array([rows[label] for label in faces.labels], np.intp))


def calibrate(
    gallery_path: Path,
    out: Path,
    target_fpir: float,
    *,
    strangers_path: Path | None = None,
    genuine_path: Path | None = None,
    plot: Path | None = None,
) -> Report:
    """Write the gallery with the thresholds of the wish, and a plot where one is asked for.

    Raises:
        InputError: something given cannot be used, or the wish is beyond what the data support.
    """
    need_gallery_name(out)
    for path in (out, plot):
        if path is not None and not path.resolve().parent.is_dir():
            raise InputError(f"{path.parent}: no such folder")
    model = read_manifest(default_folder()).models["embedder"]
    gallery = load_gallery(gallery_path, model.sha256, dimension=model.outputs["embedding"].shape[-1])
    if not gallery.people:
        raise InputError(f"{gallery_path}: nobody is enrolled in it")
    centroids = gallery.centroids
    dimension = centroids.shape[1]
    genuine = None
    if genuine_path is not None:
        own = load_faces(genuine_path, model.sha256, dimension)
        genuine = genuine_attempts(own, gallery, centroids, genuine_path)
    faces: LabelledEmbeddings | None = None
    left_out: list[str] = []
    opens: ImpostorModel | None = None
    if strangers_path is None:
        reach = table_reach(model.impostors, len(gallery.people))
        if target_fpir > reach * (1 + 1e-9):
            raise InputError(
                f"{gallery_path}: the embedder's table supports one stranger in {reach:,.0f} at most for "
                f"{len(gallery.people):,} people; for one in {target_fpir:,.0f} give --strangers with "
                f"{max(FEWEST_STRANGERS, math.ceil(target_fpir / DECADE)):,} different people"
            )
        rules = limits(centroids, None)
        rows = from_table(model.impostors, rules, target_rates(reach, target_fpir), genuine)
    else:
        faces = load_faces(strangers_path, model.sha256, dimension)
        faces, left_out = without_enrolled(faces, gallery)
        for each in left_out:
            print_report(f"left out: {strangers_path}/{each}")
        count = len(set(faces.labels))
        check_support(target_fpir, count, strangers_path)
        rules = limits(centroids, faces)
        opens = ImpostorModel(attempts(faces, centroids), rules, SEED)
        rows = from_strangers(opens, rules, target_rates(count * DECADE, target_fpir), genuine)
    chosen = next(row for row in rows if row.one_stranger_in == target_fpir)
    thresholds = rules.thresholds_sq(chosen.threshold_sq)
    save_gallery(out, gallery.people, centroids, thresholds, model.sha256)
    if plot is not None:
        _plot(plot, opens, genuine, rules, chosen)
    return Report(
        one_stranger_in=target_fpir,
        threshold_sq=chosen.threshold_sq,
        enrolled=len(gallery.people),
        strangers=len(set(faces.labels)) if faces else 0,
        stranger_photos=len(faces) if faces else 0,
        genuine_people=genuine.tried.people_count if genuine else 0,
        genuine_photos=len(genuine.own) if genuine else 0,
        left_out=left_out,
        rows=rows,
        thresholds_sq={
            person.id: round(float(limit), 4) for person, limit in zip(gallery.people, thresholds, strict=True)
        },
    )


def print_report(text: str) -> None:
    """A line to the user."""
    print(text, file=sys.stderr)


def _plot(
    path: Path, opens: ImpostorModel | None, genuine: GenuineAttempts | None, rules: ThresholdRule, chosen: Row
) -> None:
    if opens is None:
        raise InputError("--plot shows the strangers: give --strangers")
    try:
        from threshold_tools.calibrate.plot import draw
    except ImportError as error:
        raise InputError("--plot needs matplotlib; run: pip install -e '.[desktop]' in Threshold's folder") from error
    own = None
    if genuine is not None:
        right = genuine.tried.nearest == genuine.own
        own = (genuine.tried.distance_sq - rules.offsets_sq[genuine.own])[right]
    atomic_write(path, draw(opens, own, chosen))


def main(words: Sequence[str] | None = None) -> None:
    """Parse the command line and calibrate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gallery", type=Path, required=True, metavar="G", help="gallery of tools/enroll.py")
    parser.add_argument(
        "--strangers",
        type=Path,
        metavar="S",
        help="people who are not enrolled: folder with one folder of photos each, or .npz of tools/embed.py",
    )
    parser.add_argument(
        "--genuine",
        type=Path,
        metavar="D",
        help="photos of enrolled people that they were not enrolled with, in folders named by id, or such an .npz",
    )
    parser.add_argument("--one-stranger-in", type=float, required=True, metavar="N", help="the wish: at most one in N")
    parser.add_argument("--out", type=Path, required=True, metavar="G2", help="gallery to write")
    parser.add_argument("--plot", type=Path, metavar="P.png", help="draw the distances, the tail and the threshold")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    arguments = parser.parse_args(words)
    if not 2 <= arguments.one_stranger_in < math.inf:
        parser.error("--one-stranger-in must be at least 2")
    if arguments.plot and not arguments.strangers:
        parser.error("--plot shows the strangers: give --strangers")
    report = calibrate(
        arguments.gallery,
        arguments.out,
        arguments.one_stranger_in,
        strangers_path=arguments.strangers,
        genuine_path=arguments.genuine,
        plot=arguments.plot,
    )
    print(msgspec.json.encode(report).decode() if arguments.json else show(report, arguments.out))


if __name__ == "__main__":
    run_main(main)
