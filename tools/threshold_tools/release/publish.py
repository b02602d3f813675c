"""Adds, signs and publishes releases of a repository."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from edge.access.policy_file import parse_policy
from edge.core.cli_support import counted
from edge.core.config import MqttConfig
from edge.core.errors import ReleaseError
from edge.core.files import atomic_write
from edge.recognition.gallery_chunks import person_ids
from edge.recognition.gallery_file import read_info
from edge.updates.release_format import GALLERY, MODELS, POLICY, Release
from edge.vision.manifest import read_manifest, read_model
from threshold_tools.release.policy_checks import policy_warnings
from threshold_tools.release.repository import Repository
from threshold_tools.release.transport import publish, read_lines


def add_release(
    repository: Repository,
    *,
    gallery: Path | None = None,
    policy: Path | None = None,
    models: Path | None = None,
    drop_policy: bool = False,
) -> Release:
    """Add a release of the given files to a repository. Files that are not given come from the newest release.

    Raises:
        ReleaseError: there is no gallery, or it was made with other models.
        GalleryError, ModelError, ConfigError: a file is damaged.
    """
    newest = repository.newest()
    files = {} if newest is None else {entry.name: repository.content(entry) for entry in newest.files}
    embedder, people = ("", 0) if newest is None else (newest.embedder_sha256, newest.people)
    if gallery is not None:
        info = read_info(gallery)
        embedder, people = info.embedder_sha256, info.people
        files[GALLERY] = gallery.read_bytes()
    if GALLERY not in files:
        raise ReleaseError("the first release needs --gallery FILE, made by  threshold enroll")
    if drop_policy:
        files.pop(POLICY, None)
    if policy is not None:
        parse_policy(policy)
        files[POLICY] = policy.read_bytes()
    if models is not None:
        files = {name: content for name, content in files.items() if not name.startswith(MODELS)}
        files |= read_models(models)
    _check_match(repository, embedder, models, newest)
    return repository.add(files, embedder, people)


def release_warnings(repository: Repository, release: Release, doors: Iterable[str]) -> list[str]:
    """Probable mistakes in the rules of a release; `doors` are the names of the doors that have reported."""
    policy, gallery = release.file(POLICY), release.file(GALLERY)
    if policy is None or gallery is None:
        return []
    with tempfile.NamedTemporaryFile(suffix=".toml") as copy:
        copy.write(repository.content(policy))
        copy.flush()
        rules = parse_policy(Path(copy.name))
    return list(policy_warnings(rules, person_ids(repository.content(gallery)), doors))


def publish_release(
    repository: Repository, release: Release, mqtt: MqttConfig | None, site: str, valid_days: int | None = None
) -> str:
    """Sign a release, and publish it if a broker is given; returns a summary."""
    repository.sign(release, valid_days)
    files = repository.files()
    people = counted(release.people, "person", "people")
    what = f"release {release.release}: {people}, {counted(len(release.files), 'file')}"
    if mqtt is None:
        return f"{what}, signed; not published: add --broker and --site, or run  threshold sync export"
    known = repository.path / "sites" / f"{site}.json"
    known.parent.mkdir(exist_ok=True)
    names = [name for name, _ in files]
    before = read_lines(known)
    atomic_write(
        known, msgspec.json.encode(sorted({*before, *names}))
    )  # before publishing, so that obsolete files are deleted even after a failure
    count = publish(mqtt, site, files, sorted(set(before) - set(names)))
    atomic_write(known, msgspec.json.encode(names))
    return f"{what}, published to site {site} ({count / 1024:.0f} KiB on the broker)"


def read_models(folder: Path) -> Mapping[str, bytes]:
    """Manifest and verified model files of a folder, by their names in a release.

    Raises:
        ModelError: one is missing or damaged.
    """
    files = {f"{MODELS}manifest.json": (folder / "manifest.json").read_bytes()}
    for name in read_manifest(folder).models:
        model, content = read_model(folder, name)
        files[f"{MODELS}{model.file}"] = content
    return files


def _check_match(repository: Repository, embedder: str, models: Path | None, newest: Release | None) -> None:
    if models is not None:
        of_models = read_manifest(models).models["embedder"].embedding_space_sha256
    elif newest is not None and any(entry.name.startswith(MODELS) for entry in newest.files):
        of_models = newest.embedder_sha256
    else:
        return
    if of_models != embedder:
        raise ReleaseError(
            f"the gallery was made with another embedder ({embedder[:12]}) than that of the models ({of_models[:12]}): "
            "make it again with these models by  threshold enroll  and push both together: "
            f"threshold push {repository.path} --models FOLDER --gallery FILE"
        )
