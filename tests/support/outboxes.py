"""Outboxes for tests, and ways to damage their files."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

from edge.core.clock import WallClock
from edge.core.config import OutboxConfig
from edge.outbox.outbox import MAX_UNSAVED, Outbox
from support.manual_clock import ManualClock
from support.mqtt_brokers import announce

DAY_S = 86_400.0


def open_outbox(
    folder: Path,
    max_events: int = 1000,
    keep_delivered: int = 10,
    *,
    max_age_days: float = 90,
    keep_delivered_days: float = 30,
    clock: ManualClock | None = None,
    first_seq: int = 1,
    max_unsaved: int = MAX_UNSAVED,
) -> Outbox:
    """Return an outbox in `outbox.db` of a folder; its wall clock is trusted after a time service has set it."""
    config = OutboxConfig(
        max_events=max_events,
        keep_delivered=keep_delivered,
        max_age_days=max_age_days,
        keep_delivered_days=keep_delivered_days,
    )
    return Outbox(
        folder / "outbox.db",
        config,
        announce=announce,
        wall_clock=WallClock(clock or ManualClock(), trusted=False),
        first_seq=first_seq,
        max_unsaved=max_unsaved,
    )


def details(outbox: Outbox, after_seq: int = 0) -> list[str | None]:
    """Return details of the waiting events."""
    return [event.detail for event in outbox.pending(after_seq, limit=1000)]


@contextlib.contextmanager
def no_writing() -> Iterator[None]:
    """Let every write to a file fail, by a limit on the file size of this process."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def _overwrite(file: Path, start: int, content: bytes) -> None:
    whole = bytearray(file.read_bytes())
    whole[start : start + len(content)] = content
    file.write_bytes(whole)


def damage_header(file: Path) -> None:
    _overwrite(file, 0, b"\0" * 64)


def damage_middle(file: Path) -> None:
    _overwrite(file, 4096, os.urandom(file.stat().st_size - 8192))


def damage_one_page_of_sent_events(file: Path) -> None:
    _overwrite(file, 5 * 4096, os.urandom(4096))


def damage_application_id(file: Path) -> None:
    _overwrite(file, 68, b"xxxx")


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def no_database(file: Path) -> None:
    file.write_text("hello " * 1000)


DAMAGES: list[Callable[[Path], None]] = [
    damage_header,
    damage_application_id,
    damage_middle,
    damage_one_page_of_sent_events,
    truncate,
    no_database,
]
