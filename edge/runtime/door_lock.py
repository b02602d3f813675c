"""Door lock on a relay at a GPIO pin: opens for a pulse, and locks again after any failure.

Only this module imports gpiozero. A single thread switches the pin on and, in `finally`, off again, so no failure
between the two leaves the door open. A timer for each open command could fail to start while the relay is on, and
`blink` of gpiozero leaves the pin on if one of its writes fails.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol, Self

from edge.core.clock import SYSTEM_CLOCK, Clock
from edge.core.config import DoorConfig, LockConfig
from edge.core.errors import ConfigError, LockError
from edge.core.reasons import Reason
from edge.events.schema import LockState, OpenCommand
from edge.mqtt.session import PendingOpen
from edge.vision.camera import is_recorded, redact_url

log = logging.getLogger(__name__)

_JOIN_S = 5.0
_RETRY_S = 1.0  # pause before the next attempt to lock after a failure
_INSTALL_HINT = "run  sudo apt install python3-gpiozero python3-lgpio, or  pip install gpiozero lgpio"


class Relay(Protocol):
    """Methods of gpiozero's OutputDevice that are used."""

    def on(self) -> None: ...

    def off(self) -> None: ...

    def close(self) -> None: ...


class Lock:
    """Lock of one door. The constructor claims the pin and locks; `start` or a `with` block enables opening.

    Args:
        config: the relay.
        max_age_s: longest age of an open command after the capture of its frame; older commands are dropped.
        on_missed: called from the thread of the lock with an open command that had no effect, reason and detail.
        clock: time source.

    Raises:
        ConfigError: gpiozero is not installed.
        LockError: the pin is not available.
    """

    def __init__(
        self,
        config: LockConfig,
        *,
        max_age_s: float,
        on_missed: Callable[[OpenCommand, Reason, str], None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._relay = open_relay(config)
        self._max_age_ns = round(max_age_s * 1e9)
        self._pulse_ns = round(config.pulse_s * 1e9)
        self._on_missed = on_missed
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: deque[PendingOpen] = deque()
        self._late: list[PendingOpen] = []
        self._closing = False
        self.state = LockState.LOCKED  # current state of the relay; set by the thread of the lock
        self._problem = ""
        self._thread = threading.Thread(target=self._run, name="lock", daemon=True)

    def problem(self) -> str:
        """Current problem of the relay, or ""."""
        return self._problem

    def start(self) -> None:
        """Start the thread that switches the relay."""
        self._thread.start()

    def open(self, message: OpenCommand, captured_ns: int) -> None:
        """Queue an open command; it is dropped if it is too old when the thread of the lock takes it. Does not block.

        Args:
            message: open command; its event is already stored.
            captured_ns: monotonic capture time of the last frame of the decision.
        """
        with self._changed:
            self._waiting.append(PendingOpen(message, captured_ns + self._max_age_ns))
            self._changed.notify()

    def close(self) -> None:
        """Lock, and release the pin. Idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)
        self._relay.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # In the thread of the lock

    def _run(self) -> None:
        while not self._closing:
            failed = self.state is LockState.FAILED
            fresh = self._next_request() if self._wait(_RETRY_S if failed else None) else []
            try:
                if fresh:
                    self._hold_open()
                elif failed:
                    self._relay.off()
                    self.state = LockState.LOCKED
            except Exception as error:  # errors of lgpio have no common base class
                self._fail(error, fresh)
            self._report_missed(self._late, Reason.LOCK_TOO_LATE)
        self._report_missed(self._waiting, Reason.DOOR_STOPPING)

    def _fail(self, error: Exception, fresh: list[PendingOpen]) -> None:
        log.log(logging.DEBUG if self._problem else logging.ERROR, "cannot switch the relay of the lock: %s", error)
        self.state, self._problem = LockState.FAILED, f"cannot switch the relay of the lock ({error})"
        self._report_missed(fresh, Reason.RELAY_FAILED, str(error))

    def _report_missed(
        self, requests: deque[PendingOpen] | list[PendingOpen], reason: Reason, detail: str = ""
    ) -> None:
        """Report requests that did not open the door. It may wait for the disk: call it while the door is locked."""
        for request in requests:
            self._on_missed(request.command, reason, detail)
        requests.clear()

    def _hold_open(self) -> None:
        """Open, hold until one pulse after the latest request, and lock."""
        try:
            self._relay.on()
            self.state, self._problem = LockState.OPEN, ""
            until_ns = self._clock.monotonic_ns() + self._pulse_ns
            while (left_ns := until_ns - self._clock.monotonic_ns()) > 0 and not self._closing:
                if self._wait(left_ns / 1e9) and self._next_request():
                    until_ns = self._clock.monotonic_ns() + self._pulse_ns
        finally:
            self._relay.off()
            self.state = LockState.LOCKED

    def _wait(self, timeout_s: float | None) -> bool:
        """Wait for a request, the timeout or `close`; returns whether there is a request."""
        with self._changed:
            if not self._waiting and not self._closing:
                self._clock.wait(self._changed, timeout_s)
            return bool(self._waiting) and not self._closing

    def _next_request(self) -> list[PendingOpen]:
        """Take all requests; returns those that have not expired, and keeps the others to report."""
        with self._changed:
            waiting = list(self._waiting)
            self._waiting.clear()
        now_ns = self._clock.monotonic_ns()
        self._late += [request for request in waiting if request.expires_ns <= now_ns]
        return [request for request in waiting if request.expires_ns > now_ns]


def make_lock(
    config: DoorConfig, on_missed: Callable[[OpenCommand, Reason, str], None], clock: Clock = SYSTEM_CLOCK
) -> Lock | None:
    """The lock of a door with [lock], else None; see `Lock`.

    Raises:
        ConfigError: the camera is a recording, or gpiozero is not installed.
        LockError: the pin is not available.
    """
    if config.lock is None:
        return None
    if is_recorded(config.camera.source):
        raise ConfigError(
            f"[lock]: {redact_url(config.camera.source)} is a recording, and a recording never opens the door; "
            "remove [lock], or set [camera] source to a camera"
        )
    return Lock(config.lock, max_age_s=config.mqtt.open_max_age_s, on_missed=on_missed, clock=clock)


def open_relay(config: LockConfig) -> Relay:
    """Claim the pin and lock; no other program can claim the pin until the relay is closed.

    Raises:
        ConfigError: gpiozero is not installed.
        LockError: the pin does not exist, another program uses it, or this user has no permission.
    """
    os.environ.setdefault("GPIOZERO_PIN_FACTORY", "lgpio")  # else gpiozero tries several factories
    try:
        from gpiozero import OutputDevice
    except ImportError as error:
        raise ConfigError(f"[lock]: gpiozero cannot be imported ({error}); {_INSTALL_HINT}") from error
    try:
        relay: Relay = OutputDevice(config.pin, active_high=config.active_high, initial_value=False)
    except ModuleNotFoundError as error:
        raise ConfigError(f"[lock]: {error.name} cannot be imported; {_INSTALL_HINT}") from error
    except Exception as error:  # errors of lgpio have no common base class
        raise LockError(
            f"[lock] pin {config.pin}: not available ({error}); needs a Raspberry Pi, a user in group 'gpio', and "
            "a pin that no other program or running door uses"
        ) from error
    return relay
