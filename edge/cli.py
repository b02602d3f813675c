"""The `edge` command: run, replay, demo, check, bench, events.

Results go to standard output, everything else to standard error. Exit code 0: done; 1: something failed; 2: the
command line, the configuration or an input file cannot be used.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edge import __version__
from edge.config import DoorConfig, ModelsConfig, MqttConfig, read_config
from edge.program import run

if TYPE_CHECKING:
    from edge.messaging.subscriber import Message

_YEARS = (1971, 2200)  # of --at


def main() -> None:
    """The entry point of the console script."""
    run(_main)


def _main() -> int:
    arguments = _parser().parse_args()
    _log_to_stderr(arguments.verbose)
    code: int = arguments.command(arguments)
    return code


def _run(arguments: argparse.Namespace) -> int:
    from edge.daemon import Daemon

    config = read_config(arguments.config)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Daemon(config).run(stop)
    return 0


def _replay(arguments: argparse.Namespace) -> int:
    from edge.replay import compare, read_expected, replay

    config = read_config(arguments.config) if arguments.config else DoorConfig(site="replay", door="replay")
    expected = read_expected(arguments.expect) if arguments.expect else None
    found = []
    for line in replay(config, arguments.clip, arguments.gallery, arguments.annotate, arguments.at):
        found.append(line)
        if arguments.json:
            _print_json(line)
        else:
            who = line.person.id if line.person else "-"
            print(
                f"{line.t:8.2f} s  {line.kind:9}  {who:24}  distance {line.distance_sq:.2f}, threshold "
                f"{line.threshold_sq:.2f} (lower is nearer, stricter), {line.samples} samples: {line.reason}",
                flush=True,
            )
    if expected is not None:
        compare(expected, found)
        print(f"{arguments.expect}: all {len(expected)} events as expected", file=sys.stderr)
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from edge.demo.show import show

    if not arguments.verbose:
        logging.getLogger().setLevel(logging.WARNING)  # the events themselves tell the story
    print(
        "A bundled clip plays before a door; these are its events as an MQTT subscriber receives them.", file=sys.stderr
    )
    for message in show(arguments.broker):
        if arguments.json:
            print(message.payload.decode(), flush=True)
        else:
            print(_readable(message), flush=True)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from edge.check import check

    findings = check(arguments.config)
    if arguments.json:
        _print_json(findings)
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.what:10}  {finding.detail}")
            if not finding.ok:
                print(f"{'':18}{finding.remedy}")
    return 0 if all(finding.ok for finding in findings) else 1


def _trust(arguments: argparse.Namespace) -> int:
    from edge.renewal import trust

    print(trust(read_config(arguments.config), arguments.root), file=sys.stderr)
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    from edge.bench import bench, table

    report = bench(threads=arguments.threads, repeats=arguments.repeats)
    if arguments.json:
        _print_json(report)
    else:
        print(table(report))
    return 0


def _events(arguments: argparse.Namespace) -> int:
    from edge.messaging.events import Channel, Topics
    from edge.messaging.subscriber import Subscriber

    config = read_config(arguments.config) if arguments.config else None
    mqtt = config.mqtt if config else MqttConfig(url=arguments.broker)
    doors = Topics(arguments.site or "+", arguments.door or "+")
    with Subscriber(mqtt, doors, [Channel(name) for name in arguments.channels]) as subscriber:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: subscriber.stop())
        for message in subscriber.messages():
            if message.problem:
                print(f"{message.topic}: {message.problem}", file=sys.stderr)
            elif arguments.json:
                print(msgspec.json.encode(_Received(message.topic, msgspec.Raw(message.payload))).decode(), flush=True)
            else:
                print(_readable(message), flush=True)
    return 0


def _readable(message: Message) -> str:
    """One line of `edge events` for people: when, where, what, who and why."""
    from edge.messaging.events import Event

    if not isinstance(message.record, Event):
        return f"{message.door.site}/{message.door.door} {message.channel}  {message.payload.decode()}"
    event = message.record
    near = "" if event.distance_sq is None else f", distance {event.distance_sq:.2f} of {event.threshold_sq:.2f}"
    who = event.person.id if event.person else "-"
    return f"{event.at}  {message.door.site}/{message.door.door}  {event.kind:14}  {who:20}  {event.reason}{near}"


class _Received(msgspec.Struct):
    """One line of `edge events --json`."""

    topic: str
    message: msgspec.Raw


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge",
        description="Face recognition at the door: camera frames in, access events over MQTT out.",
        epilog="Distances are squared Euclidean distances between unit embeddings, 0 to 4: lower is nearer, and a "
        "lower threshold is stricter. Exit codes: 0 done, 1 failed, 2 unusable command line, configuration or input.",
    )
    parser.add_argument("--version", action="version", version=f"threshold-edge {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log repeats and details, too")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = _command(commands, "run", _run, "guard a door until told to stop (the service runs this)")
    command.add_argument("--config", type=Path, required=True, metavar="door.toml", help="the door's configuration")

    command = _command(commands, "replay", _replay, "run a recorded clip through the very loop of the daemon")
    command.add_argument("clip", type=Path, metavar="CLIP", help="video file, or folder of stills in order of name")
    command.add_argument("--gallery", type=Path, required=True, metavar="G", help="gallery made by tools/enroll.py")
    command.add_argument("--config", type=Path, metavar="C", help="door.toml to stand in for (default: all defaults)")
    command.add_argument("--json", action="store_true", help="one JSON object per decision and line")
    command.add_argument("--annotate", type=Path, metavar="OUT.mp4", help="write the clip with what the door saw")
    command.add_argument(
        "--at",
        type=_moment_ns,
        metavar="TIME",
        help="when the clip begins, for rules with times, such as 2026-03-29T01:30+01:00 (default: clock not set)",
    )
    command.add_argument(
        "--expect",
        type=Path,
        metavar="EVENTS.jsonl",
        help="compare kind, person and time with these lines; 1 if they differ",
    )

    command = _command(commands, "demo", _demo, "watch a bundled clip become events on a real MQTT connection")
    command.add_argument(
        "--broker", metavar="URL", help="use this broker, such as mqtt://localhost:1883, not an embedded one"
    )
    command.add_argument("--json", action="store_true", help="print the events as received, one JSON object per line")

    command = _command(commands, "check", _check, "find what stands between this door and its first event")
    command.add_argument("--config", type=Path, required=True, metavar="door.toml", help="the door's configuration")
    command.add_argument("--json", action="store_true", help="a JSON array")

    command = _command(commands, "trust", _trust, "take releases from whoever holds the keys that this root names")
    command.add_argument("root", type=Path, metavar="ROOT.json", help="REPO/root.json of tools/sync.py")
    command.add_argument(
        "--config",
        type=Path,
        default=Path("/etc/threshold/door.toml"),
        metavar="door.toml",
        help="the door's configuration (default: %(default)s)",
    )

    command = _command(commands, "bench", _bench, "measure every stage on this machine")
    command.add_argument(
        "--threads",
        type=int,
        default=ModelsConfig().threads,
        choices=range(1, 17),
        metavar="N",
        help="of the models (default: %(default)s, as for a door)",
    )
    command.add_argument(
        "--repeats", type=int, default=100, metavar="N", help="runs of every measurement (default: 100)"
    )
    command.add_argument("--json", action="store_true", help="a JSON object")

    command = _command(commands, "events", _events, "subscribe to doors and print what they publish")
    source = command.add_mutually_exclusive_group()
    source.add_argument("--config", type=Path, metavar="door.toml", help="take broker and login from here")
    source.add_argument("--broker", default="mqtt://localhost:1883", metavar="URL", help="(default: %(default)s)")
    command.add_argument("--site", metavar="S", help="only this site (default: all)")
    command.add_argument("--door", metavar="D", help="only this door (default: all)")
    command.add_argument(
        "--channels",
        nargs="+",
        default=["events"],
        choices=["events", "open", "status", "health", "release"],
        metavar="CHANNEL",
        help="events, open, status, health, release (default: events)",
    )
    command.add_argument("--json", action="store_true", help="one JSON object {topic, message} per line")
    return parser


def _moment_ns(text: str) -> int:
    """Nanoseconds since 1970 UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no time such as 2026-03-29T01:30+01:00") from error
    if moment.tzinfo is None or not _YEARS[0] <= moment.year < _YEARS[1]:
        raise argparse.ArgumentTypeError(f"'{text}' needs an offset such as +01:00 and a year from {_YEARS[0]} on")
    return round(moment.timestamp()) * 1_000_000_000


def _command(commands: Any, name: str, function: Any, purpose: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=purpose, description=purpose[:1].upper() + purpose[1:] + "."
    )
    command.set_defaults(command=function)
    return command


def _log_to_stderr(verbose: bool) -> None:
    """Plain lines; under systemd the journal adds the time itself, and takes the level from the prefix."""
    under_systemd = "JOURNAL_STREAM" in os.environ
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(message)s" if under_systemd else "%(asctime)s %(levelname)s %(message)s",
    )


def _print_json(value: Any) -> None:
    print(msgspec.json.encode(value).decode(), flush=True)


if __name__ == "__main__":
    main()
