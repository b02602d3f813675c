"""Questions of `edge setup`, answered on the terminal, by options or by defaults, and the resulting door.toml."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edge.core.config import DoorConfig
from edge.core.credentials import PREFIX
from edge.core.errors import BrokerRefusedError, ConfigError, InputError, ThresholdError
from edge.core.terminal import Style, Terminal
from edge.core.toml_config import StrictStruct, convert
from edge.diagnostics.network_checks import check_broker
from edge.diagnostics.probes import camera_candidates, probe_camera
from edge.vision.camera import is_recorded, redact_url

_HEAD = "# Written by `edge setup`. All other keys have defaults, listed in docs/reference/configuration.md.\n"
_COMMENTS = {
    "site": "all doors of a site share people, rules and a broker",
    "door": "",
    "state_folder": "undelivered events and releases",
    "gallery": "enrolled people; made by threshold enroll",
    "camera.source": "",
    "lock.pin": "GPIO (BCM) number of the relay; docs/guides/lock-wiring.md",
    "liveness.mode": "detects most photos of faces; docs/guides/liveness.md",
    "mqtt.url": "",
    "mqtt.insecure": "anybody on the network can read messages and open the door",
    "mqtt.username": "",
    "mqtt.password_file": "its first line is the password",
    "mqtt.ca_file": "the authority that signed the broker's certificate",
}
_NO_CAMERA = "no camera found; enter the address of a network camera, or connect a camera and start again"
_NAMES = "use at most 64 letters, digits, '.', '_' and '-', with a letter or digit first"


class _InputClosed(InputError):  # noqa: N818 - ends the questions
    """Standard input has ended; no further question can be answered."""


@dataclass(frozen=True, slots=True)
class Prompter:
    """Asks questions on the terminal, or takes answers from the command line and defaults."""

    given: Mapping[str, str]  # answers from the command line by key; these are not asked
    alone: bool  # ask nothing; use the default of every other answer

    def print(self, text: str) -> None:
        """Print to standard error."""
        print(text, file=sys.stderr, flush=True)

    def print_result(self, text: str, style: Style) -> None:
        """Print the result of an answer: a symbol and the text, wrapped to the terminal."""
        terminal = Terminal(sys.stderr)
        lines = textwrap.wrap(text, terminal.width - 4, break_on_hyphens=False, break_long_words=False)
        for number, line in enumerate(lines):
            terminal.print(f"  {' ' if number else terminal.symbol(style)} {line}")

    def ask(self, question: str, default: str) -> str:
        """One line from the terminal, or the default for an empty one.

        Raises:
            _InputClosed: there are no more lines.
        """
        if self.alone:
            return default
        terminal = Terminal(sys.stderr)
        terminal.print(terminal.styled(question, Style.BOLD) + (f" [{default}]: " if default else ": "), end="")
        line = sys.stdin.readline()
        if not line:
            raise _InputClosed("standard input ended before all questions were answered; nothing was written")
        return line.strip() or default

    def confirm(self, question: str) -> bool:
        """Ask for yes or no; default no. Yes if nothing is asked."""
        return self.alone or self.ask(f"{question} (y/n)", "n").lower() in ("y", "yes")

    def set(
        self, config: DoorConfig, key: str, question: str, default: str, accept: Callable[[DoorConfig, str], DoorConfig]
    ) -> DoorConfig:
        """Use the given answer, or ask until one is accepted.

        Raises:
            ConfigError, CameraError: an answer from the command line or a default is rejected.
        """
        if key in self.given:
            return accept(config, self.given[key])
        while True:
            try:
                return accept(config, self.ask(question, default))
            except _InputClosed:
                raise
            except ThresholdError as error:
                if self.alone:
                    raise
                self.print_result(str(error), Style.ERROR)


def run_wizard(prompter: Prompter, state_folder: Path) -> DoorConfig:
    """Ask for all settings of a door; `state_folder` is the default folder.

    Raises:
        ThresholdError: an answer from the command line cannot be used, or standard input has ended.
    """
    config = DoorConfig(site="home", door="front")
    for key, question, default in (
        ("site", "Site (name shared by all doors of a building)", "home"),
        ("door", "Door (name of this door)", "front"),
    ):
        config = prompter.set(config, key, question, default, _label(key))
    config = _camera(prompter, config)
    config = prompter.set(
        config, "state_folder", "Folder for events and releases", str(state_folder), _path("state_folder")
    )
    gallery = str(Path(config.state_folder) / "gallery.safetensors")
    config = prompter.set(config, "gallery", "Gallery file (made by threshold enroll)", gallery, _path("gallery"))
    config = _broker(prompter, config)
    config = prompter.set(config, "lock.pin", "GPIO number of the lock's relay, or none", "none", _pin)
    mode = "passive" if config.lock else "off"
    question = "Photo detection (off, passive, challenge)"
    return prompter.set(config, "liveness.mode", question, mode, _label("liveness.mode"))


def _label(key: str) -> Callable[[DoorConfig, str], DoorConfig]:
    return lambda config, answer: with_value(config, key, answer)


def _path(key: str) -> Callable[[DoorConfig, str], DoorConfig]:
    return lambda config, answer: with_value(config, key, _absolute(answer))


def _absolute(path: str) -> str:
    """The path made absolute, because the service starts in another folder; credentials and "" are unchanged."""
    if not path or path.startswith(PREFIX):
        return path
    return os.path.abspath(os.path.expanduser(path))


def _pin(config: DoorConfig, answer: str) -> DoorConfig:
    if answer in ("", "none"):
        return config
    if not answer.isdecimal():
        raise ConfigError(f"lock.pin: '{answer}' is not a GPIO number such as 17")
    if is_recorded(config.camera.source):
        raise ConfigError(
            f"lock.pin: {redact_url(config.camera.source)} is a recording, and a recording never opens the door"
        )
    return with_value(config, "lock.pin", int(answer))


def _camera(prompter: Prompter, config: DoorConfig) -> DoorConfig:
    found: dict[str, str] = {}
    if "camera.source" not in prompter.given:
        prompter.print("Looking for cameras (3 s for each) …")
        for source in camera_candidates():
            with contextlib.suppress(ThresholdError):
                found[source] = probe_camera(config.camera, source)
        for number, (source, summary) in enumerate(found.items(), start=1):
            prompter.print(f"  {number}  {source}: {summary}")
        if not found:
            prompter.print_result(_NO_CAMERA, Style.WARNING)
    numbered = {str(number): source for number, source in enumerate(found, start=1)}

    def accept(config: DoorConfig, answer: str) -> DoorConfig:
        changed = with_value(config, "camera.source", numbered.get(answer, answer))
        if answer not in numbered:
            shown = redact_url(answer)
            prompter.print(f"  trying {shown} …")
            try:
                prompter.print_result(f"{shown}: {probe_camera(changed.camera, answer)}", Style.GOOD)
            except ThresholdError as error:
                prompter.print_result(str(error), Style.ERROR)
                if not prompter.confirm("Use it anyway?"):
                    raise ConfigError("enter another one") from error
        return changed

    # Only working cameras are offered. Without questions the default is the camera of a Raspberry Pi.
    default = "1" if found else config.camera.source if prompter.alone else ""
    return prompter.set(config, "camera.source", "Camera (number or source)", default, accept)


def _broker(prompter: Prompter, config: DoorConfig) -> DoorConfig:
    if "mqtt.username" in prompter.given:
        config = with_value(config, "mqtt.username", prompter.given["mqtt.username"])
    for key in ("mqtt.password_file", "mqtt.ca_file"):
        if key in prompter.given:
            config = with_value(config, key, _absolute(prompter.given[key]))
    config = with_value(config, "mqtt.insecure", "mqtt.insecure" in prompter.given)

    def accept(config: DoorConfig, answer: str) -> DoorConfig:
        changed = with_value(config, "mqtt.url", answer)
        prompter.print(f"  trying {answer} …")
        try:
            prompter.print_result(check_broker(changed.mqtt).detail, Style.GOOD)
        except ConfigError as error:
            if "insecure = true" not in str(error) or prompter.alone:
                raise
            prompter.print_result(str(error), Style.ERROR)
            if not prompter.confirm("Allow everybody on that network to read messages and open the door?"):
                raise ConfigError("use mqtts://") from error
            return accept(with_value(config, "mqtt.insecure", True), answer)
        except BrokerRefusedError as error:
            prompter.print_result(str(error), Style.ERROR)
            if prompter.alone or not prompter.confirm("Enter a user name and a password file?"):
                return _keep_anyway(prompter, changed, error)
            user = with_value(config, "mqtt.username", prompter.ask("User name", config.door))
            file = _absolute(prompter.ask("File with the password", ""))
            return accept(with_value(user, "mqtt.password_file", file), answer)
        except ThresholdError as error:
            prompter.print_result(str(error), Style.ERROR)
            return _keep_anyway(prompter, changed, error)
        return changed

    return prompter.set(config, "mqtt.url", "Broker", config.mqtt.url, accept)


def _keep_anyway(prompter: Prompter, config: DoorConfig, error: ThresholdError) -> DoorConfig:
    """Keep the address of a broker that does not work yet, if confirmed."""
    if not prompter.confirm("Use it anyway? Events are stored until it is reachable"):
        raise ConfigError("enter another one") from error
    return config


def with_value(config: DoorConfig, key: str, value: object) -> DoorConfig:
    """The configuration with one key, such as "site" or "camera.source", set to a value as in the file.

    Raises:
        ConfigError: a value of the wrong type, out of range, or with control characters.
    """
    if isinstance(value, str) and not value.isprintable():
        raise ConfigError(f"{key}: contains a control character")
    tables: dict[str, Any] = msgspec.to_builtins(config)
    tables = {name: table for name, table in tables.items() if table is not None}
    *table, name = key.split(".")
    place = tables.setdefault(table[0], {}) if table else tables
    place[name] = value
    try:
        return convert(tables, DoorConfig)
    except ConfigError as error:
        if key in ("site", "door"):
            raise ConfigError(f"'{value}' is not a valid name for a {key}: {_NAMES}; 'repo' is reserved") from error
        raise


def to_toml(config: DoorConfig) -> str:
    """Text of the file: every key that differs from its default, tables last."""
    plain, tables = [], []
    for field in msgspec.structs.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, StrictStruct):
            lines = [
                _line(f"{field.name}.{each.name}", each.name, getattr(value, each.name))
                for each in msgspec.structs.fields(value)
                if getattr(value, each.name) != each.default
            ]
            tables += [f"\n[{field.name}]", *lines] if lines or field.default is None else []
        elif value != field.default:
            plain.append(_line(field.name, field.name, value))
    return _HEAD + "\n".join([*plain, *tables]) + "\n"


def _line(key: str, name: str, value: object) -> str:
    comment = _COMMENTS.get(key, "")
    # JSON of printable text, numbers and booleans is valid TOML.
    text = f"{name} = {json.dumps(value, ensure_ascii=False)}"
    return f"{text:44}  # {comment}" if comment else text
