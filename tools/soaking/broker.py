"""A real Mosquitto that can be killed, frozen and started again, and that remembers who listens, and nothing else."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from edge.core.errors import InputError

START_S = 30.0
# Where a broker sits, Debian keeps it out of an ordinary user's PATH.
_PLACES = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
# A message is on its way to every listener before the sender is told that the broker has it, if none may wait here.
_CONF = """listener {port} 127.0.0.1
allow_anonymous true
{user}persistence true
persistence_location {folder}/
autosave_interval 0
max_inflight_messages 0
max_queued_messages 0
log_type none
"""


class Broker:
    """Mosquitto on a port of its own; a context manager.

    Args:
        folder: for its configuration and the one picture of itself that it keeps.

    Raises:
        InputError: mosquitto is not installed.
    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path=_PLACES)
        if program is None:
            raise InputError("mosquitto is not installed; on Debian: apt install mosquitto")
        folder.mkdir(parents=True, exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._picture = folder / "mosquitto.db"
        conf = folder / "mosquitto.conf"
        user = "user root\n" if os.getuid() == 0 else ""  # or it becomes one who may not write here
        conf.write_text(_CONF.format(port=self.port, user=user, folder=folder), encoding="utf-8")
        self._command = [program, "-c", str(conf)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; when this returns it takes connections.

        Raises:
            InputError: it does not.
        """
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise InputError(f"mosquitto does not start: {' '.join(self._command)}")
            time.sleep(0.005)

    def remember(self) -> None:
        """Let it write down who has subscribed; it knows that again after every death, and no message."""
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + START_S
        while not self._picture.exists():
            if time.monotonic() > deadline:
                raise InputError("mosquitto does not write down who has subscribed")
            time.sleep(0.005)

    def kill(self) -> None:
        """At once, as a power cut would. Killing twice does nothing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
