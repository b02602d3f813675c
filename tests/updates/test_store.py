"""Releases on the disk of a door."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from support.disk_recorder import Disk
from support.release_signer import (
    ReleaseSigner,
    at_release_1,
)

from edge.core.errors import ReleaseError
from edge.updates.release_format import GALLERY
from edge.updates.store import ActiveRelease, ReleaseStore


def test_missing_root_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="run  edge release trust-root"):
        ReleaseStore(tmp_path).root()


def test_metadata_of_the_former_root(tmp_path: Path, signer: ReleaseSigner) -> None:
    """It is deleted when another root is trusted, and kept for the same root."""
    store = ReleaseStore(at_release_1(tmp_path, signer))
    store.trust(signer.root)
    assert (store.metadata / "timestamp.json").exists()
    store.trust(ReleaseSigner(tmp_path / "other").root)
    assert [path for path in store.metadata.rglob("*") if path.is_file()] == []


def test_release_durable_before_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder is durable when `write` returns, so a power cut never leaves a reference to a missing folder."""
    store = ReleaseStore(tmp_path)
    disk = Disk(monkeypatch)
    name = store.write(1, b"{}", {GALLERY: b"gallery"})
    assert disk.steps[-2:] == [("name", store.release_dir(name)), ("sync", store.release_dir(name).parent)]
    draft = f".draft-{name}"
    assert disk.named(store.release_dir(name).parent) == [f"{draft}/{GALLERY}", f"{draft}/release.json", name]


def test_current_is_readable_by_the_next_version() -> None:
    """New fields have defaults, so an update of the software keeps the release."""
    record = ActiveRelease(release=1, folder="1-a", digest="d", applied_at="t")
    assert (
        msgspec.json.decode(msgspec.json.encode({**msgspec.to_builtins(record), "later": 1}), type=ActiveRelease)
        == record
    )
