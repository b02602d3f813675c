"""Access rules as data, read from a policy file or a list of names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from edge.access.schedule import Calendar, Schedule, Validity
from edge.core.config import AccessConfig
from edge.core.errors import ConfigError
from edge.core.records import LivenessMode


@dataclass(frozen=True, slots=True)
class AllowRule:
    """A rule that lets people pass a door."""

    id: str  # its place in policy.toml, such as "doors.front.allow[0]"
    people: tuple[str, ...]  # patterns of person ids, members of groups included
    schedule: Schedule | None = None  # when; None: always
    liveness: LivenessMode = LivenessMode.OFF  # liveness that the rule requires


@dataclass(frozen=True, slots=True)
class DoorRules:
    """Rules of one door."""

    id: str  # its place in policy.toml, such as "doors.front"
    allow: tuple[AllowRule, ...] = ()  # one that allows is enough
    threshold_factor: float = 1.0  # multiplies every threshold; below 1 is stricter
    min_samples: int | None = None  # agreeing samples for a name; None: as in door.toml
    liveness: LivenessMode = LivenessMode.OFF  # liveness that everybody must show


@dataclass(frozen=True, slots=True)
class PersonRules:
    """Validity of a person, or of all people whose id matches a pattern, at every door."""

    id: str
    person: str
    validity: Validity


@dataclass(frozen=True, slots=True)
class AccessRules:
    """A complete policy; an empty one lets nobody pass."""

    doors: tuple[tuple[str, DoorRules], ...] = ()  # by name or pattern, in the order of the file
    people: tuple[PersonRules, ...] = ()  # all entries that match a person must hold
    calendar: Calendar = field(default_factory=Calendar)  # at the doors

    def door(self, name: str) -> DoorRules:
        """Rules of one door: the table with its exact name, else the first matching pattern, else no rules."""
        fitting = [rules for pattern, rules in self.doors if pattern == name]
        fitting += [rules for pattern, rules in self.doors if fnmatchcase(name, pattern)]
        return fitting[0] if fitting else DoorRules("no-table-for-this-door")


def default_rules(access: AccessConfig) -> AccessRules:
    """Rules of a door without a policy file.

    Raises:
        ConfigError: [access] names a policy.
    """
    if access.policy:
        raise ConfigError(f"[access] policy: {access.policy} has not been read")
    return allow_list(("*",) if access.allow is None else access.allow)


def allow_list(people: Iterable[str]) -> AccessRules:
    """Rules without schedules: everybody who matches one of these patterns passes every door."""
    allow = tuple(AllowRule(f"allow {pattern}", (pattern,)) for pattern in people)
    return AccessRules(doors=(("*", DoorRules("not-in-allow", allow)),))
