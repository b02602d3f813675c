"""Home Assistant discovery: the MQTT device discovery message of a door, and when to send it again.

The message follows from door.toml alone. `tests/home_assistant/` runs it in the core of Home Assistant.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from edge import __version__
from edge.core.config import DoorConfig
from edge.core.errors import BrokerRefusedError
from edge.events.homeassistant_entities import Entity, availability_of, entities_of
from edge.events.topics import Topics

log = logging.getLogger(__name__)

ANNOUNCE_JITTER_S = (0.5, 5.0)  # from birth message to answer; random, so that doors do not answer together
BIRTH = b"online"  # published by Home Assistant on its birth topic after its start


@dataclass(frozen=True, slots=True)
class DiscoveryMessage:
    """The retained discovery message of a door, and the topic that asks for it again."""

    topic: str
    payload: bytes  # JSON; empty: remove the device
    birth_topic: str  # topic of the birth message of Home Assistant; "": none
    jitter_s: tuple[float, float] = ANNOUNCE_JITTER_S  # shortest and longest wait before the answer


class HomeAssistantBirthListener:
    """Detects the start of Home Assistant; does nothing without a discovery message or a birth topic."""

    def __init__(
        self, discovery: DiscoveryMessage | None, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._topic = discovery.birth_topic if discovery else ""
        self._jitter_s = discovery.jitter_s if discovery else (0.0, 0.0)
        self._uniform = uniform
        self._due_ns: int | None = None
        self._refused = False

    def listen(self, subscribe: Callable[[list[str], int], None]) -> None:
        """Subscribe on a new connection. If the broker refuses, discovery is only not repeated.

        Args:
            subscribe: subscribes to topics with a QoS.

        Raises:
            BrokerError: the connection has ended.
        """
        self._due_ns = None
        if not self._topic:
            return
        try:
            subscribe([self._topic], 0)
            self._refused = False
        except BrokerRefusedError as error:
            level = logging.DEBUG if self._refused else logging.WARNING
            log.log(level, "Home Assistant birth topic refused: %s; discovery is not repeated after its restart", error)
            self._refused = True

    def on_message(self, topic: str, payload: bytes, *, retained: bool, now_ns: int) -> None:
        """Process a message; a retained birth message is ignored, because discovery has just been sent."""
        if topic == self._topic and payload == BIRTH and not retained and self._due_ns is None:
            self._due_ns = now_ns + round(self._uniform(*self._jitter_s) * 1e9)

    def due_in_ns(self, now_ns: int) -> int | None:
        """Time until the answer is due; None: no answer is due."""
        return None if self._due_ns is None else self._due_ns - now_ns

    def pop_due(self, now_ns: int) -> bool:
        """Whether the answer is due; True once for each birth message."""
        if self._due_ns is None or self._due_ns > now_ns:
            return False
        self._due_ns = None
        return True


def make_discovery_message(config: DoorConfig) -> DiscoveryMessage | None:
    """The discovery message of a door; None without [home_assistant], an empty payload if `enabled` is false."""
    table = config.home_assistant
    if table is None:
        return None
    topic = f"{table.discovery_prefix}/device/{device_id(config.site, config.door)}/config"
    payload = msgspec.json.encode(_discovery(config)) if table.enabled else b""
    return DiscoveryMessage(topic, payload, table.birth_topic if table.enabled else "")


def device_id(site: str, door: str) -> str:
    """Unique id of a door in topics of Home Assistant: letters, digits, "_" and "-".

    Example: device_id("home", "front.1") is "threshold__home__front_2e1".
    """
    escaped = [re.sub(r"[_.]", lambda found: f"_{ord(found[0]):02x}", part) for part in (site, door)]
    return "__".join(["threshold", *escaped])


def _discovery(config: DoorConfig) -> dict[str, object]:
    """The discovery payload. Entities that this door lacks are listed without content, which removes them."""
    table = config.home_assistant
    topics = Topics(config.site, config.door)
    name = (table.name if table else "") or re.sub(r"[-_.]+", " ", config.door).strip().capitalize()
    own_id = device_id(config.site, config.door)
    device = {"identifiers": [own_id], "name": name, "manufacturer": "Threshold", "model": "Door"}
    return {
        "device": device | {"sw_version": __version__},
        "origin": {"name": "threshold", "sw_version": __version__},
        "availability": [availability_of(topics)],
        "components": {key: _with_ids(entity, own_id, topics, key) for key, entity in entities_of(config).items()},
    }


def _with_ids(entity: Entity, device: str, topics: Topics, key: str) -> Entity:
    """The entity with its unique id, which must never change, and its first entity id."""
    if entity == Entity(platform=entity.platform):
        return entity
    suggested = re.sub(r"[^a-z0-9]+", "_", f"{topics.site}_{topics.door}_{key}".lower()).strip("_")
    return msgspec.structs.replace(
        entity, unique_id=f"{device}_{key}", default_entity_id=f"{entity.platform}.{suggested}"
    )
