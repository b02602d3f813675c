"""Home Assistant has started and wants to be told everything again: heard on its birth topic, answered a bit later."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable

from edge.core.errors import BrokerRefusedError
from edge.events.homeassistant import BIRTH, DiscoveryMessage
from edge.mqtt.connection import Connection
from edge.mqtt.messages import IncomingMessage

log = logging.getLogger(__name__)


class HomeAssistantBirthListener:
    """Listens over one connection after another; does nothing where there is no introduction or no birth topic."""

    def __init__(self, introduction: DiscoveryMessage | None) -> None:
        self._topic = introduction.birth_topic if introduction else ""
        self._jitter_s = introduction.jitter_s if introduction else (0.0, 0.0)
        self._due_ns: int | None = None
        self._refused = False

    def listen(self, connection: Connection) -> None:
        """Subscribe on a new connection; a broker that refuses only costs the repetition.

        Raises:
            BrokerError: the connection has ended, or no answer came.
        """
        self._due_ns = None
        if not self._topic:
            return
        try:
            connection.subscribe([self._topic], qos=0)
            self._refused = False
        except BrokerRefusedError as error:
            level = logging.DEBUG if self._refused else logging.WARNING
            log.log(level, "%s; a Home Assistant that starts is not told anew", error)
            self._refused = True

    def on_message(self, messages: Iterable[IncomingMessage], now_ns: int) -> None:
        """What has come in. A birth that the broker has kept is none: we have just said everything."""
        for message in messages:
            born = message.topic == self._topic and message.payload == BIRTH and not message.retained
            if born and self._due_ns is None:
                self._due_ns = now_ns + round(random.uniform(*self._jitter_s) * 1e9)

    def due_in_ns(self, now_ns: int) -> int | None:
        """How long until it is time to answer; None while nobody has asked."""
        return None if self._due_ns is None else self._due_ns - now_ns

    def pop_due(self, now_ns: int) -> bool:
        """Whether it is time now; once for each birth."""
        if self._due_ns is None or self._due_ns > now_ns:
            return False
        self._due_ns = None
        return True
