"""Messages from a real broker to the hub and the history."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.monitor_fleet import FleetPublisher, a_health, a_status, an_event
from support.mqtt_brokers import Mosquitto, config_for, needs_mosquitto, wait_until
from threshold_tools.monitor.history import History
from threshold_tools.monitor.hub import Hub
from threshold_tools.monitor.listener import FaceImage, Listener
from threshold_tools.release.site_status import forget_door

from edge.events.schema import DoorConnection, EventKind
from edge.events.topics import Channel, Topics
from edge.mqtt.subscriber import Subscriber


@contextmanager
def running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@needs_mosquitto
def test_messages_reach_hub_and_history(tmp_path: Path, history: History) -> None:
    """Events, health and the face of an unknown visitor; a lost broker is reported."""
    hub, faces = Hub(), list[FaceImage]()
    event = an_event("a", 3, kind=EventKind.UNKNOWN)
    with Mosquitto(tmp_path) as broker, running_loop() as loop:
        mqtt = config_for(broker)
        listener = Listener(mqtt, Topics("works", "+"), hub, history, on_face=faces.append)
        listener.start(loop)
        wait_until(lambda: hub.broker.state == "connected", "a connection")
        with FleetPublisher(mqtt) as fleet:
            fleet.publish("a", a_health("a", 1))
            fleet.publish_face("a", an_event("a", 0, kind=EventKind.DENIED), b"of a known person")
            fleet.publish_face("a", event, b"of an unknown visitor")
        wait_until(lambda: len(history.events(9)) == 2 and bool(faces), "the events and the picture")
        assert [row.id for row in hub.latest(1)] == [event.id]
        assert [(face.event_id, face.jpeg) for face in faces] == [(event.id, b"of an unknown visitor")]
        assert len(history.health("works/a", from_ms=0, to_ms=2**50, most=9)) == 1
        broker.close()
        wait_until(lambda: hub.broker.state == "disconnected", "the loss")
        listener.close()


@needs_mosquitto
def test_retired_door_removed_from_the_page(tmp_path: Path, history: History) -> None:
    """Also after a restart; its events stay stored, and a new event lists it again."""
    hub = Hub()
    with Mosquitto(tmp_path) as broker, running_loop() as loop:
        mqtt = config_for(broker)
        listener = Listener(mqtt, Topics("works", "+"), hub, history)
        listener.start(loop)
        wait_until(lambda: hub.broker.state == "connected", "a connection")
        with FleetPublisher(mqtt) as fleet:
            for door in ("old", "front"):
                fleet.publish(door, an_event(door, 0))
                fleet.publish(door, a_status(door, DoorConnection.OFFLINE))
            wait_until(lambda: all(each.status for each in hub.fleet.doors()) and len(hub.fleet.doors()) == 2, "doors")
            forget_door(mqtt, "works", "old")
            wait_until(lambda: [each.door for each in hub.fleet.doors()] == ["works/front"], "the removal")
            wait_until(lambda: [each.door for each in history.last_of_each_door()] == ["works/front"], "the row")
            assert len(history.events(9)) == 2
            fleet.publish("old", an_event("old", 1))
            wait_until(lambda: len(history.last_of_each_door()) == 2, "the new event")
        listener.close()


@needs_mosquitto
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_persistent_session_receives_missed_events(tmp_path: Path, protocol: str) -> None:
    """The broker stores QoS 1 messages for the name of the session only."""
    with Mosquitto(tmp_path) as broker:
        mqtt = config_for(broker, protocol=protocol)
        doors, channels = Topics("works", "+"), [Channel.EVENTS]
        for session in ("mine", None):
            with Subscriber(mqtt, doors, channels, session=session):
                pass
        with FleetPublisher(mqtt) as fleet:
            fleet.publish("a", an_event("a", 1))
        with Subscriber(mqtt, doors, channels, session="mine") as subscriber:
            assert next(subscriber.messages(8.0)).door == Topics("works", "a")
        with Subscriber(mqtt, doors, channels) as subscriber:
            assert list(subscriber.messages(0.1)) == []
