"""A real Home Assistant core with its MQTT integration, in this process, with a real broker."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from homeassistant import auth, bootstrap, loader
from homeassistant.config_entries import ConfigEntries, ConfigEntry, ConfigEntryState
from homeassistant.core import Event, HomeAssistant, ServiceCall, State, callback
from homeassistant.core_config import async_process_ha_core_config
from homeassistant.helpers import entity_registry
from homeassistant.setup import async_setup_component

from edge.core.config import DoorConfig
from edge.events.homeassistant import DiscoveryMessage, make_discovery_message
from edge.events.schema import DoorConnection, Record, encode
from edge.events.topics import DELIVERY_TERMS, Channel
from edge.mqtt.connection import connect
from edge.mqtt.paho_client import PahoClient
from support.example_house import TOPICS, a_status
from support.mqtt_brokers import DEADLINE_S, Mosquitto, config_for, free_port

_QUIET = "homeassistant.helpers.frame"  # concerns Home Assistant's code and the start by this file


class Complaints(logging.Handler):
    """Collects the warnings of Home Assistant."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("homeassistant") and record.name != _QUIET:
            self.lines.append(f"{record.name}: {record.getMessage()}")


@dataclass(slots=True)
class Home:
    """A running core.

    Attributes:
        hass: the core itself.
        complaints: warnings so far.
        changes: every state that was written, in order.
        calls: calls of the services from `offer`.
    """

    hass: HomeAssistant
    complaints: Complaints
    changes: list[State] = field(default_factory=list)
    calls: list[ServiceCall] = field(default_factory=list)

    def state(self, entity_id: str) -> str:
        """Return the state of an entity, or "" without one."""
        found = self.hass.states.get(entity_id)
        return found.state if found else ""

    def attribute(self, entity_id: str, name: str) -> Any:
        found = self.hass.states.get(entity_id)
        return found.attributes.get(name) if found else None

    def entities(self) -> set[str]:
        """Return the registered MQTT entities."""
        registry = entity_registry.async_get(self.hass)
        return {entry.entity_id for entry in registry.entities.values() if entry.platform == "mqtt"}

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Run the core until a condition holds; fail with `what` after the deadline."""
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end, f"not within {DEADLINE_S:g} s: {what}; {self.complaints.lines}"
            await asyncio.sleep(0.01)
            await self.hass.async_block_till_done()

    async def shows(self, *entity_ids: str) -> None:
        """Wait until it has these entities and has subscribed to their topics."""
        await self.until(lambda: self.entities() == set(entity_ids), "these entities and no others")
        await self.listens()

    async def sees_the_door(self) -> None:
        """Wait until it shows the door as online, because it shows no events of an offline door."""
        await self.until(lambda: self.state("event.home_front_access") == "unknown", "the door, online")
        await self.listens()

    async def listens(self) -> None:
        """Wait until it has subscribed to all topics, which it does in portions."""
        client = self.hass.data["mqtt"].client
        await self.until(lambda: not client._pending_subscriptions and not client._pending_operations, "subscribed")

    async def set_up(self, configuration: dict[str, Any]) -> bool:
        """Add content of configuration.yaml; returns whether all of it was accepted."""
        done = [await async_setup_component(self.hass, domain, configuration) for domain in configuration]
        await self.hass.async_block_till_done()
        return all(done)

    def offer(self, domain: str, service: str) -> None:
        """Register a service and store its calls."""
        self.hass.services.async_register(domain, service, self.calls.append)


@asynccontextmanager
async def a_home(folder: Path, port: int) -> AsyncIterator[Home]:
    """Start a core with MQTT only, connected to a broker on this machine; stop it at the end."""
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    folder.mkdir()
    (folder / "configuration.yaml").touch()
    hass = HomeAssistant(str(folder))
    hass.config.skip_pip = True
    loader.async_setup(hass)
    hass.config_entries = ConfigEntries(hass, {})
    await bootstrap.async_load_base_functionality(hass)
    hass.auth = await auth.auth_manager_from_config(hass, [], [])
    await async_process_ha_core_config(hass, {"name": "test", "time_zone": "UTC"})
    web = {"http": {"server_host": "127.0.0.1", "server_port": free_port()}}
    assert await async_setup_component(hass, "homeassistant", {})
    assert await async_setup_component(hass, "http", web)
    home = Home(hass, complaints)
    hass.bus.async_listen("state_changed", callback(lambda event: _note(home, event)))
    entry: Any = ConfigEntry(
        domain="mqtt",
        title="broker",
        data={"broker": "127.0.0.1", "port": port, "protocol": "5"},
        options={},
        source="user",
        unique_id=None,
        version=1,
        minor_version=2,
        discovery_keys=MappingProxyType({}),
        subentries_data=(),
    )
    try:
        await hass.config_entries.async_add(entry)
        await hass.async_start()
        await hass.async_block_till_done()
        assert entry.state is ConfigEntryState.LOADED, entry.reason
        yield home
    finally:
        await hass.async_stop(force=True)
        logging.getLogger().removeHandler(complaints)


def _note(home: Home, event: Event) -> None:
    if (state := event.data["new_state"]) is not None:
        home.changes.append(state)


def said(config: DoorConfig) -> DiscoveryMessage:
    made = make_discovery_message(config)
    assert made is not None
    return DiscoveryMessage(made.topic, made.payload, made.birth_topic, jitter_s=(0.0, 0.01))


class Door:
    """A door that publishes any message."""

    def __init__(self, connection: PahoClient) -> None:
        self._connection = connection

    def say(self, channel: Channel, record: Record | dict[str, Any]) -> None:
        """Publish a record with the QoS and retention of its channel."""
        payload = json.dumps(record).encode() if isinstance(record, dict) else encode(record)
        self.send(TOPICS.topic_for(channel), payload, retain=DELIVERY_TERMS[channel].retained)

    def introduce(self, config: DoorConfig) -> None:
        """Publish the discovery message."""
        discovery = said(config)
        self.send(discovery.topic, discovery.payload, retain=True)

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        number = self._connection.publish(topic, payload, retain=retain)
        while number not in [receipt.packet_id for receipt in self._connection.take_acks()]:
            self._connection.poll(0.1)


@contextmanager
def a_wire(broker: Mosquitto) -> Iterator[Door]:
    connection, _ = connect(config_for(broker), client_id="door")
    try:
        yield Door(connection)
    finally:
        connection.close()


def play(folder: Path, broker: Mosquitto, scene: Callable[[Home, Door], Awaitable[None]]) -> None:
    """Run a scene between Home Assistant and a door; Home Assistant must log no warning."""

    async def run() -> None:
        async with a_home(folder / "home", broker.port) as home:
            with a_wire(broker) as door:
                await scene(home, door)
            assert home.complaints.lines == []

    asyncio.run(run())


def play_online(folder: Path, broker: Mosquitto, scene: Callable[[Home, Door], Awaitable[None]]) -> None:
    """Run `play` with a door that is online."""
    with a_wire(broker) as door:
        door.say(Channel.STATUS, a_status(DoorConnection.ONLINE))
    play(folder, broker, scene)
