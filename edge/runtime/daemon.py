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

from edge.core.config import DoorConfig
from edge.core.errors import CameraLost
from edge.core.records import Decision, Kind
from edge.core.stage_statistics import Stopwatch
from edge.events.factory import Circumstances
from edge.events.homeassistant import introduction
from edge.events.schema import VERSION, CameraState, EventKind, Open, ReleaseReport
from edge.events.snapshot import Snapshot
from edge.events.topics import Topics
from edge.mqtt.publisher import Publisher
from edge.pipeline import Pipeline
from edge.recognition.threshold_limits import lax_settings
from edge.runtime.bundle import Kit, kit_of
from edge.runtime.camera_supervisor import Eye
from edge.runtime.challenge_publisher import Announcer
from edge.runtime.event_recorder import Logbook
from edge.runtime.health import Vitals, gallery_ref
from edge.runtime.host import ServiceManager, WallClock, clock_synced
from edge.runtime.lock import lock_of
from edge.runtime.occupancy import Doorstep
from edge.runtime.snapshots import Album
from edge.vision.camera import Camera
from edge.vision.camera_opener import Opening

if TYPE_CHECKING:
    from edge.runtime.prometheus_server import Exporter
    from edge.updates.manager import Renewal
    from edge.updates.status import News

log = logging.getLogger(__name__)

_REOPEN_S = (0.5, 15.0)  # pauses between attempts to open a lost camera: the first, the longest
_FEED_NS = 1_000_000_000  # the watchdog is fed at most once in so long


