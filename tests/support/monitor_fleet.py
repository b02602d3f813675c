"""A simulated fleet of doors that publishes over one connection.

For a demonstration:  python tests/support/monitor_fleet.py mqtt://localhost:1883
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Sequence
from typing import Self

from edge.core.config import MqttConfig
from edge.core.reasons import Reason
from edge.core.timestamps import format_unix_ns
from edge.core.uuid7 import Uuid7Source
from edge.events.schema import (
    CameraState,
    DoorConnection,
    Event,
    EventKind,
    GalleryRef,
    Health,
    PersonRef,
    PresenceReport,
    Record,
    ReleaseReport,
    StageTiming,
    Status,
    encode,
)
from edge.events.topics import Channel, Topics
from edge.mqtt.connection import connect
from edge.mqtt.paho_client import PahoClient

_IDS = Uuid7Source()
_NAMES = ("Ada Lovelace", "Grace Hopper", "Alan Turing", "Mary Jackson", "Edsger Dijkstra")
_KINDS = (EventKind.DOOR_OPEN, EventKind.DOOR_OPEN, EventKind.DENIED, EventKind.UNKNOWN)
_REASONS = {EventKind.DOOR_OPEN: Reason.WITHIN_THRESHOLD, EventKind.DENIED: Reason.OUTSIDE_SCHEDULE}
_MODELS = {"detector": "0f3e11aa", "embedder": "9a7c03de", "landmarks": "77b1c20e"}
GALLERY = "9f2c41d07ab3" + "5e" * 26  # the version of a gallery is the sha256 of its file


def an_event(door: str, number: int, *, detail: str = "", kind: EventKind | None = None, name: str = "") -> Event:
    """Return an event; the number determines person and kind."""
    kind = kind or _KINDS[number % len(_KINDS)]
    name = name or _NAMES[number % len(_NAMES)]
    known = kind in (EventKind.DOOR_OPEN, EventKind.DENIED)
    now_ns = time.time_ns()
    return Event(
        v=1,
        id=_IDS.new(now_ns // 10**6),
        seq=number + 1,
        door=door,
        kind=kind,
        at=format_unix_ns(now_ns),
        published_at=format_unix_ns(now_ns),
        person=PersonRef(id=name.split()[0].lower(), name=name) if known else None,
        distance_sq=0.3 + number % 50 / 100 + (0 if known else 0.7),
        threshold_sq=0.93,
        runner_up_sq=1.9,
        samples=4,
        quality=0.8,
        reason=_REASONS.get(kind, Reason.BEYOND_THRESHOLD),
        rule="staff" if known else None,
        track=number,
        box=None,
        clock_synced=True,
        gallery=GalleryRef(version=GALLERY),
        models=_MODELS,
        detail=detail,
    )


def a_health(door: str, number: int, *, problems: Sequence[str] = (), camera: CameraState | None = None) -> Health:
    """A health report; every value varies with the number. With problems, the camera is lost by default."""
    sway = number % 17
    stages = {"detector": 1.9, "landmarks": 1.1, "embedder": 3.2, "tracker": 0.1}
    return Health(
        v=1,
        door=door,
        at=format_unix_ns(time.time_ns()),
        uptime_s=3600.0 * 30 + number,
        camera=camera or (CameraState.LOST if problems else CameraState.WORKING),
        fps=14 + sway / 10,
        frames=number * 150,
        dropped=3,
        stages={name: StageTiming(runs=90, median_ms=ms + sway / 30, p95_ms=ms * 2) for name, ms in stages.items()},
        rejects={},
        temperature_c=51 + sway / 2,
        outbox_depth=sway if problems else 0,
        gallery=GalleryRef(version=GALLERY),
        models=_MODELS,
        problems=tuple(problems),
    )


def a_status(door: str, status: DoorConnection = DoorConnection.ONLINE, reason: Reason = Reason.CONNECTED) -> Status:
    return Status(v=1, door=door, status=status, reason=reason, since=format_unix_ns(time.time_ns()))


def a_release(door: str, release: int | None, *, ok: bool = True, detail: str | None = None) -> ReleaseReport:
    return ReleaseReport(
        v=1,
        door=door,
        release=release,
        applied_at=format_unix_ns(time.time_ns()) if release else None,
        ok=ok,
        reason=Reason.RELEASE_APPLIED if ok else Reason.RELEASE_NOT_VERIFIED,
        people=230,
        gallery=GalleryRef(version=GALLERY),
        models=_MODELS,
        detail=detail,
    )


def a_presence(door: str, somebody: bool | None = True) -> PresenceReport:
    return PresenceReport(v=1, door=door, at=format_unix_ns(time.time_ns()), somebody=somebody)


class FleetPublisher:
    """Publishes for every door over one connection; a context manager."""

    def __init__(self, mqtt: MqttConfig, site: str = "works") -> None:
        self._mqtt = mqtt
        self._site = site
        self._connection: PahoClient | None = None

    def publish(self, door: str, record: Record) -> None:
        """Publish for a door; returns when the broker has acknowledged it."""
        self.enqueue(door, record)
        self.wait_for_acks()

    def enqueue(self, door: str, record: Record) -> None:
        """Publish without waiting for the acknowledgement."""
        channel = {
            Event: Channel.EVENTS,
            Status: Channel.STATUS,
            Health: Channel.HEALTH,
            ReleaseReport: Channel.RELEASE,
            PresenceReport: Channel.PRESENCE,
        }[type(record)]
        self.enqueue_payload(
            Topics(self._site, door).topic_for(channel), encode(record), retain=channel is not Channel.EVENTS
        )

    def publish_face(self, door: str, event: Event, jpeg: bytes) -> None:
        """Publish an event and then its picture."""
        self.enqueue(door, event)
        self.enqueue_payload(Topics(self._site, door).snapshot(event.id), jpeg)
        self.wait_for_acks()

    def enqueue_payload(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        assert self._connection is not None
        self._connection.publish(topic, payload, qos=1, retain=retain)
        self._open += 1

    def wait_for_acks(self, within_s: float = 5.0) -> None:
        """Wait until the broker has acknowledged all messages."""
        assert self._connection is not None
        deadline = time.monotonic() + within_s
        while self._open and time.monotonic() < deadline:
            self._connection.poll(0.1)
            self._open -= len(self._connection.take_acks())
        assert not self._open

    def run_until(self, until: float) -> None:
        """Receive acknowledgements until a time of time.monotonic()."""
        assert self._connection is not None
        while (left_s := until - time.monotonic()) > 0:
            self._connection.poll(left_s)
            self._open -= len(self._connection.take_acks())

    def __enter__(self) -> Self:
        self._connection, _ = connect(self._mqtt, client_id=f"fleet-{time.time_ns()}")
        self._open = 0
        return self

    def __exit__(self, *_: object) -> None:
        assert self._connection is not None
        self._connection.close()


def main(url: str, doors: Sequence[str] = ("lobby", "lab", "store", "garage", "roof", "canteen", "archive")) -> None:
    """Publish until stopped: two events a second, health every 10 s; one door is offline, two have problems."""
    online = [door for door in doors if door != doors[2]]
    seeing = [door for door in online if door != doors[4]]
    with FleetPublisher(MqttConfig(url=url)) as fleet:
        for i, door in enumerate(doors):
            gone = () if door in online else (DoorConnection.OFFLINE, Reason.CONNECTION_LOST)
            fleet.enqueue(door, a_status(door, *gone))
            fleet.enqueue(door, a_release(door, 41 + (i != 3)))
        for i in itertools.count():
            door = seeing[i * 3 % len(seeing)]
            if i % 20 == 0:
                for j, each in enumerate(online):
                    problems = {doors[1]: ["the clock is not synchronised"], doors[4]: ["camera: no frame for 12 s"]}
                    camera = CameraState.WORKING if each in seeing else CameraState.LOST
                    fleet.enqueue(each, a_health(each, i + j, problems=problems.get(each, []), camera=camera))
            fleet.enqueue(door, an_event(door, i))
            fleet.enqueue(door, a_presence(door, i % 3 == 0))
            fleet.run_until(time.monotonic() + 0.5)


if __name__ == "__main__":
    main(sys.argv[1])
