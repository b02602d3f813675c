"""The rooms of the house and the doors between them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "edge").rglob("*.py"))
PURE_ROOMS = ("edge.vision", "edge.identity", "edge.access", "edge.liveness")
SHELL_ROOMS = ("edge.messaging", "edge.release")
JOINED = (*PURE_ROOMS, *SHELL_ROOMS, "edge.system")  # and know nothing of the door that joins them
SOLE_IMPORTERS = {
    "ai_edge_litert": "edge.vision.tflite",
    "tflite_runtime": "edge.vision.tflite",
    "paho": "edge.messaging.client",
    "amqtt": "edge.messaging.broker",
    "sqlite3": "edge.messaging.store",
    "picamera2": "edge.vision.picamera",
    "tuf": "edge.release.trust",
    "gpiozero": "edge.door.lock",
    "prometheus_client": "edge.door.metrics",
}
# Stages between the camera and the access rules: no clock, no randomness, no thread.
PURE_STAGES = (
    ["motion", "detector", "tracker", "landmarks", "aligner", "embedder", "quality", "reader", "lookout", "sight"],
    ["gallery", "coarse", "verdict", "cooldown", "lockout", "shards"],
    ["policy", "rulebook"],
    [
        "challenge",
        "cues",
        "evidence",
        "guard",
        "liveness",
        "motion",
        "mouth",
        "planar",
        "recapture",
        "run",
        "surroundings",
    ],
)
IMPURE = {"time", "datetime", "random", "threading", "socket", "subprocess", "asyncio", "uuid", "logging"}


def name_of(path: Path) -> str:
    """edge/vision/camera.py to edge.vision.camera."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """Every module that a file imports, however deep inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def under(module: str, rooms: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(room + ".") for room in rooms)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_device_imports_nothing_from_the_desktop(path: Path) -> None:
    desktop = {path.stem for path in (ROOT / "tools").iterdir()} | {"tools"}
    assert not {module.split(".")[0] for module in imports(path)} & desktop


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_recognition_and_messaging_do_not_know_each_other(path: Path) -> None:
    own = name_of(path)
    if under(own, PURE_ROOMS):
        assert not [module for module in imports(path) if under(module, SHELL_ROOMS)]
    if under(own, SHELL_ROOMS):
        assert not [module for module in imports(path) if under(module, PURE_ROOMS)]
    if under(own, JOINED):
        assert not [module for module in imports(path) if under(module, ("edge.door", "edge.daemon"))]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_each_foreign_world_has_one_door(path: Path) -> None:
    own = name_of(path)
    for module in imports(path):
        assert SOLE_IMPORTERS.get(module.split(".")[0], own) == own


def test_the_stages_know_no_clock_no_chance_and_no_thread() -> None:
    rooms = zip(PURE_ROOMS, PURE_STAGES, strict=True)
    for name in ["edge.pipeline", *(f"{room}.{stage}" for room, stages in rooms for stage in stages)]:
        path = ROOT / (name.replace(".", "/") + ".py")
        assert not {module.split(".")[0] for module in imports(path)} & IMPURE, name
