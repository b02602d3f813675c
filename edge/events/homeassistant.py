"""How a door introduces itself to Home Assistant: one MQTT device discovery message, made from door.toml alone.

Pure. The keys are Home Assistant's own ("device discovery payload"), in full; `tests/home_assistant/` runs them in its
core.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from edge import __version__
from edge.core.config import DoorConfig
from edge.events.homeassistant_entities import Availability, Entity, availability_of, entities_of
from edge.events.topics import Topics
from edge.mqtt.messages import OutgoingMessage

ANNOUNCE_JITTER_S = (
    0.5,
    5.0,
)  # between Home Assistant's birth and our introduction: not a hundred doors in the same moment
BIRTH = b"online"  # what Home Assistant says on its birth topic


@dataclass(frozen=True, slots=True)
class DiscoveryMessage:
    """What a door says to Home Assistant.

    Attributes:
        message: retained; an empty payload takes the device away.
        birth_topic: where Home Assistant says that it has started, and wants the message again; "": nowhere.
        jitter_s: the shortest and the longest time to wait before that.
    """

    message: OutgoingMessage
    birth_topic: str
    jitter_s: tuple[float, float] = ANNOUNCE_JITTER_S


class HomeAssistantDevice(msgspec.Struct, frozen=True, kw_only=True):
    """The door, as Home Assistant lists it."""

    identifiers: tuple[str, ...]
    name: str
    manufacturer: str
    model: str
    sw_version: str


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Which program says all this."""

    name: str
    sw_version: str


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """A device discovery payload."""

    device: HomeAssistantDevice
    origin: Origin
    availability: tuple[Availability, ...]
    components: dict[str, Entity]


def make_discovery_message(config: DoorConfig) -> DiscoveryMessage | None:
    """What the door says to Home Assistant: None without the table, and a farewell where it is turned off."""
    wanted = config.home_assistant
    if wanted is None:
        return None
    topic = f"{wanted.discovery_prefix}/device/{device_id(config.site, config.door)}/config"
    payload = msgspec.json.encode(discovery(config)) if wanted.enabled else b""
    return DiscoveryMessage(
        OutgoingMessage(topic, payload, qos=1, retain=True), wanted.birth_topic if wanted.enabled else ""
    )


def device_id(site: str, door: str) -> str:
    """A door's name in Home Assistant's topics, of letters, digits, "_" and "-", and no two doors have the same.

    Example: device_id("home", "front.1") is "threshold__home__front_2e1".
    """
    escaped = [re.sub(r"[_.]", lambda found: f"_{ord(found[0]):02x}", part) for part in (site, door)]
    return "__".join(["threshold", *escaped])


def discovery(config: DoorConfig) -> Discovery:
    """All that Home Assistant shall show of a door; what the door has not is named to be taken away."""
    wanted = config.home_assistant
    topics = Topics(config.site, config.door)
    name = (wanted.name if wanted else "") or re.sub(r"[-_.]+", " ", config.door).strip().capitalize()
    own_id = device_id(config.site, config.door)
    return Discovery(
        device=HomeAssistantDevice(
            identifiers=(own_id,), name=name, manufacturer="Threshold", model="Door", sw_version=__version__
        ),
        origin=Origin(name="threshold", sw_version=__version__),
        availability=(availability_of(topics),),
        components={key: _with_ids(entity, own_id, topics, key) for key, entity in entities_of(config).items()},
    )


def _with_ids(entity: Entity, device: str, topics: Topics, key: str) -> Entity:
    """With its unique id, which must never change, and the entity id that Home Assistant starts with."""
    if entity == Entity(platform=entity.platform):
        return entity
    suggested = re.sub(r"[^a-z0-9]+", "_", f"{topics.site}_{topics.door}_{key}".lower()).strip("_")
    return msgspec.structs.replace(
        entity, unique_id=f"{device}_{key}", default_entity_id=f"{entity.platform}.{suggested}"
    )
