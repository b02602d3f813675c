"""HealthReporter: a report at a fixed interval, with the state of every component."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from soak.fake_vision import fake_bundle
from support.manual_clock import ManualClock

from edge.core.clock import WallClock
from edge.core.config import DoorConfig, MqttConfig
from edge.core.errors import CameraLostError
from edge.core.reasons import Reason
from edge.events.factory import EventContext
from edge.events.schema import EventKind, Health
from edge.events.topics import Topics
from edge.mqtt.publisher import Publisher
from edge.pipeline import Pipeline
from edge.runtime.camera_supervisor import CameraSupervisor
from edge.runtime.event_recorder import EventRecorder
from edge.runtime.health import HealthReporter, gallery_ref
from edge.vision.stage_timing import TimingRecorder


class CollectingPublisher(Publisher):
    """Stores health reports; is never connected."""

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **named)  # type: ignore[arg-type]
        self.reports: list[Health] = []

    def health(self, message: Health) -> None:
        self.reports.append(message)


class Door:
    """HealthReporter and its components; a report is due every ten seconds."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.bundle = fake_bundle()
        self.timings = TimingRecorder()
        config = DoorConfig(
            site="home",
            door="front",
            state_folder=str(folder),
            mqtt=MqttConfig(url="mqtt://127.0.0.1:1", health_every_s=10.0),
        )
        self.recorder = EventRecorder(
            config, lambda: EventContext("front", True, "7"), WallClock(self.clock, trusted=True)
        )
        self.supervisor = CameraSupervisor(config, self.recorder.record_event)
        self.publisher = CollectingPublisher(
            config.mqtt, Topics("home", "front"), self.recorder.outbox, on_open_expired=self.recorder.open_expired
        )
        self.reporter = HealthReporter(
            config,
            clock=self.clock,
            supervisor=self.supervisor,
            pipeline=Pipeline(config, self.bundle.vision, self.bundle.gallery),
            recorder=self.recorder,
            publisher=self.publisher,
            lock=None,
            exporter=None,
            timings=self.timings,
        )

    def run(self, seconds: int) -> list[Health]:
        """Show five frames per second; returns the reports."""
        before = len(self.publisher.reports)
        for _ in range(seconds * 5):
            self.reporter.frames += 1
            self.clock.advance(0.2)
            self.reporter.report_if_due(self.bundle, None)
        return self.publisher.reports[before:]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    door = Door(tmp_path)
    with door.recorder.outbox:
        yield door


def test_report_every_interval(door: Door) -> None:
    first, second = door.run(21)
    assert (first.uptime_s, second.uptime_s) == (10.0, 20.0)
    assert (first.frames, second.frames) == (50, 100)
    assert (first.fps, second.fps) == (5.0, 5.0)
    assert first.at == "2030-03-17T17:46:50.000Z"
    assert first.lock is None


def test_stage_times_since_the_last_report(door: Door) -> None:
    stage = door.timings("detect", lambda: None)
    stage()
    stage()
    first, second = door.run(21)
    assert first.stages["detect"].runs == 2
    assert second.stages == {}


def test_dropped_frames_of_closed_cameras(door: Door) -> None:
    door.reporter.dropped += 7
    assert door.run(11)[0].dropped == 7


def test_problems_are_named(door: Door) -> None:
    """The broker is missing from the start; then camera and clock fail."""
    assert door.run(11)[0].problems == ("not connected to the broker",)
    door.supervisor.mark_lost(CameraLostError("no frame"))
    door.clock.synced = False
    (report,) = door.run(10)
    assert report.camera == "lost"
    assert report.problems == (
        "camera picamera2 is lost",
        "not connected to the broker",
        "the clock is not synchronised",
    )


def test_outbox_depth(door: Door) -> None:
    door.recorder.record_event(EventKind.STARTED, Reason.SERVICE_STARTED)
    assert door.run(11)[0].outbox_depth == 1


def test_gallery_reference(door: Door) -> None:
    found = gallery_ref(door.bundle)
    assert found is not None
    assert found.version == door.bundle.gallery.info.version
