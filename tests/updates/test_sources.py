"""A repository in a folder, such as a USB stick."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.mqtt_brokers import wait_until
from support.release_signer import (
    Door,
    ReleaseSigner,
    settled,
)

from edge.core.errors import SourceError
from edge.updates.release_format import TIMESTAMP
from edge.updates.sources import FolderSource


def test_usb_stick_inserted_and_removed(tmp_path: Path, signer: ReleaseSigner) -> None:
    stick = tmp_path / "stick"
    with Door(tmp_path / "state", signer.root, FolderSource(stick)) as door:
        wait_until(lambda: bool(door.news), "the door runs")
        shutil.copytree(signer.folder, stick)
        settled(door, 1)
        shutil.rmtree(stick)
        signer.release(range(21))
        shutil.copytree(signer.folder, stick)
        settled(door, 2)


def test_removed_stick_is_no_news(tmp_path: Path, signer: ReleaseSigner) -> None:
    """A new release is news, a missing folder is not."""
    source = FolderSource(signer.folder)
    assert source.wait(0, "2.root.json")
    shutil.rmtree(signer.folder)
    assert not source.wait(0, "2.root.json")


def test_source_of_other_than_files(tmp_path: Path) -> None:
    """A pipe or a device in place of a file is rejected and never read; a folder counts as missing."""
    path, source = tmp_path / TIMESTAMP, FolderSource(tmp_path)
    path.mkdir()
    assert source.fetch([TIMESTAMP]) == {}
    path.rmdir()
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        make(path)
        with pytest.raises(SourceError, match=r"timestamp.json: not a regular file; remove it"):
            source.fetch([TIMESTAMP])
        path.unlink()
