"""Replays a folder of clips and compares each with its expected events; JUnit report for CI.

The events expected of a clip NAME.mp4, or of a folder NAME of stills, are in NAME.expected.jsonl next to it; NAME.toml
has settings of the clip, see `ClipCase`. door.toml and gallery.safetensors in the folder are for all clips.
"""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from argparse import ArgumentTypeError
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from edge.core.cli_support import parse_time_ns
from edge.core.config import DoorConfig, read_config
from edge.core.errors import ConfigError, InputError, ThresholdError
from edge.core.toml_config import StrictStruct, convert, load_toml
from edge.replay.annotate import Annotator
from edge.replay.clip_writer import has_h264
from edge.replay.expected import difference_table, match_events, read_expected, write_expected
from edge.replay.replay import ReplayEvent, replay

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
    events: int  # number of expected events
    difference: str  # expected and found events for people, or "" if they agree
    error: str  # why it could not be replayed, or ""
    took_s: float  # wall time
    recorded: bool = False  # it had no expected events; the found ones have been written
    annotated: Path | None = None  # annotated clip of a difference

    @property
    def ok(self) -> bool:
        return not self.difference and not self.error


class Suite:
    """Clips of a folder with their expected events."""

    def __init__(
        self,
        folder: Path,
        config: DoorConfig | None = None,
        gallery: Path | None = None,
        *,
        record_missing: bool = False,
        annotate: Path | None = None,
    ) -> None:
        """
        Args:
            folder: folder of the clips.
            config: door configuration of clips that name none; None: door.toml in the folder, else all defaults.
            gallery: gallery of clips that name none; None: gallery.safetensors in the folder, else nobody is enrolled.
            record_missing: write the events of clips without expected events as their expected events.
            annotate: folder for annotated clips of differences; None: none are written.

        Raises:
            InputError: a folder is missing, no clip has expected events, or door.toml cannot be used.
        """
        for each in filter(None, (folder, annotate)):
            if not each.is_dir():
                raise InputError(f"{each}: no such folder")
        cases = {path.name.removesuffix(_ENDING) for path in folder.glob("*" + _ENDING)}
        new = {
            path.stem: path.name
            for path in folder.iterdir()
            if path.suffix.lower() in _CLIPS and not cases & {path.name, path.stem}
        }
        self.skipped = [] if record_missing else sorted(new.values())  # file names of clips without expected events
        self.names = sorted(cases | new.keys()) if record_missing else sorted(cases)  # of the clips that are replayed
        if not self.names:
            raise InputError(f"{folder}: no clip has expected events (NAME{_ENDING}); --record-missing writes them")
        common_config, common_gallery = folder / "door.toml", folder / "gallery.safetensors"
        self._folder, self._annotate = folder, annotate
        self._config = config or (read_config(common_config) if common_config.exists() else _ANY_DOOR)
        self._gallery = gallery or (common_gallery if common_gallery.exists() else None)

    def run(self) -> Iterator[ClipResult]:
        """Replay the clips in order of their names; an error of one does not stop the others."""
        return map(self._run, self.names)

    def _run(self, name: str) -> ClipResult:
        began = time.monotonic()
        expectation = self._folder / (name + _ENDING)
        events, difference, error, annotated = 0, "", "", None
        recorded = not expectation.exists()
        try:
            case = _read_case(self._folder / f"{name}.toml")
            if recorded:
                found = self._replay(name, case)
                write_expected(expectation, found)
                events = len(found)
            else:
                expected = read_expected(expectation)
                events = len(expected)
                pairs = match_events(expected, self._replay(name, case))
                difference = difference_table(pairs) if any(pair.differs for pair in pairs) else ""
            if difference and self._annotate:
                annotated = self._annotate / f"{name}.{'mp4' if has_h264() else 'webm'}"
                self._replay(name, case, annotated)
        except (ThresholdError, OSError) as why:
            error = str(why)
        took_s = time.monotonic() - began
        return ClipResult(name, events, difference, error, took_s, recorded and not error, annotated)

    def _replay(self, name: str, case: ClipCase, annotated: Path | None = None) -> list[ReplayEvent]:
        config = read_config(self._folder / case.config) if case.config else self._config
        gallery = self._folder / case.gallery if case.gallery else self._gallery
        at_ns = parse_time_ns(case.at) if case.at else None
        with ExitStack() as stack:
            observers = []
            if annotated:
                observers.append(stack.enter_context(closing(Annotator(annotated, config.recognition.min_samples))))
            return list(replay(config, _find_clip(self._folder, name), gallery, observers, at_ns))


def junit(results: Sequence[ClipResult]) -> bytes:
    """The results as JUnit XML for CI servers."""
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
    """The text with "?" in place of characters that XML 1.0 forbids."""
    return "".join(each if each in "\t\n" or each.isprintable() else "?" for each in text)


def _read_case(path: Path) -> ClipCase:
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


def _find_clip(folder: Path, name: str) -> Path:
    """The clip, or folder of stills, called NAME; there must be exactly one."""
    ours = {name + _ENDING, name + ".toml"}
    found = sorted(path for path in folder.iterdir() if name in (path.name, path.stem) and path.name not in ours)
    if not found:
        raise InputError(f"{folder / name}: no clip or folder of stills with this name; remove {name}{_ENDING}?")
    if len(found) > 1:
        raise InputError(f"{folder / name}: several clips with this name: {', '.join(path.name for path in found)}")
    return found[0]
