"""Writes groups and validity of the people folder into the access rules."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli_w

from edge.access.policy_file import parse_policy
from edge.core.errors import ConfigError
from edge.core.toml_config import load_toml
from threshold_tools.enroll.folder import PersonFolder


def merged_policy(base: Path, people: Sequence[PersonFolder]) -> bytes:
    """Access rules with the groups and validity of all people.

    Args:
        base: access rules with schedules, doors and optional groups.
        people: people whose groups and validity are added; unknown groups are created.

    Raises:
        ConfigError: the rules cannot be used, or contradict a person's profile.
    """
    tables: dict[str, Any] = load_toml(base)
    parse_policy(base)
    groups: dict[str, Any] = tables.setdefault("groups", {})
    validity: dict[str, Any] = tables.setdefault("people", {})
    for person in people:
        for group in person.groups:
            if person.id not in groups.setdefault(group, []):
                groups[group].append(person.id)
        days = {"valid_from": person.valid_from, "valid_until": person.valid_until}
        period = {key: day for key, day in days.items() if day is not None}
        if period and validity.setdefault(person.id, period) != period:
            raise ConfigError(
                f"{base}: people.{person.id} differs from {person.folder}; set the validity in one place only"
            )
    text = (
        f"# Made by threshold enroll from {base.name} and the profiles of the people folder.\n\n{tomli_w.dumps(tables)}"
    )
    with tempfile.NamedTemporaryFile(suffix=".toml") as trial:
        trial.write(text.encode())
        trial.flush()
        try:
            parse_policy(Path(trial.name))
        except ConfigError as error:
            raise ConfigError(f"{base} with the profiles: {str(error).removeprefix(f'{trial.name}: ')}") from error
    return text.encode()
