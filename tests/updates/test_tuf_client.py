"""Verification of metadata, and the trusted root."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.disk_recorder import Disk
from support.release_signer import (
    NOW,
    Door,
    ReleaseSigner,
    at_release_1,
    check_once,
    flipped,
    later,
    new_keys,
    settled,
)

from edge.core.errors import ReleaseError
from edge.updates.sources import FolderSource
from edge.updates.store import ReleaseStore
from edge.updates.tuf_client import metadata_expiry, read_root, verify_release


@pytest.mark.parametrize("part", ["signatures", pytest.param("all", marks=pytest.mark.slow)])
def test_letters_of_metadata_turned_into_capitals(tmp_path: Path, signer: ReleaseSigner, part: str) -> None:
    """All are rejected. A signature check alone does not detect a capital hexadecimal digit of a signature.

    No other file pins root and timestamp by SHA-256."""
    signer.rotate("timestamp")
    signer.release(range(21))
    files = signer.files()
    for role in ("root", "timestamp") if part == "signatures" else ("root", "timestamp", "snapshot", "targets"):
        (name,) = [name for name in files if name.endswith(f"{role}.json") and not name.startswith("1.")]
        content = files[name]
        end = content.index(b'"signed"') if part == "signatures" else len(content)
        letters = [at for at, byte in enumerate(content[:end]) if chr(byte).isalpha()]
        assert len(letters) > 50
        for at in letters:
            with pytest.raises(ReleaseError):  # noqa: PT012
                verify_release(tmp_path / "metadata", {**files, name: flipped(content, at, 0x20)}.get, signer.root, NOW)
                print(f"taken: {name}, letter {at}")
    verify_release(tmp_path / "metadata", files.get, signer.root, NOW)


@pytest.mark.parametrize("name", ["2.root.json", "timestamp.json"])
def test_metadata_in_another_form(tmp_path: Path, signer: ReleaseSigner, name: str) -> None:
    """The same JSON with other spaces or in another order has valid signatures and is rejected."""
    signer.rotate("timestamp")
    signer.release(range(21))
    files = signer.files()
    outer = json.loads(files[name])
    for content in (
        files[name] + b"\n",
        json.dumps(outer).encode(),
        json.dumps(dict(reversed(outer.items())), separators=(",", ":")).encode(),
    ):
        assert content != files[name]
        with pytest.raises(ReleaseError, match=f"{name}: damaged, not in canonical form"):
            verify_release(tmp_path / "metadata", {**files, name: content}.get, signer.root, NOW)


def test_thresholds_of_several_signers(tmp_path: Path) -> None:
    """Two of three must sign; one signature is not enough for a tool or a door."""
    keys = new_keys(3)
    signer = ReleaseSigner(tmp_path / "desk", keys, threshold=2)
    signer.keys["targets"] = keys["targets"][1:]
    signer.release(range(5))
    at_release_1(tmp_path, signer)
    signer.keys["targets"] = keys["targets"][:1]
    with pytest.raises(ReleaseError, match="targets needs 2 of its 3 keys to sign, 1 are available"):
        signer.release(range(6))


def test_keys_can_be_replaced_many_times(tmp_path: Path, signer: ReleaseSigner) -> None:
    """A door that was offline meanwhile follows root by root."""
    state = at_release_1(tmp_path, signer)
    for role in ("root", "targets", "snapshot", "timestamp", "root"):
        signer.rotate(role)
        signer.keys[role] = signer.keys[role][1:]
    signer.release(range(21))
    with Door(state, signer.root, FolderSource(signer.folder)) as door:
        settled(door, 2)


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b'{"signed":{"_type":"root"},"signatures":[]}'])
def test_invalid_root_is_rejected(content: bytes) -> None:
    with pytest.raises(ReleaseError):
        read_root(content)


def test_altered_root_is_rejected(signer: ReleaseSigner) -> None:
    with pytest.raises(ReleaseError):
        read_root(signer.root.replace(b'"version":1', b'"version":2'))
    assert read_root(signer.root).keys == 1


def test_roots_durable_before_what_they_sign(
    tmp_path: Path, signer: ReleaseSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut in between never leaves metadata with unknown keys."""
    state = at_release_1(tmp_path, signer)
    signer.rotate("timestamp")
    signer.release(range(21))
    disk = Disk(monkeypatch)
    metadata = ReleaseStore(state).metadata
    verify_release(metadata, signer.files().get, signer.root, NOW)
    named = disk.named(metadata)
    assert named == ["root_history/2.root.json", "timestamp.json", "snapshot.json", "targets.json"]


def test_expiry_of_trusted_metadata(tmp_path: Path, signer: ReleaseSigner) -> None:
    """Of every role, for `edge check`; before the first check only of the root."""
    state = tmp_path / "state"
    store = ReleaseStore(state)
    store.trust(signer.root)
    assert metadata_expiry(store.metadata, signer.root) == {"root": later(1825)}
    check_once(state, signer)
    ends = {"root": 1825, "targets": 365, "snapshot": 90, "timestamp": 90}
    assert metadata_expiry(store.metadata, signer.root) == {role: later(days) for role, days in ends.items()}
