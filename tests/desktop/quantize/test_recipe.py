"""Committed models match their manifest and their recipes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from threshold_tools.quantize import cli, comparison
from threshold_tools.quantize.comparison import differences
from threshold_tools.quantize.fetch import cache_folder, fetch_original
from threshold_tools.quantize.recipe import RECIPES, read_calibration
from threshold_tools.quantize.runner import ModelRunner
from threshold_tools.quantize.stages import Cropper

from edge.core.records import BgrImage
from edge.vision.manifest import default_folder, read_model

MODELS = default_folder()
Photo = Callable[[str], BgrImage]


@pytest.fixture(scope="module")
def originals() -> dict[str, bytes]:
    """The float originals from their registries, or from the cache."""
    return {name: fetch_original(recipe.source, cache_folder()) for name, recipe in RECIPES.items()}


@pytest.mark.parametrize("name", RECIPES)
def test_committed_model_is_what_its_manifest_says(name: str) -> None:
    """sha256, input and outputs with their scales, and the pinned source."""
    contract, content = read_model(MODELS, name)
    runner = ModelRunner(content)
    assert contract.source == RECIPES[name].source
    assert contract.input == cli.tensor_contract(runner.input)
    assert contract.outputs == {role: cli.tensor_contract(d) for role, d in runner.outputs.items()}
    assert contract.input.shape == (1, contract.size_px, contract.size_px, 3)
    layers = [f"{kind}_{k}" for kind in ("boxes", "scores") for k in range(len(contract.anchors))]
    roles = {"detector": layers, "landmarks": ["points", "presence"], "embedder": ["embedding"]}
    assert sorted(contract.outputs) == roles[contract.job]
    assert all(
        contract.outputs[f"scores_{k}"].shape[1] == a.cells**2 * a.per_cell for k, a in enumerate(contract.anchors)
    )


@pytest.mark.parametrize("name", RECIPES)
def test_committed_model_runs_on_xnnpack(name: str) -> None:
    """Every operation is delegated, and all of them together."""
    assert ModelRunner(read_model(MODELS, name)[1]).delegated() == (1, 0)


@pytest.mark.network
@pytest.mark.parametrize("name", RECIPES)
def test_committed_model_is_the_one_its_recipe_makes(name: str, originals: dict[str, bytes]) -> None:
    """The same operations, weights and quantization; with the pinned quantizer also the same bytes."""
    content = RECIPES[name].make_int8(originals[name], read_calibration(MODELS, name))
    assert differences(content, read_model(MODELS, name)[1]) == []


@pytest.mark.network
@pytest.mark.parametrize("name", RECIPES)
def test_int8_is_near_its_float_original(name: str, originals: dict[str, bytes], photo: Photo) -> None:
    """On the bundled portraits, which nothing was measured on."""
    recipe = RECIPES[name]
    floats = {each: RECIPES[each].float_runner(content) for each, content in originals.items()}
    portraits = [photo(stem) for stem in ("astronaut", "biden", "obama2", "obama3")]
    seeing = Cropper(floats)
    crops = [seeing.crop(image) for image in portraits]
    seen = {
        "detector": portraits,
        "landmarks": [crop.mesh for crop in crops if crop is not None],
        "embedder": [crop.face for crop in crops if crop is not None],
    }[recipe.job]
    report = comparison.compare(recipe, floats[name], ModelRunner(read_model(MODELS, name)[1]), seen)
    assert report["pictures"] == 4
    bounds = {"found_by_both_percent": 100, "box_iou_median": 0.93, "cosine_median": 0.99}
    limits = {"keypoint_error_median_percent": 5, "point_error_median_percent": 2}
    assert all(float(report[key]) >= bound for key, bound in bounds.items() if key in report)
    assert all(float(report[key]) <= limit for key, limit in limits.items() if key in report)
