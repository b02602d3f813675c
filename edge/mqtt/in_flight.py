"""What is under way on one connection: sent with QoS 1 and not acknowledged yet. Bookkeeping alone, no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from edge.events.schema import OpenCommand
from edge.mqtt.messages import PublishAck


@dataclass(frozen=True, slots=True)
class PendingOpen:
    """An `open` on its way; `expires_ns` is monotonic."""

    message: OpenCommand
    expires_ns: int


@dataclass(frozen=True, slots=True)
class AckResult:
    """What a receipt was about: an event, an opening, or neither; `refusal` and `unheard` as in `PublishAck`."""

    event_seq: int | None
    opening: PendingOpen | None
    refusal: str
    unheard: bool


class InFlightMessages:
    """Messages of one connection that wait for their receipt, by the connection's number for them."""

    def __init__(self) -> None:
        self._events: dict[int, int] = {}  # number to seq, in rising order of seq
        self._openings: dict[int, PendingOpen] = {}
        self._others: set[int] = set()
        self.sent_seq = 0

    def __len__(self) -> int:
        return len(self._events) + len(self._openings) + len(self._others)

    @property
    def events(self) -> int:
        """How many events are under way."""
        return len(self._events)

    def add_event(self, number: int, seq: int) -> None:
        self._events[number] = self.sent_seq = seq

    def add_opening(self, number: int, opening: PendingOpen) -> None:
        self._openings[number] = opening

    def add_untracked(self, number: int) -> None:
        self._others.add(number)

    def acknowledge(self, receipt: PublishAck) -> AckResult | None:
        """Book a receipt; None if it belongs to nothing here. A refused event stays under way: it is not delivered."""
        opening = self._openings.pop(receipt.packet_id, None)
        seq = self._events.get(receipt.packet_id)
        if seq is None and opening is None and receipt.packet_id not in self._others:
            return None
        self._others.discard(receipt.packet_id)
        if not receipt.refusal:
            self._events.pop(receipt.packet_id, None)
        return AckResult(seq, opening, receipt.refusal, receipt.unheard)

    def delivered_up_to(self) -> int:
        """The number up to which every event has arrived."""
        return next(iter(self._events.values())) - 1 if self._events else self.sent_seq

    def openings(self) -> list[PendingOpen]:
        """The openings that wait."""
        return list(self._openings.values())
