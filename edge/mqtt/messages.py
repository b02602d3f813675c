"""What goes over a connection: messages out, messages in, and receipts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Protocol = Literal["5", "3.1.1"]  # versions of MQTT


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """One message to publish. `expiry_s` (MQTT 5 only) is how long the broker may hold it back."""

    topic: str
    payload: bytes
    qos: Literal[0, 1]
    retain: bool = False
    expiry_s: int | None = None


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """One message received."""

    topic: str
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class PublishAck:
    """The broker's answer to one message of QoS 1, by the number that `publish` gave.

    Attributes:
        refusal: why the broker did not take it, "" if it did.
        unheard: the broker says that nobody subscribes to the topic; only MQTT 5 can say so, and a broker need not.
    """

    packet_id: int
    refusal: str
    unheard: bool = False
