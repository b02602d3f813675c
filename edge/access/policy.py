"""May they pass? The access rules of one door, applied to a verdict; who is not allowed by a rule is denied."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

import msgspec

from edge.access.model import AccessRules, AllowRule, PersonRules
from edge.core.config import RecognitionConfig
from edge.core.reasons import Reason
from edge.core.records import AccessOutcome, Decision, Identification, LivenessMode, Verdict, strictest_mode


class Policy:
    """The rules of one door; pure: the moment is an argument."""

    def __init__(self, rules: AccessRules, door: str, liveness: LivenessMode = LivenessMode.OFF) -> None:
        self._door = rules.door(door)
        # door.toml asks this of everybody; the rules may ask for more, never for less.
        self._liveness = strictest_mode((liveness, self._door.liveness))
        self._allow_rules = [(rule, _Names(rule.people)) for rule in self._door.allow]
        self._calendar = rules.calendar
        self._own_limits = {limits.person: limits for limits in rules.people}
        self._shared_limits = [limits for limits in rules.people if _is_pattern(limits.person)]

    def apply_to(self, verdict: RecognitionConfig) -> RecognitionConfig:
        """What this door asks of a verdict: its own factor on top of that of door.toml, and its own `min_samples`."""
        return msgspec.structs.replace(
            verdict,
            threshold_factor=verdict.threshold_factor * self._door.threshold_factor,
            min_samples=self._door.min_samples or verdict.min_samples,
        )

    @property
    def liveness(self) -> LivenessMode:
        """The most that this door ever asks to be shown of being alive."""
        return strictest_mode((self._liveness, *(rule.liveness for rule in self._door.allow)))

    def names(self, person: str) -> bool:
        """Whether any rule at this door is for this person, whatever the time; without one the door denies them."""
        return any(names.matches(person) for _, names in self._allow_rules)

    def people_per_rule(self, people: Iterable[str]) -> dict[str, int]:
        """How many of these people each rule of the door is for, by the rule's id, whatever the time."""
        ids = list(people)
        return {rule.id: sum(names.matches(person) for person in ids) for rule, names in self._allow_rules}

    def decide(self, verdict: Verdict, t_ns: int, wall_ns: int | None = None) -> Decision:
        """Turn a verdict that is recognised or unknown into the door's answer.

        Args:
            t_ns: capture time of the frame that tipped it.
            wall_ns: the same moment in nanoseconds since 1970 UTC, or None while the clock is not set: what depends
                on it is denied then.
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
        """The rule that decides, and why it refuses or None: any rule that allows will do, else the first that fits."""
        fitting = [rule for rule, names in self._allow_rules if names.matches(person)]
        if not fitting:
            return self._door.id, Reason.NO_RULE
        for limits in self._limits_for(person):
            refusal = self._outside_validity(limits, wall_ns)
            if refusal:
                return limits.id, refusal
        refusals = [self._refusal(rule, wall_ns) for rule in fitting]
        deciding = refusals.index(None) if None in refusals else 0
        return fitting[deciding].id, refusals[deciding]

    def _required_liveness(self, person: str, wall_ns: int | None) -> LivenessMode:
        """The strictest that the rules which let this person pass now ask for, and those that may, the clock unset."""
        holding = [rule for rule, names in self._allow_rules if names.matches(person)]
        if wall_ns is not None:
            holding = [rule for rule in holding if not self._refusal(rule, wall_ns)]
        return strictest_mode((self._liveness, *(rule.liveness for rule in holding)))

    def _limits_for(self, person: str) -> list[PersonRules]:
        """All that hold for a person, the table of their own first."""
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
    """Ids and patterns; ten thousand ids are looked up as fast as one."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._ids = frozenset(names)
        self._patterns = [name for name in names if _is_pattern(name)]

    def matches(self, person: str) -> bool:
        return person in self._ids or any(fnmatchcase(person, pattern) for pattern in self._patterns)


def _is_pattern(name: str) -> bool:
    return any(sign in name for sign in "*?[")
