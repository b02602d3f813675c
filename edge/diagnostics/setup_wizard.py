"""The questions of `edge setup`, asked or answered by options and defaults, and the door.toml that they make."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edge.core.config import DoorConfig
from edge.core.errors import BrokerRefusedError, ConfigError, InputError, ThresholdError
from edge.core.toml_config import StrictStruct, convert
from edge.diagnostics.network_checks import check_broker
from edge.diagnostics.probes import camera_candidates, probe_camera
from edge.vision.camera import is_recorded, redact_url

_HEAD = "# Written by `edge setup`. All other keys have defaults, listed in docs/reference/configuration.md.\n"
_COMMENTS = {
    "site": "all doors of a site share people, rules and a broker",
    "door": "",
    "state_folder": "events that wait for the broker, and people",
    "gallery": "who is known; made by threshold enroll",
    "camera.source": "",
    "lock.pin": "GPIO (BCM) number of the relay; docs/guides/lock-wiring.md",
    "liveness.mode": "tells photos from faces, most of the time; docs/lab/liveness.md",
    "mqtt.url": "",
    "mqtt.insecure": "all on the network may read, and open",
    "mqtt.username": "",
    "mqtt.password_file": "its first line",
    "mqtt.ca_file": "the authority that signed the broker's certificate",
}
_NAMES = "letters, digits, '.', '_' and '-', a letter or a digit first, at most 64"


class _InputClosed(InputError):  # noqa: N818 ends the questions
    """Standard input has ended, so asking again is useless."""


@dataclass(frozen=True, slots=True)
class Prompter:
    """Asks questions on the terminal, or answers them from the command line and by defaults."""

    given: Mapping[str, str]  # answers from the command line, by key; these questions are not asked
    alone: bool  # ask nothing; use defaults for what was not given

    def print(self, text: str) -> None:
        """Print to standard error."""
        print(text, file=sys.stderr, flush=True)

    def ask(self, question: str, default: str) -> str:
        """One line from the terminal, or the default for an empty one.

        Raises:
            _InputClosed: there are no more lines.
        """
        if self.alone:
            return default
        print(f"{question} [{default}]: " if default else f"{question}: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise _InputClosed("the answers ended before the questions did; nothing was written")
        return line.strip() or default

    def confirm(self, question: str) -> bool:
        """Ask for yes or no, default no; yes if nothing is asked."""
        return self.alone or self.ask(f"{question} (y/n)", "n").lower() in ("y", "yes")

    def set(
        self, config: DoorConfig, key: str, question: str, default: str, accept: Callable[[DoorConfig, str], DoorConfig]
    ) -> DoorConfig:
        """Take the given answer, or ask until one is accepted.

        Raises:
            ConfigError, CameraError: an answer that was given, or a default, is rejected.
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
                self.print(f"  {error}")


def run_wizard(prompter: Prompter, state_folder: Path) -> DoorConfig:
    """Ask for all settings of a door; `state_folder` is the default one.

    Raises:
        ThresholdError: an answer that was given cannot be used, or standard input has ended.
    """
    config = DoorConfig(site="home", door="front")
    for key, question, default in (
        ("site", "Site, the name that the doors of a building share", "home"),
        ("door", "Door", "front"),
    ):
        config = prompter.set(config, key, question, default, _label(key))
    config = _camera(prompter, config)
    config = prompter.set(
        config, "state_folder", "Folder for events and people", str(state_folder), _path("state_folder")
    )
    gallery = str(Path(config.state_folder) / "gallery.safetensors")
    config = prompter.set(config, "gallery", "People, a gallery made by threshold enroll", gallery, _path("gallery"))
    config = _broker(prompter, config)
    config = prompter.set(config, "lock.pin", "GPIO number of a relay for the lock, or none", "none", _pin)
    mode = "passive" if config.lock else "off"
    question = "Photos held before the camera: off, passive (watched) or challenge (asked to move)"
    return prompter.set(config, "liveness.mode", question, mode, _label("liveness.mode"))


def _label(key: str) -> Callable[[DoorConfig, str], DoorConfig]:
    return lambda config, answer: with_value(config, key, answer)


def _path(key: str) -> Callable[[DoorConfig, str], DoorConfig]:
    """Stores an absolute path: the service starts in another folder."""
    return lambda config, answer: with_value(config, key, os.path.abspath(os.path.expanduser(answer)))


def _pin(config: DoorConfig, answer: str) -> DoorConfig:
    if answer in ("", "none"):
        return config
    if not answer.isdecimal():
        raise ConfigError(f"lock.pin: '{answer}' is no GPIO number such as 17")
    if is_recorded(config.camera.source):
        raise ConfigError(f"lock.pin: {redact_url(config.camera.source)} is a recording, and a recording opens no door")
    return with_value(config, "lock.pin", int(answer))


