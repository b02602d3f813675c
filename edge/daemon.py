"""The shell around the pipeline: camera in, outbox and broker out, and the service manager kept informed.

for frame in camera:
    for decision in pipeline.step(frame):
        record it durably, open the door, publish
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from edge.config import DoorConfig
from edge.errors import CameraError, CameraLost
from edge.host import ServiceManager, WallClock, clock_synced, temperature_c
from edge.kit import Kit, kit_of
from edge.messaging.events import (
    VERSION,
    CameraState,
    Circumstances,
    Event,
    EventKind,
    GalleryRef,
    Health,
    Open,
    ReleaseReport,
    StageTiming,
    Topics,
    access_event,
    instant,
    open_message,
    system_event,
)
from edge.messaging.outbox import Outbox
from edge.messaging.publisher import Link, Publisher
from edge.messaging.uuid7 import Uuid7Source
from edge.pipeline import Pipeline
from edge.records import Decision, Kind
from edge.release.keeper import News
from edge.renewal import Renewal
from edge.stopwatch import Stopwatch
from edge.vision.camera import Camera, open_camera, without_password

log = logging.getLogger(__name__)

_REOPEN_S = (0.5, 15.0)  # pauses between attempts to open a lost camera: the first, the longest
_FEED_NS = 1_000_000_000  # the watchdog is fed at most once in so long


class Daemon:
    """One door. Making it loads everything that can be wrong; `run` watches until told to stop.

    Attributes:
        camera_state: what the camera is doing.
        frames: how many went through the pipeline so far.
    """

    def __init__(self, config: DoorConfig) -> None:
        """
        Raises:
            ModelError, GalleryError, ConfigError, OutboxError: what the door needs is missing or damaged.
        """
        self._config = config
        self._ids = Uuid7Source()
        self._stopwatch = Stopwatch()
        self._renewal = Renewal(config, config.release, self._released, self._stopwatch) if config.release else None
        kit = self._renewal.kit if self._renewal else kit_of(config, self._stopwatch)
        self._pipeline = Pipeline(config, kit.vision, kit.gallery, self._stopwatch, rules=kit.rules)
        self._clock = WallClock(trusted=config.access.trust_clock)
        self._kit = kit
        self._outbox = Outbox(Path(config.state_folder) / "outbox.sqlite", config.outbox, announce=self._dropped)
        topics = Topics(config.site, config.door)
        self._publisher = Publisher(config.mqtt, topics, self._outbox, on_open_expired=self._open_expired)
        self._manager = ServiceManager()
        self._camera_name = without_password(config.camera.source)
        self.camera_state = CameraState.STARTING
        self._started_ns = time.monotonic_ns()
        self.frames = 0
        self._dropped_frames = 0
        self._fed_ns = 0
        self._reported: tuple[int, int] = (self._started_ns, 0)  # time of the last health report, frames until then
        log.info(
            "door %s/%s: %d people, camera %s", config.site, config.door, kit.gallery.info.people, self._camera_name
        )

    def run(self, stop: threading.Event) -> None:
        """Watch the door until `stop` is set or a recorded source ends.

        Raises:
            CameraError: the camera cannot be opened at the start; later on it is waited for.
            OutboxError: events can no longer be stored.
        """
        with self._outbox:
            camera: Camera | None = self._open_first()
            with self._publisher:
                self._record(EventKind.STARTED, f"camera {self._camera_name}")
                self._manager.tell("READY=1")
                if self._renewal:
                    self._renewal.start()
                try:
                    while camera is not None:
                        camera = self._watch(camera, stop)
                finally:
                    self._manager.tell("STOPPING=1")
                    if self._renewal:
                        self._renewal.close()
                    self._record(EventKind.STOPPED, "asked to stop" if stop.is_set() else "the source has ended")

    def _open_first(self) -> Camera:
        """The camera at the start; a release is not to blame for its absence."""
        try:
            return open_camera(self._config.camera, realtime=True)
        except CameraError:
            if self._renewal:
                self._renewal.excuse()
            raise

    def _watch(self, camera: Camera, stop: threading.Event) -> Camera | None:
        """Use one opened camera until it ends; returns its successor if it was lost and came back, else None."""
        try:
            with camera:
                for frame in camera:
                    self.camera_state = CameraState.WORKING
                    for decision in self._pipeline.step(frame, self._clock.offset_ns()):
                        self._act(decision)
                    self.frames += 1
                    self._feed()
                    self._renew()
                    self._report(camera)
                    if stop.is_set():
                        return None
            for decision in self._pipeline.finish(time.monotonic_ns(), self._clock.offset_ns()):
                self._act(decision)
            return None
        except CameraLost as error:
            log.warning("%s", error)
            self.camera_state = CameraState.LOST
            self._record(EventKind.CAMERA_LOST, str(error))
            for decision in self._pipeline.finish(time.monotonic_ns(), self._clock.offset_ns()):
                self._act(decision)
        finally:
            self._dropped_frames += camera.dropped
        return self._reopen(stop)

    def _reopen(self, stop: threading.Event) -> Camera | None:
        """Wait for a lost camera; the watchdog goes hungry meanwhile, so a wedged driver ends in a restart."""
        pause_s, longest_s = _REOPEN_S
        while not stop.wait(pause_s):
            self._report(None)
            self._renew()
            try:
                camera = open_camera(self._config.camera, realtime=True)
            except CameraError as error:
                log.debug("%s", error)
                pause_s = min(pause_s * 2, longest_s)
                continue
            log.info("camera %s is back", self._camera_name)
            self._record(EventKind.CAMERA_BACK, f"camera {self._camera_name}")
            return camera
        return None

    def _act(self, decision: Decision) -> None:
        """Durable first, then visible: the event is on disk before the lock hears of it."""
        now_ns = time.time_ns()
        age_ns = time.monotonic_ns() - decision.t_ns
        event = access_event(decision, id=self._new_id(), at_ns=now_ns - age_ns, door=self._circumstances())
        seq = self._outbox.append(event)
        if decision.kind is Kind.DOOR_OPEN:
            expires_ns = now_ns - age_ns + round(self._config.mqtt.open_max_age_s * 1e9)
            self._publisher.open(open_message(event, seq=seq, expires_ns=expires_ns), decision.t_ns)
        log.info("%s %s: %s", event.kind, event.person.id if event.person else "-", event.reason)

    def _record(self, kind: EventKind, reason: str) -> None:
        self._outbox.append(self._system(kind, reason))

    def _open_expired(self, message: Open, why: str) -> None:
        log.warning("the door was not opened for %s: %s", message.person.id, why)
        self._record(EventKind.OPEN_EXPIRED, f"{message.person.id}, seq {message.seq}: {why}")

    def _dropped(self, count: int) -> Event:
        return self._system(EventKind.EVENTS_DROPPED, f"{count} events were lost: the outbox was full", dropped=count)

    def _system(self, kind: EventKind, reason: str, dropped: int | None = None) -> Event:
        return system_event(
            kind, reason, id=self._new_id(), at_ns=time.time_ns(), door=self._circumstances(), dropped=dropped
        )

    def _new_id(self) -> str:
        return self._ids.new(time.time_ns() // 1_000_000)

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
            self._record(EventKind.RELEASE_APPLIED if news.applied else EventKind.RELEASE_REFUSED, standing.reason)
        report = ReleaseReport(
            v=VERSION,
            door=self._config.door,
            release=standing.release,
            applied_at=standing.applied_at,
            ok=standing.ok,
            reason=standing.reason,
            people=kit.gallery.info.people,
            gallery=self._gallery_ref(),
            models=dict(kit.models),
        )
        self._publisher.release(report)

    def _gallery_ref(self) -> GalleryRef | None:
        version = self._kit.gallery.info.version
        return GalleryRef(version=version) if version else None

    def _feed(self) -> None:
        """Only a frame that went through the whole pipeline feeds the watchdog."""
        now_ns = time.monotonic_ns()
        if now_ns - self._fed_ns >= _FEED_NS:
            self._fed_ns = now_ns
            self._manager.tell("WATCHDOG=1")

    def _report(self, camera: Camera | None) -> None:
        """Publish health when it is due."""
        now_ns = time.monotonic_ns()
        last_ns, frames = self._reported
        if now_ns - last_ns < self._config.mqtt.health_every_s * 1e9:
            return
        self._reported = (now_ns, self.frames)
        self._publisher.health(
            Health(
                v=VERSION,
                door=self._config.door,
                at=instant(time.time_ns()),
                uptime_s=round((now_ns - self._started_ns) / 1e9, 1),
                camera=self.camera_state,
                fps=round((self.frames - frames) * 1e9 / (now_ns - last_ns), 2),
                frames=self.frames,
                dropped=self._dropped_frames + (camera.dropped if camera else 0),
                stages={
                    stage: StageTiming(runs=timing.runs, median_ms=timing.median_ms, p95_ms=timing.p95_ms)
                    for stage, timing in self._stopwatch.timings().items()
                },
                rejects={"quality": dict(self._pipeline.judge.refusals)},
                temperature_c=temperature_c(),
                outbox_depth=self._outbox.depth(),
                gallery=self._gallery_ref(),
                models=dict(self._kit.models),
                problems=self._problems(),
            )
        )
        self._stopwatch.clear()

    def _problems(self) -> tuple[str, ...]:
        problems = []
        if self.camera_state is CameraState.LOST:
            problems.append(f"camera {self._camera_name} is lost")
        if self._publisher.state.link is not Link.ONLINE:
            problems.append(self._publisher.state.reason or "not connected to the broker")
        if not clock_synced():
            problems.append("the clock is not synchronised")
        return tuple(problems)
