"""`edge events`: subscribes to doors and prints their messages."""

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
from edge.core.cli_support import escape_untrusted, find_default_config
from edge.core.config import MqttConfig, read_config
from edge.core.errors import BrokerError, ConfigError, InputError
from edge.core.terminal import Terminal

if TYPE_CHECKING:
    from edge.mqtt.subscriber import Message

_LOCAL = "mqtt://localhost:1883"
_OPTIONS = {
    "[mqtt] url": "--broker",
    "[mqtt] cert_file and key_file": "--config with cert_file and key_file",
    "[mqtt] cert_file": "--config with cert_file",
    "set insecure = true (on a command line: --insecure)": "add --insecure",
    "[mqtt] ": "",
    "password_file": "--password-file",
    "username": "--username",
    "ca_file": "--ca-file",
}


def add(commands: Commands) -> None:
    """Add the command's parser."""
    command = add_command(commands, "events", _events, "subscribe to doors and print their messages")
    source = command.add_mutually_exclusive_group()
    source.add_argument(
        "--config", type=Path, metavar="FILE", help="door.toml with the broker and login (default: as for edge check)"
    )
    source.add_argument("--broker", metavar="URL", help=f"without a door.toml (default: {_LOCAL})")
    command.add_argument("--insecure", action="store_true", help="allow unencrypted mqtt:// to another host")
    command.add_argument("--username", default="", metavar="NAME", help="user name at the broker")
    command.add_argument("--password-file", default="", metavar="FILE", help="its first line is the password")
    command.add_argument("--ca-file", default="", metavar="FILE", help="authority that signed the broker's certificate")
    command.add_argument("--site", metavar="SITE", help="only this site (default: all)")
    command.add_argument("--door", metavar="DOOR", help="only this door (default: all)")
    command.add_argument(
        "--channels",
        nargs="+",
        default=["events"],
        choices=["events", "open", "status", "health", "release", "challenge", "presence"],
        metavar="CHANNEL",
        help="one or more of events, open, status, health, release, challenge, presence (default: events)",
    )
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object {topic, message} per line")
    form.add_argument("--live", action="store_true", help="show a table of doors and events on the whole terminal")


def _events(arguments: argparse.Namespace) -> int:
    from edge.cli.message_lines import MessageFormatter
    from edge.events.topics import Channel, Topics
    from edge.mqtt.subscriber import Subscriber

    if arguments.live:
        if importlib.util.find_spec("rich") is None:
            raise InputError("--live needs rich; run  pip install rich, or leave out --live")
        if not sys.stdout.isatty():
            raise InputError("--live needs a terminal; leave it out for a file or another program")
        arguments.channels = ["events", "status", "health"]
    mqtt, by_options = _broker(arguments)
    doors = Topics(arguments.site or "+", arguments.door or "+")
    channels = [Channel(name) for name in arguments.channels]
    with _errors_by_option(by_options), Subscriber(mqtt, doors, channels) as subscriber:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: subscriber.stop())
        if arguments.live:
            from edge.cli.live import run_live_view

            run_live_view(subscriber)
            return 0
        formatter = MessageFormatter(Terminal(sys.stdout))
        for message in subscriber.messages():
            if message.problem:
                print(escape_untrusted(f"{message.topic}: {message.problem}"), file=sys.stderr)
            elif arguments.json:
                print(as_json(message), flush=True)
            else:
                print(*formatter.lines(message), sep="\n", flush=True)
    return 0


def _broker(arguments: argparse.Namespace) -> tuple[MqttConfig, bool]:
    """The broker, and whether it comes from options instead of a door.toml."""
    login = {key: getattr(arguments, key) for key in ("insecure", "username", "password_file", "ca_file")}
    given = [f"--{key.replace('_', '-')}" for key, value in login.items() if value]
    path = arguments.config or (None if arguments.broker or given else find_default_config())
    if path is None:
        return MqttConfig(url=arguments.broker or _LOCAL, **login), True
    if given:
        raise InputError(f"{given[0]}: --config has the login of the broker already; leave one of them out")
    return read_config(path).mqtt, False


@contextlib.contextmanager
def _errors_by_option(asked: bool) -> Iterator[None]:
    """In errors, replace keys of door.toml by the options of this command, if `asked`."""
    try:
        yield
    except (BrokerError, ConfigError) as error:
        if not asked:
            raise
        message = str(error)
        for key, option in _OPTIONS.items():
            message = message.replace(key, option)
        raise type(error)(message) from error


def as_json(message: Message) -> str:
    """One line of `edge events --json`."""
    return escape_untrusted(msgspec.json.encode({"topic": message.topic, "message": _content(message)}).decode(), None)


def _content(message: Message) -> object:
    """The payload as JSON values, also keys beyond the contract; the decoded record if the payload is damaged."""
    try:
        return msgspec.json.decode(message.payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return message.record
