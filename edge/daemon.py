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
from edge.host import ServiceManager, clock_synced, temperature_c
from edge.identity.gallery import load_gallery
from edge.messaging.events import (
    VERSION,
    CameraState,
    Circumstances,
    Event,
    EventKind,
    GalleryRef,
    Health,
    Open,
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
from edge.stopwatch import Stopwatch
from edge.vision.camera import Camera, open_camera, without_password
from edge.vision.reader import load_vision

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
        vision = load_vision(config.models, config.detector, config.quality, self._stopwatch)
        gallery = load_gallery(Path(config.gallery), vision.reader.embedder.sha256)
        self._pipeline = Pipeline(config, vision, gallery, self._stopwatch)
        self._models = tuple((model.contract.job, model.contract.sha256[:12]) for model in vision.models)
        self._gallery_version = gallery.info.version
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
        log.info("door %s/%s: %d people, camera %s", config.site, config.door, gallery.info.people, self._camera_name)

    def run(self, stop: threading.Event) -> None:
        """Watch the door until `stop` is set or a recorded source ends.

        Raises:
            CameraError: the camera cannot be opened at the start; later on it is waited for.
            OutboxError: events can no longer be stored.
        """
        with self._outbox:
            camera: Camera | None = open_camera(self._config.camera, realtime=True)
            with self._publisher:
                self._record(EventKind.STARTED, f"camera {self._camera_name}")
                self._manager.tell("READY=1")
                try:
                    while camera is not None:
                        camera = self._watch(camera, stop)
                finally:
                    self._manager.tell("STOPPING=1")
                    self._record(EventKind.STOPPED, "asked to stop" if stop.is_set() else "the source has ended")

    def _watch(self, camera: Camera, stop: threading.Event) -> Camera | None:
        """Use one opened camera until it ends; returns its successor if it was lost and came back, else None."""
        try:
            with camera:
                for frame in camera:
                    self.camera_state = CameraState.WORKING
                    for decision in self._pipeline.step(frame):
                        self._act(decision)
                    self.frames += 1
                    self._feed()
                    self._report(camera)
                    if stop.is_set():
                        return None
            for decision in self._pipeline.finish(time.monotonic_ns()):
                self._act(decision)
            return None
        except CameraLost as error:
            log.warning("%s", error)
            self.camera_state = CameraState.LOST
            self._record(EventKind.CAMERA_LOST, str(error))
            for decision in self._pipeline.finish(time.monotonic_ns()):
                self._act(decision)
        finally:
            self._dropped_frames += camera.dropped
        return self._reopen(stop)

    def _reopen(self, stop: threading.Event) -> Camera | None:
        """Wait for a lost camera; the watchdog goes hungry meanwhile, so a wedged driver ends in a restart."""
        pause_s, longest_s = _REOPEN_S
        while not stop.wait(pause_s):
            self._report(None)
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
        return Circumstances(self._config.door, clock_synced(), self._gallery_version, self._models)

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
                gallery=GalleryRef(version=self._gallery_version),
                models=dict(self._models),
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
