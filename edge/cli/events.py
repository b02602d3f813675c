"""`edge events`: subscribe to doors and print what they publish."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge.cli.command import Commands, add_command
from edge.core.cli_support import escape_untrusted
from edge.core.config import MqttConfig, read_config
from edge.core.errors import BrokerError, ConfigError, InputError

if TYPE_CHECKING:
    from edge.mqtt.subscriber import Message

_MOST_CONTENT = 4000  # characters of a message that people read as JSON; a whole `health` has about 1,500

_OPTIONS = {
    "[mqtt] url": "--broker",
    "[mqtt] cert_file and key_file": "--config with cert_file and key_file",
    "[mqtt] cert_file": "--config with cert_file",
    "set insecure = true beside it (on a command line: --insecure)": "give --insecure",
    "[mqtt] ": "",
    "password_file": "--password-file",
    "username": "--username",
    "ca_file": "--ca-file",
}


def add(commands: Commands) -> None:
    """Add the command's parser."""
    command = add_command(commands, "events", _events, "subscribe to doors and print what they publish")
    source = command.add_mutually_exclusive_group()
    source.add_argument("--config", type=Path, metavar="door.toml", help="take broker and login from here")
    source.add_argument("--broker", default="mqtt://localhost:1883", metavar="URL", help="(default: %(default)s)")
    command.add_argument("--insecure", action="store_true", help="allow unencrypted mqtt:// to another host")
    command.add_argument("--username", default="", metavar="NAME", help="for the broker")
    command.add_argument("--password-file", default="", metavar="FILE", help="whose first line is the password")
    command.add_argument("--ca-file", default="", metavar="FILE", help="of the authority of the broker's certificate")
    command.add_argument("--site", metavar="SITE", help="only this site (default: all)")
    command.add_argument("--door", metavar="DOOR", help="only this door (default: all)")
    command.add_argument(
        "--channels",
        nargs="+",
        default=["events"],
        choices=["events", "open", "status", "health", "release", "challenge", "presence"],
        metavar="CHANNEL",
        help="events, open, status, health, release, challenge, presence (default: events)",
    )
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object {topic, message} per line")
    form.add_argument("--live", action="store_true", help="the whole terminal: doors with their state, and events")


def _events(arguments: argparse.Namespace) -> int:
    from edge.events.topics import Channel, Topics
    from edge.mqtt.subscriber import Subscriber

    if arguments.live:
        if importlib.util.find_spec("rich") is None:
            raise InputError("--live needs rich; run: pip install rich, or leave --live out")
        if not sys.stdout.isatty():
            raise InputError("--live draws on a terminal; leave it out for a file or another program")
        arguments.channels = ["events", "status", "health"]
    mqtt = _broker(arguments)
    doors = Topics(arguments.site or "+", arguments.door or "+")
    channels = [Channel(name) for name in arguments.channels]
    with _errors_by_option(arguments.config is None), Subscriber(mqtt, doors, channels) as subscriber:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: subscriber.stop())
        if arguments.live:
            from edge.cli.live import run_live_view

            run_live_view(subscriber)
            return 0
        for message in subscriber.messages():
            if message.problem:
                print(escape_untrusted(f"{message.topic}: {message.problem}"), file=sys.stderr)
            elif arguments.json:
                print(as_json(message), flush=True)
            else:
                print(readable(message), flush=True)
    return 0


def _broker(arguments: argparse.Namespace) -> MqttConfig:
    login = {key: getattr(arguments, key) for key in ("insecure", "username", "password_file", "ca_file")}
    if arguments.config is None:
        return MqttConfig(url=arguments.broker, **login)
    if given := [f"--{key.replace('_', '-')}" for key, value in login.items() if value]:
        raise InputError(f"{given[0]}: the broker's login is that of --config; leave one of the two out")
    return read_config(arguments.config).mqtt


@contextlib.contextmanager
def _errors_by_option(asked: bool) -> Iterator[None]:
    """Replace keys of door.toml in error messages by the options of this command, if asked for."""
    try:
        yield
    except (BrokerError, ConfigError) as error:
        if not asked:
            raise
        message = str(error)
        for key, option in _OPTIONS.items():
            message = message.replace(key, option)
        raise type(error)(message) from error


def readable(message: Message) -> str:
    """One line of `edge events` for people: when, where, what, who and why."""
    from edge.events.schema import Event

    door = f"{message.door.site}/{message.door.door}"
    if not isinstance(message.record, Event):
        content = msgspec.json.encode(_content(message)).decode()
        return escape_untrusted(f"{door} {message.channel}  {content}", _MOST_CONTENT)
    event = message.record
    measured = event.distance_sq is not None and event.threshold_sq is not None
    near = f", distance {event.distance_sq:.2f} of {event.threshold_sq:.2f}" if measured else ""
    who = event.person.id if event.person else "-"
    return escape_untrusted(f"{event.at}  {door}  {event.kind:14}  {who:20}  {event.reason}{near}")


def as_json(message: Message) -> str:
    """One line of `edge events --json`."""
    return escape_untrusted(msgspec.json.encode({"topic": message.topic, "message": _content(message)}).decode(), None)


def _content(message: Message) -> object:
    """The payload as JSON values, also keys beyond the contract; the decoded record if the payload is damaged."""
    try:
        return msgspec.json.decode(message.payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return message.record
