"""May they pass? The access rules, applied to a verdict; who is not allowed by a rule is denied."""

from __future__ import annotations

from fnmatch import fnmatchcase

from edge.config import AccessConfig
from edge.records import Decision, Finding, Kind, Verdict


class Policy:
    """The rules of one door; pure."""

    def __init__(self, config: AccessConfig) -> None:
        self._config = config

    def decide(self, verdict: Verdict, t_ns: int) -> Decision:
        """Turn a verdict that is recognised or unknown into the door's answer."""
        if verdict.finding is not Finding.RECOGNISED or verdict.match.person is None:
            return Decision(Kind.UNKNOWN, "nobody-enrolled-is-near", verdict, t_ns)
        for pattern in self._config.allow:
            if fnmatchcase(verdict.match.person.id, pattern):
                return Decision(Kind.DOOR_OPEN, f"allow {pattern}", verdict, t_ns)
        return Decision(Kind.DENIED, "not-in-allow", verdict, t_ns)
