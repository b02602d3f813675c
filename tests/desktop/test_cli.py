"""The command `threshold` and the scripts in tools/."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from threshold_tools.cli import SUBCOMMANDS

from edge import __version__

TOOLS = Path(__file__).parents[2] / "tools"
WITHOUT_JINJA = "import sys; sys.modules['jinja2'] = None; from threshold_tools.cli import main; main()"


def threshold(*words: str, program: tuple[str, ...] = ("-m", "threshold_tools.cli")) -> tuple[int, str, str]:
    """Run the command; returns exit code, standard output and standard error."""
    done = subprocess.run(
        [sys.executable, *program, *words], cwd=TOOLS, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


def test_help_lists_every_subcommand() -> None:
    code, out, _ = threshold("--help")
    assert code == 0
    for name, subcommand in SUBCOMMANDS.items():
        assert name in out
        assert subcommand.purpose.split()[0] in out


def test_version() -> None:
    assert threshold("--version") == (0, f"threshold-edge {__version__}\n", "")


def test_unknown_subcommand_is_refused() -> None:
    code, out, err = threshold("enrol")
    assert (code, out) == (2, "")
    assert "invalid choice: 'enrol'" in err


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_has_a_module(name: str) -> None:
    assert callable(getattr(importlib.import_module(SUBCOMMANDS[name].module), SUBCOMMANDS[name].function))


def test_subcommand_help_names_the_command() -> None:
    code, out, _ = threshold("enroll", "--help")
    assert code == 0
    assert out.startswith("usage: threshold enroll ")


def test_missing_package_is_named_with_its_extra() -> None:
    done = threshold("explain", "a.jpg", program=("-c", WITHOUT_JINJA))
    expected = "error: the package jinja2 is missing; run: pip install 'threshold-edge[desktop]'\n"
    assert done == (2, "", expected)


def test_gallery_needs_no_desktop_package(tmp_path: Path) -> None:
    """After `make demo` the photos of a folder can be enrolled: the packages of a door suffice."""
    extras = tomllib.loads((TOOLS.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {Requirement(line).name.replace("-", "_") for line in extras["desktop"]} | {"sklearn"}
    absent = sorted(names - {"flatbuffers"})  # a door has it, for ai-edge-litert
    program = f"import sys; sys.modules.update(dict.fromkeys({absent})); from threshold_tools.cli import main; main()"
    people = TOOLS.parent / "edge" / "demo" / "people"
    code, _, err = threshold("enroll", str(people), "--out", str(tmp_path / "g"), "--no-cache", program=("-c", program))
    assert code == 0, err
    assert "1 person from 2 photos" in err


def test_script_runs_its_subcommand() -> None:
    code, out, _ = threshold("--help", program=("enroll.py",))
    assert code == 0
    assert out.startswith("usage: enroll.py ")
