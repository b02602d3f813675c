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
from edge.core.terminal import Style, Terminal

if TYPE_CHECKING:
    from edge.replay.explain import Explainer
    from edge.replay.replay import ReplayEvent
    from edge.replay.suite import ClipResult

_ONE_CLIP_OPTIONS = ("json", "explain", "at", "expect", "record")
_SUITE_OPTIONS = ("junit", "record_missing")
_STYLES = {"door-open": Style.GOOD, "denied": Style.ERROR, "unknown": Style.WARNING}


def add(commands: Commands) -> None:
    """Add the command's parser."""
    command = add_command(commands, "replay", _replay, "run a recorded clip through the same loop as the door")
    command.add_argument("clip", type=Path, metavar="CLIP", help="video file, or folder of stills in order of name")
    command.add_argument(
        "--suite",
        action="store_true",
        help="CLIP is a folder of clips with NAME.expected.jsonl next to each: replay all; exit code 1 if any differs",
    )
    command.add_argument(
        "--gallery",
        type=Path,
        metavar="GALLERY",
        help="made by threshold enroll (default: nobody is enrolled; with --suite: gallery.safetensors in the folder)",
    )
    command.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="door.toml of the door (default: all defaults; with --suite: door.toml in the folder)",
    )
    command.add_argument("--junit", type=Path, metavar="OUT.xml", help="with --suite: write a JUnit report for CI")
    command.add_argument(
        "--record-missing",
        action="store_true",
        help="with --suite: write NAME.expected.jsonl for every clip that has none",
    )
    command.add_argument("--json", action="store_true", help="print one JSON object per decision")
    command.add_argument(
        "--annotate",
        type=Path,
        metavar="OUT.mp4",
        help="write an annotated copy of the clip: .mp4 (H.264, needs PyAV) or .webm (VP8); with --suite: folder for "
        "annotated clips of differences",
    )
    command.add_argument("--explain", action="store_true", help="afterwards list every visitor and every sample")
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
        help="compare kind, person and time with these events; exit code 1 if they differ",
    )
    expectation.add_argument("--record", type=Path, metavar="EVENTS.jsonl", help="write the events, for --expect later")


def _replay(arguments: argparse.Namespace) -> int:
    if arguments.suite:
        for name in _ONE_CLIP_OPTIONS:
            if getattr(arguments, name):
                instead = "use --record-missing" if name == "record" else f"leave out --{name}"
                raise InputError(f"--{name} is for a single clip; with --suite {instead}")
        return _replay_suite(arguments)
    for name in _SUITE_OPTIONS:
        if getattr(arguments, name):
            raise InputError(f"--{name.replace('_', '-')} is for a folder of clips; add --suite")
    return _replay_clip(arguments)


def _replay_suite(arguments: argparse.Namespace) -> int:
    from edge.replay.suite import Suite, junit

    if arguments.junit:
        require_parent_dir(arguments.junit)
    suite = Suite(
        arguments.clip,
        read_config(arguments.config) if arguments.config else None,
        arguments.gallery,
        record_missing=arguments.record_missing,
        annotate=arguments.annotate,
    )
    terminal = Terminal(sys.stdout)
    width = max(map(len, suite.names))
    results = []
    for result in suite.run():
        results.append(result)
        style, state = _state(result)
        events = "" if result.error else counted(result.events, "event")
        row = f"{result.name:{width}}  {events:>9}  {result.took_s:6.1f} s"
        terminal.print(f"{terminal.symbol(style)} {terminal.styled(f'{state:5}', style)}  {row}")
        if result.error:
            terminal.print(f"    {result.error}")
        if result.difference:
            print_table(result.difference, sys.stdout)
        if result.annotated:
            print(f"{result.annotated}: annotated clip written", file=sys.stderr)
    for name in suite.skipped:
        print(f"{name}: skipped, no {Path(name).stem}.expected.jsonl; --record-missing writes it", file=sys.stderr)
    if arguments.junit:
        atomic_write(arguments.junit, junit(results))
    wrong = [result.name for result in results if not result.ok]
    if wrong:
        clips = counted(len(results), "clip")
        raise ExpectationError(f"{len(wrong)} of {clips} failed: {', '.join(wrong)}")
    return 0


def _state(result: ClipResult) -> tuple[Style, str]:
    if result.error:
        return Style.ERROR, "ERROR"
    if result.difference:
        return Style.ERROR, "DIFF"
    return (Style.PLAIN, "NEW") if result.recorded else (Style.GOOD, "ok")


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
    explainer, terminal = Explainer(), Terminal(sys.stdout)
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
                terminal.print(_readable(line, terminal))
    _print_explanation(arguments, explainer, found, config.recognition.min_samples)
    if arguments.annotate:
        print(f"{arguments.annotate}: annotated clip written", file=sys.stderr)
    if arguments.record:
        write_expected(arguments.record, found)
        print(f"{arguments.record}: {counted(len(found), 'event')} written", file=sys.stderr)
    if expected is not None:
        _compare(arguments.expect, expected, found)
    return 0


def _print_explanation(
    arguments: argparse.Namespace, explainer: Explainer, found: list[ReplayEvent], min_samples: int
) -> None:
    if not arguments.json and any(line.threshold_sq for line in found):
        print("distance: lower is nearer; up to the threshold a person is recognised", file=sys.stderr)
    if not found and not arguments.explain:
        print(f"no event: {explainer.why_nothing(min_samples)} (--explain lists all samples)", file=sys.stderr)
    if arguments.explain and arguments.json:
        print_json({"visitors": list(explainer.visitors.values())})
    elif arguments.explain:
        print(f"\n{explainer.render()}")


def _compare(path: Path, expected: list[ReplayEvent], found: list[ReplayEvent]) -> None:
    from edge.replay.expected import difference_table, match_events

    pairs = match_events(expected, found)
    different = sum(bool(pair.differs) for pair in pairs)
    if different:
        print_table(difference_table(pairs), sys.stderr)
        raise ExpectationError(f"{path}: {different} of {counted(len(pairs), 'event')} different from expectation")
    print(f"{path}: {counted(len(expected), 'event')} as expected", file=sys.stderr)


def _readable(line: ReplayEvent, terminal: Terminal) -> str:
    from edge.events.reasons import reason_meaning
    from edge.replay.explain import distance_text

    style = _STYLES[line.kind]
    who = line.person.name or line.person.id if line.person else ""
    kind = terminal.styled(f"{line.kind.replace('-', ' '):9}", style)
    why = f"{distance_text(line)}, {counted(line.samples, 'sample')}"
    if line.kind == "denied":
        why = f"{reason_meaning(line.reason)}, {why}"
    return f"{line.t:7.2f} s  {terminal.symbol(style)} {kind}  {who:16}  {why}"
