"""Cameras: recorded ones deliver every frame in clip time, live ones the newest frame; each failure is one line."""

from __future__ import annotations

import itertools
import logging
import os
import re
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from support import picamera2_standin

from edge.core.config import CameraConfig
from edge.core.errors import CameraError, CameraLostError, ImageError
from edge.core.records import BgrImage, Frame
from edge.demo.run_demo import CLIP, FOLDER
from edge.vision.camera import CameraOpener, open_camera
from edge.vision.camera_file import ImageFolderCamera, VideoFileCamera
from edge.vision.camera_live import LatestFrameSlot, LiveCamera, capture_time_ns
from edge.vision.images import read_image

DEADLINE_S = 10.0
SIZE = (64, 48)  # width, height


def plain(level: int, size: tuple[int, int] = SIZE) -> BgrImage:
    """A grey picture with a bright top left corner."""
    pixels = np.full((size[1], size[0], 3), level, np.uint8)
    pixels[: size[1] // 4, : size[0] // 4] = 250
    return pixels


def write_clip(path: Path, *, count: int = 30, fps: float = 20.0, codec: str = "MJPG") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, SIZE)
    assert writer.isOpened()
    for number in range(count):
        writer.write(plain(number * 4))
    writer.release()
    return path


def config(source: object, **settings: object) -> CameraConfig:
    return CameraConfig(source=str(source), width_px=SIZE[0], height_px=SIZE[1], **settings)  # type: ignore[arg-type]


# Clips


def test_every_frame_of_a_clip_in_clip_time() -> None:
    with VideoFileCamera(CLIP) as clip:
        seen = [(frame.seq, frame.captured_ns, frame.pixels.shape) for frame in clip]
    assert [seq for seq, _, _ in seen] == list(range(135))
    assert [t_ns for _, t_ns, _ in seen] == pytest.approx([seq * 1e9 / 15 for seq, _, _ in seen], abs=1e6)
    assert {shape for _, _, shape in seen} == {(480, 640, 3)}
    assert not clip.live
    assert clip.dropped == 0


def test_rising_times_of_two_joined_recordings(tmp_path: Path) -> None:
    """Some recorders concatenate files, so that the time stamps of the container start again."""
    path = write_clip(tmp_path / "joined.ts", codec="mp4v", fps=25.0)
    path.write_bytes(path.read_bytes() * 2)
    with VideoFileCamera(path) as clip:
        times = [frame.captured_ns for frame in clip]
    assert len(times) == 60
    assert all(before < after for before, after in itertools.pairwise(times))


def test_one_buffer_for_all_frames_of_a_clip() -> None:
    with VideoFileCamera(CLIP) as clip:
        addresses = {frame.pixels.ctypes.data for frame in itertools.islice(clip, 10)}
    assert len(addresses) == 1


@pytest.mark.parametrize(("degrees", "corner"), [(0, (0, 0)), (90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))], ids=str)
def test_clockwise_rotation(tmp_path: Path, degrees: int, corner: tuple[int, int]) -> None:
    path = write_clip(tmp_path / "clip.avi", count=3)
    with open_camera(config(path, rotate_deg=degrees)) as camera:
        for frame in camera:
            assert frame.pixels.shape == ((48, 64, 3) if degrees % 180 == 0 else (64, 48, 3))
            assert frame.pixels[corner].mean() > 200


def test_frame_times_of_a_realtime_clip(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.avi", count=6, fps=50.0)
    with open_camera(config(path), realtime=True) as camera:
        began_ns = time.monotonic_ns()
        arrivals = [(frame.captured_ns, time.monotonic_ns()) for frame in camera]
    assert camera.live
    assert len(arrivals) == 6
    assert all(t_ns <= now_ns for t_ns, now_ns in arrivals)
    assert arrivals[0][0] >= began_ns
    assert arrivals[-1][0] - arrivals[0][0] == pytest.approx(100e6, abs=1e6)


def test_close_during_the_wait_for_a_realtime_frame(tmp_path: Path) -> None:
    """The next frame is due only after several minutes."""
    clip = VideoFileCamera(write_clip(tmp_path / "clip.avi", count=3, fps=0.005), realtime=True)
    closing = threading.Timer(0.05, clip.close)
    closing.start()
    assert len(list(clip)) == 1
    closing.join()


def test_one_warning_for_a_truncated_clip(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = write_clip(tmp_path / "whole.avi").read_bytes()
    path = tmp_path / "half.avi"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with VideoFileCamera(path) as clip:
        count = sum(1 for _ in clip)
    assert 10 <= count <= 25
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"{path}: truncated or damaged: it ends after frame {count} of 30"


def test_no_warning_for_a_complete_clip(caplog: pytest.LogCaptureFixture) -> None:
    assert sum(1 for _ in VideoFileCamera(CLIP)) == 135
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("empty.mp4", b"", "an empty file"),
        ("junk.mp4", bytes(range(256)) * 20, "no frame can be decoded"),
        ("headless.mp4", CLIP.read_bytes()[:100_000], "no frame can be decoded"),
        ("notes.txt", b"hello\n" * 1000, "a text file"),
    ],
)
def test_file_that_is_not_a_clip(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CameraError, match=re.escape(f"{path}: {complaint}")):
        open_camera(config(path))


