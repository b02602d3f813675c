"""Lock files and bill of materials: exact versions, with the hashes of their wheels."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from edge import __version__

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "requirements"
LOCKS = ("device.txt", "device-bookworm.txt", "desktop.txt", "build.txt")
EXTRAS = ("desktop", "monitor", "metrics", "demo")  # extras in desktop.txt
DOORS = [
    (lock, python, machine)
    for lock, pythons in (("device.txt", ("3.11", "3.12", "3.13")), ("device-bookworm.txt", ("3.11",)))
    for python in pythons
    for machine in ("aarch64", "x86_64")
]
DESKTOPS = [("desktop.txt", python, "x86_64") for python in ("3.11", "3.12", "3.13")]


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of a lock file."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def name(self) -> NormalizedName:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        return str(self.requirement.specifier).removeprefix("==")


def pins(lock: str) -> list[Pin]:
    """Read a lock file like pip: a backslash joins lines, # begins a comment."""
    text = re.sub(r"(?m)^\s*#.*$", "", (FOLDER / lock).read_text()).replace("\\\n", " ")
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        requirement, *hashes = re.split(r"\s+--hash=", line)
        found.append(Pin(Requirement(requirement), tuple(hashes)))
    return found


def wanted(*extras: str) -> Iterator[Requirement]:
    """Return the requirements in pyproject.toml, with these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for lines in (project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)):
        yield from map(Requirement, lines)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_has_one_version_and_the_hashes_of_its_files(lock: str) -> None:
    assert pins(lock)
    for pin in pins(lock):
        assert re.fullmatch(r"==[^,*]+", str(pin.requirement.specifier)), pin
        assert pin.hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in pin.hashes), pin


@pytest.mark.parametrize(
    ("lock", "extras"),
    [("device.txt", ()), ("device-bookworm.txt", ()), ("desktop.txt", EXTRAS), ("dev.txt", ("dev",))],
)
def test_the_lock_covers_what_a_door_needs(lock: str, extras: tuple[str, ...]) -> None:
    """After a change of a dependency in pyproject.toml, run `make lock`; the desktop's lock includes its extras."""
    locked = pins(lock)
    for requirement in wanted(*extras):
        if requirement.name == "threshold-edge":
            continue
        versions = [pin.version for pin in locked if pin.name == canonicalize_name(requirement.name)]
        assert versions, f"{requirement.name} is not locked: make lock"
        assert all(requirement.specifier.contains(each) for each in versions), f"{requirement}: make lock"


