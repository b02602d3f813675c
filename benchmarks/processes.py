"""A door as a service runs it: `edge run` in a process of its own, a broker beside it, and a subscriber here."""

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
    """A broker that runs: how to reach it, and what it is."""

    mqtt: MqttConfig
    name: str


@contextmanager
def broker() -> Iterator[Broker]:
    """Mosquitto where it is installed, else the embedded one; on this host only.

    Raises:
        InputError: neither is installed.
        BrokerError: it does not start.
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
    """A door that runs.

    Attributes:
        process: of `edge run`.
        began_ns: wall clock when it was started.
        lines: what it has logged so far, each with the monotonic time when it was read.
    """

    process: subprocess.Popen[str]
    began_ns: int
    lines: list[tuple[int, str]] = field(default_factory=list)

    def memory_mb(self) -> tuple[float, float]:
        """Resident memory and its peak, 10^6 bytes."""
        return memory_mb(self.process.pid)

    def cpu_ms(self) -> float:
        """Processor time of all its threads so far (proc_pid_schedstat: nanoseconds on a processor)."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e6


@contextmanager
def door(config: DoorConfig, folder: Path) -> Iterator[Door]:
    """Run a door; leaving the context ends it.

    Args:
        config: what goes into door.toml, as far as it differs from the defaults.
        folder: for door.toml.
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
    """Why a door that was to run for us has ended."""
    last = running.lines[-1][1] if running.lines else "it said nothing"
    return BrokerError(f"the door under measurement ended too early: {last}")


def write_clip(path: Path, pictures: Sequence[BgrImage]) -> None:
    """A film at `FPS`.

    Raises:
        ThresholdError: this OpenCV cannot write one.
    """
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (width, height))
    if not writer.isOpened():
        raise ThresholdError(f"{path}: this OpenCV cannot write a film")
    for picture in pictures:
        writer.write(picture)
    writer.release()


def write_stills(folder: Path, pictures: Sequence[BgrImage]) -> None:
    """A folder of stills, as light on the door as a camera that gives JPEG; equal pictures are stored once."""
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
