"""Galleries encrypted in place, and decrypted again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.private_files import (
    KEY,
    OTHER,
    mode,
)
from support.release_signer import gallery_bytes

from edge.core.errors import GalleryError
from edge.recognition.reencrypt import reencrypt


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A plain gallery of twenty people."""
    path = tmp_path / "gallery.safetensors"
    path.write_bytes(gallery_bytes(range(20)))
    return path


def test_encrypting_twice_and_decrypting(plain: Path) -> None:
    content = plain.read_bytes()
    reencrypt([plain], KEY)
    sealed = plain.read_bytes()
    assert reencrypt([plain], KEY) == []
    assert plain.read_bytes() == sealed
    with pytest.raises(GalleryError, match="another key"):
        reencrypt([plain], OTHER, undo=True)
    reencrypt([plain], KEY, undo=True)
    assert plain.read_bytes() == content


def test_plain_bytes_are_overwritten_in_place(plain: Path, tmp_path: Path) -> None:
    os.link(plain, tmp_path / "where the blocks are")
    reencrypt([plain], KEY)
    assert not (tmp_path / "where the blocks are").read_bytes().strip(b"\0")
    assert mode(plain) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner_is_kept_when_root_encrypts(plain: Path) -> None:
    os.chown(plain, 12345, 23456)
    reencrypt([plain], KEY)
    assert (plain.stat().st_uid, plain.stat().st_gid, mode(plain)) == (12345, 23456, 0o600)


def test_memory_mapped_gallery_is_not_encrypted(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And stays as it was."""
    content = plain.read_bytes()
    monkeypatch.setattr("edge.recognition.encryption.MAX_BYTES", len(content) - 1)
    with pytest.raises(GalleryError, match=r"memory-mapped and cannot be encrypted .* encrypt the disk instead"):
        reencrypt([plain], KEY)
    assert plain.read_bytes() == content
