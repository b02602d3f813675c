"""Health report of a door, published regularly and exported to Prometheus, and the report on its release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.core.clock import Clock
from edge.core.config import DoorConfig
from edge.core.timestamps import format_unix_ns
from edge.events.schema import VERSION, GalleryRef, Health, ReleaseReport, StageTiming
from edge.mqtt.connection import ConnectionStatus
from edge.mqtt.publisher import Publisher
from edge.pipeline import Pipeline
from edge.runtime.camera_supervisor import CameraSupervisor
from edge.runtime.door_lock import Lock
from edge.runtime.event_recorder import EventRecorder
from edge.runtime.runtime_bundle import RuntimeBundle
from edge.runtime.system_stats import temperature_c
from edge.vision.camera import Camera
from edge.vision.stage_timing import TimingRecorder

if TYPE_CHECKING:
    from edge.runtime.prometheus_server import Exporter
    from edge.updates.store import ReleaseStatus

_SETTLE_NS = 500_000_000  # shortest time between reports when the lock changes; a frame rate needs some frames


class HealthReporter:
    """Reports the health of one door; not thread-safe."""

    def __init__(
        self,
        config: DoorConfig,
        *,
        clock: Clock,
        supervisor: CameraSupervisor,
        pipeline: Pipeline,
        recorder: EventRecorder,
        publisher: Publisher,
        lock: Lock | None,
        exporter: Exporter | None,
        timings: TimingRecorder,
    ) -> None:
        self.frames = 0  # number of frames received so far
        self.dropped = 0  # number of frames skipped by closed cameras
        self._door = config.door
        self._every_ns = config.mqtt.health_every_s * 1e9
        self._clock = clock
        self._supervisor = supervisor
        self._pipeline = pipeline
        self._recorder = recorder
        self._publisher = publisher
        self._lock = lock
        self._exporter = exporter
        self._timings = timings
        self._started_ns = self._clock.monotonic_ns()
        self._reported: tuple[int, int] = (
            self._started_ns,
            0,
        )  # time of the latest report, and number of frames until then
        self._reported_lock = lock.state if lock else None

    def report_if_due(self, bundle: RuntimeBundle, camera: Camera | None) -> None:
        """Publish a report if it is due or the state of the lock has changed.

        Args:
            bundle: models, gallery and rules in use.
            camera: open camera, if any.
        """
        now_ns = self._clock.monotonic_ns()
        last_ns, frames = self._reported
        lock = self._lock.state if self._lock else None
        if now_ns - last_ns < (self._every_ns if lock is self._reported_lock else min(self._every_ns, _SETTLE_NS)):
            return
        self._reported, self._reported_lock = (now_ns, self.frames), lock
        fps = (self.frames - frames) * 1e9 / (now_ns - last_ns)
        health = self._make_report(bundle, now_ns, fps, self.dropped + (camera.dropped if camera else 0))
        self._publisher.health(health)
        if self._exporter:
            self._exporter.update(health, connected=self._connected(), events=self._recorder.counts())
        self._timings.clear()

    def _make_report(self, bundle: RuntimeBundle, now_ns: int, fps: float, dropped: int) -> Health:
        return Health(
            v=VERSION,
            door=self._door,
            at=format_unix_ns(self._clock.unix_ns()),
            uptime_s=round((now_ns - self._started_ns) / 1e9, 1),
            camera=self._supervisor.state,
            fps=round(fps, 2),
            frames=self.frames,
            dropped=dropped,
            stages={
                stage: StageTiming(runs=timing.runs, median_ms=timing.median_ms, p95_ms=timing.p95_ms)
                for stage, timing in self._timings.timings().items()
            },
            rejects={"quality": dict(self._pipeline.aggregator.refusals)},
            temperature_c=temperature_c(),
            outbox_depth=self._recorder.outbox.depth(),
            gallery=gallery_ref(bundle),
            models=dict(bundle.models),
            problems=self._problems(),
            liveness=dict(self._pipeline.liveness_gate.counts),
            lock=self._reported_lock,
        )

    def _connected(self) -> bool:
        return self._publisher.state.status is ConnectionStatus.ONLINE

    def _problems(self) -> tuple[str, ...]:
        problems = (
            self._supervisor.problem(),
            "" if self._connected() else self._publisher.state.reason or "not connected to the broker",
            self._publisher.problem(),
            "" if self._clock.is_synced() else "the clock is not synchronised",
            self._lock.problem() if self._lock else "",
            self._exporter.problem() if self._exporter else "",
            *self._recorder.problems(),
        )
        return tuple(filter(None, problems))


def gallery_ref(bundle: RuntimeBundle) -> GalleryRef | None:
    """Reference to the gallery in use; None: nobody is enrolled yet."""
    version = bundle.gallery.info.version
    return GalleryRef(version=version) if version else None


def release_report(door: str, status: ReleaseStatus, bundle: RuntimeBundle) -> ReleaseReport:
    """Report on the release of a door."""
    return ReleaseReport(
        v=VERSION,
        door=door,
        release=status.release,
        applied_at=status.applied_at,
        ok=status.ok,
        reason=status.reason,
        detail=status.detail or None,
        people=bundle.gallery.info.people,
        gallery=gallery_ref(bundle),
        models=dict(bundle.models),
    )
