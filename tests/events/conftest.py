"""Fixtures for tests of signing and verifying."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.signing_keys import KEY, signer_of

from edge.events.signing import Signer


@pytest.fixture
def sign(tmp_path: Path) -> Signer:
    """Sign as the door `front`."""
    return signer_of(KEY, tmp_path)
