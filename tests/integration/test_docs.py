"""The documentation matches the program: its commands run, its options exist, its links lead to files.

A block marked `sh` is run, page by page and top to bottom, in a copy of the project. A block marked `console` needs
root, hardware, another computer or much time; only its options are checked.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import check_language
import command_reference
import configuration
import contract
import pytest
from support.mqtt_brokers import Mosquitto, needs_mosquitto
from threshold_tools.cli import SUBCOMMANDS

from edge.core.errors import ExpectationError
from edge.core.toml_config import StrictStruct

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "systemd").rglob("*.md")])
BLOCK = re.compile(r"^```(sh|console)\n(.*?)^```", re.S | re.M)
LINK = re.compile(r"(?:\]\(|\bsrc(?:set)?=\")([^)#\s\"]+)(?:#[^)]*)?[)\"]")
BROKER = "localhost:1883"
FENCES = {"", "sh", "console", "toml", "text", "json", "yaml", "python", "js", "ini"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path, kind: str) -> list[str]:
    return [text for found, text in BLOCK.findall(page.read_text()) if found == kind]


def commands(text: str) -> Iterator[list[str]]:
    """Every `edge` or `threshold` command in a block, from its name on, without comments and pipes."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        for index, word in enumerate(words):
            program = re.search(r"(?:^|/)(edge|threshold|tools/\w+\.py)$", word)
            rest = words[index + 1 :]
            if program and (
                program[1] != "threshold" or SUBCOMMANDS.keys() & rest[:1]
            ):  # also the name of a user and of a folder
                ends = [place for place, each in enumerate(rest) if each in {"|", "&&", ";", ">", "&"}]
                yield [program[1], *rest[: ends[0] if ends else None]]
                break


