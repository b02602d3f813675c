"""Who may pass where and when, as data: what a policy file, or a list of names, comes to."""

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
    """One way through a door."""

    id: str  # its place in policy.toml, such as "doors.front.allow[0]"
    people: tuple[str, ...]  # patterns of person ids, those of the groups included
    schedule: Schedule | None = None  # when; None: always
    liveness: LivenessMode = LivenessMode.OFF  # what has to be shown by whom this rule lets pass


@dataclass(frozen=True, slots=True)
class DoorRules:
    """What holds at one door."""

    id: str  # its place in policy.toml, such as "doors.front"
    allow: tuple[AllowRule, ...] = ()  # any one of them suffices
    threshold_factor: float = 1.0  # multiplies every threshold; below 1 is stricter
    min_samples: int | None = None  # agreeing samples for a name; None: as door.toml says
    liveness: LivenessMode = LivenessMode.OFF  # what has to be shown by everybody


@dataclass(frozen=True, slots=True)
class PersonRules:
    """What holds for a person, or for all whose id fits a pattern, at every door."""

    id: str
    person: str
    validity: Validity


@dataclass(frozen=True, slots=True)
class AccessRules:
    """A whole policy; empty, it lets nobody pass."""

    doors: tuple[tuple[str, DoorRules], ...] = ()  # by name or pattern, in the order of the file
    people: tuple[PersonRules, ...] = ()  # all that fit a person must hold
    calendar: Calendar = field(default_factory=Calendar)  # of the place

    def door(self, name: str) -> DoorRules:
        """The rules of one door: the table of exactly this name, else the first whose pattern fits, else none."""
        fitting = [rules for pattern, rules in self.doors if pattern == name]
        fitting += [rules for pattern, rules in self.doors if fnmatchcase(name, pattern)]
        return fitting[0] if fitting else DoorRules("no-table-for-this-door")


def default_rules(access: AccessConfig) -> AccessRules:
    """The rules of a door without a policy.

    Raises:
        ConfigError: [access] names a policy.
    """
    if access.policy:
        raise ConfigError(f"[access]: the policy {access.policy} has not been read")
    return allow_list(("*",) if access.allow is None else access.allow)


def allow_list(people: Iterable[str]) -> AccessRules:
    """Rules without schedules: everybody who matches one of these patterns passes every door."""
    allow = tuple(AllowRule(f"allow {pattern}", (pattern,)) for pattern in people)
    return AccessRules(doors=(("*", DoorRules("not-in-allow", allow)),))
