"""Where a door speaks, and on what terms: the channels, their topics, and how the broker treats what goes there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Channel(StrEnum):
    """The last part of a topic."""

    EVENTS = "events"
    OPEN = "open"
    STATUS = "status"
    HEALTH = "health"
    RELEASE = "release"
    CHALLENGE = "challenge"
    PRESENCE = "presence"


@dataclass(frozen=True, slots=True)
class DeliveryTerms:
    """On what terms a door publishes to a topic.

    Attributes:
        qos: MQTT's quality of service: 0 at most once, 1 at least once.
        retained: whether the broker keeps the latest message for whoever subscribes later.
        expiry: until when the broker may hold a message back (MQTT 5), in words; "": for ever.
    """

    qos: Literal[0, 1]
    retained: bool = False
    expiry: str = ""


DELIVERY_TERMS: dict[Channel, DeliveryTerms] = {
    Channel.EVENTS: DeliveryTerms(qos=1),
    Channel.OPEN: DeliveryTerms(qos=1, expiry="`[mqtt] open_max_age_s` after the capture"),
    Channel.STATUS: DeliveryTerms(qos=1, retained=True),
    Channel.HEALTH: DeliveryTerms(qos=0, retained=True),
    Channel.RELEASE: DeliveryTerms(qos=1, retained=True),
    Channel.PRESENCE: DeliveryTerms(qos=1, retained=True),
    Channel.CHALLENGE: DeliveryTerms(qos=1, expiry="at `expires_at`; how it ended, after 5 s"),
}
SNAPSHOT_DELIVERY = DeliveryTerms(qos=1, expiry="`[snapshots] max_age_s` after the capture")
REPO_DELIVERY = DeliveryTerms(qos=1, retained=True)
# Of a whole packet. A listener hangs up on a longer one, which no door sends.
MESSAGE_BYTES = 64 * 1024
SNAPSHOT_BYTES = 1024 * 1024
_TOPIC = re.compile(r"threshold/([^/]+)/([^/]+)/(" + "|".join(Channel) + ")")
_SNAPSHOT_TOPIC = re.compile(r"threshold/([^/]+)/([^/]+)/snapshot/([0-9a-f-]{36})")


@dataclass(frozen=True, slots=True)
class Topics:
    """The topic names of one door; with "+" as site or door, filters for all of them."""

    site: str
    door: str

    def topic_for(self, channel: Channel) -> str:
        """The topic of a channel, such as threshold/home/front/events."""
        return f"threshold/{self.site}/{self.door}/{channel}"

    def snapshot(self, event_id: str) -> str:
        """Where the picture of an event goes: a JPEG file, QoS 1, never retained; "+" for those of all events."""
        return f"threshold/{self.site}/{self.door}/snapshot/{event_id}"

    @staticmethod
    def split_snapshot(topic: str) -> tuple[Topics, str] | None:
        """The door and the event's id that a picture's topic names; None for any other topic."""
        found = _SNAPSHOT_TOPIC.fullmatch(topic)
        return None if found is None else (Topics(found[1], found[2]), found[3])

    @staticmethod
    def parse(topic: str) -> tuple[Topics, Channel] | None:
        """The door and the channel that a topic names; None for any other topic."""
        found = _TOPIC.fullmatch(topic)
        return None if found is None else (Topics(found[1], found[2]), Channel(found[3]))


def repo_topic(site: str, name: str) -> str:
    """Where a file of the site's signed repository is kept, retained, such as threshold/home/repo/timestamp.json."""
    return f"threshold/{site}/repo/{name}"


def repo_name(site: str, topic: str) -> str | None:
    """The file's name in such a topic; None for any other topic."""
    prefix = repo_topic(site, "")
    return topic.removeprefix(prefix) if topic.startswith(prefix) else None
