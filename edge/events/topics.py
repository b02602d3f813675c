"""MQTT topics of a door, with their QoS and retain flags."""

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
    """QoS and retain flag of a topic."""

    qos: Literal[0, 1]  # MQTT's quality of service: 0 at most once, 1 at least once
    retained: bool = False  # whether the broker keeps the latest message for later subscribers


DELIVERY_TERMS: dict[Channel, DeliveryTerms] = {
    Channel.EVENTS: DeliveryTerms(qos=1),
    Channel.OPEN: DeliveryTerms(qos=1),
    Channel.STATUS: DeliveryTerms(qos=1, retained=True),
    Channel.HEALTH: DeliveryTerms(qos=0, retained=True),
    Channel.RELEASE: DeliveryTerms(qos=1, retained=True),
    Channel.PRESENCE: DeliveryTerms(qos=1, retained=True),
    Channel.CHALLENGE: DeliveryTerms(qos=1),
}
SNAPSHOT_DELIVERY = DeliveryTerms(qos=1)
REPO_DELIVERY = DeliveryTerms(qos=1, retained=True)
# Longest packets, topic included. A subscriber ends the connection on a longer one; no door sends one.
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
        """The topic of the snapshot of an event; "+" for the snapshots of all events."""
        return f"threshold/{self.site}/{self.door}/snapshot/{event_id}"

    @staticmethod
    def split_snapshot(topic: str) -> tuple[Topics, str] | None:
        """Door and event id in the topic of a snapshot; None for any other topic."""
        found = _SNAPSHOT_TOPIC.fullmatch(topic)
        return None if found is None else (Topics(found[1], found[2]), found[3])

    @staticmethod
    def parse(topic: str) -> tuple[Topics, Channel] | None:
        """Door and channel of a topic; None for any other topic."""
        found = _TOPIC.fullmatch(topic)
        return None if found is None else (Topics(found[1], found[2]), Channel(found[3]))


def repo_topic(site: str, name: str) -> str:
    """The topic of a file of the signed repository, such as threshold/home/repo/timestamp.json."""
    return f"threshold/{site}/repo/{name}"


def repo_name(site: str, topic: str) -> str | None:
    """The file name in the topic of a repository file; None for any other topic."""
    prefix = repo_topic(site, "")
    return topic.removeprefix(prefix) if topic.startswith(prefix) else None
