"""Runs one door: frames from the camera through the pipeline, decisions to the lock and the broker.

for frame in camera:
    for decision in pipeline.step(frame):
        store the event, open the door, publish
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge.core.clock import SYSTEM_CLOCK, Clock, WallClock
from edge.core.config import DoorConfig
from edge.core.errors import CameraLostError
from edge.core.reasons import Reason
from edge.core.records import AccessOutcome, Decision
from edge.events.factory import EventContext
from edge.events.homeassistant import make_discovery_message
from edge.events.schema import CameraState, EventKind, OpenCommand
from edge.events.topics import Topics
from edge.mqtt.publisher import Publisher
from edge.mqtt.send_queue import Snapshot
from edge.outbox.outbox import Outbox
from edge.pipeline import Pipeline
from edge.recognition.threshold_limits import loose_settings
from edge.runtime.camera_supervisor import CameraSupervisor, OpenCamera
from edge.runtime.challenge_publisher import ChallengePublisher
from edge.runtime.door_lock import make_lock
from edge.runtime.event_recorder import EventRecorder
from edge.runtime.health import HealthReporter, release_report
from edge.runtime.occupancy import OccupancyReporter
from edge.runtime.runtime_bundle import RuntimeBundle, load_configured
from edge.runtime.snapshots import SnapshotBuffer
from edge.runtime.systemd import SystemdNotifier
from edge.vision.camera import Camera, CameraOpener, open_camera
from edge.vision.stage_timing import TimingRecorder

if TYPE_CHECKING:
    from edge.runtime.prometheus_server import Exporter
    from edge.runtime.release_manager import ReleaseManager
    from edge.updates.store import StatusChange

log = logging.getLogger(__name__)

_CAMERA_BACKOFF_S = (0.5, 15.0)  # first and longest pause between attempts to open a lost camera
_system_random = random.SystemRandom().random  # the movements of a challenge must not be predictable


class Daemon:
    """One door. The constructor loads and checks everything; `run` processes frames until it is stopped."""

    def __init__(
        self,
        config: DoorConfig,
        opener: CameraOpener | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        random_number: Callable[[], float] = _system_random,
        bundle: RuntimeBundle | None = None,
        open_camera: OpenCamera = open_camera,
        make_outbox: Callable[..., Outbox] = Outbox,
        make_publisher: Callable[..., Publisher] = Publisher,
    ) -> None:
        """
        Args:
            config: door configuration.
            opener: camera that is being opened already.
            clock: time source, except for sockets.
            random_number: returns a number in [0, 1) to choose the movements of challenges.
            bundle: loaded models, gallery and rules; None: load the newest release, else door.toml.
            open_camera, make_outbox, make_publisher: replace these components in a test.

        Raises:
            ModelError, GalleryError, ConfigError, OutboxError, LockError: a component cannot be loaded or opened.
        """
        self._config = config
        self._clock = clock
        timings = TimingRecorder()
        self._releases = None if bundle else self._make_release_manager(timings)
        self._bundle = bundle or (self._releases.bundle if self._releases else load_configured(config, timings))
        vision, gallery, rules = self._bundle.vision, self._bundle.gallery, self._bundle.rules
        self._pipeline = Pipeline(config, vision, gallery, timings, rules=rules, random_number=random_number)
        self._wall_clock = WallClock(clock, trusted=config.access.trust_clock)
        for lax in loose_settings(config.recognition, vision.reader.embedder.impostors):
            log.warning("[recognition] %s", lax.detail)
        self._recorder = EventRecorder(config, self._event_context, self._wall_clock, make_outbox)
        self._failed_open_ids: deque[str] = deque()  # ids of people whose open command failed; appended from any thread
        self._publisher = make_publisher(
            config.mqtt,
            Topics(config.site, config.door),
            self._recorder.outbox,
            on_open_expired=self._open_expired,
            on_open_unheard=self._recorder.open_unheard,
            discovery=make_discovery_message(config),
            clock=clock,
        )
        self._lock = make_lock(config, self._open_expired, clock)
        self._challenges = ChallengePublisher(config.door, self._publisher.challenge, clock)
        self._occupancy = OccupancyReporter(config.door, self._publisher.presence, clock)
        self._snapshots = SnapshotBuffer(config.snapshots, config.recognition.track_consistency_sq)
        self._systemd = SystemdNotifier(clock)
        self._supervisor = CameraSupervisor(config, self._recorder.record_event, opener, open_camera)
        self._exporter = self._make_exporter()
        self._health = HealthReporter(
            config,
            clock=clock,
            supervisor=self._supervisor,
            pipeline=self._pipeline,
            recorder=self._recorder,
            publisher=self._publisher,
            lock=self._lock,
            exporter=self._exporter,
            timings=timings,
        )
        self._last_useful_frame_ns = clock.monotonic_ns()  # capture time of the last frame that was processed
        log.info(
            "door %s/%s: %d enrolled, camera %s", config.site, config.door, gallery.info.people, self._supervisor.name
        )

    def _make_release_manager(self, timings: TimingRecorder) -> ReleaseManager | None:
        if self._config.release is None:
            return None
        # Imported only when [release] is set: a quarter of the import time, and 11 MB.
        from edge.runtime.release_manager import ReleaseManager

        return ReleaseManager(self._config, self._config.release, self._on_release_status, timings, clock=self._clock)

    def _make_exporter(self) -> Exporter | None:
        if self._config.metrics is None:
            return None
        from edge.runtime.prometheus_server import Exporter

        return Exporter(self._config.metrics, self._config.site)

    @property
    def frames(self) -> int:
        """Number of frames received so far."""
        return self._health.frames

    @property
    def camera_state(self) -> CameraState:
        """Current state of the camera."""
        return self._supervisor.state

    @property
    def bundle(self) -> RuntimeBundle:
        """Models, gallery and rules in use."""
        return self._bundle

    def run(self, stop: threading.Event) -> None:
        """Run the door until `stop` is set or a recorded source ends.

        Raises:
            CameraError: a clip or image folder cannot be opened; a live camera is retried instead.
        """
        absent = contextlib.nullcontext()
        with self._recorder.outbox, self._lock or absent, self._exporter or absent:
            # A recording that cannot be opened ends the run before anything is recorded.
            camera = None if self._supervisor.waits else self._open_camera_at_start()
            self._recorder.record_event(EventKind.STARTED, Reason.SERVICE_STARTED, f"camera {self._supervisor.name}")
            camera = camera or self._open_camera_at_start()
            with self._publisher:
                self._systemd.notify("READY=1")
                if self._releases:
                    self._releases.worker.start()
                reason = Reason.SERVICE_FAILED
                try:
                    camera = camera or self._wait_for_camera(stop)
                    while camera is not None:
                        camera = self._process_frames(camera, stop)
                    reason = Reason.STOP_REQUESTED if stop.is_set() else Reason.RECORDING_ENDED
                finally:
                    self._systemd.notify("STOPPING=1")
                    if self._releases:
                        self._releases.worker.close()
                    self._recorder.record_event(EventKind.STOPPED, reason)

    def _open_camera_at_start(self) -> Camera | None:
        """Open the camera; None: it is missing, retry later. A missing camera does not count against a new release."""
        camera = None
        try:
            camera = self._supervisor.open()
            return camera
        finally:
            if camera is None and self._releases:
                self._releases.worker.forgive_start()

    def _process_frames(self, camera: Camera, stop: threading.Event) -> Camera | None:
        """Process an open camera until it ends; returns the reopened camera, or None at the end."""
        try:
            with camera:
                for frame in camera:
                    if self._supervisor.update(frame, camera):
                        self._last_useful_frame_ns = frame.captured_ns
                        while self._failed_open_ids:
                            self._pipeline.open_failed(self._failed_open_ids.popleft())
                        decisions = self._pipeline.step(frame, self._wall_clock.wall_minus_monotonic_ns())
                        self._occupancy.update(self._pipeline.tracks, self._supervisor.state)
                        self._snapshots.update(frame, self._pipeline.tracks, self._pipeline.samples)
                        for decision in decisions:
                            self._handle_decision(decision)
                        self._challenges.publish(self._pipeline.drain_prompts())
                    self._health.frames += 1
                    self._systemd.feed_watchdog()
                    self._maintain(camera)
                    if stop.is_set() or self._supervisor.is_frozen:
                        break
            ended = stop.is_set() or not self._supervisor.is_frozen
        except CameraLostError as error:
            self._supervisor.mark_lost(error)
            ended = False
        finally:
            self._health.dropped += camera.dropped
        # These decisions are based on the last useful frame: an open command that is too old expires and is reported.
        for decision in self._pipeline.flush(self._last_useful_frame_ns, self._wall_clock.wall_minus_monotonic_ns()):
            self._handle_decision(decision)
        self._occupancy.update((), self._supervisor.state)
        self._snapshots.clear()
        self._challenges.publish(self._pipeline.drain_prompts())
        return None if ended else self._wait_for_camera(stop)

    def _wait_for_camera(self, stop: threading.Event) -> Camera | None:
        """Retry to open the camera; None: stopped.

        If the camera has worked before, stop feeding the watchdog so that systemd restarts us when its driver hangs.
        While it has never worked, keep feeding it.
        """
        pause_s, longest_s = _CAMERA_BACKOFF_S
        while not self._clock.wait(stop, pause_s):
            self._maintain(None)
            if not self.frames:
                self._systemd.feed_watchdog()
            camera = self._supervisor.open()
            if camera is not None:
                return camera
            pause_s = min(pause_s * 2, longest_s)
        return None

    def _maintain(self, camera: Camera | None) -> None:
        """Run the periodic work between two frames."""
        self._recorder.maintain()
        if self._releases:
            self._releases.activate_ready(self._use_bundle)
        self._health.report_if_due(self._bundle, camera)

    def _handle_decision(self, decision: Decision) -> None:
        """Store the event, then act on it: the event is on disk before the lock opens and before it is published.

        A door with [lock] publishes no open command.
        """
        recorded = self._recorder.record_decision(decision)
        if recorded is None:
            if decision.kind is AccessOutcome.DOOR_OPEN and decision.verdict.match.person is not None:
                self._failed_open_ids.append(decision.verdict.match.person.id)
            return
        event, open_command = recorded
        if open_command is not None:
            (self._lock or self._publisher).open(open_command, decision.t_ns)
        jpeg = self._snapshots.pop(decision)
        if jpeg is not None:
            expires_ns = decision.t_ns + round(self._config.snapshots.max_age_s * 1e9)
            self._publisher.snapshot(Snapshot(event.id, event.seq, jpeg, expires_ns))

    def _open_expired(self, message: OpenCommand, reason: Reason, detail: str) -> None:
        """Record an open command that had no effect, and recognise the person again; called from any thread."""
        self._recorder.open_expired(message, reason, detail)
        self._failed_open_ids.append(message.person.id)

    def _event_context(self) -> EventContext:
        bundle = self._bundle
        return EventContext(self._config.door, self._clock.is_synced(), bundle.gallery.info.version, bundle.models)

    def _use_bundle(self, bundle: RuntimeBundle) -> None:
        self._pipeline.swap_models(bundle.vision, bundle.gallery, bundle.rules)
        self._bundle = bundle

    def _on_release_status(self, change: StatusChange) -> None:
        """Record and publish that a release was applied or refused; called from the update thread."""
        status, bundle = change.status, self._bundle
        if change.applied or change.refused:
            kind = EventKind.RELEASE_APPLIED if change.applied else EventKind.RELEASE_REFUSED
            self._recorder.record_event(kind, status.reason, status.detail)
        self._publisher.release(release_report(self._config.door, status, bundle))
