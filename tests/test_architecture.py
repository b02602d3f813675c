"""Import rules that the layers in pyproject.toml (`make lint`) do not cover."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "edge").rglob("*.py"))
PURE_ROOMS = ("edge.vision", "edge.recognition", "edge.access", "edge.liveness")
SOLE_IMPORTERS = {
    "ai_edge_litert": "edge.vision.tflite",
    "tflite_runtime": "edge.vision.tflite",
    "paho": "edge.mqtt.paho_client",
    "amqtt": "edge.mqtt.embedded_broker",
    "sqlite3": "edge.outbox.database",
    "picamera2": "edge.vision.camera_pi",
    "tuf": "edge.updates.tuf_client",
    "gpiozero": "edge.runtime.door_lock",
    "prometheus_client": "edge.runtime.prometheus",
}
# Stages between the camera and the access rules: no clock, no randomness, no thread.
PURE_STAGES = (
    [
        "motion",
        "detector",
        "tracker",
        "face_mesh",
        "aligner",
        "embedder",
        "quality",
        "face_sampler",
        "cascade_detector",
        "camera_health",
    ],
    ["gallery", "shortlist", "fusion", "aggregator", "cooldown", "lockout", "retry", "gallery_chunks"],
    ["policy", "model"],
    [
        "challenge",
        "cues.weights",
        "gate",
        "pending_decision",
        "passive",
        "head_pose",
        "cues.mouth",
        "cues.planar",
        "cues.recapture",
        "window",
        "cues.background_motion",
    ],
)
IMPURE = {"time", "datetime", "random", "threading", "socket", "subprocess", "asyncio", "uuid", "logging"}


def name_of(path: Path) -> str:
    """Return the module name of a path: edge.vision.camera for edge/vision/camera.py."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def imports(path: Path) -> set[str]:
    """Return every module that a file imports, also within functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def wrong_imports(forbidden: Callable[[str, str], bool]) -> list[str]:
    """Return each forbidden import of `edge` as "importer: imported"; the rule gets both names."""
    return [
        f"{name_of(path)}: {module}"
        for path in MODULES
        for module in sorted(imports(path))
        if forbidden(name_of(path), module)
    ]


def test_each_foreign_library_has_one_importer() -> None:
    assert wrong_imports(lambda own, module: SOLE_IMPORTERS.get(module.split(".")[0], own) != own) == []


def test_pure_stages_use_no_clock_randomness_or_thread() -> None:
    rooms = zip(PURE_ROOMS, PURE_STAGES, strict=True)
    for name in ["edge.pipeline", *(f"{room}.{stage}" for room, stages in rooms for stage in stages)]:
        path = ROOT / (name.replace(".", "/") + ".py")
        assert not {module.split(".")[0] for module in imports(path)} & IMPURE, name


@pytest.mark.parametrize("package", ["edge", "tools/threshold_tools"])
def test_class_names_occur_once(package: str) -> None:
    """A class name identifies one class."""
    places: dict[str, list[str]] = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize("package", ["edge", "tools"])
def test_no_module_is_over_300_lines(package: str) -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / package).rglob("*.py")}
    assert {name_of(path): length for path, length in lengths.items() if length > 300} == {}


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


@cache
def private_names(package: str) -> set[str]:
    """Return the names of private methods and attributes of the classes in a package."""
    names: set[str] = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.Attribute) and is_self(node.value):
                names.add(node.attr)
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def test_tests_use_public_names_and_no_other_test() -> None:
    """Tests use no private attribute of a class, no private name of a module, and no other test module."""
    private = private_names("edge") | private_names("tools")
    wrong: list[str] = []
    for path in (ROOT / "tests").rglob("*.py"):
        own = private_names(str(path.relative_to(ROOT).parent))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in private - own and not is_self(node.value):
                wrong.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
            if isinstance(node, ast.ImportFrom) and node.module:
                parts = node.module.split(".")
                hidden = [one.name for one in node.names if one.name.startswith("_") and not one.name.startswith("__")]
                if parts[-1].startswith("test_") or (hidden and parts[0] in ("edge", "threshold_tools")):
                    wrong.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    assert wrong == []
