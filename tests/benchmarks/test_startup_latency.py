"""Start of a door, by cause."""

from __future__ import annotations

import pytest
import startup_latency
from processes import broker

from edge.core.config import ModelsConfig

ONE_THREAD = ModelsConfig(threads=1)


@pytest.mark.slow
def test_a_start_is_split_by_cause() -> None:
    with broker() as beside:
        names = {each.name for each in startup_latency.measure(ONE_THREAD, 1, beside)}
    assert {"interpreter", "import numpy", "import opencv", "import the door", "models", "gallery", "camera"} <= names
    assert {"process start to first verdict", "process start to event at subscriber"} <= names
