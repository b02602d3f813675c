"""Access rules in force at this door: whom they let pass, and what they need the clock for."""

from __future__ import annotations

from collections.abc import Iterator

from edge.access.model import AccessRules
from edge.access.policy import Policy
from edge.access.policy_file import load_configured_rules
from edge.core.cli_support import counted
from edge.core.config import DoorConfig
from edge.core.errors import ThresholdError
from edge.diagnostics.result import CheckResult, fail, ok, warn
from edge.runtime.bundle import RuntimeBundle

_NAMED = 3  # rules, or people, listed by name
_EXAMPLE = "correct the rules; systemd/policy.toml is an example"


def access_findings(config: DoorConfig, kit: RuntimeBundle | None, release: str) -> Iterator[CheckResult]:
    """Whether anybody may pass, and whether every rule names somebody.

    Args:
        config: door configuration.
        kit: what the door runs; None if it does not load: then the rules of door.toml are read without the gallery.
        release: the release that brought the rules, "" if they are those of door.toml.
    """
    if kit is None and config.release:
        yield warn("access", "unknown: neither release nor gallery can be loaded", "correct the errors above first")
        return
    try:
        rules = kit.rules if kit else load_configured_rules(config.access)
    except ThresholdError as error:
        yield fail("access", str(error), _EXAMPLE)
        return
    where, remedy = _origin(config, release)
    allow = rules.door(config.door).allow
    if not allow:
        yield fail("access", f"{where}: lets nobody through door '{config.door}'", remedy)
        return
    detail = f"{where}: door '{config.door}', {counted(len(allow), 'rule')}"
    people = [person.id for person in kit.gallery.people] if kit else []
    if not people:
        yield ok("access", detail)
        return
    policy = Policy(rules, config.door)
    passing = sum(policy.names(person) for person in people)
    if not passing:
        yield fail("access", f"{where}: nobody in the gallery may pass at door '{config.door}'", remedy)
        return
    detail += f", {counted(passing, 'person', 'people')} of {len(people)} may pass"
    idle = [rule for rule, count in policy.people_per_rule(people).items() if not count]
    if idle:
        listed = ", ".join(idle[:_NAMED]) + (", …" if len(idle) > _NAMED else "")
        yield warn("access", f"{detail}; these name nobody in the gallery: {listed}", remedy)
    else:
        yield ok("access", detail)


def timed_rules(rules: AccessRules, door: str) -> str:
    """Which rules at a door let nobody in while the clock is not set, for people; "" if none does."""
    allow = rules.door(door).allow
    timed = [rule for rule in allow if rule.schedule is not None]
    if timed:
        return "the rules have times" if len(timed) == len(allow) else f"{len(timed)} of {len(allow)} rules have times"
    return "people have dates of validity" if rules.people else ""


def _origin(config: DoorConfig, release: str) -> tuple[str, str]:
    """Where the rules are written, and what to do about them there."""
    if release:
        ignored = config.access.policy or config.access.allow is not None
        note = " ([access] of door.toml is not in force)" if ignored else ""
        return f"rules of {release}{note}", "correct the rules on the desktop, and  tools/sync.py publish --policy"
    return config.access.policy or "[access] allow", _EXAMPLE
