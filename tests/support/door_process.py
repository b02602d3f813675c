"""Doors as separate processes, a camera for them, and disks that can be filled, for tests of faults."""

from __future__ import annotations

import contextlib
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import cv2
import pytest

from edge.core.config import MqttConfig
from edge.core.errors import BrokerError
from edge.demo.run_demo import CLIP, GALLERY
from edge.mqtt.subscriber import Message, Subscriber
from support.mqtt_brokers import free_port, wait_until

HERE = Path(__file__).parents[1]
R = TypeVar("R")


class Visitors:
    """Network camera (motion JPEG over HTTP) in which the enrolled person repeatedly comes and leaves.

    With `stranger`, it shows the other visitor of the bundled clip, who is not enrolled.
    """

    def __init__(self, fps: float = 15.0, *, stranger: bool = False) -> None:
        self.port = free_port()
        self._pause_s = 1 / fps
        source = cv2.VideoCapture(str(CLIP))
        source.set(cv2.CAP_PROP_POS_MSEC, 4500 if stranger else 0)
        frames = [source.read()[1] for _ in range(45)]
        shown = [frames[0]] * 15 + frames[15:]
        self._jpegs = [cv2.imencode(".jpg", frame)[1].tobytes() for frame in shown]
        self._gone = threading.Event()
        self._server: http.server.ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/video.mjpg"

    def __enter__(self) -> Self:
        jpegs, gone, pause_s = self._jpegs, self._gone, self._pause_s

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                with contextlib.suppress(OSError):
                    while not gone.is_set():
                        for jpeg in jpegs:
                            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: ")
                            self.wfile.write(str(len(jpeg)).encode() + b"\r\n\r\n" + jpeg + b"\r\n")
                            if gone.wait(pause_s):
                                return

            def log_message(self, *_: object) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._gone.set()
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()


def write_config(folder: Path, mqtt_url: str, source: str = "/dev/null", more: str = "") -> Path:
    """Write a door.toml without cooldown: every visit is reported."""
    path = folder / "door.toml"
    path.write_text(
        f'site = "test"\ndoor = "front"\nstate_folder = "{folder / "state"}"\ngallery = "{GALLERY}"\n'
        f'[camera]\nsource = "{source}"\n'
        "[recognition]\nsample_every_s = 0.0\ncooldown_s = 0.0\n"
        "[tracker]\nlost_after_s = 0.3\n"
        f'[mqtt]\nurl = "{mqtt_url}"\nhealth_every_s = 0.2\n{more}'
    )
    return path


class Process:
    """Python process whose output is stored; leaving the context kills it."""

    def __init__(self, folder: Path, *arguments: str | Path, **environment: str) -> None:
        self._log = folder / "process.log"
        self._arguments = [sys.executable, *map(str, arguments)]
        self._environment = os.environ | {"PYTHONPATH": f"{HERE.parent}:{HERE}"} | environment
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.popen = subprocess.Popen(self._arguments, stdout=log, stderr=log, env=self._environment)

    @property
    def words(self) -> str:
        return self._log.read_text()

    def kill(self) -> None:
        """Kill the process immediately; it can neither publish nor store anything."""
        if self.popen is not None:
            self.popen.kill()
            self.popen.wait()

    def stop(self) -> int:
        """Request the end of the process; returns the exit code."""
        assert self.popen is not None
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(20)

    def alive(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if error is not None:
            print(self.words)


class Ear:
    """Subscriber to all topics of the doors; stores each message with the wall-clock time of its arrival.

    It uses QoS 0: a broker that is killed has then delivered every message that it accepted.
    """

    def __init__(self, mqtt: MqttConfig) -> None:
        self._mqtt = mqtt
        self._subscriber: Subscriber | None = None
        self._thread: threading.Thread | None = None
        self.received: list[tuple[float, Message]] = []

    def listen(self) -> None:
        """Subscribe after all messages of the previous broker are read; returns when the broker has confirmed."""
        if self._thread is not None:
            self._thread.join(5)
        self.close()
        subscriber = self._subscriber = Subscriber(self._mqtt, qos=0)
        subscriber.start()

        def hear() -> None:
            with contextlib.suppress(BrokerError):
                for message in subscriber.messages():
                    self.received.append((time.time(), message))

        self._thread = threading.Thread(target=hear)
        self._thread.start()

    def records(self, kind: type[R]) -> list[R]:
        """Return the records of one type, in the order of arrival."""
        return [message.record for _, message in list(self.received) if isinstance(message.record, kind)]

    def wait_for(self, kind: type[R], count: int, deadline_s: float = 30.0) -> list[R]:
        wait_until(lambda: len(self.records(kind)) >= count, f"{count} of {kind.__name__}", deadline_s)
        return self.records(kind)

    def close(self) -> None:
        if self._subscriber is not None and self._thread is not None:
            self._subscriber.stop()
            self._thread.join()
            self._subscriber.close()
            self._subscriber = self._thread = None

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Disk:
    """A small separate file system; mounting it needs root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def remount(self, options: str) -> None:
        _as_root("mount", "-o", f"remount,{options}", str(self.folder))

    def fill(self) -> None:
        """Fill the file system completely."""
        with (self.folder / "junk").open("ab", buffering=0) as junk, contextlib.suppress(OSError):
            for size in (65_536, 4096, 512, 1):
                with contextlib.suppress(OSError):
                    while junk.write(b"\xff" * size):
                        pass

    def empty(self) -> None:
        """Delete the filling."""
        (self.folder / "junk").unlink()


@contextlib.contextmanager
def a_disk(folder: Path, megabytes: int) -> Iterator[Disk]:
    """Mount a small file system; skips the test if that is not allowed."""
    folder.mkdir(parents=True)
    options = f"size={megabytes}m,uid={os.getuid()},mode=700"
    if not _as_root("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)):
        pytest.skip("needs the right to mount: root, or sudo without a password")
    try:
        yield Disk(folder)
    finally:
        _as_root("umount", "--lazy", str(folder))


def _as_root(*command: str) -> bool:
    full = command if os.getuid() == 0 else ("sudo", "-n", *command)
    try:
        return subprocess.run(full, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
