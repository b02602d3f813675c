"""Log handler for systemd's journal with fields, by its native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL).

Standard error of a service also goes to the journal, but without fields.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")
IDENTIFIER = "threshold"  # journalctl -t threshold
_SEND_TIMEOUT_S = 0.2  # the door must not wait for its log
_MEMFD_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_RESERVED = re.compile(r"threshold_[a-z0-9_]+")  # attributes of a log record that become fields
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))  # syslog(3)
_DEBUG = 7


def stream_is_journal(stream: int = 2, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a file descriptor is connected to the journal, by JOURNAL_STREAM of systemd.exec(5)."""
    try:
        found = os.fstat(stream)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def event_fields(kind: str, event_id: str) -> dict[str, str]:
    """`extra` for the log line of an event; becomes THRESHOLD_EVENT and THRESHOLD_EVENT_ID in the journal."""
    return {"threshold_event": kind, "threshold_event_id": event_id}


def set_door_fields(site: str, door: str) -> None:
    """Add THRESHOLD_SITE and THRESHOLD_DOOR to every entry from now on."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, JournalHandler):
            handler.about = {"THRESHOLD_SITE": site, "THRESHOLD_DOOR": door}


class JournalHandler(logging.Handler):
    """Sends each log record as one entry; if the journal rejects it, the line goes to standard error.

    Attributes of a record that begin with "threshold_" become upper-case fields of the entry.

    Args:
        path: socket of the journal.
    """

    def __init__(self, path: Path = SOCKET) -> None:
        super().__init__()
        self.about: dict[str, str] = {}  # fields of every entry, such as THRESHOLD_DOOR
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(_SEND_TIMEOUT_S)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; never raises."""
        try:
            self._send(_entry(self._fields(record)))
        except OSError:
            with contextlib.suppress(OSError, ValueError):
                print(self.format(record), file=sys.stderr)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        self._socket.close()
        super().close()

    def _fields(self, record: logging.LogRecord) -> dict[str, str]:
        own = {name.upper(): str(value) for name, value in vars(record).items() if _RESERVED.fullmatch(name)}
        return {
            "MESSAGE": self.format(record),
            "PRIORITY": str(next((number for level, number in _PRIORITIES if record.levelno >= level), _DEBUG)),
            "SYSLOG_IDENTIFIER": IDENTIFIER,
            "LOGGER": record.name,
            "THREAD_NAME": str(record.threadName),
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": record.funcName,
            **self.about,
            **own,
        }

    def _send(self, entry: bytes) -> None:
        try:
            self._socket.sendto(entry, self._path)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            self._send_by_file(entry)

    def _send_by_file(self, entry: bytes) -> None:
        """Send an entry that is too large for a datagram as the descriptor of a sealed memory file."""
        with open(os.memfd_create("journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "wb") as file:
            file.write(entry)
            file.flush()
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _MEMFD_SEALS)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, file.fileno().to_bytes(4, sys.byteorder))
            self._socket.sendmsg([b""], [rights], 0, self._path)


def _entry(fields: Mapping[str, str]) -> bytes:
    return b"".join(_field(name, value.encode("utf-8", "surrogateescape")) for name, value in fields.items())


def _field(name: str, value: bytes) -> bytes:
    """NAME=value, or NAME, length and value if the value contains a line break."""
    if b"\n" not in value:
        return name.encode() + b"=" + value + b"\n"
    return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
