#!/usr/bin/env python3
"""Explain why a face is or is not taken for somebody: for whoever runs a door and has to answer for it.

A.jpg is who comes to the door. It is held against B: another photo, as if that were the only one enrolled, or a person
of a gallery by id; without B, against whoever of the gallery is nearest. The text, the JSON and the page say how good
the view is and which gate it misses, how far it is from B and where the threshold lies, who is nearest, which parts of
the face drive the distance, and what a door would answer: all by the stages, the judge and the rules that run there.

Distances are squared Euclidean distances of unit vectors, 0 to 4: lower is nearer, and a lower threshold is stricter.
Nothing is sent anywhere, and nothing is kept but the page that you ask for, which holds the photos.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from threshold_tools.explain import text_report
from threshold_tools.explain.occlusion_map import drive
from threshold_tools.explain.page import page
from threshold_tools.explain.photo import ExplainedPhoto, Viewer
from threshold_tools.explain.report import Explanation, PhotoReport
from threshold_tools.explain.simulated_visit import (
    SimulatedDoor,
    distance_to,
    enrolled_alone,
    nearest_people,
    row_of,
    simulate_visit,
)
from threshold_tools.photos import SUFFIXES
from threshold_tools.thresholds import fmr_at

from edge.access.policy_file import load_configured_rules
from edge.core.cli_support import parse_time_ns, run_main
from edge.core.config import AccessConfig, DoorConfig, read_config
from edge.core.errors import InputError
from edge.core.files import atomic_write
from edge.core.records import FloatArray
from edge.recognition.gallery_file import load_gallery
from edge.vision.manifest import OperatingPoint


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """The explanation, and what its page draws from."""

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
    drives: bool = True,
) -> Explained:
    """Hold a photo against another one, somebody of a gallery, or whoever is nearest there.

    Args:
        photo: who comes to the door.
        other: a photo, a person's id, or None: whoever is nearest.
        gallery: whom the door knows; None: the other photo alone.
        config: of the door; None: all defaults.
        wall_ns: when they come, nanoseconds since 1970 UTC; None: the clock is not set.
        drives: also find what in the faces drives the distance, nearly all of the time that this takes.

    Raises:
        InputError: a photo, the gallery, the person or a rule cannot be used.
    """
    config = config or DoorConfig(site="explain", door="explain")
    path = _photo(other, gallery)
    rules = load_configured_rules(config.access if gallery else AccessConfig())
    viewer = Viewer(config)
    known = load_gallery(gallery, viewer.reader.embedder_sha256) if gallery else None
    row = row_of(known, other, gallery) if known and gallery and other and path is None else None
    a = viewer.analyze(photo)
    b = viewer.analyze(path) if path else None
    alone = SimulatedDoor(enrolled_alone(viewer, b), config, rules, wall_ns) if b else None
    door = SimulatedDoor(known, config, rules, wall_ns) if known is not None else alone
    assert door is not None
    nearest = nearest_people(door, a)
    if not nearest:
        raise InputError(f"{gallery}: nobody is enrolled; there is nobody to hold the photo against")
    if alone is not None:
        target, vector = distance_to(alone, a, 0), alone.gallery.centroids[0]
    else:
        row = row if row is not None else row_of(door.gallery, nearest[0].id, gallery or photo)
        target, vector = distance_to(door, a, row), door.gallery.centroids[row]
    answer = simulate_visit(door, a, viewer.at_door)
    found = Explanation(
        a=_driven(viewer, a, vector) if drives else a.shown,
        b=(_driven(viewer, b, a.embedding) if drives else b.shown) if b else None,
        target=target,
        strangers=_strangers(viewer.reader.impostors, target.distance_sq),
        nearest=nearest if gallery else [],
        gallery=str(gallery or ""),
        answer=answer,
        verdict=text_report.sentences(a.shown, answer, nearest[0], alone=gallery is None),
        embedder_sha256=viewer.reader.embedder_sha256,
    )
    return Explained(found, a, b)


def _strangers(impostors: Sequence[OperatingPoint], distance_sq: float) -> tuple[float, float, float]:
    fmrs = [row.fmr for row in impostors]
    return fmr_at(impostors, distance_sq), min(fmrs), max(fmrs)


def _photo(other: str | None, gallery: Path | None) -> Path | None:
    """The other photo, or None when a person of the gallery is meant."""
    if other is None:
        if gallery is None:
            raise InputError("hold the photo against what? Give a second photo, or --gallery")
        return None
    path = Path(other)
    if path.exists() or path.suffix.lower() in SUFFIXES:
        return path
    if gallery is None:
        raise InputError(f"{other}: no such photo; for a person of a gallery, name it with --gallery")
    return None


def _driven(viewer: Viewer, subject: ExplainedPhoto, target: FloatArray) -> PhotoReport:
    embedder = viewer.reader.vision.reader.embedder
    return msgspec.structs.replace(subject.shown, drive=drive(embedder, subject.crop, target, viewer.template_px))


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and explain."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path, metavar="A.jpg", help="who comes to the door")
    parser.add_argument("other", nargs="?", metavar="B.jpg|PERSON", help="a photo, or somebody's id in the gallery")
    parser.add_argument("--gallery", type=Path, metavar="G", help="gallery made by tools/enroll.py")
    parser.add_argument("--config", type=Path, metavar="door.toml", help="the door's gates, thresholds and rules")
    parser.add_argument("--policy", type=Path, metavar="P.toml", help="access rules, instead of those of --config")
    parser.add_argument("--door", metavar="NAME", help="for --policy: which door (default: as --config says)")
    parser.add_argument(
        "--at", type=parse_time_ns, metavar="TIME", help="when, for rules with times, such as 2026-03-29T01:30+01:00"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--out", type=Path, metavar="PAGE.html", help="write a page with pictures; it holds the photos")
    given = parser.parse_intermixed_args(arguments)
    for option in ("policy", "door", "at"):
        if getattr(given, option) is not None and given.gallery is None:
            parser.error(f"--{option} is for --gallery: rules are about people enrolled")
    if given.out is not None and not given.out.resolve().parent.is_dir():
        raise InputError(f"{given.out.parent}: no such folder")
    done = explain(given.photo, given.other, gallery=given.gallery, config=_config(given), wall_ns=given.at)
    if given.out is not None:
        atomic_write(given.out, page(done.found, done.a, done.b).encode(), private=True)
        print(f"{given.out}: written", file=sys.stderr)
    print(msgspec.json.encode(done.found).decode() if given.json else text_report.show(done.found))


def _config(given: argparse.Namespace) -> DoorConfig:
    config = read_config(given.config) if given.config else DoorConfig(site="explain", door="explain")
    if given.policy is not None:
        config = msgspec.structs.replace(config, access=AccessConfig(policy=str(given.policy)))
    return config if given.door is None else msgspec.structs.replace(config, door=given.door)


if __name__ == "__main__":
    run_main(main)
