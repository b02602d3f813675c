"""A repository, and a door that runs its first release."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.mqtt_brokers import wait_until
from support.release_signer import (
    Door,
    ReleaseSigner,
)

from edge.updates.sources import FolderSource


@pytest.fixture
def signer(tmp_path: Path) -> ReleaseSigner:
    made = ReleaseSigner(tmp_path / "desk")
    made.release(range(20))
    return made


@pytest.fixture
def expiring_signer(tmp_path: Path) -> ReleaseSigner:
    made = ReleaseSigner(tmp_path / "desk")
    made.release(range(5), valid_days=30)
    return made


@pytest.fixture
def state(tmp_path: Path, expiring_signer: ReleaseSigner) -> Path:
    """The state folder of a door that runs release 1."""
    folder = tmp_path / "state"
    with Door(folder, expiring_signer.root, FolderSource(expiring_signer.folder)) as door:
        wait_until(lambda: door.release == 1, "release 1")
    return folder
