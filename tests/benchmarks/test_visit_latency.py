"""Latency of events of a running door."""

from __future__ import annotations

import pytest
import visit_latency
from processes import broker

from edge.core.config import ModelsConfig

ONE_THREAD = ModelsConfig(threads=1)


@pytest.mark.slow
def test_running_door_is_measured_from_frame_to_event() -> None:
    with broker() as beside:
        names = {each.name for each in visit_latency.measure(ONE_THREAD, 2, beside)}
    assert {"last needed frame to event (tail: p99)", "resident with 10,000 people"} <= names
