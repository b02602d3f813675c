"""Explain why a face is or is not recognised.

PHOTO shows the visitor. It is compared with OTHER: a second photo, as if that were the only one enrolled, or a person
of the gallery by id. Without OTHER, it is compared with the nearest person of the gallery.

The report shows the result, the quality of the view and the limit that it misses, the distance and the threshold, the
nearest people, the parts of the face that determine the distance, and the decision of a door. Models and rules are
those of a door.

Distances are squared Euclidean distances of unit vectors, 0 to 4: lower is nearer, and a lower threshold is stricter.
Nothing is sent to other computers, and only the page of --out is stored, which contains the photos.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.access.policy_file import load_configured_rules
from edge.core.cli_support import parse_time_ns
from edge.core.config import AccessConfig, DoorConfig, read_config
from edge.core.errors import InputError
from edge.core.files import require_parent_dir
from edge.core.records import FloatArray
from edge.recognition.gallery_file import load_gallery
from threshold_tools.explain.occlusion_map import occlusion_map
from threshold_tools.explain.page import page
from threshold_tools.explain.photo import ExplainedPhoto, PhotoAnalyzer
from threshold_tools.explain.report import Explanation, PhotoReport, document, sentences
from threshold_tools.explain.simulated_visit import (
    SimulatedDoor,
    distance_to,
    enrolled_alone,
    nearest_people,
    row_of,
    simulate_visit,
)
from threshold_tools.photos import SUFFIXES
from threshold_tools.reports.page import write_page
from threshold_tools.reports.terminal import show
from threshold_tools.thresholds import fmr_at


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """The explanation, and the photos of its page."""

    found: Explanation
    a: ExplainedPhoto
    b: ExplainedPhoto | None


def explain(
    photo: Path,
    other: str | None,
    *,
    gallery: Path | None = None,
    config: DoorConfig | None = None,
    wall_ns: int | None = None,
    occlusion: bool = True,
) -> Explained:
    """Compare a photo with another one, a person of a gallery, or the nearest person there.

    Args:
        photo: the visitor.
        other: a photo, a person's id, or None: the nearest person.
        gallery: gallery of the door; None: only the other photo is enrolled.
        config: door configuration; None: all defaults.
        wall_ns: time of the visit, nanoseconds since 1970 UTC; None: the clock is not set.
        occlusion: also measure which parts of the faces determine the distance, which takes most of the time.

    Raises:
        InputError: a photo, the gallery, the person or a rule cannot be used.
    """
    config = config or DoorConfig(site="explain", door="explain")
    path = _photo(other, gallery)
    rules = load_configured_rules(config.access if gallery else AccessConfig())
    analyzer = PhotoAnalyzer(config)
    known = load_gallery(gallery, analyzer.sampler.embedder_sha256) if gallery else None
    row = row_of(known, other, gallery) if known and gallery and other and path is None else None
    a = analyzer.analyze(photo)
    b = analyzer.analyze(path) if path else None
    alone = SimulatedDoor(enrolled_alone(analyzer, b), config, rules, wall_ns) if b else None
    door = SimulatedDoor(known, config, rules, wall_ns) if known is not None else alone
    assert door is not None
    nearest = nearest_people(door, a)
    if not nearest:
        raise InputError(f"{gallery}: the gallery is empty; enrol people first")
    if alone is not None:
        target, vector = distance_to(alone, a, 0), alone.gallery.centroids[0]
    else:
        row = row if row is not None else row_of(door.gallery, nearest[0].id, gallery or photo)
        target, vector = distance_to(door, a, row), door.gallery.centroids[row]
    answer = simulate_visit(door, a, analyzer.at_door)
    impostors = analyzer.sampler.impostors
    fmrs = [point.fmr for point in impostors]
    found = Explanation(
        a=_with_occlusion(analyzer, a, vector) if occlusion else a.report,
        b=(_with_occlusion(analyzer, b, a.embedding) if occlusion else b.report) if b else None,
        target=target,
        strangers=(fmr_at(impostors, target.distance_sq), min(fmrs), max(fmrs)),
        nearest=nearest if gallery else [],
        gallery=str(gallery or ""),
        answer=answer,
        verdict=sentences(a.report, answer, nearest[0], alone=gallery is None),
        embedder_sha256=analyzer.sampler.embedder_sha256,
    )
    return Explained(found, a, b)


def _photo(other: str | None, gallery: Path | None) -> Path | None:
    """The other photo, or None when a person of the gallery is meant."""
    if other is None:
        if gallery is None:
            raise InputError("name a second photo, or a gallery with --gallery, to compare the photo with")
        return None
    path = Path(other)
    if path.exists() or path.suffix.lower() in SUFFIXES:
        return path
    if gallery is None:
        raise InputError(f"{other}: no such photo; to compare with a person, name the gallery with --gallery")
    return None


def _with_occlusion(analyzer: PhotoAnalyzer, photo: ExplainedPhoto, target: FloatArray) -> PhotoReport:
    embedder = analyzer.sampler.vision.reader.embedder
    measured = occlusion_map(embedder, photo.crop, target, analyzer.template_px)
    return msgspec.structs.replace(photo.report, occlusion=measured)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and explain."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path, metavar="PHOTO", help="photo of the visitor")
    parser.add_argument("other", nargs="?", metavar="OTHER", help="second photo, or id of a person in the gallery")
    parser.add_argument("--gallery", type=Path, metavar="FILE", help="gallery made by threshold enroll")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="door.toml with limits, thresholds and rules (default: built-in settings)",
    )
    parser.add_argument("--policy", type=Path, metavar="FILE", help="access rules (default: those of --config)")
    parser.add_argument("--door", metavar="NAME", help="door in the access rules (default: that of --config)")
    parser.add_argument(
        "--at",
        type=parse_time_ns,
        metavar="TIME",
        help="time of the visit, for rules with times, such as 2026-03-29T01:30+01:00",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--out", type=Path, metavar="PAGE", help="write a page, which contains the photos")
    arguments = parser.parse_intermixed_args(argv)
    for option in ("policy", "door", "at"):
        if getattr(arguments, option) is not None and arguments.gallery is None:
            parser.error(f"--{option} needs --gallery, because rules are about enrolled people")
    if arguments.out is not None:
        require_parent_dir(arguments.out)
    config = _config(arguments.config, arguments.policy, arguments.door)
    done = explain(arguments.photo, arguments.other, gallery=arguments.gallery, config=config, wall_ns=arguments.at)
    if arguments.out is not None:
        write_page(arguments.out, page(done.found, done.a, done.b))
    if arguments.json:
        print(msgspec.json.encode(done.found).decode())
    else:
        show(document(done.found))


def _config(path: Path | None, policy: Path | None, door: str | None) -> DoorConfig:
    config = read_config(path) if path else DoorConfig(site="explain", door="explain")
    if policy is not None:
        config = msgspec.structs.replace(config, access=AccessConfig(policy=str(policy)))
    return config if door is None else msgspec.structs.replace(config, door=door)
