"""The `edge` command: run, replay, demo, check, bench, events.

Results go to standard output, everything else to standard error. Exit code 0: done; 1: something failed; 2: the
command line, the configuration or an input file cannot be used.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import struct
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edge import __version__
from edge.bench import SECTIONS
from edge.config import DoorConfig, ModelsConfig, MqttConfig, read_config
from edge.errors import InputError
from edge.program import moment_ns, run

if TYPE_CHECKING:
    from edge.messaging.subscriber import Message


def main() -> None:
    """The entry point of the console script."""
    # Products this small lose by threads, and these would take the models' cores; read when numpy is first imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    run(_main)


def _main() -> int:
    arguments = _parser().parse_args()
    _log_to_stderr(arguments.verbose)
    code: int = arguments.command(arguments)
    return code


def _run(arguments: argparse.Namespace) -> int:
    from edge.privacy import confine, exposed

    confine()
    config = read_config(arguments.config)
    if found := exposed(config):
        paths = " ".join(map(str, found))
        logging.getLogger(__name__).warning("others may read or write %s: chmod go= %s", paths, paths)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    from edge.vision.opening import Opening

    with Opening(config.camera, realtime=True) as opening:  # meanwhile come the other imports and the models
        from edge.daemon import Daemon

        Daemon(config, opening).run(stop)
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


def _seal(arguments: argparse.Namespace) -> int:
    from edge.identity.sealing import read_key
    from edge.privacy import change_seal, galleries

    config = read_config(arguments.config) if arguments.config else None
    key = read_key(arguments.key, "--key") or (read_key(config.gallery_key) if config else None)
    if key is None:
        raise InputError(
            "no key: give --key FILE, or set gallery_key in door.toml; make one with  openssl rand -hex 32"
        )
    paths = arguments.gallery or (galleries(config) if config else [])
    if not paths:
        raise InputError("no gallery: name one, or give --config door.toml")
    changed = change_seal(paths, key, undo=arguments.undo)
    for path in paths:
        state = "plain" if arguments.undo else "sealed"
        print(f"{path}: {state if path in changed else f'{state} already'}", file=sys.stderr)
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    from edge.bench.bench import bench
    from edge.bench.report import compare, read_report
    from edge.bench.table import comparison_table, table

    before = read_report(arguments.compare) if arguments.compare else None
    report = bench(
        ModelsConfig(threads=arguments.threads),
        sections=arguments.only,
        repeats=arguments.repeats,
        quick=arguments.quick,
    )
    comparison = compare(before, report) if before else None
    if arguments.json:
        _print_json(comparison or report)
    else:
        print(comparison_table(comparison) if comparison else table(report))
    return 0


def _events(arguments: argparse.Namespace) -> int:
    from edge.messaging.events import Channel, Topics
    from edge.messaging.subscriber import Subscriber

    config = read_config(arguments.config) if arguments.config else None
    mqtt = config.mqtt if config else MqttConfig(url=arguments.broker, insecure=arguments.insecure)
    doors = Topics(arguments.site or "+", arguments.door or "+")
    with Subscriber(mqtt, doors, [Channel(name) for name in arguments.channels]) as subscriber:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: subscriber.stop())
        for message in subscriber.messages():
            if message.problem:
                print(_printable(f"{message.topic}: {message.problem}"), file=sys.stderr)
            elif arguments.json:
                print(_as_json(message), flush=True)
            else:
                print(_readable(message), flush=True)
    return 0


def _readable(message: Message) -> str:
    """One line of `edge events` for people: when, where, what, who and why."""
    from edge.messaging.events import Event

    door = f"{message.door.site}/{message.door.door}"
    if not isinstance(message.record, Event):
        return _printable(f"{door} {message.channel}  {msgspec.json.encode(_content(message)).decode()}")
    event = message.record
    measured = event.distance_sq is not None and event.threshold_sq is not None
    near = f", distance {event.distance_sq:.2f} of {event.threshold_sq:.2f}" if measured else ""
    who = event.person.id if event.person else "-"
    return _printable(f"{event.at}  {door}  {event.kind:14}  {who:20}  {event.reason}{near}")


def _as_json(message: Message) -> str:
    """One line of `edge events --json`."""
    return _printable(msgspec.json.encode({"topic": message.topic, "message": _content(message)}).decode())


def _content(message: Message) -> object:
    """All that was said, in JSON's own terms; without the keys beyond the contract where those are damaged."""
    try:
        return msgspec.json.decode(message.payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return message.record


def _printable(text: str) -> str:
    r"""One line that no terminal obeys: what anybody on the network has sent, with control characters as \uXXXX."""
    units = struct.Struct(">H")
    return "".join(
        each
        if each.isprintable()
        else "".join(f"\\u{unit:04x}" for (unit,) in units.iter_unpack(each.encode("utf-16-be", "surrogatepass")))
        for each in text
    )


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
        type=moment_ns,
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

    command = _command(commands, "seal", _seal, "encrypt galleries on this disk, or open them again")
    command.add_argument("gallery", type=Path, nargs="*", metavar="G", help="(default: all of the door's)")
    command.add_argument("--config", type=Path, metavar="door.toml", help="the door's configuration")
    command.add_argument("--key", default="", metavar="FILE", help="64 hexadecimal digits (default: gallery_key)")
    command.add_argument("--undo", action="store_true", help="open them, for instance to change the key")

    command = _command(
        commands,
        "bench",
        _bench,
        "measure this machine: models, steps, power, a running door, its start, searches",
    )
    command.add_argument(
        "--threads",
        type=int,
        default=ModelsConfig().threads,
        choices=range(1, 17),
        metavar="N",
        help="of the models (default: %(default)s, as for a door)",
    )
    command.add_argument(
        "--repeats",
        type=int,
        default=100,
        metavar="N",
        help="runs of each model and step, the rest in proportion (default: 100)",
    )
    command.add_argument(
        "--only",
        nargs="+",
        default=SECTIONS,
        choices=SECTIONS,
        metavar="SECTION",
        help=f"some of: {', '.join(SECTIONS)} (default: all)",
    )
    command.add_argument("--quick", action="store_true", help="a fifth of the runs, and no large galleries")
    command.add_argument("--compare", type=Path, metavar="OTHER.json", help="show what changed since this report")
    command.add_argument("--json", action="store_true", help="a JSON object; --compare reads it back")

    command = _command(commands, "events", _events, "subscribe to doors and print what they publish")
    source = command.add_mutually_exclusive_group()
    source.add_argument("--config", type=Path, metavar="door.toml", help="take broker and login from here")
    source.add_argument("--broker", default="mqtt://localhost:1883", metavar="URL", help="(default: %(default)s)")
    command.add_argument("--insecure", action="store_true", help="allow plain mqtt:// to another host")
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
