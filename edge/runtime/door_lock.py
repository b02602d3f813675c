"""The lock behind a relay on a pin of this board: unlocked for a moment, and locked again whatever fails.

The only module that imports gpiozero. One thread alone switches the pin on and, in its `finally`, off again: what
keeps it from switching off also keeps it from ever having switched on. A timer made for each open command could fail
to be made once the relay is on, and gpiozero's own `blink` leaves the pin on when a write within it fails.
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
_RETRY_S = 1.0  # pause before a relay that could not be switched is locked again
_INSTALL_HINT = "install both:  sudo apt install python3-gpiozero python3-lgpio, or  pip install gpiozero lgpio"


class Relay(Protocol):
    """What is used of gpiozero's OutputDevice."""

    def on(self) -> None: ...

    def off(self) -> None: ...

    def close(self) -> None: ...


class Lock:
    """Opens one door. Making it claims the pin and locks; `start`, or `with`, lets it open.

    Args:
        config: the relay.
        max_age_s: an open command older than this after capture is dropped.
        on_missed: called from the lock's own thread with an open command that had no effect, the reason and its detail.

    Raises:
        ConfigError: gpiozero is not installed.
        LockError: the pin cannot be had.
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
        self.state = LockState.LOCKED  # current state of the relay; set by the lock's own thread
        self._problem = ""
        self._thread = threading.Thread(target=self._run, name="lock", daemon=True)

    def problem(self) -> str:
        """Current problem of the relay, or ""."""
        return self._problem

    def start(self) -> None:
        """Start the thread that switches the relay; returns at once."""
        self._thread.start()

    def open(self, message: OpenCommand, captured_ns: int) -> None:
        """Unlock unless the command is too old when the lock's thread takes it. Returns at once.

        Args:
            message: the open command; its event is stored.
            captured_ns: monotonic capture time of the frame that decided.
        """
        with self._changed:
            self._waiting.append(PendingOpen(message, captured_ns + self._max_age_ns))
            self._changed.notify()

    def close(self) -> None:
        """Lock and release the pin. Closing twice does nothing."""
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

    # In the lock's thread

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
            except Exception as error:  # errors of lgpio have no common root
                self._fail(error, fresh)
            self._report_missed(self._late, Reason.LOCK_TOO_LATE)
        self._report_missed(self._waiting, Reason.DOOR_STOPPING)

    def _fail(self, error: Exception, fresh: list[PendingOpen]) -> None:
        log.log(logging.DEBUG if self._problem else logging.ERROR, "the relay of the lock: %s", error)
        self.state, self._problem = LockState.FAILED, f"the relay of the lock could not be switched ({error})"
        self._report_missed(fresh, Reason.RELAY_FAILED, str(error))

    def _report_missed(
        self, requests: deque[PendingOpen] | list[PendingOpen], reason: Reason, detail: str = ""
    ) -> None:
        """Report requests that did not open. This may wait for the disk, so never do it while the door is open."""
        for request in requests:
            self._on_missed(request.command, reason, detail)
        requests.clear()

    def _hold_open(self) -> None:
        """Switch on, hold until one pulse after the latest request that arrives meanwhile, and switch off."""
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
        """Wait for a request, the timeout or the end; returns whether a request waits."""
        with self._changed:
            if not self._waiting and not self._closing:
                self._clock.wait(self._changed, timeout_s)
            return bool(self._waiting) and not self._closing

    def _next_request(self) -> list[PendingOpen]:
        """Take the requests that wait; returns the fresh ones and keeps the others to report."""
        with self._changed:
            waiting = list(self._waiting)
            self._waiting.clear()
        now_ns = self._clock.monotonic_ns()
        self._late += [request for request in waiting if request.expires_ns <= now_ns]
        return [request for request in waiting if request.expires_ns > now_ns]


def make_lock(
    config: DoorConfig, on_missed: Callable[[OpenCommand, Reason, str], None], clock: Clock = SYSTEM_CLOCK
) -> Lock | None:
    """The door's own lock, if it has one; see `Lock`.

    Raises:
        ConfigError: a recording would open it, or gpiozero is not installed.
        LockError: the pin cannot be had.
    """
    if config.lock is None:
        return None
    if is_recorded(config.camera.source):
        raise ConfigError(
            f"[lock]: {redact_url(config.camera.source)} is a recording, and a recording opens no door; "
            "take the table out, or set [camera] source to a camera"
        )
    return Lock(config.lock, max_age_s=config.mqtt.open_max_age_s, on_missed=on_missed, clock=clock)


def open_relay(config: LockConfig) -> Relay:
    """Claim the pin and lock; no other program can claim it until the relay is closed.

    Raises:
        ConfigError: gpiozero is not installed.
        LockError: there is no such pin, somebody else has it, or this user may not use it.
    """
    os.environ.setdefault("GPIOZERO_PIN_FACTORY", "lgpio")  # or gpiozero tries one factory after the other
    try:
        from gpiozero import OutputDevice
    except ImportError as error:
        raise ConfigError(f"[lock]: gpiozero cannot be imported ({error}); {_INSTALL_HINT}") from error
    try:
        relay: Relay = OutputDevice(config.pin, active_high=config.active_high, initial_value=False)
    except ModuleNotFoundError as error:
        raise ConfigError(f"[lock]: {error.name} cannot be imported; {_INSTALL_HINT}") from error
    except Exception as error:  # errors of lgpio have no common root
        raise LockError(
            f"[lock] pin {config.pin}: cannot be had ({error}); is this a Raspberry Pi, is this user in group 'gpio', "
            "does another program, or a running door, hold the pin?"
        ) from error
    return relay
