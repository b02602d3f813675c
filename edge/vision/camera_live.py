"""Live cameras: a thread reads the device as fast as it delivers, and the caller receives the newest frame."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Protocol

from edge.core.errors import CameraLostError
from edge.core.records import BgrImage, Frame

log = logging.getLogger(__name__)

_MAX_TIMESTAMP_AGE_NS = 1_000_000_000  # an older time stamp of a driver does not belong to this frame


class CaptureDevice(Protocol):
    """Device of a live camera. All calls except `interrupt` come from one thread; the last of them is `close`."""

    def read(self, into: BgrImage | None) -> tuple[BgrImage, int]:
        """Wait for the next frame.

        Args:
            into: a buffer to reuse if its shape fits.

        Returns:
            The pixels, (H, W, 3) uint8 BGR, and the monotonic capture time in nanoseconds.

        Raises:
            CameraLostError: there will be no more frames.
        """
        ...

    def interrupt(self) -> None:
        """Make a blocked `read` return, if possible; called from another thread."""
        ...

    def close(self) -> None: ...


class LatestFrameSlot:
    """Holds the newest frame and counts the frames that were replaced before they were fetched.

    Three buffers rotate: one is being filled, one waits, one is in use by the caller. The caller's pixels stay
    unchanged until it fetches the next frame, and nothing is allocated once all three exist.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self.closed = False
        self._changed = threading.Condition()
        self._spare: BgrImage | None = None
        self._lent: BgrImage | None = None
        self._waiting: BgrImage | None = None
        self._fresh = False
        self._seq = -1
        self._t_ns = 0
        self._failure: Exception | None = None

    def borrow_buffer(self) -> BgrImage | None:
        """Buffer to fill next, or None if there is none yet; only for the thread that fills."""
        return self._spare

    def store(self, pixels: BgrImage, t_ns: int) -> None:
        """Store a filled buffer as the newest frame; a waiting frame is dropped."""
        with self._changed:
            self.dropped += self._fresh
            self._spare, self._waiting = self._waiting, pixels
            self._seq += 1
            self._t_ns = t_ns
            self._fresh = True
            self._changed.notify_all()

    def set_error(self, error: Exception) -> None:
        """Record why no more frames will come."""
        with self._changed:
            self._failure = error
            self._changed.notify_all()

    def close(self) -> None:
        """Make `wait` return None from now on."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> Frame | None:
        """Wait for a new frame and return it; None when closed.

        Raises:
            TimeoutError: no frame arrived in time.
            Exception: error of `set_error`, after the last frame was fetched.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._fresh or self._failure or self.closed, timeout_s)
            if self.closed:
                return None
            if self._fresh and self._waiting is not None:
                newest = self._waiting
                self._waiting, self._lent, self._fresh = self._lent, newest, False
                return Frame(newest, self._seq, self._t_ns)
            if self._failure:
                raise self._failure
        raise TimeoutError


class LiveCamera:
    """Device with a reader thread. Iteration returns the newest frame, each once, and waits if there is none."""

    live = True
    recorded = False

    def __init__(self, name: str, device: CaptureDevice, lost_after_s: float, *, close_timeout_s: float = 1.0) -> None:
        """
        Args:
            device: device that a thread reads until it fails or `close` is called.
            lost_after_s: the camera is lost after this long without a frame.
            close_timeout_s: time that `close` waits for a running read, and again after interrupting it.
        """
        self.name = name
        self._close_timeout_s = close_timeout_s
        self._device = device
        self._lost_after_s = lost_after_s
        self._mailbox = LatestFrameSlot()
        self._thread = threading.Thread(target=self._read, name=f"camera {name}", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Number of frames that a newer one replaced before they were fetched."""
        return self._mailbox.dropped

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over frames until `close`.

        Raises:
            CameraLostError: the device failed, or delivered no frame for `lost_after_s`.
        """
        while True:
            try:
                frame = self._mailbox.wait(self._lost_after_s)
            except TimeoutError as error:
                raise CameraLostError(
                    f"{self.name}: no frame for {self._lost_after_s:g} s; check cable and power"
                ) from error
            if frame is None:
                return
            yield frame

    def __enter__(self) -> LiveCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the device, within seconds even if it is stuck; can be called again."""
        if self._mailbox.closed:
            return
        self._mailbox.close()
        self._thread.join(self._close_timeout_s)
        if self._thread.is_alive():
            self._device.interrupt()
            self._thread.join(self._close_timeout_s)
        if self._thread.is_alive():
            log.warning("%s: the driver does not return; its thread stays until this program ends", self.name)

    def _read(self) -> None:
        try:
            while not self._mailbox.closed:
                self._mailbox.store(*self._device.read(self._mailbox.borrow_buffer()))
        except Exception as error:  # raised again by the iteration
            self._mailbox.set_error(error)
        finally:
            self._device.close()


def capture_time_ns(stamps_ns: tuple[int, ...]) -> int:
    """The first monotonic time stamp that is plausible for a frame that just arrived, else the present time."""
    now_ns = time.monotonic_ns()
    return next((stamp for stamp in stamps_ns if 0 <= now_ns - stamp < _MAX_TIMESTAMP_AGE_NS), now_ns)
