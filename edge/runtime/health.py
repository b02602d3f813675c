"""How the door is doing: gathered from its parts, published now and then, and shown to Prometheus."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edge.core.clock import SYSTEM_CLOCK
from edge.core.config import DoorConfig
from edge.core.stage_statistics import TimingRecorder
from edge.core.timestamps import format_unix_ns
from edge.events.schema import VERSION, GalleryRef, Health, StageTiming
from edge.mqtt.publisher import Publisher
from edge.mqtt.send_queue import ConnectionStatus
from edge.pipeline import Pipeline
from edge.runtime.board import temperature_c
from edge.runtime.bundle import RuntimeBundle
from edge.runtime.camera_supervisor import CameraSupervisor
from edge.runtime.event_recorder import EventRecorder
from edge.runtime.lock import Lock
from edge.vision.camera import Camera

if TYPE_CHECKING:
    from edge.runtime.prometheus_server import Exporter

_SETTLE_NS = 500_000_000  # a lock that has moved is told of so long after the last report, for a rate needs some frames


class HealthReporter:
    """The health of one door; not thread-safe.

    Attributes:
        frames: how many were looked at so far.
        dropped: how many were skipped by the cameras that have been closed.
    """

    def __init__(
        self,
        config: DoorConfig,
        *,
        eye: CameraSupervisor,
        pipeline: Pipeline,
        logbook: EventRecorder,
        publisher: Publisher,
        lock: Lock | None,
        exporter: Exporter | None,
        stopwatch: TimingRecorder,
    ) -> None:
        """
        Args:
            config: of the door.
            eye, pipeline, logbook, publisher, lock, exporter: its parts.
            stopwatch: what its stages are timed with.
        """
        self.frames = 0
        self.dropped = 0
        self._door = config.door
        self._every_ns = config.mqtt.health_every_s * 1e9
        self._eye = eye
        self._pipeline = pipeline
        self._logbook = logbook
        self._publisher = publisher
        self._lock = lock
        self._exporter = exporter
        self._stopwatch = stopwatch
        self._started_ns = time.monotonic_ns()
        self._told: tuple[int, int] = (self._started_ns, 0)  # when last, and frames until then
        self._lock_told = lock.state if lock else None

    def report_if_due(self, kit: RuntimeBundle, camera: Camera | None) -> None:
        """Publish when it is due, or the lock has moved.

        Args:
            kit: what the door runs on.
            camera: the open one, if there is one.
        """
        now_ns = time.monotonic_ns()
        last_ns, frames = self._told
        lock = self._lock.state if self._lock else None
        if now_ns - last_ns < (self._every_ns if lock is self._lock_told else min(self._every_ns, _SETTLE_NS)):
            return
        self._told, self._lock_told = (now_ns, self.frames), lock
        fps = (self.frames - frames) * 1e9 / (now_ns - last_ns)
        health = self._health(kit, now_ns, fps, self.dropped + (camera.dropped if camera else 0))
        self._publisher.health(health)
        if self._exporter:
            self._exporter.update(health, connected=self._connected(), events=self._logbook.counts())
        self._stopwatch.clear()

    def _health(self, kit: RuntimeBundle, now_ns: int, fps: float, dropped: int) -> Health:
        return Health(
            v=VERSION,
            door=self._door,
            at=format_unix_ns(time.time_ns()),
            uptime_s=round((now_ns - self._started_ns) / 1e9, 1),
            camera=self._eye.state,
            fps=round(fps, 2),
            frames=self.frames,
            dropped=dropped,
            stages={
                stage: StageTiming(runs=timing.runs, median_ms=timing.median_ms, p95_ms=timing.p95_ms)
                for stage, timing in self._stopwatch.timings().items()
            },
            rejects={"quality": dict(self._pipeline.aggregator.refusals)},
            temperature_c=temperature_c(),
            outbox_depth=self._logbook.outbox.depth(),
            gallery=gallery_ref(kit),
            models=dict(kit.models),
            problems=self._problems(),
            liveness=dict(self._pipeline.liveness_gate.counts),
            lock=self._lock_told,
        )

    def _connected(self) -> bool:
        return self._publisher.state.link is ConnectionStatus.ONLINE

    def _problems(self) -> tuple[str, ...]:
        problems = [self._eye.problem()] if self._eye.problem() else []
        if not self._connected():
            problems.append(self._publisher.state.reason or "not connected to the broker")
        if self._publisher.problem():
            problems.append(self._publisher.problem())
        if not SYSTEM_CLOCK.is_synced():
            problems.append("the clock is not synchronised")
        if self._lock and self._lock.problem():
            problems.append(self._lock.problem())
        if self._exporter and self._exporter.problem():
            problems.append(self._exporter.problem())
        return (*problems, *self._logbook.problems())


def gallery_ref(kit: RuntimeBundle) -> GalleryRef | None:
    """Which gallery answers; None where nobody is enrolled yet."""
    version = kit.gallery.info.version
    return GalleryRef(version=version) if version else None
