"""Sources of repository files: retained MQTT messages, or a folder such as a USB stick; see also http_source.

A door requests files by their exact names, beginning with `timestamp.json`, and each verified file names the next ones.
So other messages below the same prefix are never received, and a foreign name never becomes a path.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge.core.config import MqttConfig
from edge.core.errors import BrokerError, SourceError
from edge.core.wakeup_pipe import WakeupPipe
from edge.events.topics import repo_name, repo_topic
from edge.mqtt.connection import connect
from edge.mqtt.paho_client import PahoClient
from edge.mqtt.paho_client import Protocol as MqttProtocol
from edge.updates.release_format import FILE_BYTES, TIMESTAMP, is_repo_name

MAX_TOPICS = 32  # files per request; limits memory, and the queue of the broker
_STABLE_AFTER_S = 0.3  # wait for a rarely present file after the confirmation; a later one is news
PACKET_BYTES = FILE_BYTES + 1024  # a file, its topic and the packet header


class RepositoryChanged(Exception):  # noqa: N818 not an error
    """A newer release has appeared during a fetch; start again."""


class Source(Protocol):
    """Source of repository files."""

    def fetch(self, names: Sequence[str]) -> dict[str, bytes]:
        """Fetch files by name; missing files are left out. Each file has a time limit.

        Raises:
            BrokerError, SourceError: the repository cannot be reached.
            RepositoryChanged: start again, or `wake` was called.
        """

    def wait(self, timeout_s: float, root_name: str) -> bool:
        """Wait until there may be news; False after `timeout_s`. `root_name` is the next root metadata.

        Raises:
            BrokerError, SourceError: the repository cannot be reached.
            RepositoryChanged: `wake` was called.
        """

    def wake(self) -> None:
        """Interrupt a wait or a fetch from another thread, before the source is closed."""

    def close(self) -> None:
        """Release all resources; `wait` opens them again."""


class FolderSource:
    """A repository in a folder, which may be missing at times."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._woken = threading.Event()
        self._seen: tuple[bytes | None, bool] | None = None

    def fetch(self, names: Sequence[str]) -> dict[str, bytes]:
        found = {}
        for name in names:
            if self._woken.is_set():
                raise RepositoryChanged
            content = self._read(name)
            if content is not None:
                found[name] = content
        return found

    def wait(self, timeout_s: float, root_name: str) -> bool:
        seen = (self._read(TIMESTAMP), self._read(root_name) is not None)
        if seen == self._seen:
            self._woken.wait(timeout_s)
            self._woken.clear()
            seen = (self._read(TIMESTAMP), self._read(root_name) is not None)
        news, self._seen = seen != self._seen and seen[0] is not None, seen
        return news

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        self._seen = None
        self._woken.clear()

    def _read(self, name: str) -> bytes | None:
        """Read at most one byte more than the limit, so that the caller detects a file that is too long.

        Raises:
            SourceError: not a regular file; a named pipe could block, and a device may have no end.
        """
        assert is_repo_name(name), name
        path = self._folder / name
        try:
            # O_NONBLOCK: do not wait for the other end of a named pipe.
            with open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise SourceError(f"{path}: not a regular file; remove it")
                return file.read(FILE_BYTES + 1)
        except SourceError:
            raise
        except OSError:
            return None


@dataclass(eq=False)
class MqttSource:
    """A repository of retained messages, on a connection of its own, so that a flood does not delay events.

    Two subscriptions are permanent: `timestamp.json`, which changes with every release, and the next root metadata.
    Other files are subscribed to only until they are received. An MQTT 5 broker omits packets above the announced size.
    Over 3.1.1 such a packet ends the connection before it is read; while it is retained under a needed name, the door
    gets no releases.
    """

    config: MqttConfig
    site: str  # site of the repository
    client_id: str
    answer_s: float = 5.0  # wait for a file before it counts as missing

    def __post_init__(self) -> None:
        self._connection: PahoClient | None = None
        self._first: MqttProtocol = "5"
        self._waker = WakeupPipe()
        self._standing: dict[str, bytes | None] = {}  # permanent subscriptions: name to latest content
        self._asked: dict[str, bytes | None] = {}  # temporary subscriptions: name to content
        self._news = False
        self._woken = False

    def fetch(self, names: Sequence[str]) -> dict[str, bytes]:
        roots = [name for name in names if name.endswith(".root.json")]
        if roots:
            self._subscribe_metadata(roots)
        found = {name: content for name in names if (content := self._standing.get(name)) is not None}
        asked = [name for name in names if name not in self._standing]
        for start in range(0, len(asked), MAX_TOPICS):
            found |= self._request(asked[start : start + MAX_TOPICS])
        return found

    def wait(self, timeout_s: float, root_name: str) -> bool:
        self._subscribe_metadata([root_name, TIMESTAMP])
        deadline = time.monotonic() + timeout_s
        while not self._news and not self._woken and (left_s := deadline - time.monotonic()) > 0:
            self._spin(min(left_s, 1.0))
        news, self._news, self._woken = self._news, False, False
        return news

    def wake(self) -> None:
        self._woken = True
        self._waker.notify()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._forget()
        self._waker.close()

    def _connected(self) -> PahoClient:
        if self._waker.fileno() < 0:
            self._waker.open()
        if self._connection is None:
            self._connection, self._first = connect(
                self.config, client_id=self.client_id, first=self._first, max_packet_bytes=PACKET_BYTES
            )
        return self._connection

    def _forget(self) -> None:
        self._connection = None
        self._standing.clear()
        self._news = False

    def _subscribe_metadata(self, names: list[str]) -> None:
        """Subscribe permanently. Retained files arrive right after the confirmation; later files are news."""
        self._connected()
        new = [name for name in names if name not in self._standing]
        if not new:
            return
        self._standing |= dict.fromkeys(new)
        self._subscribe(new)
        deadline = time.monotonic() + min(self.answer_s, _STABLE_AFTER_S)
        while any(self._standing[name] is None for name in new) and (left_s := deadline - time.monotonic()) > 0:
            self._spin(left_s)

    def _request(self, names: list[str]) -> dict[str, bytes]:
        """Subscribe until these files have arrived; every arrival extends the wait."""
        self._asked = dict.fromkeys(names)
        self._subscribe(names)
        try:
            missing = len(names) + 1
            while (left := sum(content is None for content in self._asked.values())) > 0:
                if left < missing:
                    missing, deadline = left, time.monotonic() + self.answer_s
                if self._news or self._woken:
                    raise RepositoryChanged
                if (left_s := deadline - time.monotonic()) <= 0:
                    break
                self._spin(left_s)
            return {name: content for name, content in self._asked.items() if content is not None}
        finally:
            self._asked = {}
            if self._connection is not None:
                self._connection.unsubscribe([repo_topic(self.site, name) for name in names])

    def _subscribe(self, names: list[str]) -> None:
        self._exchange(lambda connection: connection.subscribe([repo_topic(self.site, name) for name in names], qos=1))

    def _spin(self, timeout_s: float) -> None:
        self._exchange(lambda connection: connection.poll(timeout_s, self._waker))

    def _exchange(self, action: Callable[[PahoClient], object]) -> None:
        """Use the connection, then store received files; files that were not requested are dropped."""
        connection = self._connected()
        try:
            action(connection)
        except BrokerError:
            connection.abort()
            self._forget()
            raise
        for message in connection.take_messages():
            name = repo_name(self.site, message.topic)
            content = message.payload[: FILE_BYTES + 1] or None
            if name in self._asked:
                self._asked[name] = content
            elif name in self._standing and self._standing[name] != content:
                self._standing[name] = content
                self._news = self._news or content is not None
