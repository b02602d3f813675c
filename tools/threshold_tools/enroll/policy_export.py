"""From the cards of a people folder to the access rules: who is in which group, and from when until when."""

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


def merged_policy(base: Path, members: Sequence[PersonFolder]) -> bytes:
    """A policy.toml with everybody's groups and validity entered.

    Args:
        base: a policy with schedules, doors and, if need be, groups that have nobody yet.
        members: whose cards are entered; a group that the policy does not know is made.

    Raises:
        ConfigError: the policy cannot be used, or says something else about somebody than the card does.
    """
    tables: dict[str, Any] = load_toml(base)
    parse_policy(base)
    groups: dict[str, Any] = tables.setdefault("groups", {})
    people: dict[str, Any] = tables.setdefault("people", {})
    for member in members:
        for group in member.groups:
            if member.id not in groups.setdefault(group, []):
                groups[group].append(member.id)
        days = {"valid_from": member.valid_from, "valid_until": member.valid_until}
        card = {key: day for key, day in days.items() if day is not None}
        if card and people.setdefault(member.id, card) != card:
            raise ConfigError(f"{base}: people.{member.id} differs from {member.folder}; say it in one place only")
    text = f"# Made by tools/enroll.py from {base.name} and the cards of the people folder.\n\n{tomli_w.dumps(tables)}"
    with tempfile.NamedTemporaryFile(suffix=".toml") as trial:
        trial.write(text.encode())
        trial.flush()
        try:
            parse_policy(Path(trial.name))
        except ConfigError as error:
            raise ConfigError(f"{base} with the cards: {str(error).removeprefix(f'{trial.name}: ')}") from error
    return text.encode()