# Stills


def test_order_and_times_of_stills(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        cv2.imwrite(str(tmp_path / f"{number}.{'png' if number else 'jpg'}"), plain(number * 50))
    (tmp_path / "notes.txt").write_text("not a picture")
    with open_camera(config(tmp_path, fps=4.0)) as camera:
        seen = [(frame.seq, frame.captured_ns, round(int(frame.pixels[-1, -1, 0]), -1)) for frame in camera]
    assert seen == [(0, 0, 0), (1, 250_000_000, 50), (2, 500_000_000, 100)]


def test_warning_for_a_damaged_still(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), plain(10))
    (tmp_path / "b.png").write_bytes(b"")
    cv2.imwrite(str(tmp_path / "c.png"), plain(20))
    with ImageFolderCamera(tmp_path, fps=10.0) as camera:
        assert [frame.seq for frame in camera] == [0, 2]
    assert camera.dropped == 1
    assert "b.png: an empty file" in caplog.text


def test_folder_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"no \.jpg or \.png picture"):
        open_camera(config(tmp_path))


def test_folder_of_damaged_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(CameraError, match="none of its 1 pictures"):
        list(ImageFolderCamera(tmp_path, fps=10.0))


# Photos


def encoded(kind: str, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    done, content = cv2.imencode(kind, pixels)
    assert done
    return content.tobytes()


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF segment of one entry, tag 0x0112, and a thumbnail's end marker after it."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + tiff + b"\xff\xd8\xff\xd9"
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def png(width: int, height: int, rows: bytes | None) -> bytes:
    """A PNG with this size in its header and these rows, or none."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))]
    chunks += [] if rows is None else [(b"IDAT", zlib.compress(rows))]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in [*chunks, (b"IEND", b"")]
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def flipped(content: bytes, at: int) -> bytes:
    """The content with one inverted byte."""
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


@pytest.mark.parametrize(
    "content",
    [
        encoded(".jpg", plain(60)),
        encoded(".png", plain(60)),
        encoded(".bmp", plain(60)),
        encoded(".webp", plain(60)),
        encoded(".jpg", plain(60)[..., 0]),
        encoded(".png", plain(60)[..., 0]),
        encoded(".png", np.dstack([plain(60), plain(0)[..., :1]])),
        encoded(".png", plain(60).astype(np.uint16) * 257),
    ],
    ids=["jpg", "png", "bmp", "webp", "grey jpg", "grey png", "alpha", "16 bit"],
)
def test_conversion_of_photos_to_8_bit_bgr(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "photo"
    path.write_bytes(content)
    pixels = read_image(path)
    assert pixels.shape == (48, 64, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - plain(60)).mean() < 5


def test_exif_orientation_of_a_photo(tmp_path: Path) -> None:
    path = tmp_path / "phone.jpg"
    path.write_bytes(with_orientation(encoded(".jpg", plain(60)), 6))
    pixels = read_image(path)
    assert pixels.shape == (64, 48, 3)
    assert pixels[0, -1].mean() > 200


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "an empty file (0 bytes)"),
        (b"hello\n" * 100, "not a JPEG, PNG, BMP or WebP image"),
        (encoded(".jpg", plain(60))[:-200], "a truncated image"),
        (encoded(".jpg", plain(60))[:20], "a truncated image"),
        (with_orientation(encoded(".jpg", plain(60)), 6)[:-2], "a truncated image"),
        (encoded(".png", plain(60))[:-20], "a truncated image"),
        (encoded(".webp", plain(60))[:-20], "a truncated image"),
        (encoded(".bmp", plain(60))[:20], "a truncated image"),
        (png(64, 48, None), "damaged (no picture data)"),
        (flipped(encoded(".png", plain(60)), 60), "damaged (wrong checksum)"),
        (png(20_000, 20_000, b""), "20000x20000 px is too large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unusable_photo(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=re.escape(f"{path}: {complaint}")):
        read_image(path)


def test_missing_photo(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.jpg: cannot be read"):
        read_image(tmp_path / "none.jpg")


# Live cameras


class Handmade:
    """A device with frames from the test; `read` waits for one."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.pending: list[BgrImage | Exception] = []
        self.interrupted = False
        self.deaf = False  # blocked, also for `interrupt`
        self.closed = threading.Event()

    def give(self, item: BgrImage | Exception) -> None:
        with self.changed:
            self.pending.append(item)
            self.changed.notify_all()

    def read(self, into: BgrImage | None) -> tuple[BgrImage, int]:
        with self.changed:
            self.changed.wait_for(lambda: self.pending or (self.interrupted and not self.deaf))
            if not self.pending:
                raise CameraLostError("interrupted")
            item = self.pending.pop(0)
        if isinstance(item, Exception):
            raise item
        return item, time.monotonic_ns()

    def interrupt(self) -> None:
        with self.changed:
            self.interrupted = True
            self.changed.notify_all()

    def close(self) -> None:
        self.closed.set()


def test_newest_frame_and_number_of_dropped_ones() -> None:
    mailbox = LatestFrameSlot()
    for number in range(5):
        mailbox.store(plain(number), number)
    frame = mailbox.wait(0)
    assert frame is not None
    assert (frame.seq, frame.captured_ns, frame.pixels[-1, -1, 0]) == (4, 4, 4)
    assert mailbox.dropped == 4
    with pytest.raises(TimeoutError):
        mailbox.wait(0)


def test_unchanged_pixels_of_the_current_frame() -> None:
    mailbox = LatestFrameSlot()
    addresses = set()

    def arrive(level: int) -> None:
        buffer = mailbox.borrow_buffer()
        buffer = np.empty((48, 64, 3), np.uint8) if buffer is None else buffer
        buffer[:] = level
        addresses.add(buffer.ctypes.data)
        mailbox.store(buffer, level)

    for level in range(0, 200, 5):
        arrive(level)
        frame = mailbox.wait(0)
        assert frame is not None
        for newer in range(1, level % 4 + 1):
            arrive(level + newer)
            assert (frame.pixels == level).all()
        if level % 4:
            mailbox.wait(0)
    assert len(addresses) <= 3


def test_loss_of_a_silent_camera() -> None:
    device = Handmade()
    with LiveCamera("door cam", device, 0.05, close_timeout_s=0.1) as camera:
        device.give(plain(1))
        frames = iter(camera)
        assert next(frames).seq == 0
        with pytest.raises(CameraLostError, match=r"door cam: no frame for 0.05 s"):
            next(frames)
        device.interrupt()


def test_device_error_while_waiting_for_a_frame() -> None:
    device = Handmade()
    with LiveCamera("door cam", device, DEADLINE_S, close_timeout_s=0.1) as camera:
        device.give(CameraLostError("unplugged"))
        with pytest.raises(CameraLostError, match="unplugged"):
            next(iter(camera))
    assert device.closed.wait(DEADLINE_S)


def test_close_during_a_blocked_read() -> None:
    device = Handmade()
    camera = LiveCamera("door cam", device, DEADLINE_S, close_timeout_s=0.1)
    camera.close()
    camera.close()
    assert device.interrupted
    assert device.closed.is_set()
    assert list(camera) == []


def test_close_with_a_driver_that_never_returns(caplog: pytest.LogCaptureFixture) -> None:
    device = Handmade()
    device.deaf = True
    LiveCamera("door cam", device, DEADLINE_S, close_timeout_s=0.1).close()
    assert "door cam: the driver does not return" in caplog.text
    device.give(plain(0))
    assert device.closed.wait(DEADLINE_S)


def test_implausible_time_stamps_of_a_driver() -> None:
    now_ns = time.monotonic_ns()
    assert capture_time_ns((now_ns - 40_000_000,)) == now_ns - 40_000_000
    assert capture_time_ns((now_ns + 60_000_000_000, now_ns - 5)) == now_ns - 5
    assert capture_time_ns((0,)) >= now_ns
    assert capture_time_ns(()) >= now_ns


class Webcam:
    """A real HTTP server on this machine that sends JPEG pictures until it is unplugged."""

    def __init__(self, port: int = 0) -> None:
        self._unplugged = unplugged = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                for number in itertools.count():
                    picture = encoded(".jpg", plain(number % 200))
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    try:
                        self.wfile.write(head.encode() + picture + b"\r\n")
                    except OSError:
                        return
                    if unplugged.wait(0.005):
                        return

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.url = f"http://user:secret@127.0.0.1:{self.port}/stream"
        threading.Thread(target=self._server.serve_forever, args=(0.01,)).start()

    def __enter__(self) -> Webcam:
        return self

    def __exit__(self, *_: object) -> None:
        self._unplugged.set()
        self._server.shutdown()
        self._server.server_close()


def frames_until_lost(frames: Iterator[Frame]) -> CameraLostError:
    with pytest.raises(CameraLostError) as caught:
        for _ in frames:
            pass
    return caught.value


def test_loss_and_return_of_a_stream() -> None:
    with Webcam() as webcam, open_camera(config(webcam.url)) as camera:
        frames = iter(camera)
        numbers = [next(frames).seq for _ in range(5)]
        assert numbers == sorted(set(numbers))
        webcam.__exit__(None, None, None)
        lost = frames_until_lost(frames)
    assert str(lost) == f"http://127.0.0.1:{webcam.port}: delivers no more frames; check its cable or network"
    with pytest.raises(CameraError, match="no video stream at this address"):
        open_camera(config(webcam.url))
    with Webcam(webcam.port) as webcam, open_camera(config(webcam.url)) as camera:
        assert next(iter(camera)).pixels.shape == (48, 64, 3)


def test_arrival_times_of_stream_frames() -> None:
    with Webcam() as webcam:
        before_ns = time.monotonic_ns()
        with open_camera(config(webcam.url, rotate_deg=90)) as camera:
            frame = next(iter(camera))
            assert before_ns < frame.captured_ns <= time.monotonic_ns()
            assert frame.pixels.shape == (64, 48, 3)
            assert camera.live


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("/dev/video97", r"/dev/video97: no such camera; (found|this machine)"),
        ("/dev/null", r"/dev/null: cannot be opened: not a camera, in use"),
        ("no/such/clip.mp4", r"no/such/clip.mp4: no such file or camera; a source is picamera2, /dev/videoN"),
        ("http://user:secret@127.0.0.1:9/x", r"^http://127.0.0.1:9: no video stream at this address"),
        ("rtsp://user:secret@127.0.0.1:9/x", r"^rtsp://127.0.0.1:9: no video stream at this address"),
        ("picamera2", r"picamera2 cannot be imported .* sudo apt install python3-picamera2"),
    ],
)
def test_error_for_a_missing_camera(source: str, complaint: str) -> None:
    with pytest.raises(CameraError, match=complaint) as caught:
        open_camera(config(source))
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_silence_of_opencv_and_ffmpeg(tmp_path: Path) -> None:
    """Runs in a process of its own, because the libraries write to the file descriptor and are set up once."""
    (tmp_path / "headless.mp4").write_bytes(CLIP.read_bytes()[:100_000])
    (tmp_path / "half.avi").write_bytes(write_clip(tmp_path / "whole.avi").read_bytes()[:-5000])
    photo = encoded(".jpg", read_image(next(FOLDER.glob("people/*/*.jpg"))))
    damaged = bytearray(photo)
    damaged[len(photo) // 2 : len(photo) // 2 + 64] = bytes(64)
    (tmp_path / "damaged.jpg").write_bytes(damaged)
    (tmp_path / "rowless.png").write_bytes(png(64, 48, None))
    script = """
from contextlib import suppress
from pathlib import Path
from edge.core.config import CameraConfig
from edge.core.errors import InputError
from edge.vision.camera import open_camera
from edge.vision.images import read_image
for source in ("headless.mp4", "half.avi", "/dev/null", "http://127.0.0.1:9/x", "rtsp://127.0.0.1:9/x"):
    with suppress(InputError), open_camera(CameraConfig(source=source)) as camera:
        print(source, sum(1 for _ in camera))
for name in ("rowless.png", "damaged.jpg"):
    with suppress(InputError):
        print(name, read_image(Path(name)).shape)
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV")}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, env=environment, check=True
    )
    assert "half.avi" in done.stdout
    told = [line for line in done.stderr.splitlines() if "truncated or damaged: it ends" not in line]  # VideoFileCamera
    assert told == []


# Raspberry Pi camera


@pytest.fixture
def sensor(monkeypatch: pytest.MonkeyPatch) -> picamera2_standin.Sensor:
    sensor = picamera2_standin.Sensor()
    picamera2_standin.install(monkeypatch, sensor)
    return sensor


def wait_for(condition: Callable[[], bool], changed: threading.Condition) -> None:
    with changed:
        assert changed.wait_for(condition, DEADLINE_S)


def test_frames_and_buffers_of_the_pi_camera(
    sensor: picamera2_standin.Sensor,
) -> None:
    with open_camera(config("picamera2", fps=20.0)) as camera:
        frames = iter(camera)
        for level in range(20):
            sensor.show(plain(level))
            frame = next(frames)
            wait_for(lambda: sensor.lent == 0, sensor.changed)
            assert (frame.pixels == plain(level)).all()
            assert frame.seq == level
    assert sensor.configuration["main"] == {"size": SIZE, "format": "RGB888"}
    assert sensor.configuration["controls"] == {"FrameDurationLimits": (50_000, 50_000)}
    assert (sensor.opened, sensor.closed) == (1, 1)


def test_sensor_time_of_a_pi_frame(sensor: picamera2_standin.Sensor) -> None:
    with open_camera(config("picamera2")) as camera:
        now_ns = time.monotonic_ns()
        sensor.show(plain(0), age_ns=300_000_000)
        assert next(iter(camera)).captured_ns == pytest.approx(now_ns - 300_000_000, abs=100_000_000)


@pytest.mark.parametrize(("degrees", "corner"), [(90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))])
def test_rotation_of_the_pi_camera(sensor: picamera2_standin.Sensor, degrees: int, corner: tuple[int, int]) -> None:
    sensor.show(plain(30))
    with open_camera(config("picamera2", rotate_deg=degrees)) as camera:
        assert next(iter(camera)).pixels[corner].mean() > 200
    flips = sensor.configuration["transform"]
    assert (flips.hflip, flips.vflip) == ((True, True) if degrees == 180 else (False, False))


def test_loss_and_reopening_of_the_pi_camera(sensor: picamera2_standin.Sensor) -> None:
    with open_camera(config("picamera2")) as camera:
        sensor.break_down()
        with pytest.raises(CameraLostError, match=r"picamera2: delivers no more frames .*timed out"):
            next(iter(camera))
    sensor.failing = False
    sensor.show(plain(9))
    with open_camera(config("picamera2")) as camera:
        assert next(iter(camera)).seq == 0


def test_release_of_a_silent_pi_camera(sensor: picamera2_standin.Sensor) -> None:
    with (
        open_camera(config("picamera2", lost_after_s=0.01)) as camera,
        pytest.raises(CameraLostError, match="no frame for"),
    ):
        next(iter(camera))
    assert not sensor.busy
    open_camera(config("picamera2")).close()


@pytest.mark.parametrize(
    ("source", "width_px", "complaint"),
    [
        ("picamera2:1", 64, "picamera2:1: cannot be opened; cameras found: imx708"),
        ("picamera2:x", 64, "write picamera2, or picamera2:1 for the second camera"),
        ("picamera2", 65, r"picamera2: cannot deliver 65x48 px \(width and height should be even\)"),
    ],
)
def test_release_of_an_unusable_pi_camera(
    sensor: picamera2_standin.Sensor, source: str, width_px: int, complaint: str
) -> None:
    with pytest.raises(CameraError, match=complaint):
        open_camera(CameraConfig(source=source, width_px=width_px, height_px=48))
    assert not sensor.busy


def test_pi_camera_in_use(sensor: picamera2_standin.Sensor) -> None:
    sensor.busy = True
    with pytest.raises(CameraError, match="it may also be in use"):
        open_camera(config("picamera2"))


def test_frames_of_a_camera_opened_in_background() -> None:
    with CameraOpener(CameraConfig(source=str(CLIP))) as opening, opening.result() as camera:
        assert next(iter(camera)).pixels.shape == (480, 640, 3)


def test_error_of_a_camera_opened_in_background(tmp_path: Path) -> None:
    absent = CameraConfig(source=str(tmp_path / "absent.mp4"))
    with CameraOpener(absent) as opening, pytest.raises(CameraError, match=r"absent\.mp4: no such file or camera"):
        opening.result()


def test_close_of_a_camera_that_was_not_taken() -> None:
    """This happens if loading the models fails while the camera opens; a closed clip has no more frames."""
    opening = CameraOpener(CameraConfig(source=str(CLIP)))
    with opening:
        pass
    with opening.result() as camera:
        assert not list(camera)
