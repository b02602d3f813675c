"""`edge replay`: runs recorded clips through the same loop as the daemon; with --suite a folder of them."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.command import Commands, add_command, print_json, print_table
from edge.core.cli_support import counted, parse_time_ns
from edge.core.config import DoorConfig, read_config
from edge.core.errors import ExpectationError, InputError
from edge.core.files import atomic_write, require_parent_dir

if TYPE_CHECKING:
    from edge.replay.replay import ReplayEvent

_ONE_CLIP_OPTIONS = ("json", "annotate", "explain", "at", "expect", "record")


def add(commands: Commands) -> None:
    """Add the command's parser."""
    command = add_command(commands, "replay", _replay, "run a recorded clip through the same loop as the door")
    command.add_argument("clip", type=Path, metavar="CLIP", help="video file, or folder of stills in order of name")
    command.add_argument(
        "--suite",
        action="store_true",
        help="CLIP is a folder of clips, each with NAME.expected.jsonl beside it: replay all; 1 if any differs",
    )
    command.add_argument(
        "--gallery",
        type=Path,
        metavar="GALLERY",
        help="made by threshold enroll (default: nobody; with --suite: gallery.safetensors in the folder)",
    )
    command.add_argument(
        "--config",
        type=Path,
        metavar="door.toml",
        help="of the door (default: all defaults; with --suite: door.toml in the folder)",
    )
    command.add_argument("--junit", type=Path, metavar="OUT.xml", help="with --suite: write a JUnit report for CI")
    command.add_argument("--json", action="store_true", help="one JSON object per line and decision")
    command.add_argument(
        "--annotate",
        type=Path,
        metavar="OUT.mp4",
        help="write an annotated copy of the clip: .mp4 (H.264, needs PyAV) or .webm (VP8)",
    )
    command.add_argument("--explain", action="store_true", help="afterwards list every visitor and every look")
    command.add_argument(
        "--at",
        type=parse_time_ns,
        metavar="TIME",
        help="when the clip begins, for rules with times, such as 2026-03-29T01:30+01:00 (default: clock not set)",
    )
    expectation = command.add_mutually_exclusive_group()
    expectation.add_argument(
        "--expect",
        type=Path,
        metavar="EVENTS.jsonl",
        help="compare kind, person and time with these lines; 1 if they differ",
    )
    expectation.add_argument("--record", type=Path, metavar="EVENTS.jsonl", help="write down what --expect may compare")


def _replay(arguments: argparse.Namespace) -> int:
    if arguments.suite:
        for name in _ONE_CLIP_OPTIONS:
            if getattr(arguments, name):
                raise InputError(f"--{name} is for a single clip; leave out --{name} or --suite")
        return _replay_suite(arguments)
    if arguments.junit:
        raise InputError("--junit is for a folder of clips; add --suite")
    return _replay_clip(arguments)


def _replay_suite(arguments: argparse.Namespace) -> int:
    from edge.replay.suite import clips_without_expectation, junit, run_suite

    folder: Path = arguments.clip
    if arguments.junit:
        require_parent_dir(arguments.junit)
    config = read_config(arguments.config) if arguments.config else None
    results = []
    for result in run_suite(folder, config, arguments.gallery):
        results.append(result)
        state = "ok   " if result.ok else "ERROR" if result.error else "DIFF "
        events = counted(result.events, "event")
        print(f"{state}  {result.name:30}  {events:>9}  {result.took_s:6.1f} s  {result.error}".rstrip())
        if result.difference:
            print_table(result.difference, sys.stdout)
    for name in clips_without_expectation(folder):
        print(f"{name}: skipped, no {Path(name).stem}.expected.jsonl", file=sys.stderr)
    if arguments.junit:
        atomic_write(arguments.junit, junit(results))
    wrong = [result.name for result in results if not result.ok]
    if wrong:
        raise ExpectationError(f"{len(wrong)} of {len(results)} clips differ from what is expected: {', '.join(wrong)}")
    return 0


def _replay_clip(arguments: argparse.Namespace) -> int:
    from edge.replay.annotate import Annotator
    from edge.replay.expected import read_expected, require_absent, write_expected
    from edge.replay.explain import Explainer, PromptLog
    from edge.replay.replay import ReplayObserver, replay

    config = read_config(arguments.config) if arguments.config else DoorConfig(site="replay", door="replay")
    expected = read_expected(arguments.expect) if arguments.expect else None
    if arguments.record:
        require_absent(arguments.record)
    if arguments.gallery is None:
        print("no --gallery: nobody is enrolled, so all visitors are unknown", file=sys.stderr)
    found = []
    explainer = Explainer()
    with ExitStack() as stack:
        observers: list[ReplayObserver] = [PromptLog(), explainer]
        if arguments.annotate:
            observers.append(
                stack.enter_context(closing(Annotator(arguments.annotate, config.recognition.min_samples)))
            )
        for line in replay(config, arguments.clip, arguments.gallery, observers, arguments.at):
            found.append(line)
            explainer.on_event(line)
            if arguments.json:
                print_json(line)
            else:
                print(_readable(line), flush=True)
    if not found and not arguments.explain:
        why = explainer.why_nothing(config.recognition.min_samples)
        print(f"no event: {why}; --explain says what was seen", file=sys.stderr)
    if arguments.explain and arguments.json:
        print_json({"visitors": list(explainer.visitors.values())})
    elif arguments.explain:
        print(f"\n{explainer.render()}")
    if arguments.annotate:
        print(f"{arguments.annotate}: annotated clip written", file=sys.stderr)
    if arguments.record:
        write_expected(arguments.record, found)
        print(f"{arguments.record}: {len(found)} events written", file=sys.stderr)
    if expected is not None:
        _compare(arguments.expect, expected, found)
    return 0


def _compare(path: Path, expected: list[ReplayEvent], found: list[ReplayEvent]) -> None:
    from edge.replay.expected import difference_table, match_events

    pairs = match_events(expected, found)
    different = sum(bool(pair.differs) for pair in pairs)
    if different:
        print_table(difference_table(pairs), sys.stderr)
        raise ExpectationError(f"{path}: {different} of {len(pairs)} events differ from what is expected")
    print(f"{path}: all {len(expected)} events as expected", file=sys.stderr)


def _readable(line: ReplayEvent) -> str:
    who = line.person.id if line.person else "-"
    head = f"{line.t:8.2f} s  {line.kind:9}  {who:24}  "
    if not line.threshold_sq:  # nobody is enrolled
        return f"{head}{counted(line.samples, 'sample')}: {line.reason}"
    return (
        f"{head}distance {line.distance_sq:.2f}, threshold {line.threshold_sq:.2f} "
        f"(lower is nearer, stricter), {counted(line.samples, 'sample')}: {line.reason}"
    )
