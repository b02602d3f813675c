"""Runs `edge run` like systemd: with a notification socket, a watchdog and restarts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

DEADLINE_S = 40.0


class Service:
    """A door's process with the necessary part of a service manager.

    Attributes:
        log: output of the door over all starts.
        starts: number of starts.
    """

    def __init__(self, folder: Path, door_toml: Path, environment: Mapping[str, str] | None = None) -> None:
        self.log = folder / "log.txt"
        self.starts = 0
        self._address = str(folder / "notify")
        self._command = [sys.executable, "-m", "edge", "run", "--config", str(door_toml)]
        self._environment = {**os.environ, **(environment or {}), "NOTIFY_SOCKET": self._address}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self._address)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait for READY=1."""
        self.starts += 1
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)
        self.hear("READY=1")

    def hear(self, state: str, timeout_s: float = DEADLINE_S) -> None:
        """Wait for this notification of the door; TimeoutError without it."""
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left_s)
            if self._socket.recv(1000).decode() == state:
                return
        raise TimeoutError(state)

    def guard(self, watchdog_s: float) -> None:
        """Wait until the watchdog was not fed for this long; then kill and restart the door, like systemd."""
        try:
            while True:
                self.hear("WATCHDOG=1", watchdog_s)
        except TimeoutError:
            self.kill()
        self.start()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(DEADLINE_S)

    def stop(self) -> int:
        """Stop it like systemd; returns its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(DEADLINE_S)

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(DEADLINE_S)
        self._socket.close()
