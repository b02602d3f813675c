"""An outbox that leaves a note of every event once its own promise holds, for the judge to find after any death."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

import edge.runtime.event_recorder
from edge.events.schema import Event
from edge.outbox.outbox import Outbox
from soaking.judge import StoredEvent
from soaking.seams import replace

_LINE = msgspec.json.Encoder()


def notes_of(path: Path) -> list[StoredEvent]:
    """Read the notes; a last line that death cut short is no note."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [msgspec.json.decode(line, type=StoredEvent) for line in lines]


def count(path: Path) -> int:
    """How many notes there are."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def install(path: Path) -> None:
    """Let every logbook of this process keep its events in an outbox that takes notes.

    A note is one write into the kernel after `append` has returned, so it outlives the process. Death between the two
    leaves an event without a note, never a note without an event.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def make(*arguments: object, **named: object) -> Outbox:
        outbox = Outbox(*arguments, **named)  # type: ignore[arg-type]
        append: Callable[[Event], int] = outbox.append

        def noted(event: Event) -> int:
            seq = append(event)
            os.write(file, _LINE.encode(StoredEvent(seq, event.id, event.dropped or 0)) + b"\n")
            return seq

        outbox.append = noted  # type: ignore[method-assign]
        return outbox

    replace(edge.runtime.event_recorder, Outbox=make)
