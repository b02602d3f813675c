"""Tests that the pages name exist, and every protection of the threat model names one."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
THREATS = (ROOT / "docs/understand/threat-model.md").read_text()
NAMED = re.compile(r"(?:tests/)?((?:\w+/)*test_\w+\.py(?=`|::)|…(?=::))(?:::(test_\w+))?")


@cache
def functions_in(file: str) -> frozenset[str]:
    """Return the test functions of a file, including those in classes."""
    path = ROOT / "tests" / file
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def missing(text: str) -> list[str]:
    """Return the tests that a page names and that do not exist; …:: is the last file named in the same paragraph."""
    gone = []
    for block in re.split(r"\n(?=\||\n)", text):
        last = "no file is named before it"
        for file, test in NAMED.findall(block):
            last = file if file != "…" else last
            if not ((test in functions_in(last)) if test else functions_in(last)):
                gone.append(f"{last}::{test}")
    return gone


def sections() -> dict[str, str]:
    """Return the text of the page by attacker."""
    _, *parts = re.split(r"^## ", THREATS, flags=re.MULTILINE)
    return dict(part.split("\n", 1) for part in parts)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    assert missing(page.read_text()) == []


def test_a_test_that_is_not_there_is_noticed() -> None:
    assert missing("`recognition/test_gallery.py::test_that_nobody_wrote`") == [
        "recognition/test_gallery.py::test_that_nobody_wrote"
    ]
    assert missing("`test_nowhere.py`") == ["test_nowhere.py::"]
    assert missing("`core/test_files.py::test_nothing`, `…::test_neither`") == [
        "core/test_files.py::test_nothing",
        "core/test_files.py::test_neither",
    ]
    assert missing("| `…::test_alone` |") == ["no file is named before it::test_alone"]


@pytest.mark.parametrize("attacker", sections())
def test_every_protection_names_its_test(attacker: str) -> None:
    rows = re.findall(r"^\| (?!protection|---)(.+?) \| (.*) \|$", sections()[attacker], flags=re.MULTILINE)
    assert rows
    for claim, tests in rows:
        assert NAMED.search(tests), claim


@pytest.mark.parametrize("attacker", sections())
def test_every_attacker_has_unprotected_cases(attacker: str) -> None:
    assert "\n**Not protected.** " in sections()[attacker]


def test_the_attackers_are_all_there() -> None:
    titles = " ".join(sections()).lower()
    for attacker in ("visitor", "photo", "thief", "network", "insider", "signing key", "supply chain"):
        assert attacker in titles
