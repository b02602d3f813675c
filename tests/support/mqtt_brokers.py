"""Brokers and records for tests of messaging: real Mosquitto if it is installed, and the embedded broker."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Self

import pytest

from edge.core.config import MqttConfig
from edge.core.reasons import Reason
from edge.core.uuid7 import Uuid7Source
from edge.events.factory import EventContext, system_event
from edge.events.schema import Event, EventKind
from edge.mqtt.embedded_broker import EmbeddedBroker

DEADLINE_S = 20.0
T0_NS = 1_700_000_000_123_456_789
DOOR = EventContext(door="front", clock_synced=True, gallery_version="7", models=(("embedder", "0123abcd"),))
IDS = Uuid7Source()

# Debian installs brokers outside the PATH of ordinary users.
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")


def an_event(detail: str = "test") -> Event:
    """Return a small event with a new id."""
    return system_event(
        EventKind.STARTED, Reason.SERVICE_STARTED, detail, id=IDS.new(T0_NS // 10**6), at_ns=T0_NS, door=DOOR
    )


def announce(count: int) -> Event:
    """Return the event with the number of dropped events."""
    id_ = IDS.new(T0_NS // 10**6)
    return system_event(EventKind.EVENTS_DROPPED, Reason.EVENTS_LOST, id=id_, at_ns=T0_NS, door=DOOR, dropped=count)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Poll until a condition holds; fails with `what` after a timeout."""
    end = time.monotonic() + deadline_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s:g} s: {what}"
        pause.wait(0.005)


class Mosquitto:
    """Mosquitto on a free port; `conf`: more lines of its configuration."""

    def __init__(self, folder: Path, port: int = 0, conf: str = "allow_anonymous true\n") -> None:
        self.port = port or free_port()
        self._file = folder / f"mosquitto-{self.port}.conf"
        stay = "user root\n" if os.getuid() == 0 else ""  # otherwise it changes to a user who may not read the folder
        self._file.write_text(f"listener {self.port} 127.0.0.1\n{stay}{conf}")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        if MOSQUITTO is None:
            pytest.skip("mosquitto is not installed")
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: answers(self.port), "mosquitto takes connections")

    def close(self) -> None:
        """Kill it, as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


AnyBroker = Mosquitto | EmbeddedBroker
BROKERS = [pytest.param("mosquitto", marks=needs_mosquitto), "embedded"]


def make_broker(kind: str, folder: Path, port: int = 0) -> AnyBroker:
    """Return a broker that is not started, on a known port."""
    return Mosquitto(folder, port) if kind == "mosquitto" else EmbeddedBroker(port or free_port())


def config_for(broker: AnyBroker, port: int | None = None, **changes: object) -> MqttConfig:
    """Return the configuration for a broker, or for a relay to it on another port."""
    known: dict[str, object] = {"protocol": "3.1.1"} if isinstance(broker, EmbeddedBroker) else {}
    return MqttConfig(url=f"mqtt://127.0.0.1:{port or broker.port}", **(known | changes))  # type: ignore[arg-type]


class Relay:
    """TCP relay to a broker that simulates network faults.

    Attributes:
        cut_after: number of bytes of the client after which the connection is cut; None: never.
        swallow: drop what the client sends, as a dead network does.
        swallowed: dropped bytes.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: socket.socket | None = None
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.port = free_port()
        self.cut_after: int | None = None
        self.swallow = False
        self.swallowed = b""

    def start(self) -> None:
        self._server = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def cut(self) -> None:
        """Break every connection immediately, without closing it."""
        for pair in self._pairs:
            _reset(*pair)
        self._pairs.clear()

    def close(self) -> None:
        """Accept no more connections, and break the existing ones."""
        if self._server is not None:
            with contextlib.suppress(OSError):
                self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()
            self._server = None
        self.cut()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            self._pairs.append((client, broker))
            for source, sink, outward in ((client, broker, True), (broker, client, False)):
                threading.Thread(target=self._copy, args=(source, sink, outward), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, outward: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(256):
                if outward and self.swallow:
                    self.swallowed += data
                    continue
                sink.sendall(data)
                passed += len(data)
                if outward and self.cut_after is not None and passed >= self.cut_after:
                    self.cut_after = None
                    break
        _reset(source, sink)


def read_packet(stream: BinaryIO) -> tuple[int, bytes]:
    """Read one MQTT packet of at most 16 kB; returns its first byte and its body.

    Raises:
        ConnectionResetError: the client has closed the connection.
    """
    head = stream.read(2)
    if len(head) < 2:
        raise ConnectionResetError
    size = head[1]
    if size & 0x80:
        size = (size & 0x7F) | stream.read(1)[0] << 7
    return head[0], stream.read(size)


def _reset(*sockets: socket.socket) -> None:
    for sock in sockets:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.shutdown(socket.SHUT_RDWR)  # wakes its reading thread
        sock.close()
