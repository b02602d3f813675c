"""Outbox that notes every stored event in a file, for the check after a kill."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from edge.events.schema import Event
from edge.outbox.outbox import Outbox
from soak.invariants import StoredEvent

_LINE = msgspec.json.Encoder()


class RecordingOutbox(Outbox):
    """Appends a line to a file for every event that `append` has stored.

    A note is one write to the kernel after `append` has returned, so it survives the process. A kill between the two
    leaves an event without a note, never a note without an event.

    Args:
        notes: file of the notes.
        arguments, named: arguments of `Outbox`.
    """

    def __init__(self, notes: Path, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._notes = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def append(self, event: Event) -> int:
        seq = super().append(event)
        os.write(self._notes, _LINE.encode(StoredEvent(seq, event.id, event.dropped or 0)) + b"\n")
        return seq


def read_notes(path: Path) -> list[StoredEvent]:
    """Read the notes; an incomplete last line is ignored."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [msgspec.json.decode(line, type=StoredEvent) for line in lines]


def count_notes(path: Path) -> int:
    """Return the number of notes."""
    return path.read_bytes().count(b"\n") if path.exists() else 0
