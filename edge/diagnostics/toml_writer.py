"""A door's configuration as the text of a door.toml: what differs from the defaults, with a comment each. No I/O."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from edge.core.config import DoorConfig
from edge.core.errors import ConfigError
from edge.core.toml_config import StrictStruct, convert

_HEAD = "# Written by `edge setup`. Everything not said here has a default: docs/configuration.md lists every key.\n"
_COMMENTS = {
    "site": "all doors of a site share people, rules and a broker",
    "door": "",
    "state_folder": "events that wait for the broker, and people",
    "gallery": "who is known; made by threshold enroll",
    "camera.source": "",
    "lock.pin": "GPIO (BCM) number of the relay; docs/wiring.md",
    "liveness.mode": "tells photos from faces, most of the time; docs/liveness.md",
    "mqtt.url": "",
    "mqtt.insecure": "all on the network may read, and open",
    "mqtt.username": "",
    "mqtt.password_file": "its first line",
    "mqtt.ca_file": "the authority that signed the broker's certificate",
}
_NAMES = "letters, digits, '.', '_' and '-', a letter or a digit first, at most 64"


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