def test_the_lock_of_bookworm_keeps_to_what_its_picamera2_was_built_for() -> None:
    locked = {pin.name: pin.version for pin in pins("device-bookworm.txt")}
    for line in (ROOT / "systemd" / "constraints-bookworm.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            constraint = Requirement(line)
            assert constraint.specifier.contains(locked[canonicalize_name(constraint.name)]), constraint


def test_no_tool_of_the_desktop_is_on_a_door() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    desktop = {canonicalize_name(Requirement(line).name) for line in extras["desktop"] + extras["demo"]}
    locked = {pin.name for pin in pins("device.txt")}
    assert desktop & locked == {"flatbuffers"}  # a dependency of ai-edge-litert


def test_desktop_lock_agrees_with_the_door_lock() -> None:
    """Shared packages have the same version, so that results on the desktop hold for a door."""
    door, desktop = ({(pin.name, pin.version) for pin in pins(lock)} for lock in ("device.txt", "desktop.txt"))
    assert door <= desktop


def test_no_starlette_that_reads_paths_from_the_host_header() -> None:
    """pyproject.toml and the lock exclude starlette 1.0.0, which has this fault."""
    (asked,) = (each for each in wanted("monitor") if each.name == "starlette")
    assert not asked.specifier.contains("1.0.0")
    (locked,) = (pin.version for pin in pins("desktop.txt") if pin.name == "starlette")
    assert asked.specifier.contains(locked)


def test_what_builds_the_package_is_locked_too() -> None:
    (builder,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    (line,) = (FOLDER / "build.in").read_text().split()
    assert line == builder
    assert Requirement(builder).specifier.contains(
        {str(pin.name): pin.version for pin in pins("build.txt")}["hatchling"]
    )


class Hash(msgspec.Struct):
    alg: str
    content: str


class Reference(msgspec.Struct):
    hashes: tuple[Hash, ...] = ()


class Component(msgspec.Struct, rename="camel"):
    name: str
    version: str
    purl: str = ""
    external_references: tuple[Reference, ...] = ()


class About(msgspec.Struct):
    component: Component


class Sbom(msgspec.Struct, rename="camel"):
    bom_format: str
    spec_version: str
    metadata: About
    components: tuple[Component, ...]


def test_the_bill_of_materials_is_that_of_the_lock() -> None:
    """The bill has the packages and hashes of the lock; otherwise run `make sbom`."""
    sbom = msgspec.json.decode((FOLDER / "device.cdx.json").read_bytes(), type=Sbom)
    assert (sbom.bom_format, sbom.metadata.component.name) == ("CycloneDX", "threshold-edge")
    listed = {
        (canonicalize_name(each.name), each.version): {
            f"sha256:{one.content}" for reference in each.external_references for one in reference.hashes
        }
        for each in sbom.components
    }
    assert listed == {(pin.name, pin.version): set(pin.hashes) for pin in pins("device.txt")}
    assert all(each.purl == f"pkg:pypi/{canonicalize_name(each.name)}@{each.version}" for each in sbom.components)


def test_the_project_in_the_bill_has_the_version_of_the_project() -> None:
    sbom = msgspec.json.decode((FOLDER / "device.cdx.json").read_bytes(), type=Sbom)
    assert sbom.metadata.component.version == __version__


# What pip does with such a lock


def wheel(folder: Path, word: str) -> Path:
    """Write a package of one line."""
    path = folder / "looked_at-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("looked_at.py", f"word = {word!r}\n")
        file.writestr("looked_at-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: looked-at\nVersion: 1.0\n")
        file.writestr("looked_at-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("looked_at-1.0.dist-info/RECORD", "")
    return path


def pip(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


INSTALL = ("install", "--quiet", "--require-hashes", "--only-binary", ":all:")


def test_a_package_that_was_altered_is_not_installed(tmp_path: Path) -> None:
    good = hashlib.sha256(wheel(tmp_path, "good").read_bytes()).hexdigest()
    lock = tmp_path / "lock.txt"
    lock.write_text(f"looked-at==1.0 --hash=sha256:{good}\n")
    from_here = ("--no-index", "--find-links", tmp_path, "--no-deps", "-r", lock)
    assert pip(*INSTALL, *from_here, "--target", tmp_path / "a").returncode == 0
    wheel(tmp_path, "evil")
    done = pip(*INSTALL, *from_here, "--target", tmp_path / "b")
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not (tmp_path / "b").exists()


def test_a_package_that_the_lock_does_not_name_is_not_installed(tmp_path: Path) -> None:
    wheel(tmp_path, "good")
    lock = tmp_path / "lock.txt"
    lock.write_text("looked-at==1.0\n")
    done = pip(*INSTALL, "--no-index", "--find-links", tmp_path, "-r", lock, "--target", tmp_path / "a")
    assert done.returncode != 0
    assert "Hashes are required" in done.stderr


def test_nothing_is_built_or_run_while_installing(tmp_path: Path) -> None:
    """A source package is ignored, because its setup.py would run as root."""
    (tmp_path / "looked-at-1.0.tar.gz").write_bytes(b"")
    lock = tmp_path / "lock.txt"
    lock.write_text(f"looked-at==1.0 --hash=sha256:{hashlib.sha256(b'').hexdigest()}\n")
    done = pip(*INSTALL, "--no-index", "--find-links", tmp_path, "-r", lock, "--target", tmp_path / "a")
    assert done.returncode != 0
    assert "No matching distribution found" in done.stderr


@pytest.mark.network
@pytest.mark.parametrize(("lock", "python", "machine"), DOORS + DESKTOPS)
def test_every_door_finds_wheels_for_its_lock(tmp_path: Path, lock: str, python: str, machine: str) -> None:
    """pip resolves the lock with hashes and wheels only, for this Python and machine; it installs no package."""
    platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in range(17, 37)]
    done = pip(
        *INSTALL, "--dry-run", "--ignore-installed", "--target", tmp_path / "a", "--python-version", python,
        *platforms, f"--platform=manylinux2014_{machine}", "-r", FOLDER / lock,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
