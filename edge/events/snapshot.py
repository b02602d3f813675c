"""A picture that belongs to an event, on its way to the broker: held in memory, and rather dropped than late."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """One face of one event, for `…/snapshot/<event id>`.

    Attributes:
        event_id: of the event.
        seq: its number; the picture is not sent before it.
        jpeg: the file.
        expires_ns: monotonic; after that it is dropped, unsent.
    """

    event_id: str
    seq: int
    jpeg: bytes = field(repr=False)
    expires_ns: int
