"""Applies the access rules of one door to a verdict. A person whom no rule admits is denied."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

import msgspec

from edge.access.model import AccessRules, AllowRule, PersonRules
from edge.core.config import RecognitionConfig
from edge.core.reasons import Reason
from edge.core.records import AccessOutcome, Decision, Identification, LivenessMode, Verdict, strictest_mode


class Policy:
    """Access rules of one door. Pure: the time is an argument."""

    def __init__(self, rules: AccessRules, door: str, liveness: LivenessMode = LivenessMode.OFF) -> None:
        self._door = rules.door(door)
        # Everybody needs the mode of door.toml; the rules can only require a stricter one.
        self._liveness = strictest_mode((liveness, self._door.liveness))
        self._allow_rules = [(rule, _Names(rule.people)) for rule in self._door.allow]
        self._calendar = rules.calendar
        self._own_limits = {limits.person: limits for limits in rules.people}
        self._shared_limits = [limits for limits in rules.people if _is_pattern(limits.person)]

    def apply_to(self, verdict: RecognitionConfig) -> RecognitionConfig:
        """Settings of a verdict: the door's factor multiplies that of door.toml, its `min_samples` replaces it."""
        return msgspec.structs.replace(
            verdict,
            threshold_factor=verdict.threshold_factor * self._door.threshold_factor,
            min_samples=self._door.min_samples or verdict.min_samples,
        )

    @property
    def liveness(self) -> LivenessMode:
        """Strictest liveness that this door ever requires."""
        return strictest_mode((self._liveness, *(rule.liveness for rule in self._door.allow)))

    def names(self, person: str) -> bool:
        """Whether any rule of this door names this person, at whatever time."""
        return any(names.matches(person) for _, names in self._allow_rules)

    def people_per_rule(self, people: Iterable[str]) -> dict[str, int]:
        """Number of these people whom each rule of the door names, by rule id, at whatever time."""
        ids = list(people)
        return {rule.id: sum(names.matches(person) for person in ids) for rule, names in self._allow_rules}

    def decide(self, verdict: Verdict, t_ns: int, wall_ns: int | None = None) -> Decision:
        """Turn a verdict, recognised or unknown, into a decision.

        Args:
            t_ns: capture time of the deciding frame.
            wall_ns: the same time in nanoseconds since 1970 UTC; None while the clock is not set, and then rules that
                depend on the time deny.
        """
        if verdict.finding is not Identification.RECOGNISED or verdict.match.person is None:
            return Decision(AccessOutcome.UNKNOWN, "nobody-enrolled-is-near", verdict, t_ns)
        person = verdict.match.person.id
        rule, refusal = self._first_matching_rule(person, wall_ns)
        if refusal:
            return Decision(AccessOutcome.DENIED, rule, verdict, t_ns, refusal)
        return Decision(
            AccessOutcome.DOOR_OPEN, rule, verdict, t_ns, required_liveness=self._required_liveness(person, wall_ns)
        )

    def _first_matching_rule(self, person: str, wall_ns: int | None) -> tuple[str, Reason | None]:
        """The deciding rule and its reason to deny, if any: the first rule that allows, else the first that matches."""
        matching = [rule for rule, names in self._allow_rules if names.matches(person)]
        if not matching:
            return self._door.id, Reason.NO_RULE
        for limits in self._limits_for(person):
            refusal = self._outside_validity(limits, wall_ns)
            if refusal:
                return limits.id, refusal
        refusals = [self._refusal(rule, wall_ns) for rule in matching]
        deciding = refusals.index(None) if None in refusals else 0
        return matching[deciding].id, refusals[deciding]

    def _required_liveness(self, person: str, wall_ns: int | None) -> LivenessMode:
        """Strictest liveness of the rules that admit this person now, or could while the clock is not set."""
        holding = [rule for rule, names in self._allow_rules if names.matches(person)]
        if wall_ns is not None:
            holding = [rule for rule in holding if not self._refusal(rule, wall_ns)]
        return strictest_mode((self._liveness, *(rule.liveness for rule in holding)))

    def _limits_for(self, person: str) -> list[PersonRules]:
        """Validity entries of a person, their own table first."""
        own = [self._own_limits[person]] if person in self._own_limits else []
        return own + [limits for limits in self._shared_limits if fnmatchcase(person, limits.person)]

    def _outside_validity(self, limits: PersonRules, wall_ns: int | None) -> Reason | None:
        if wall_ns is None:
            return Reason.CLOCK_NOT_SET
        return limits.validity.refusal_reason(self._calendar.local(wall_ns))

    def _refusal(self, rule: AllowRule, wall_ns: int | None) -> Reason | None:
        if rule.schedule is None:
            return None
        if wall_ns is None:
            return Reason.CLOCK_NOT_SET
        inside = self._calendar.covers(rule.schedule, self._calendar.local(wall_ns))
        return None if inside else Reason.OUTSIDE_SCHEDULE


class _Names:
    """A set of ids and patterns, with constant lookup time for ids."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._ids = frozenset(names)
        self._patterns = [name for name in names if _is_pattern(name)]

    def matches(self, person: str) -> bool:
        return person in self._ids or any(fnmatchcase(person, pattern) for pattern in self._patterns)


def _is_pattern(name: str) -> bool:
    return any(sign in name for sign in "*?[")
