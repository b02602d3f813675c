"""The access rules: allowed, denied, unknown."""

from __future__ import annotations

import pytest
from faces import direction, track

from edge.access.policy import Policy
from edge.config import AccessConfig
from edge.records import Finding, Kind, Match, Person, Verdict

ANNA = Person("staff-anna", "Anna")


def verdict(finding: Finding) -> Verdict:
    return Verdict(finding, track(), Match(ANNA, 0.5, 1.0, 2.0), direction(0), 3, 1.0, "", 7)


@pytest.mark.parametrize(
    ("allow", "kind", "rule"),
    [
        (("*",), Kind.DOOR_OPEN, "allow *"),
        (("guest-*", "staff-*"), Kind.DOOR_OPEN, "allow staff-*"),
        (("staff-anna",), Kind.DOOR_OPEN, "allow staff-anna"),
        (("guest-*",), Kind.DENIED, "not-in-allow"),
        (("Staff-Anna",), Kind.DENIED, "not-in-allow"),
        ((), Kind.DENIED, "not-in-allow"),
    ],
)
def test_who_is_recognised_passes_only_by_a_rule(allow: tuple[str, ...], kind: Kind, rule: str) -> None:
    decision = Policy(AccessConfig(allow=allow)).decide(verdict(Finding.RECOGNISED), 9)
    assert (decision.kind, decision.rule, decision.t_ns) == (kind, rule, 9)


def test_an_unknown_never_passes_however_near_somebody_is() -> None:
    assert Policy(AccessConfig(allow=("*",))).decide(verdict(Finding.UNKNOWN), 9).kind is Kind.UNKNOWN
