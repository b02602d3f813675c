"""Reports on int8 against float that are kept beside the models: chain.json and layers-NAME.json."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from rich.table import Table

from edge.core.files import atomic_write
from threshold_tools.quantize import accuracy_report, calibrate, calibration_photos, layer_noise
from threshold_tools.quantize.calibration_data import read_calibration
from threshold_tools.quantize.recipe import RECIPES, Recipe, prepare_graph
from threshold_tools.quantize.runner import IntegerRunner

DRAWS = 50  # of pairs in ten folds
LAYER_CROPS, EACH_LAYER = 48, 12  # pictures for all layers together, and for each one alone
Track = Callable[[list[Path], str], Iterable[Path]]  # shows progress while a list is gone through


def measure_chain(faces: Path, folder: Path, originals: dict[str, bytes], track: Track) -> list[Table]:
    """Measure and write what int8 costs in recognition on `faces`/<person>/*.jpg.

    Raises:
        InputError: no photos, or of too few people.
    """
    paths = calibration_photos.find(faces)
    floats = calibrate.float_runners(RECIPES, originals)
    integers = {name: IntegerRunner((folder / recipe.file).read_bytes()) for name, recipe in RECIPES.items()}
    one, other = (
        accuracy_report.ModelChain(models["detector-far"], models["landmarks"], models["embedder"])
        for models in (floats, integers)
    )
    size = integers["embedder"].size_px
    vectors = accuracy_report.embed(track(paths, "chains"), one, other, RECIPES["detector-far"].anchors, size)
    names = [path.relative_to(faces).as_posix() for path in paths]
    report = accuracy_report.report(vectors, names, f"{len(paths)} photos", DRAWS)
    _write(folder / "chain.json", report)
    return [accuracy_report.table(report)]


def measure_layers(
    chosen: dict[str, Recipe], faces: Path, folder: Path, originals: dict[str, bytes], track: Track
) -> list[Table]:
    """Measure and write where the error of each chosen model comes from; a detector has no one vector to compare."""
    paths = calibration_photos.find(faces)
    floats = calibrate.float_runners(RECIPES, originals)
    tables = []
    for name, recipe in chosen.items():
        if recipe.job == "detector":
            continue
        measured = read_calibration(folder, name)
        graph = prepare_graph(recipe, originals[name], measured.equalization, measured.centres)
        images = calibrate.model_inputs(recipe, paths, RECIPES, floats, LAYER_CROPS)
        exact = layer_noise.in_float(graph, recipe.float_heads, recipe.floating)
        report = layer_noise.measure(name, graph, measured.ranges, recipe.image_range, images, EACH_LAYER, exact)
        _write(folder / f"layers-{name}.json", report)
        tables.append(layer_noise.table(report))
    return tables


def _write(path: Path, report: msgspec.Struct) -> None:
    atomic_write(path, msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
