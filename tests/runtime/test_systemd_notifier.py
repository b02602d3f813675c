"""SystemdNotifier: messages to systemd, at most one a second to the watchdog."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.manual_clock import ManualClock

from edge.runtime.systemd import SystemdNotifier


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Socket of systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield receiver


def received(manager: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(manager.recv(1000).decode())
        except BlockingIOError:
            return messages


def test_watchdog_is_fed_at_most_once_a_second(manager: socket.socket) -> None:
    clock = ManualClock()
    notifier = SystemdNotifier(clock)
    notifier.notify("READY=1")
    for _ in range(25):
        notifier.feed_watchdog()
        clock.advance(0.1)
    assert received(manager) == ["READY=1", *["WATCHDOG=1"] * 3]


def test_systemd_that_has_gone_fails_nobody(manager: socket.socket, tmp_path: Path) -> None:
    notifier = SystemdNotifier(ManualClock())
    (tmp_path / "notify").unlink()
    notifier.notify("READY=1")


def test_no_notification_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    SystemdNotifier(ManualClock()).feed_watchdog()
