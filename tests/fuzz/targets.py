"""All fuzz targets by name."""

from __future__ import annotations

from fuzz import files, texts, wire
from fuzz.target import Target

TARGETS: dict[str, Target] = {target.name: target for target in (*texts.TARGETS, *wire.TARGETS, *files.TARGETS)}
