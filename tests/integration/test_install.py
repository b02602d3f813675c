"""The wheel in an empty environment, away from the clone: every command is there and finds its files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from threshold_tools.cli import SUBCOMMANDS

ROOT = Path(__file__).parents[2]
EXTRAS = "desktop,monitor,demo"
EDGE_COMMANDS = ("setup", "run", "replay", "demo", "check", "lock", "bench", "events")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the `bin` folder of an environment with the built wheel and its extras.

    Its packages are those of `requirements/dev.txt`, fetched from pip's index or cache.
    """
    folder = tmp_path_factory.mktemp("install")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("threshold_edge-*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    programs: Path = folder / "venv" / "bin"
    subprocess.run(
        [programs / "python", *pip[1:], "install", "--constraint", ROOT / "requirements" / "dev.txt",
         f"{wheel}[{EXTRAS}]"],
        check=True,
    )  # fmt: skip
    return programs


def run(environment: Path, folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run an installed command in a folder, without the clone on Python's path."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return subprocess.run(
        [environment / words[0], *words[1:]],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_threshold_subcommand_help(environment: Path, tmp_path: Path, name: str) -> None:
    """If the packages of an extra are missing, one line names that extra."""
    done = run(environment, tmp_path, "threshold", name, "--help")
    if SUBCOMMANDS[name].extra in EXTRAS.split(","):
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"usage: threshold {name}")
    else:
        assert done.returncode in (0, 2)
        assert done.returncode == 0 or f"threshold-edge[{SUBCOMMANDS[name].extra}]" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", EDGE_COMMANDS)
def test_edge_command_help(environment: Path, tmp_path: Path, name: str) -> None:
    done = run(environment, tmp_path, "edge", name, "--help")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_installed_enrolment_of_the_demo_photos(environment: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "edge" / "demo" / "people", tmp_path / "people")
    done = run(
        environment, tmp_path, "threshold", "enroll", "people", "--out", "gallery.safetensors", "--sheet", "s.html"
    )
    assert done.returncode == 0, done.stderr
    assert "1 person from 2 photos" in done.stderr
    assert (tmp_path / "gallery.safetensors").is_file()


@pytest.mark.slow
def test_installed_demo(environment: Path, tmp_path: Path) -> None:
    done = run(environment, tmp_path, "edge", "demo")
    assert done.returncode == 0, done.stderr
    assert "door open" in done.stdout