def _camera(prompter: Prompter, config: DoorConfig) -> DoorConfig:
    found: dict[str, str] = {}
    if "camera.source" not in prompter.given:
        prompter.print("Looking for cameras, a few seconds each …")
        for source in camera_candidates():
            with contextlib.suppress(ThresholdError):
                found[source] = probe_camera(config.camera, source)
        for number, (source, summary) in enumerate(found.items(), start=1):
            prompter.print(f"  {number}  {source}: {summary}")
        if not found:
            prompter.print("  none gives pictures; the address of a network camera will do, too")
    numbered = {str(number): source for number, source in enumerate(found, start=1)}

    def accept(config: DoorConfig, answer: str) -> DoorConfig:
        changed = with_value(config, "camera.source", numbered.get(answer, answer))
        if answer not in numbered:
            shown = redact_url(answer)
            prompter.print(f"  trying {shown} …")
            try:
                prompter.print(f"  {shown}: {probe_camera(changed.camera, answer)}")
            except ThresholdError as error:
                prompter.print(f"  {error}")
                if not prompter.confirm("Take it all the same?"):
                    raise ConfigError("then name another") from error
        return changed

    # What did not work is not offered; where nobody is asked, the file says what a Raspberry Pi needs.
    default = "1" if found else config.camera.source if prompter.alone else ""
    return prompter.set(config, "camera.source", "Camera, its number or a source", default, accept)


def _broker(prompter: Prompter, config: DoorConfig) -> DoorConfig:
    for key in ("mqtt.username", "mqtt.password_file", "mqtt.ca_file"):
        if key in prompter.given:
            config = with_value(config, key, prompter.given[key])
    config = with_value(config, "mqtt.insecure", "mqtt.insecure" in prompter.given)

    def accept(config: DoorConfig, answer: str) -> DoorConfig:
        changed = with_value(config, "mqtt.url", answer)
        prompter.print(f"  trying {answer} …")
        try:
            prompter.print(f"  {check_broker(changed.mqtt).detail}")
        except ConfigError as error:
            if "insecure = true" not in str(error) or prompter.alone:
                raise
            prompter.print(f"  {error}")
            if not prompter.confirm("May everybody on that network read, and open the door?"):
                raise ConfigError("then use mqtts://") from error
            return accept(with_value(config, "mqtt.insecure", True), answer)
        except BrokerRefusedError as error:
            prompter.print(f"  {error}")
            if prompter.alone or not prompter.confirm("Give a user name and a password file?"):
                return _keep_anyway(prompter, changed, error)
            user = with_value(config, "mqtt.username", prompter.ask("User name", config.door))
            return accept(with_value(user, "mqtt.password_file", prompter.ask("File with the password", "")), answer)
        except ThresholdError as error:
            prompter.print(f"  {error}")
            return _keep_anyway(prompter, changed, error)
        return changed

    return prompter.set(config, "mqtt.url", "Broker", config.mqtt.url, accept)


def _keep_anyway(prompter: Prompter, config: DoorConfig, error: ThresholdError) -> DoorConfig:
    """Keep settings that do not work yet, if confirmed."""
    if not prompter.confirm("Take it all the same? Events are kept until it is there"):
        raise ConfigError("then name another") from error
    return config


def with_value(config: DoorConfig, key: str, value: object) -> DoorConfig:
    """The configuration with one key, such as "site" or "camera.source", changed to a value as in the file.

    Raises:
        ConfigError: a value of the wrong type, out of range, or not to be written down.
    """
    if isinstance(value, str) and not value.isprintable():
        raise ConfigError(f"{key}: holds a character that cannot be shown")
    tables: dict[str, Any] = msgspec.to_builtins(config)
    tables = {name: table for name, table in tables.items() if table is not None}
    *table, name = key.split(".")
    place = tables.setdefault(table[0], {}) if table else tables
    place[name] = value
    try:
        return convert(tables, DoorConfig)
    except ConfigError as error:
        if key in ("site", "door"):
            raise ConfigError(f"'{value}' is no name for a {key}: {_NAMES} (and no door is called 'repo')") from error
        raise


def to_toml(config: DoorConfig) -> str:
    """The file: every key that differs from its default, tables last."""
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
    # What JSON writes of a printable text, a number or a truth value is TOML, too.
    text = f"{name} = {json.dumps(value, ensure_ascii=False)}"
    return f"{text:44}  # {comment}" if comment else text
