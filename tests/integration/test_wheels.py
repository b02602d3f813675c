"""Every package of a door has a wheel for 64-bit ARM, so that the board compiles nothing."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
BOOKWORM = ("3.11", 36)  # Python and glibc 2.x of Raspberry Pi OS
TRIXIE = ("3.13", 41)


class Info(msgspec.Struct):
    """Source of a package in pip's report."""

    url: str


class Item(msgspec.Struct):
    """One package of pip's report."""

    download_info: Info


class Report(msgspec.Struct):
    """Output of `pip install --report`, reduced to the packages."""

    install: list[Item]


def device_requirements(python: str) -> list[str]:
    """Return the requirements of a door with a lock, on a board with this Python."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    board = {"platform_machine": "aarch64", "python_version": python}
    named = [Requirement(each) for each in project["dependencies"] + project["optional-dependencies"]["lock"]]
    return [str(each).partition(";")[0] for each in named if each.marker is None or each.marker.evaluate(board)]


def wheels(report: Path, python: str, glibc: int, *options: str) -> list[str]:
    """Return the file names that pip would install on such a board; markers are evaluated on this machine."""
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(17, glibc + 1)]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--only-binary=:all:"]
    target = ["--implementation=cp", f"--python-version={python}", *platforms, "--platform=manylinux2014_aarch64"]
    place = [f"--target={report.parent / 'nowhere'}", f"--report={report}"]
    done = subprocess.run(
        [*pip, *target, *place, *options, *device_requirements(python)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    items = msgspec.json.decode(report.read_bytes(), type=Report).install
    return [item.download_info.url.rpartition("/")[2] for item in items]


@pytest.mark.network
@pytest.mark.parametrize(("python", "glibc"), [BOOKWORM, ("3.12", 36), TRIXIE])
def test_every_device_dependency_has_an_aarch64_wheel(tmp_path: Path, python: str, glibc: int) -> None:
    found = wheels(tmp_path / "report.json", python, glibc)
    assert all(name.endswith(("_aarch64.whl", "-any.whl")) for name in found)
    named = {re.split(r"[\[<>=; ]", requirement)[0].replace("-", "_") for requirement in device_requirements(python)}
    assert named <= {name.split("-")[0] for name in found}


@pytest.mark.network
def test_the_constraints_of_bookworm_can_be_met(tmp_path: Path) -> None:
    """numpy stays below 2, and OpenCV at a version that works with it."""
    found = wheels(tmp_path / "report.json", *BOOKWORM, f"--constraint={ROOT / 'systemd/constraints-bookworm.txt'}")
    assert any(name.startswith("numpy-1.") for name in found)
    assert any(name.startswith("opencv_python_headless-4.") for name in found)
