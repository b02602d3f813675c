"""The shell around the pipeline: camera in, outbox and broker out, and the service manager kept informed.

for frame in camera:
    for decision in pipeline.step(frame):
        record it durably, open the door, publish
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from edge.core.clock import SYSTEM_CLOCK, WallClock
from edge.core.config import DoorConfig
from edge.core.errors import CameraLostError
from edge.core.records import AccessOutcome, Decision
from edge.core.stage_statistics import TimingRecorder
from edge.events.factory import EventContext
from edge.events.homeassistant import make_discovery_message
from edge.events.schema import VERSION, CameraState, EventKind, OpenCommand, ReleaseReport
from edge.events.snapshot import Snapshot
from edge.events.topics import Topics
from edge.mqtt.publisher import Publisher
from edge.pipeline import Pipeline
from edge.recognition.threshold_limits import loose_settings
from edge.runtime.bundle import RuntimeBundle, load_configured
from edge.runtime.camera_supervisor import CameraSupervisor
from edge.runtime.challenge_publisher import ChallengePublisher
from edge.runtime.event_recorder import EventRecorder
from edge.runtime.health import HealthReporter, gallery_ref
from edge.runtime.lock import make_lock
from edge.runtime.occupancy import OccupancyReporter
from edge.runtime.snapshots import SnapshotBuffer
from edge.runtime.systemd import SystemdNotifier
from edge.vision.camera import Camera
from edge.vision.camera_opener import CameraOpener

if TYPE_CHECKING:
    from edge.runtime.prometheus_server import Exporter
    from edge.runtime.release_manager import ReleaseManager
    from edge.updates.status import StatusChange

log = logging.getLogger(__name__)

_CAMERA_BACKOFF_S = (0.5, 15.0)  # pauses between attempts to open a lost camera: the first, the longest
_WATCHDOG_PERIOD_NS = 1_000_000_000  # the watchdog is fed at most once in so long


class Daemon:
    """One door. Making it loads everything that can be wrong; `run` watches until told to stop."""

    def __init__(self, config: DoorConfig, opening: CameraOpener | None = None) -> None:
        """
        Args:
            config: of the door.
            opening: its camera, if that is being opened already.

        Raises:
            ModelError, GalleryError, ConfigError, OutboxError, LockError: what the door needs is missing or damaged.
        """
        self._config = config
        stopwatch = TimingRecorder()
        self._renewal = self._make_release_manager(stopwatch)
        kit = self._renewal.kit if self._renewal else load_configured(config, stopwatch)
        chance = random.SystemRandom().random  # nobody may foretell what a challenge asks
        self._pipeline = Pipeline(config, kit.vision, kit.gallery, stopwatch, rules=kit.rules, chance=chance)
        self._clock = WallClock(SYSTEM_CLOCK, trusted=config.access.trust_clock)
        self._kit = kit
        for lax in loose_settings(config.recognition, kit.vision.reader.embedder.impostors):
            log.warning("[recognition] %s", lax.detail)
        self._logbook = EventRecorder(config, self._event_context, self._clock)
        self._unopened: deque[str] = deque()  # ids of people whose opening failed, from any thread
        self._publisher = Publisher(
            config.mqtt,
            Topics(config.site, config.door),
            self._logbook.outbox,
            on_open_expired=self._open_expired,
            on_open_unheard=self._logbook.open_unheard,
            introduction=make_discovery_message(config),
        )
        self._lock = make_lock(config, self._open_expired)
        self._announcer = ChallengePublisher(config.door, self._publisher.challenge)
        self._doorstep = OccupancyReporter(config.door, self._publisher.presence)
        self._album = SnapshotBuffer(config.snapshots, config.recognition.track_consistency_sq)
        self._systemd = SystemdNotifier()
        self._eye = CameraSupervisor(config, self._logbook.record_event, opening)
        self._exporter = self._make_exporter()
        self._vitals = HealthReporter(
            config,
            eye=self._eye,
            pipeline=self._pipeline,
            logbook=self._logbook,
            publisher=self._publisher,
            lock=self._lock,
            exporter=self._exporter,
            stopwatch=stopwatch,
        )
        self._last_useful_frame_ns = time.monotonic_ns()  # capture time of the last frame that was worth a look
        self._last_watchdog_ns = 0
        log.info(
            "door %s/%s: %d enrolled, camera %s", config.site, config.door, kit.gallery.info.people, self._eye.name
        )

    def _make_release_manager(self, stopwatch: TimingRecorder) -> ReleaseManager | None:
        if self._config.release is None:
            return None
        # Here, because it is a quarter of all that a door imports, and 11 MB.
        from edge.runtime.release_manager import ReleaseManager

        return ReleaseManager(self._config, self._config.release, self._on_release_status, stopwatch)

    def _make_exporter(self) -> Exporter | None:
        if self._config.metrics is None:
            return None
        from edge.runtime.prometheus_server import Exporter

        return Exporter(self._config.metrics, self._config.site)

    @property
    def frames(self) -> int:
        """How many were looked at so far."""
        return self._vitals.frames

    @property
    def camera_state(self) -> CameraState:
        """What the camera is doing."""
        return self._eye.state

    def run(self, stop: threading.Event) -> None:
        """Watch the door until `stop` is set or a recorded source ends.

        Raises:
            CameraError: a clip or folder of stills cannot be opened; a camera is waited for.
        """
        aside = contextlib.nullcontext()
        with self._logbook.outbox, self._lock or aside, self._exporter or aside:
            camera = None if self._eye.patient else self._open_camera_at_start()  # without its clip nothing begins
            self._logbook.record_event(EventKind.STARTED, f"camera {self._eye.name}")
            camera = camera or self._open_camera_at_start()
            with self._publisher:
                self._systemd.notify("READY=1")
                if self._renewal:
                    self._renewal.start()
                why = "failed: see the log"
                try:
                    camera = camera or self._wait_for_camera(stop)
                    while camera is not None:
                        camera = self._process_frames(camera, stop)
                    why = "asked to stop" if stop.is_set() else "the source has ended"
                finally:
                    self._systemd.notify("STOPPING=1")
                    if self._renewal:
                        self._renewal.close()
                    self._logbook.record_event(EventKind.STOPPED, why)

    def _open_camera_at_start(self) -> Camera | None:
        """The camera at the start, None when it is to be waited for; a release is not to blame for its absence."""
        camera = None
        try:
            camera = self._eye.open()
            return camera
        finally:
            if camera is None and self._renewal:
                self._renewal.forgive_start()

    def _process_frames(self, camera: Camera, stop: threading.Event) -> Camera | None:
        """Use one opened camera until it ends; returns its successor if it had to be opened anew, else None."""
        try:
            with camera:
                for frame in camera:
                    if self._eye.update(frame, camera):
                        self._last_useful_frame_ns = frame.captured_ns
                        while self._unopened:
                            self._pipeline.open_failed(self._unopened.popleft())
                        decisions = self._pipeline.step(frame, self._clock.wall_minus_monotonic_ns())
                        self._doorstep.update(self._pipeline.tracks, self._eye.state)
                        self._album.update(frame, self._pipeline.tracks, self._pipeline.samples)
                        for decision in decisions:
                            self._handle_decision(decision)
                        self._announcer.publish(self._pipeline.drain_prompts())
                    self._vitals.frames += 1
                    self._feed_watchdog()
                    self._logbook.maintain()
                    self._apply_ready_release()
                    self._vitals.report_if_due(self._kit, camera)
                    if stop.is_set() or self._eye.is_frozen:
                        break
            over = stop.is_set() or not self._eye.is_frozen
        except CameraLostError as error:
            self._eye.mark_lost(error)
            over = False
        finally:
            self._vitals.dropped += camera.dropped
        # Whatever falls now rests on what was seen last: an opening that is too old for that is dropped and told.
        for decision in self._pipeline.flush(self._last_useful_frame_ns, self._clock.wall_minus_monotonic_ns()):
            self._handle_decision(decision)
        self._doorstep.update((), self._eye.state)
        self._album.clear()
        self._announcer.publish(self._pipeline.drain_prompts())
        return None if over else self._wait_for_camera(stop)

    def _wait_for_camera(self, stop: threading.Event) -> Camera | None:
        """Wait for the camera.

        After one that worked the watchdog goes hungry, so that a wedged driver ends in a restart; one that never came
        is waited for in peace.
        """
        pause_s, longest_s = _CAMERA_BACKOFF_S
        while not stop.wait(pause_s):
            self._logbook.maintain()
            self._vitals.report_if_due(self._kit, None)
            self._apply_ready_release()
            if not self.frames:
                self._feed_watchdog()
            camera = self._eye.open()
            if camera is not None:
                return camera
            pause_s = min(pause_s * 2, longest_s)
        return None

    def _handle_decision(self, decision: Decision) -> None:
        """Durable first, then visible: the event is on disk before the lock hears of it.

        A door that has a lock of its own tells nobody else to open.
        """
        entry = self._logbook.record_decision(decision)
        if entry is None:
            if decision.kind is AccessOutcome.DOOR_OPEN and decision.verdict.match.person is not None:
                self._unopened.append(decision.verdict.match.person.id)
            return
        if entry.opening is not None:
            (self._lock or self._publisher).open(entry.opening, decision.t_ns)
        jpeg = self._album.pop(decision)
        if jpeg is not None:
            expires_ns = decision.t_ns + round(self._config.snapshots.max_age_s * 1e9)
            self._publisher.snapshot(Snapshot(entry.event_id, entry.seq, jpeg, expires_ns))

    def _open_expired(self, message: OpenCommand, why: str) -> None:
        """Record an opening that did not happen, and have the person judged again; called from any thread."""
        self._logbook.open_expired(message, why)
        self._unopened.append(message.person.id)

    def _event_context(self) -> EventContext:
        return EventContext(
            self._config.door, SYSTEM_CLOCK.is_synced(), self._kit.gallery.info.version, self._kit.models
        )

    def _apply_ready_release(self) -> None:
        """Go over to a new release if one is ready, between two frames."""
        if self._renewal:
            self._renewal.activate_ready(self._use_bundle)

    def _use_bundle(self, kit: RuntimeBundle) -> None:
        self._pipeline.swap_models(kit.vision, kit.gallery, kit.rules)
        self._kit = kit

    def _on_release_status(self, news: StatusChange) -> None:
        """Tell of a release, or of its refusal; called from the thread that keeps the releases."""
        standing, kit = news.standing, self._kit
        if news.applied or news.refused:
            self._logbook.record_event(
                EventKind.RELEASE_APPLIED if news.applied else EventKind.RELEASE_REFUSED, standing.reason
            )
        report = ReleaseReport(
            v=VERSION,
            door=self._config.door,
            release=standing.release,
            applied_at=standing.applied_at,
            ok=standing.ok,
            reason=standing.reason,
            people=kit.gallery.info.people,
            gallery=gallery_ref(kit),
            models=dict(kit.models),
        )
        self._publisher.release(report)

    def _feed_watchdog(self) -> None:
        """A frame that went through the whole pipeline feeds the watchdog, and so does waiting for the first one."""
        now_ns = time.monotonic_ns()
        if now_ns - self._last_watchdog_ns >= _WATCHDOG_PERIOD_NS:
            self._last_watchdog_ns = now_ns
            self._systemd.notify("WATCHDOG=1")
