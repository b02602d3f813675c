"""Warnings about probable mistakes in access rules, before they are published; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatchcase

from edge.access.model import AccessRules, DoorRules

_MOST_NAMES = 10  # in one warning


def policy_warnings(rules: AccessRules, people: Collection[str], doors: Iterable[str]) -> Iterator[str]:
    """Warnings about rules that have no effect, and about people or doors without a rule.

    Args:
        rules: rules of the release.
        people: ids of everybody in its gallery.
        doors: names of the doors that have reported.
    """
    patterns = {pattern for _, door in rules.doors for rule in door.allow for pattern in rule.people}
    if empty := sorted(pattern for pattern in patterns if not _fitting(pattern, people)):
        yield f"the rules name {_listed(empty)}, but the gallery has no such person"
    for _, door in rules.doors:
        if not _admitted(door, people):
            yield f"{door.id} admits nobody in the gallery"
    for name in sorted(doors):
        if all(name != pattern and not fnmatchcase(name, pattern) for pattern, _ in rules.doors):
            yield f"the rules have no table for door '{name}', which has reported: it denies everybody"
    admitted = {person for _, door in rules.doors for person in _admitted(door, people)}
    if without := sorted(set(people) - admitted):
        yield f"no rule admits {_listed(without)} at any door"


def _admitted(door: DoorRules, people: Collection[str]) -> set[str]:
    """Ids of the people whom a door admits at some time."""
    return {person for rule in door.allow for pattern in rule.people for person in _fitting(pattern, people)}


def _fitting(pattern: str, people: Collection[str]) -> list[str]:
    if not set(pattern) & set("*?["):
        return [pattern] if pattern in people else []
    return [person for person in people if fnmatchcase(person, pattern)]


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
