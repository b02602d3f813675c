"""Atomic writes, private files, and secure deletion."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.core.files import atomic_write, make_private_file, make_private_folder, secure_delete


def test_atomic_write_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_failed_write_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(OSError, match="directory") as caught:
        atomic_write(path, b"new")
    assert caught.value.filename == str(path)
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_device_or_pipe_is_not_replaced(tmp_path: Path) -> None:
    """Otherwise root could replace /dev/null with a result."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file") as caught:
        atomic_write(path, b"new")
    assert caught.value.filename == str(path)
    assert path.is_fifo()
    assert [each.name for each in tmp_path.iterdir()] == ["pipe"]


def test_umask_decides_who_may_read(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        atomic_write(tmp_path / "file", b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_private_folders_and_files_under_a_lax_umask(tmp_path: Path) -> None:
    """New folders have mode 0700 and files 0600; existing folders keep their mode, and files their content."""
    before = os.umask(0o000)
    try:
        tmp_path.chmod(0o755)
        make_private_folder(tmp_path / "a" / "b")
        make_private_folder(tmp_path / "a" / "b")
        make_private_file(tmp_path / "new")
        (tmp_path / "old").write_text("kept")
        make_private_file(tmp_path / "old")
        os.mkfifo(tmp_path / "pipe", 0o644)
        make_private_file(tmp_path / "pipe")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path, *tmp_path.rglob("*"))}
    assert modes == {tmp_path.name: 0o755, "a": 0o700, "b": 0o700, "new": 0o600, "old": 0o600, "pipe": 0o644}
    assert (tmp_path / "old").read_text() == "kept"


def test_deleted_file_is_overwritten_first(tmp_path: Path) -> None:
    """The content on disk is overwritten, not only the name removed."""
    folder, kept = tmp_path / "release", tmp_path / "where the blocks are"
    folder.mkdir()
    (folder / "gallery").write_bytes(b"\x55" * 160_000)
    os.link(folder / "gallery", kept)
    secure_delete(folder)
    assert not folder.exists()
    assert len(kept.read_bytes()) > 150_000
    assert not kept.read_bytes().strip(b"\0")