class Daemon:
    """One door. Making it loads everything that can be wrong; `run` watches until told to stop."""

    def __init__(self, config: DoorConfig, opening: Opening | None = None) -> None:
        """
        Args:
            config: of the door.
            opening: its camera, if that is being opened already.

        Raises:
            ModelError, GalleryError, ConfigError, OutboxError, LockError: what the door needs is missing or damaged.
        """
        self._config = config
        stopwatch = Stopwatch()
        self._renewal = self._renewing(stopwatch)
        kit = self._renewal.kit if self._renewal else kit_of(config, stopwatch)
        chance = random.SystemRandom().random  # nobody may foretell what a challenge asks
        self._pipeline = Pipeline(config, kit.vision, kit.gallery, stopwatch, rules=kit.rules, chance=chance)
        self._clock = WallClock(trusted=config.access.trust_clock)
        self._kit = kit
        for lax in lax_settings(config.verdict, kit.vision.reader.embedder.impostors):
            log.warning("[verdict] %s", lax.detail)
        self._logbook = Logbook(config, self._circumstances, self._clock)
        self._unopened: deque[str] = deque()  # ids of people whose opening failed, from any thread
        self._publisher = Publisher(
            config.mqtt,
            Topics(config.site, config.door),
            self._logbook.outbox,
            on_open_expired=self._open_expired,
            on_open_unheard=self._logbook.open_unheard,
            introduction=introduction(config),
        )
        self._lock = lock_of(config, self._open_expired)
        self._announcer = Announcer(config.door, self._publisher.challenge)
        self._doorstep = Doorstep(config.door, self._publisher.presence)
        self._album = Album(config.snapshots, config.verdict.same_face_sq)
        self._manager = ServiceManager()
        self._eye = Eye(config, self._logbook.record, opening)
        self._exporter = self._exporting()
        self._vitals = Vitals(
            config,
            eye=self._eye,
            pipeline=self._pipeline,
            logbook=self._logbook,
            publisher=self._publisher,
            lock=self._lock,
            exporter=self._exporter,
            stopwatch=stopwatch,
        )
        self._seen_ns = time.monotonic_ns()  # capture time of the last frame that was worth a look
        self._fed_ns = 0
        log.info(
            "door %s/%s: %d enrolled, camera %s", config.site, config.door, kit.gallery.info.people, self._eye.name
        )

    def _renewing(self, stopwatch: Stopwatch) -> Renewal | None:
        if self._config.release is None:
            return None
        # Here, because it is a quarter of all that a door imports, and 11 MB.
        from edge.updates.manager import Renewal

        return Renewal(self._config, self._config.release, self._released, stopwatch)

    def _exporting(self) -> Exporter | None:
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
            camera = None if self._eye.patient else self._open_first()  # without its clip nothing begins
            self._logbook.record(EventKind.STARTED, f"camera {self._eye.name}")
            camera = camera or self._open_first()
            with self._publisher:
                self._manager.tell("READY=1")
                if self._renewal:
                    self._renewal.start()
                why = "failed: see the log"
                try:
                    camera = camera or self._reopen(stop)
                    while camera is not None:
                        camera = self._watch(camera, stop)
                    why = "asked to stop" if stop.is_set() else "the source has ended"
                finally:
                    self._manager.tell("STOPPING=1")
                    if self._renewal:
                        self._renewal.close()
                    self._logbook.record(EventKind.STOPPED, why)

    def _open_first(self) -> Camera | None:
        """The camera at the start, None when it is to be waited for; a release is not to blame for its absence."""
        camera = None
        try:
            camera = self._eye.open()
            return camera
        finally:
            if camera is None and self._renewal:
                self._renewal.excuse()

    def _watch(self, camera: Camera, stop: threading.Event) -> Camera | None:
        """Use one opened camera until it ends; returns its successor if it had to be opened anew, else None."""
        try:
            with camera:
                for frame in camera:
                    if self._eye.look(frame, camera):
                        self._seen_ns = frame.t_ns
                        while self._unopened:
                            self._pipeline.open_failed(self._unopened.popleft())
                        decisions = self._pipeline.step(frame, self._clock.offset_ns())
                        self._doorstep.look(self._pipeline.tracks, self._eye.state)
                        self._album.look(frame, self._pipeline.tracks, self._pipeline.samples)
                        for decision in decisions:
                            self._act(decision)
                        self._announcer.tell(self._pipeline.take_prompts())
                    self._vitals.frames += 1
                    self._feed()
                    self._logbook.tend()
                    self._renew()
                    self._vitals.tend(self._kit, camera)
                    if stop.is_set() or self._eye.stuck:
                        break
            over = stop.is_set() or not self._eye.stuck
        except CameraLost as error:
            self._eye.lose(error)
            over = False
        finally:
            self._vitals.dropped += camera.dropped
        # Whatever falls now rests on what was seen last: an opening that is too old for that is dropped and told.
        for decision in self._pipeline.finish(self._seen_ns, self._clock.offset_ns()):
            self._act(decision)
        self._doorstep.look((), self._eye.state)
        self._album.forget()
        self._announcer.tell(self._pipeline.take_prompts())
        return None if over else self._reopen(stop)

    def _reopen(self, stop: threading.Event) -> Camera | None:
        """Wait for the camera.

        After one that worked the watchdog goes hungry, so that a wedged driver ends in a restart; one that never came
        is waited for in peace.
        """
        pause_s, longest_s = _REOPEN_S
        while not stop.wait(pause_s):
            self._logbook.tend()
            self._vitals.tend(self._kit, None)
            self._renew()
            if not self.frames:
                self._feed()
            camera = self._eye.open()
            if camera is not None:
                return camera
            pause_s = min(pause_s * 2, longest_s)
        return None

    def _act(self, decision: Decision) -> None:
        """Durable first, then visible: the event is on disk before the lock hears of it.

        A door that has a lock of its own tells nobody else to open.
        """
        entry = self._logbook.decided(decision)
        if entry is None:
            if decision.kind is Kind.DOOR_OPEN and decision.verdict.match.person is not None:
                self._unopened.append(decision.verdict.match.person.id)
            return
        if entry.opening is not None:
            (self._lock or self._publisher).open(entry.opening, decision.t_ns)
        jpeg = self._album.take(decision)
        if jpeg is not None:
            expires_ns = decision.t_ns + round(self._config.snapshots.max_age_s * 1e9)
            self._publisher.snapshot(Snapshot(entry.event_id, entry.seq, jpeg, expires_ns))

    def _open_expired(self, message: Open, why: str) -> None:
        """Record an opening that did not happen, and have the person judged again; called from any thread."""
        self._logbook.open_expired(message, why)
        self._unopened.append(message.person.id)

    def _circumstances(self) -> Circumstances:
        return Circumstances(self._config.door, clock_synced(), self._kit.gallery.info.version, self._kit.models)

    def _renew(self) -> None:
        """Go over to a new release if one is ready, between two frames."""
        if self._renewal:
            self._renewal.exchange(self._adopt)

    def _adopt(self, kit: Kit) -> None:
        self._pipeline.adopt(kit.vision, kit.gallery, kit.rules)
        self._kit = kit

    def _released(self, news: News) -> None:
        """Tell of a release, or of its refusal; called from the thread that keeps the releases."""
        standing, kit = news.standing, self._kit
        if news.applied or news.refused:
            self._logbook.record(
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

    def _feed(self) -> None:
        """A frame that went through the whole pipeline feeds the watchdog, and so does waiting for the first one."""
        now_ns = time.monotonic_ns()
        if now_ns - self._fed_ns >= _FEED_NS:
            self._fed_ns = now_ns
            self._manager.tell("WATCHDOG=1")
