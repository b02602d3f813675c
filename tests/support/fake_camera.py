"""Network camera (motion JPEG over HTTP) that tests can connect and disconnect."""

from __future__ import annotations

import http.server
import itertools
import threading
from collections.abc import Sequence

import cv2

from edge.core.records import BgrImage
from support.mqtt_brokers import free_port

_PAUSE_S = 0.03


def jpeg(pixels: BgrImage) -> bytes:
    done, content = cv2.imencode(".jpg", pixels)
    assert done
    return content.tobytes()


class Webcam:
    """Repeats its pictures for every client.

    Attributes:
        pictures: current pictures.
        connections: number of connections so far.
    """

    def __init__(self, pictures: Sequence[bytes], port: int = 0) -> None:
        self.port = port or free_port()
        self.connections = 0
        self.pictures = pictures
        self._number = itertools.count()
        self._server: http.server.ThreadingHTTPServer | None = None
        self._gone = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/video.mjpg"

    def show(self, *pictures: bytes) -> None:
        """Change the pictures; one picture is a frozen camera, none is a camera without further frames."""
        self.pictures = pictures

    def plug(self) -> None:
        webcam, gone = self, threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                webcam.connections += 1
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    while not gone.wait(_PAUSE_S):
                        pictures = webcam.pictures
                        if not pictures:
                            continue
                        now = pictures[next(webcam._number) % len(pictures)]
                        head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(now)
                        self.wfile.write(head + now + b"\r\n")
                except OSError:
                    return

            def log_message(self, *_: object) -> None:
                return

        self._gone = gone
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def unplug(self) -> None:
        """Disconnect the camera; does nothing if it is not connected."""
        self._gone.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