@lru_cache
def help_of(*command: str) -> str:
    modules = {"edge": ["-m", "edge"], "threshold": ["-m", "threshold_tools.cli"]}
    program = modules.get(command[0], [str(ROOT / command[0])])
    return subprocess.run(
        [sys.executable, *program, *command[1:], "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout


def explained(command: list[str]) -> str:
    """Return the help of a command and of its subcommands."""
    own, latest = command[:1], help_of(command[0])
    text = latest
    for word in command[1:]:
        if not (
            word[:1].isalpha() and re.search(rf"^ {{4}}(\S+\.py |threshold \w+ )?{re.escape(word)}\b", latest, re.M)
        ):
            break
        own = [*own, word]
        latest = help_of(*own)
        text += latest
    return text


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_options_on_a_page_exist(page: Path) -> None:
    for kind in ("sh", "console"):
        for text in blocks(page, kind):
            for command in commands(text):
                known = explained(command)
                for word in command[1:]:
                    option = word.split("=")[0]
                    assert not option.startswith("--") or option in known, f"{page}: {' '.join(command)}: {option}"


@pytest.mark.slow
@needs_mosquitto
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh")], ids=name_of)
def test_commands_of_a_page_run(page: Path, tmp_path: Path) -> None:
    workplace = tmp_path / "threshold"
    workplace.mkdir()
    for each in ("edge", "models", "systemd", "tools", "docs", "tests", "requirements"):
        (workplace / each).symlink_to(ROOT / each)
    (workplace / ".venv").symlink_to(sys.prefix)
    with Mosquitto(tmp_path) as broker:
        script = "\n".join(blocks(page, "sh")).replace(BROKER, f"127.0.0.1:{broker.port}")
        found = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            check=False,
            cwd=workplace,
            env=os.environ | {"THRESHOLD_KEY_PASSWORD": "a-long-password", "TERM": "dumb"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert found.returncode == 0, f"{page}\n{found.stdout[-2000:]}\n{found.stderr[-2000:]}"


def test_every_block_has_a_known_kind() -> None:
    """A block of an unknown kind would be neither run nor checked."""
    for page in PAGES:
        for fence in re.findall(r"^```(\w*)$", page.read_text(), re.M):
            assert fence in FENCES, f"{page}: {fence}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_within_the_project(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.resolve().parent / target).exists(), f"{name_of(page)}: {target}"


def test_configuration_page_is_current() -> None:
    configuration.main(["--check"])


def test_contract_pages_are_current() -> None:
    contract.main(["--check"])


def test_command_page_is_current() -> None:
    command_reference.main(["--check"])


def test_outdated_command_page_is_refused(tmp_path: Path) -> None:
    stale = tmp_path / "commands.md"
    stale.write_text(command_reference.page().replace("--gallery", "--galery"))
    with pytest.raises(ExpectationError, match="out of date"):
        command_reference.main(["--check", "--page", str(stale)])


def test_language_check_reports_words_and_long_sentences(tmp_path: Path) -> None:
    """Each finding has its line and the remedy; code is not checked."""
    rules = check_language.Rules([(re.compile(r"\bfoo\b"), "bar")], [(re.compile("Lo"), "name the actor")], 20.0, 7)
    page, module = tmp_path / "page.md", tmp_path / "module.py"
    page.write_text("# Page\n\nThe door is foo; `foo` is code.\n\nLo, the door is open.\n")
    module.write_text('"""Docstring of one, two, three, four, five words."""\n\nTEXT = "is foo"  # foo is code\n')
    found = [line.partition(":")[2] for path in (page, module) for line in check_language.check(path, rules)]
    assert found == [
        "3: 'foo': write bar",
        "5: sentence begins with 'Lo': name the actor",
        "1: a sentence of 8 words: at most 7",
        "3: 'foo': write bar",
        "3: 'foo': write bar",
    ]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a clone")
def test_language_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    """No word of language.toml and no long sentence in pages, docstrings, comments and messages."""
    try:
        check_language.main([])
    except ExpectationError:
        pytest.fail(capsys.readouterr().out)


def test_readme_is_short_and_has_pictures() -> None:
    """At most 900 words, with an animated replay and a screenshot of the monitor."""
    readme = (ROOT / "README.md").read_text()
    assert len(readme.split()) <= 900
    assert "docs/pictures/replay.webp" in readme
    assert "docs/pictures/monitor.png" in readme


def test_outdated_configuration_page_is_refused(tmp_path: Path) -> None:
    stale = tmp_path / "configuration.md"
    stale.write_text(configuration.page().replace("15", "16"))
    with pytest.raises(ExpectationError, match="out of date"):
        configuration.main(["--check", "--page", str(stale)])


def test_install_advice_works_from_a_clone() -> None:
    """An install of the clone that is not editable would replace the one of `make demo`."""
    texts = [*PAGES, *(ROOT / "edge").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]
    advice = re.compile(r"pip install '?\.\[[^\n]*")
    assert not {name_of(path): found for path in texts if (found := advice.findall(path.read_text()))}


def test_configuration_page_has_no_empty_cell() -> None:
    rows = [line for line in configuration.page().splitlines() if line.startswith("| ")]
    cells = [cell.strip() for row in rows for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
    assert len(cells) > 4 * 100
    assert all(cells)


class ExampleConfig(StrictStruct, frozen=True):
    """A table of door.toml with one key."""

    patience: float = 1.0


COMMENTED = "class ExampleConfig:\n    patience: float = 1.0  # longest wait\n"
COMPLETE = {"patience": {"unit": "hours", "change": "people wait."}}


@pytest.mark.parametrize(
    ("source", "notes", "lacking"),
    [
        ("class ExampleConfig:\n    patience: float = 1.0\n", COMPLETE, "no comment"),
        (COMMENTED, {}, "no `change`"),
        (COMMENTED, {"patience": {"change": "people wait."}}, "no `unit`"),
        (COMMENTED, COMPLETE | {"patients": {"change": "people wait."}}, "no key patients"),
    ],
)
def test_incomplete_configuration_key_is_refused(source: str, notes: dict[str, dict[str, str]], lacking: str) -> None:
    [key] = configuration.keys_of(ExampleConfig, COMMENTED, COMPLETE)
    assert (key.default, key.unit, key.meaning, key.change) == ("`1`", "hours", "longest wait", "people wait.")
    with pytest.raises(ExpectationError, match=lacking):
        configuration.keys_of(ExampleConfig, source, notes)


def test_comment_above_a_configuration_key_is_its_meaning() -> None:
    source = "class ExampleConfig:\n    # longest wait\n    # of a visitor\n    patience: float = 1.0\n"
    assert configuration.keys_of(ExampleConfig, source, COMPLETE)[0].meaning == "longest wait of a visitor"
