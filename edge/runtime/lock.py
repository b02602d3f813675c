"""The lock behind a relay on a pin of this board: unlocked for a moment, and locked whatever happens.

The one module that knows gpiozero. One thread alone switches the pin, on and, in its `finally`, off again: what keeps
it from switching off also keeps it from ever having switched on. A timer made anew for each opening could fail to be
made once the relay is on, and gpiozero's own `blink` leaves the pin on when a write within it fails.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from edge.core.config import DoorConfig, LockConfig
from edge.core.errors import ConfigError, LockError
from edge.events.schema import LockState, OpenCommand
from edge.mqtt.in_flight import PendingOpen
from edge.vision.camera import is_recorded, redact_url

log = logging.getLogger(__name__)

_JOIN_S = 5.0
_RETRY_S = 1.0  # a relay that could not be switched is told to lock again after so long
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
        max_age_s: an opening older than this after capture is dropped.
        on_missed: told of an opening that did not happen, and why; called from the lock's own thread.

    Raises:
        ConfigError: gpiozero is not installed.
        LockError: the pin cannot be had.
    """

    def __init__(self, config: LockConfig, *, max_age_s: float, on_missed: Callable[[OpenCommand, str], None]) -> None:
        self._relay = open_relay(config)
        self._max_age_ns = round(max_age_s * 1e9)
        self._pulse_ns = round(config.pulse_s * 1e9)
        self._on_missed = on_missed
        self._called = threading.Condition()
        self._waiting: deque[PendingOpen] = deque()
        self._late: list[PendingOpen] = []
        self._closing = False
        self._state = LockState.LOCKED
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, name="lock", daemon=True)

    @property
    def state(self) -> LockState:
        """How the relay stands."""
        return self._state

    def problem(self) -> str:
        """What somebody should look at, or ""."""
        return self._trouble

    def start(self) -> None:
        """Begin to listen; returns at once."""
        self._thread.start()

    def open(self, message: OpenCommand, captured_ns: int) -> None:
        """Unlock, if that is done while it is fresh. Returns at once.

        Args:
            message: what was decided, and is on record.
            captured_ns: monotonic capture time of the frame that decided.
        """
        with self._called:
            self._waiting.append(PendingOpen(message, captured_ns + self._max_age_ns))
            self._called.notify()

    def close(self) -> None:
        """Lock, and let go of the pin. Closing twice does nothing."""
        with self._called:
            self._closing = True
            self._called.notify()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)
        self._relay.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # In the lock's thread.

    def _run(self) -> None:
        while not self._closing:
            failed = self._state is LockState.FAILED
            fresh = self._next_request() if self._wait(_RETRY_S if failed else None) else []
            try:
                if fresh:
                    self._hold_open()
                elif failed:
                    self._relay.off()
                    self._state = LockState.LOCKED
            except Exception as error:  # lgpio's errors have no common root
                self._fail(error, fresh)
            self._set_state(self._late, "it was too old when the lock's turn came")
        self._set_state(self._waiting, "the door was stopping")

    def _fail(self, error: Exception, fresh: list[PendingOpen]) -> None:
        log.log(logging.DEBUG if self._trouble else logging.ERROR, "the relay of the lock: %s", error)
        self._state, self._trouble = LockState.FAILED, f"the relay of the lock could not be switched ({error})"
        self._set_state(fresh, self._trouble)

    def _set_state(self, openings: deque[PendingOpen] | list[PendingOpen], why: str) -> None:
        """Put on record what did not open. It may wait for a disk, so never while the door is open."""
        for opening in openings:
            self._on_missed(opening.message, why)
        openings.clear()

    def _hold_open(self) -> None:
        """On, for as long as the last of the openings that come meanwhile wants, and off."""
        try:
            self._relay.on()
            self._state, self._trouble = LockState.OPEN, ""
            until_ns = time.monotonic_ns() + self._pulse_ns
            while (left_ns := until_ns - time.monotonic_ns()) > 0 and not self._closing:
                if self._wait(left_ns / 1e9) and self._next_request():
                    until_ns = time.monotonic_ns() + self._pulse_ns
        finally:
            self._relay.off()
            self._state = LockState.LOCKED

    def _wait(self, timeout_s: float | None) -> bool:
        """Whether an opening waits, once one does, the time is up or the lock is closed."""
        with self._called:
            self._called.wait_for(lambda: self._waiting or self._closing, timeout_s)
            return bool(self._waiting) and not self._closing

    def _next_request(self) -> list[PendingOpen]:
        """The openings that wait and are fresh; the others are told of later."""
        with self._called:
            waiting = list(self._waiting)
            self._waiting.clear()
        now_ns = time.monotonic_ns()
        self._late += [opening for opening in waiting if opening.expires_ns <= now_ns]
        return [opening for opening in waiting if opening.expires_ns > now_ns]


def make_lock(config: DoorConfig, on_missed: Callable[[OpenCommand, str], None]) -> Lock | None:
    """The door's own lock, if it has one.

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
    return Lock(config.lock, max_age_s=config.mqtt.open_max_age_s, on_missed=on_missed)


def open_relay(config: LockConfig) -> Relay:
    """Take the pin and lock; until it is closed nobody else can have it.

    Raises:
        ConfigError: gpiozero is not installed.
        LockError: there is no such pin, somebody else has it, or this user may not use it.
    """
    os.environ.setdefault("GPIOZERO_PIN_FACTORY", "lgpio")  # its other ones fall back from one to the next
    try:
        from gpiozero import OutputDevice
    except ImportError as error:
        raise ConfigError(f"[lock]: gpiozero cannot be imported ({error}); {_INSTALL_HINT}") from error
    try:
        relay: Relay = OutputDevice(config.pin, active_high=config.active_high, initial_value=False)
    except ModuleNotFoundError as error:
        raise ConfigError(f"[lock]: {error.name} cannot be imported; {_INSTALL_HINT}") from error
    except Exception as error:  # lgpio's errors have no common root
        raise LockError(
            f"[lock] pin {config.pin}: cannot be had ({error}); is this a Raspberry Pi, is this user in group 'gpio', "
            "does another program, or a running door, hold the pin?"
        ) from error
    return relay
