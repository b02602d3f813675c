"""Runs a door like a service: `edge run` and a broker in processes of their own."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import cv2

from edge.bench.scenes import FPS
from edge.core.config import DoorConfig, MqttConfig
from edge.core.errors import BrokerError, ThresholdError
from edge.core.records import BgrImage
from edge.diagnostics.setup_wizard import to_toml
from edge.mqtt.embedded_broker import EmbeddedBroker
from edge.runtime.system_stats import memory_mb

_MOSQUITTO_FOLDERS = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"  # not in an ordinary user's PATH
_PATIENCE_S = 10.0
_TICK_S = 0.01


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker: its address and its name."""

    mqtt: MqttConfig
    name: str


@contextmanager
def broker() -> Iterator[Broker]:
    """Start Mosquitto if it is installed, else the embedded broker; on this host only.

    Raises:
        InputError: neither is installed.
        BrokerError: the broker does not start.
    """
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path=_MOSQUITTO_FOLDERS)
    if program is None:
        with EmbeddedBroker() as embedded:
            yield Broker(embedded.config, "embedded broker")
        return
    port = _free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
        file.flush()
        with subprocess.Popen([program, "-c", file.name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as it:
            try:
                _await_port(port)
                yield Broker(MqttConfig(url=f"mqtt://127.0.0.1:{port}"), "mosquitto")
            finally:
                it.terminate()


@dataclass(slots=True)
class Door:
    """A running door.

    Attributes:
        process: process of `edge run`.
        began_ns: monotonic time of its start.
        lines: its log lines so far, each with the monotonic time when it was read.
    """

    process: subprocess.Popen[str]
    began_ns: int
    lines: list[tuple[int, str]] = field(default_factory=list)

    def memory_mb(self) -> tuple[float, float]:
        """Return resident memory and its peak, 10^6 bytes."""
        return memory_mb(self.process.pid)

    def cpu_ms(self) -> float:
        """Return the processor time of all its threads so far (proc_pid_schedstat, in nanoseconds)."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e6


@contextmanager
def door(config: DoorConfig, folder: Path) -> Iterator[Door]:
    """Run a door until the context ends.

    Args:
        config: door configuration; door.toml gets the values that differ from the defaults.
        folder: folder of door.toml.
    """
    path = folder / "door.toml"
    path.write_text(to_toml(config))
    command = [sys.executable, "-m", "edge", "run", "--config", str(path)]
    began_ns = time.monotonic_ns()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    running = Door(process, began_ns)
    assert process.stderr is not None
    reader = threading.Thread(target=_read, args=(process.stderr, running.lines), name="door-log", daemon=True)
    reader.start()
    try:
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
        process.stderr.close()


def failure(running: Door) -> BrokerError:
    """Return the error for a door that ended too early."""
    last = running.lines[-1][1] if running.lines else "no log line"
    return BrokerError(f"the door under measurement ended too early: {last}")


def write_clip(path: Path, pictures: Sequence[BgrImage]) -> None:
    """Write a clip at `FPS`.

    Raises:
        ThresholdError: this OpenCV cannot write the clip.
    """
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (width, height))
    if not writer.isOpened():
        raise ThresholdError(f"{path}: this OpenCV cannot write the clip")
    for picture in pictures:
        writer.write(picture)
    writer.release()


def write_stills(folder: Path, pictures: Sequence[BgrImage]) -> None:
    """Write a folder of JPEG stills, whose decoding costs the same as a JPEG camera; equal pictures are stored once."""
    folder.mkdir()
    stored: dict[int, Path] = {}
    for number, picture in enumerate(pictures):
        path = folder / f"{number:06}.jpg"
        if id(picture) in stored:
            path.hardlink_to(stored[id(picture)])
            continue
        stored[id(picture)] = path
        path.write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())


def _read(pipe: IO[str], lines: list[tuple[int, str]]) -> None:
    for line in pipe:
        lines.append((time.monotonic_ns(), line.rstrip("\n")))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_port(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with closing(socket.create_connection(("127.0.0.1", port), 1.0)):
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise BrokerError(f"mqtt://127.0.0.1:{port}: mosquitto does not start") from error
            time.sleep(_TICK_S)
