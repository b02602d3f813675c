"""Replays a folder of clips and compares each with its expected events; JUnit report for CI.

Beside a clip NAME.mp4, or a folder of stills NAME, lies NAME.expected.jsonl; NAME.toml may say more, see `ClipCase`.
What lies in the folder itself holds for all: door.toml and gallery.safetensors.
"""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from argparse import ArgumentTypeError
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.core.cli_support import parse_time_ns
from edge.core.config import DoorConfig, read_config
from edge.core.errors import ConfigError, InputError, ThresholdError
from edge.core.toml_config import StrictStruct, convert, load_toml
from edge.replay.expected import difference_table, match_events, read_expected
from edge.replay.replay import replay

_ENDING = ".expected.jsonl"
_CLIPS = frozenset({".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm"})
_ANY_DOOR = DoorConfig(site="replay", door="replay")


class ClipCase(StrictStruct, frozen=True):
    """NAME.toml: settings of one clip; paths are relative to its folder."""

    config: str = ""  # a door.toml
    gallery: str = ""
    at: str = ""  # when the clip begins, such as 2026-03-29T01:30+01:00, for rules with times


@dataclass(frozen=True, slots=True)
class ClipResult:
    """Result of one clip."""

    name: str
    events: int  # how many were expected
    difference: str  # both sides for people, or "" where they agree
    error: str  # why it could not be replayed, or ""
    took_s: float  # wall time

    @property
    def ok(self) -> bool:
        return not self.difference and not self.error


def run_suite(folder: Path, config: DoorConfig | None = None, gallery: Path | None = None) -> Iterator[ClipResult]:
    """Replay every clip of a folder that says what it expects, in order of name.

    Clips that name no config or gallery use the one given, or door.toml and gallery.safetensors in the folder.

    Raises:
        InputError: no clip there has expected events, or the folder's door.toml cannot be used.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    cases = sorted(folder.glob("*" + _ENDING))
    if not cases:
        raise InputError(f"{folder}: no clip says what it expects; make NAME{_ENDING} with  edge replay CLIP --record")
    usual = folder / "door.toml"
    config = config or (read_config(usual) if usual.exists() else _ANY_DOOR)
    known = folder / "gallery.safetensors"
    gallery = gallery or (known if known.exists() else None)
    return (_run(case, config, gallery) for case in cases)


def clips_without_expectation(folder: Path) -> list[str]:
    """Names of clips without expected events."""
    named = {path.name.removesuffix(_ENDING) for path in folder.glob("*" + _ENDING)}
    return sorted(
        path.name for path in folder.iterdir() if path.suffix.lower() in _CLIPS and not named & {path.name, path.stem}
    )


def junit(results: Sequence[ClipResult]) -> bytes:
    """The results as JUnit XML, as most servers that run tests read it."""
    failures, errors = sum(bool(each.difference) for each in results), sum(bool(each.error) for each in results)
    counts = {"tests": str(len(results)), "failures": str(failures), "errors": str(errors)}
    took_s = sum(each.took_s for each in results)
    suite = ET.Element("testsuite", {"name": "threshold", "time": f"{took_s:.3f}", **counts})
    for each in results:
        case = ET.SubElement(suite, "testcase", classname="threshold.clips", name=each.name, time=f"{each.took_s:.3f}")
        if each.error:
            ET.SubElement(case, "error", message=_escape(each.error))
        elif each.difference:
            ET.SubElement(case, "failure", message="other events than expected").text = _escape(each.difference)
    return bytes(ET.tostring(suite, encoding="utf-8", xml_declaration=True)) + b"\n"


def _escape(text: str) -> str:
    """Without the characters that XML 1.0 forbids."""
    return "".join(each if each in "\t\n" or each.isprintable() else "?" for each in text)


def _run(expectation: Path, config: DoorConfig, gallery: Path | None) -> ClipResult:
    name = expectation.name.removesuffix(_ENDING)
    began = time.monotonic()
    events, difference, error = 0, "", ""
    try:
        case = _case(expectation.with_name(name + ".toml"))
        folder = expectation.parent
        expected = read_expected(expectation)
        events = len(expected)
        found = list(
            replay(
                read_config(folder / case.config) if case.config else config,
                _clip_of(folder, name),
                folder / case.gallery if case.gallery else gallery,
                at_ns=parse_time_ns(case.at) if case.at else None,
            )
        )
        pairs = match_events(expected, found)
        difference = difference_table(pairs) if any(pair.differs for pair in pairs) else ""
    except (ThresholdError, OSError) as why:
        error = str(why)
    return ClipResult(name, events, difference, error, time.monotonic() - began)


def _case(path: Path) -> ClipCase:
    if not path.exists():
        return ClipCase()
    tables = load_toml(path)
    try:
        case = convert(tables, ClipCase)
        if case.at:
            parse_time_ns(case.at)
    except (ConfigError, ArgumentTypeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return case


def _clip_of(folder: Path, name: str) -> Path:
    """The clip, or folder of stills, called NAME; there must be exactly one."""
    ours = {name + _ENDING, name + ".toml"}
    found = [path for path in folder.iterdir() if name in (path.name, path.stem) and path.name not in ours]
    if len(found) != 1:
        raise InputError(f"{folder / name}: {'several clips' if found else 'no clip'} of this name, one is needed")
    return found[0]
