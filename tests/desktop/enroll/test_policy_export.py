"""Cards and rules: groups and validity that stand with the person reach the policy."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from threshold_tools.enroll.folder import PersonFolder
from threshold_tools.enroll.policy_export import merged_policy

from edge.access.policy_file import parse_policy
from edge.core.errors import ConfigError

BASE = """
timezone = "UTC"
[groups]
staff = ["bert"]
[doors.front]
allow = [{ groups = ["staff", "lab"] }]
"""


def member(id_: str, *groups: str, until: datetime.date | None = None) -> PersonFolder:
    return PersonFolder(id_, id_, groups, None, until, Path(id_), ())


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(BASE.replace("[groups]\n", "[groups]\nlab = []\n"))
    return path


def test_groups_and_validity_of_the_cards_are_entered(base: Path, tmp_path: Path) -> None:
    until = datetime.date(2026, 12, 31)
    out = tmp_path / "policy.toml"
    out.write_bytes(
        merged_policy(base, [member("anna", "staff", "lab", until=until), member("carla"), member("bert", "staff")])
    )
    rules = parse_policy(out)
    ((_, front),) = rules.doors
    assert front.allow[0].people == ("bert", "anna", "anna")
    assert [(person.person, person.validity.end) for person in rules.people] == [("anna", until)]


def test_policy_export_is_idempotent(base: Path, tmp_path: Path) -> None:
    once = merged_policy(base, [member("anna", "staff")])
    base.write_bytes(once)
    assert merged_policy(base, [member("anna", "staff")]) == once


def test_a_contradiction_is_refused(base: Path) -> None:
    base.write_text(base.read_text() + "[people.anna]\nvalid_until = 2026-06-30\n")
    with pytest.raises(ConfigError, match=r"people\.anna differs"):
        merged_policy(base, [member("anna", until=datetime.date(2026, 12, 31))])


def test_a_date_without_a_time_zone_is_refused_before_anything_is_published(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text('[doors.front]\nallow = [{ people = ["*"] }]\n')
    with pytest.raises(ConfigError, match="'timezone' is missing"):
        merged_policy(path, [member("anna", until=datetime.date(2026, 12, 31))])
