"""Faults of a door with real parts: killed and frozen brokers, broken networks, disks, clocks and processes.

docs/understand/faults.md lists every fault with the test that shows the reaction of the door.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest
from support.decisions import a_decision
from support.door_process import HERE, Ear, Process, Visitors, a_disk, write_config
from support.manual_clock import ManualClock
from support.mqtt_brokers import (
    Mosquitto,
    Relay,
    an_event,
    announce,
    config_for,
    free_port,
    needs_mosquitto,
    wait_until,
)
from support.mqtt_doors import a_door, an_open_command, fill, ids, listen, receive, until_now

from edge.core.clock import SYSTEM_CLOCK, WallClock
from edge.core.config import DoorConfig, MqttConfig, OutboxConfig, read_config
from edge.core.errors import OutboxError
from edge.core.reasons import Reason
from edge.core.records import AccessOutcome
from edge.core.timestamps import format_unix_ns
from edge.demo.run_demo import CLIP
from edge.events.factory import EventContext
from edge.events.schema import Event, EventKind, Health, OpenCommand, Status
from edge.events.topics import Channel
from edge.mqtt.connection import ConnectionStatus
from edge.outbox.outbox import Outbox
from edge.outbox.recovery import RESERVE_BYTES
from edge.runtime.event_recorder import EventRecorder
from edge.vision.manifest import read_manifest

STRACE = shutil.which("strace")
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
HOUR_S = 3600.0
HARNESS = HERE / "support" / "publisher_harness.py"


def an_outbox(folder: Path) -> Outbox:
    return Outbox(folder / "outbox.sqlite", OutboxConfig(), announce=announce)


def test_every_test_that_the_table_of_faults_names_exists() -> None:
    """Every promise of docs/understand/faults.md has a test."""
    text = (HERE.parent / "docs/understand/faults.md").read_text()
    module, missing = "", []
    for named in re.findall(r"`([\w…./]+\.py)?…?(?:::(\w+))?(?:\[[\w-]+\])?`", text):
        module = named[0].removeprefix("tests/") or module
        if "/test_" in module and f"def {named[1]}" not in (HERE / module).read_text():
            missing.append(f"{module}::{named[1]}")
    assert missing == []
    assert text.count("test_faults.py") > 10


# Killed at any moment.


def kills(folder: Path, *, count: int, events: int, seed: int) -> None:
    """Kill publisher and broker at random while events flow, then check every promise."""
    chance = random.Random(seed)
    broker, told = Mosquitto(folder), folder / "told"
    relay = Relay(broker.port)
    config = write_config(folder, f"mqtt://127.0.0.1:{relay.port}", more="\n[outbox]\nkeep_delivered = 100000\n")
    talker = Process(folder, HARNESS, config, told, str(events), "0.01")
    ear, pause = Ear(config_for(broker)), threading.Event()
    with contextlib.ExitStack() as stack:
        for part in (broker, relay, ear):
            stack.callback(part.close)
        stack.callback(talker.kill)
        broker.start()
        ear.listen()
        relay.start()
        talker.start()
        for _ in range(count):
            before = told.stat().st_size if told.exists() else 0
            if chance.random() < 0.5:
                talker.kill()
                pause.wait(chance.uniform(0, 0.02))
                talker.start()
            else:
                broker.close()
                relay.close()  # the new broker gets no message before a subscriber listens
                broker.start()
                ear.listen()
                relay.start()
            share = events * 37 // (count + 1)
            wait_until(lambda: enough(told, before, share, events), "events flow", 60)  # noqa: B023
            pause.wait(chance.uniform(0, 0.05))
        assert talker.popen is not None
        assert talker.popen.wait(120) == 0, talker.words
        wait_until(lambda: "stopped" in [status.reason for status in ear.records(Status)], "its last word")
    check_everything(folder, ear, told.read_text().split())


def enough(told: Path, before: int, share: int, events: int) -> bool:
    size = told.stat().st_size if told.exists() else 0
    return size >= min(before + share, events * 37)


def check_everything(folder: Path, ear: Ear, told: list[str]) -> None:
    """Check: no event lost, in order, copies have the same id, numbers rise, no opening late or twice."""
    with an_outbox(folder / "state") as outbox:
        stored = outbox.recent(100_000)[::-1]
        assert outbox.depth() == 0
    assert [event.seq for event in stored] == sorted({event.seq for event in stored})
    assert set(told) <= {event.id for event in stored}
    events = ear.records(Event)
    first: dict[str, Event] = {}
    for event in events:
        assert event.seq == first.setdefault(event.id, event).seq  # a copy is identical
    assert [event.id for event in first.values()] == [event.id for event in stored]
    openings = [(at, message) for at, message in ear.received if isinstance(message.record, OpenCommand)]
    assert len({message.record.id for _, message in openings if isinstance(message.record, OpenCommand)}) == len(
        openings
    )
    for at, message in openings:
        assert isinstance(message.record, OpenCommand)
        assert not message.retained
        assert time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) <= message.record.expires_at[:19]
    print(f"{len(stored)} events, {len(events) - len(first)} copies, {len(openings)} openings")


@needs_mosquitto
def test_kills_of_door_and_broker_lose_nothing(tmp_path: Path) -> None:
    """Eight kills at random while 120 events flow."""
    kills(tmp_path, count=8, events=120, seed=1)


@needs_mosquitto
@pytest.mark.slow
def test_two_hundred_kills_of_door_and_broker_lose_nothing(tmp_path: Path) -> None:
    """200 kills at random while 2,000 events flow."""
    kills(tmp_path, count=200, events=2000, seed=2)


@needs_mosquitto
def test_a_killed_door_is_told_offline_and_comes_back_without_opening_again(tmp_path: Path) -> None:
    """The whole program is killed after an opening. Restarted, it continues in order and repeats no opening."""
    with Mosquitto(tmp_path) as broker, Ear(config_for(broker)) as ear, Visitors() as camera:
        door = Process(tmp_path, "-m", "edge", "run", "--config", write_config(tmp_path, broker.url, camera.url))
        with door:
            ear.wait_for(OpenCommand, 1)
            door.kill()
            wait_until(lambda: [status.status for status in ear.records(Status)][-1] == "offline", "offline")
            before = len(ear.records(OpenCommand))
            door.start()
            ear.wait_for(OpenCommand, before + 1)
            assert door.stop() == 0
            wait_until(lambda: EventKind.STOPPED in {event.kind for event in ear.records(Event)}, "stopped")
    events = list({event.id: event for event in ear.records(Event)}.values())
    assert [event.seq for event in events] == list(range(events[0].seq, events[0].seq + len(events)))
    assert [event.kind for event in events].count(EventKind.STARTED) == 2
    openings = [opening.id for opening in ear.records(OpenCommand)]
    assert len(set(openings)) == len(openings)


# The order of writing, as the kernel sees it.


@needs_mosquitto
@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_an_event_is_synced_to_disk_before_its_opening_leaves(tmp_path: Path) -> None:
    """A power cut cannot delete an event that was sent: write to the log, fdatasync of the log, then the network."""
    trace = tmp_path / "trace"
    with Mosquitto(tmp_path) as broker:
        config = write_config(tmp_path, broker.url)
        calls = "trace=openat,pwrite64,fdatasync,fsync,sendto,write"
        command = [
            STRACE,
            "-f",
            "-y",
            "-s",
            "2000",
            "-o",
            trace,
            "-e",
            calls,
            sys.executable,
            HARNESS,
        ]
        environment = os.environ | {"PYTHONPATH": f"{HERE.parent}:{HERE}"}
        done = subprocess.run(
            [*map(str, command), config, tmp_path / "told", "4", "0.2"], env=environment, timeout=90, check=False
        )
        assert done.returncode == 0
    lines = [line for line in trace.read_text(errors="replace").splitlines() if "resumed>" not in line]
    opened = [number for number, line in enumerate(lines) if "sendto(" in line and "test/front/open" in line]
    told = [number for number, line in enumerate(lines) if "/told>" in line and "write(" in line]
    assert len(opened) >= 1
    assert len(told) == 4
    for end in told:
        written = last(lines, end, "pwrite64(", "outbox.sqlite-wal>")
        synced = last(lines, end, "fdatasync(", "outbox.sqlite-wal>")
        assert -1 < written < synced < end
    for number in opened:  # an opening waits for a ping, so the next event may be written before it
        ids = re.findall(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", lines[number])
        assert ids
        assert any(ids[-1] in lines[end] for end in told if end < number)


def last(lines: list[str], end: int, call: str, file: str) -> int:
    """Return the last line before `end` with that call on that file, or -1."""
    found = [number for number in range(end) if call in lines[number] and file in lines[number]]
    return found[-1] if found else -1


# Brokers and networks.


@needs_mosquitto
@pytest.mark.parametrize("before", [0, 1, 30])
def test_a_frozen_broker_gets_the_events_when_it_thaws_and_no_late_opening(tmp_path: Path, before: int) -> None:
    """The broker is stopped for longer than an opening is valid; the opening is dropped with the ping before it."""
    with Mosquitto(tmp_path) as broker, an_outbox(tmp_path) as outbox:
        config = config_for(broker, open_max_age_s=0.3)
        with listen(config, Channel.EVENTS, Channel.OPEN) as lock, a_door(config, outbox) as door:
            door.online()
            os.kill(broker.pid, signal.SIGSTOP)
            try:
                sent = fill(outbox, before)
                door.publisher.open(an_open_command(), time.monotonic_ns())
                wait_until(lambda: bool(door.expired), "given up")
            finally:
                os.kill(broker.pid, signal.SIGCONT)
            wait_until(lambda: outbox.depth() == 0, "all acknowledged", 30)
            heard = until_now(lock, config)
    assert list(dict.fromkeys(ids(heard))) == sent
    assert [message.channel for message in heard if message.channel is Channel.OPEN] == []
    assert len(door.expired) == 1


@needs_mosquitto
def test_what_a_thawed_broker_passes_on_by_itself_has_expired_and_says_so(tmp_path: Path) -> None:
    """The broker's kernel accepted the opening before the door gave up, so the lock must check the time."""
    with Mosquitto(tmp_path) as broker, a_logbook(tmp_path / "door").outbox as outbox, Ear(config_for(broker)) as lock:
        with a_door(config_for(broker, open_max_age_s=0.2), outbox) as door:
            door.online()
            os.kill(broker.pid, signal.SIGSTOP)
            try:
                now_ns = time.time_ns()
                opening = msgspec.structs.replace(an_open_command(), expires_at=format_unix_ns(now_ns + 200_000_000))
                door.publisher.open(opening, time.monotonic_ns())
                wait_until(lambda: bool(door.expired), "given up")
                door.publisher.close(timeout_s=0.1)  # otherwise it reconnects, and the broker drops the old connection
            finally:
                os.kill(broker.pid, signal.SIGCONT)
        wait_until(lambda: bool(lock.records(Status)), "the last will")
        with a_door(config_for(broker), outbox) as door:
            door.online()
        wait_until(lambda: len(lock.records(Status)) >= 4, "all earlier messages are received")
    late = [(at, message.record) for at, message in lock.received if isinstance(message.record, OpenCommand)]
    assert all(format_unix_ns(round(at * 1e9)) > record.expires_at for at, record in late)
    assert len(late) <= 1


class SlowRelay(Relay):
    """A network with a delay."""

    pause_s = 0.0

    def _copy(self, source: socket.socket, sink: socket.socket, outward: bool) -> None:
        pause = threading.Event()
        with contextlib.suppress(OSError):
            while data := source.recv(256):
                if outward:
                    pause.wait(self.pause_s)
                sink.sendall(data)
        for end in (source, sink):
            end.close()


@needs_mosquitto
def test_a_slow_network_delays_events_and_lets_no_opening_through_late(tmp_path: Path) -> None:
    """All events arrive in order; an opening that would arrive too late is cut off."""
    relay_of: dict[str, object] = {"open_max_age_s": 0.3}
    with Mosquitto(tmp_path) as broker, SlowRelay(broker.port) as relay, an_outbox(tmp_path) as outbox:
        config = config_for(broker, relay.port, **relay_of)
        with listen(config_for(broker), Channel.EVENTS, Channel.OPEN) as lock, a_door(config, outbox) as door:
            door.online()
            relay.pause_s = 0.15
            sent = fill(outbox, 20)
            wait_until(lambda: relay.pause_s > 0 and outbox.acknowledged_seq() > 0, "under way", 30)
            door.publisher.open(an_open_command(), time.monotonic_ns())
            wait_until(lambda: bool(door.expired), "given up", 30)
            relay.pause_s = 0.0
            wait_until(lambda: outbox.depth() == 0, "all acknowledged", 30)
            heard = until_now(lock, config_for(broker))
    assert list(dict.fromkeys(ids(heard))) == sent
    assert not [message for message in heard if message.channel is Channel.OPEN]


class CuttingRelay(Relay):
    """A network that breaks after a fixed number of bytes from the door, each time."""

    exactly: int | None = None
    cuts = 0

    def _copy(self, source: socket.socket, sink: socket.socket, outward: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                left = None if self.exactly is None or not outward else self.exactly - passed
                if left is not None and len(data) >= left:
                    sink.sendall(data[:left])
                    self.cuts += 1
                    break
                sink.sendall(data)
                passed += len(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@needs_mosquitto
@pytest.mark.parametrize("exactly", [1, 2, 40, 400, 700, 1234, 5000])
def test_a_network_cut_in_the_middle_of_a_message_costs_nothing_but_time(tmp_path: Path, exactly: int) -> None:
    """The network breaks in the login or within an event: events are in order and complete, copies have the same id."""
    with Mosquitto(tmp_path) as broker, CuttingRelay(broker.port) as relay, an_outbox(tmp_path) as outbox:
        sent = fill(outbox, 60)  # enough for three cuts of 5,000 bytes, however many are acknowledged
        relay.exactly = exactly
        with listen(config_for(broker), Channel.EVENTS) as subscriber:
            with a_door(config_for(broker, relay.port), outbox):
                wait_until(lambda: relay.cuts >= 3, "three cuts", 30)
                relay.exactly = None
                wait_until(lambda: outbox.depth() == 0, "all acknowledged", 30)
            heard = until_now(subscriber, config_for(broker))
    assert list(dict.fromkeys(ids(heard))) == sent
    numbered = {(m.record.id, m.record.seq) for m in heard if isinstance(m.record, Event)}
    assert len(numbered) == 60


@needs_mosquitto
def test_a_broker_that_changes_its_address_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is resolved at every attempt: the name server's answer changes, and the old machine is off."""
    address, real = "127.0.0.1", socket.getaddrinfo

    def look_up(host: str, *rest: object, **named: object) -> object:
        return real(address if host == "broker.home" else host, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    old = Mosquitto(tmp_path)
    moved = Mosquitto(tmp_path, conf=f"allow_anonymous true\nlistener {old.port} 127.0.0.2\n")
    config = MqttConfig(url=f"mqtt://broker.home:{old.port}", insecure=True)
    with (
        moved,
        an_outbox(tmp_path) as outbox,
        listen(config_for(moved), Channel.EVENTS) as subscriber,
        old,
        a_door(config, outbox) as door,
    ):
        fill(outbox, 5)
        wait_until(lambda: outbox.depth() == 0, "acknowledged by the old one")
        assert until_now(subscriber, config_for(moved)) == []
        old.close()
        wait_until(lambda: door.publisher.state.status is not ConnectionStatus.ONLINE, "noticed")
        sent = fill(outbox, 5)
        address = "127.0.0.2"
        assert ids(receive(subscriber, 5)) == sent


# Disks.


CLOCK = ManualClock()


def a_logbook(folder: Path) -> EventRecorder:
    """Context of a door with a correct clock and an unreachable broker."""
    folder.mkdir(exist_ok=True)
    return make_recorder(read_config(write_config(folder, f"mqtt://127.0.0.1:{free_port()}")))


def make_recorder(config: DoorConfig) -> EventRecorder:
    return EventRecorder(config, lambda: EventContext("front", True, "1"), WallClock(CLOCK, trusted=True))


def look_after(logbook: EventRecorder) -> None:
    """Do what the daemon does once a second."""
    CLOCK.advance(1)
    logbook.maintain()


def test_a_full_disk_gives_up_its_reserve_then_opens_nothing_and_takes_up_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The alarm and some thousand more events still fit; after that, the door does not open unless it can record it."""
    with a_disk(tmp_path / "disk", 8) as disk:
        logbook = a_logbook(disk.folder)
        outbox = logbook.outbox
        with outbox:
            assert logbook.record_decision(a_decision(AccessOutcome.DOOR_OPEN)) is not None
            disk.fill()
            fitted = 0
            while logbook.record_decision(a_decision(AccessOutcome.DOOR_OPEN)) is not None:
                fitted += 1
                look_after(logbook)
            print(f"{fitted} events fitted into the reserve")
            assert fitted > 500
            kinds = [event.kind for event in outbox.pending(limit=10_000)]
            assert EventKind.STORE_FAILING in kinds
            last = outbox.depth()
            for _ in range(20):
                assert logbook.record_decision(a_decision(AccessOutcome.DOOR_OPEN)) is None
                look_after(logbook)
            assert any("disk is full" in problem for problem in logbook.problems())
            assert outbox.depth() == last
            disk.empty()
            look_after(logbook)
            look_after(logbook)
            assert logbook.record_decision(a_decision(AccessOutcome.DOOR_OPEN)) is not None
            assert logbook.problems() == []
            events = outbox.pending(limit=10_000)
            assert [event.kind for event in events].count(EventKind.DOOR_OPEN) == fitted + 1 + 21 + 1
            assert [event.kind for event in events].count(EventKind.OPEN_EXPIRED) == 21
            assert EventKind.STORE_BACK in [event.kind for event in events]
            assert (disk.folder / "state" / "outbox.ballast").stat().st_size == RESERVE_BYTES
    said = [record.message for record in caplog.records if "is full" in record.message]
    assert len(said) == 2  # one for the use of the reserve, one for its end


def test_a_disk_that_is_read_only_from_the_start_opens_nothing_and_is_waited_for(tmp_path: Path) -> None:
    """The door runs, keeps its events in memory, reports this, and stores them when the disk is writable."""
    with a_disk(tmp_path / "disk", 8) as disk:
        with a_logbook(disk.folder).outbox:
            pass
        disk.remount("ro")
        logbook = make_recorder(read_config(disk.folder / "door.toml"))
        with logbook.outbox as outbox:
            assert logbook.record_decision(a_decision(AccessOutcome.DOOR_OPEN)) is None
            look_after(logbook)
            assert any("read" in problem for problem in logbook.problems())
            assert outbox.unsaved_count() >= 2
            disk.remount("rw")
            look_after(logbook)
            assert logbook.problems() == []
            assert logbook.record_decision(a_decision(AccessOutcome.DOOR_OPEN)) is not None
            kinds = [event.kind for event in outbox.pending()]
    assert kinds.count(EventKind.DOOR_OPEN) == 2
    assert {EventKind.OPEN_EXPIRED, EventKind.STORE_FAILING, EventKind.STORE_BACK} <= set(kinds)


def test_a_disk_that_fails_while_running_is_waited_for(tmp_path: Path) -> None:
    """A limit on the file size simulates the failure: every further write is an error until the limit is removed."""
    with an_outbox(tmp_path) as outbox:
        outbox.append(an_event("before"))
        bounds = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, bounds[1]))
            failed = 0
            for number in range(200):
                try:
                    outbox.append(an_event(str(number)))
                except OutboxError:
                    failed += 1
            assert failed > 100
            assert outbox.problem()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, bounds)
        outbox.maintain()
        assert outbox.problem() == ""
        assert [event.detail for event in outbox.pending(limit=1000)] == ["before", *map(str, range(200))]


@needs_mosquitto
@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_door_on_a_disk_that_takes_nothing_runs_and_opens_when_it_does(tmp_path: Path, fault: str) -> None:
    """The program starts, reports the problem in health and does not open; it opens after the disk works again."""
    with (
        a_disk(tmp_path / "disk", 8) as disk,
        Mosquitto(tmp_path) as broker,
        Ear(config_for(broker)) as ear,
        Visitors() as camera,
    ):
        config = write_config(disk.folder, broker.url, camera.url)
        (disk.folder / "state").mkdir()
        if fault == "full":
            disk.fill()
        else:
            disk.remount("ro")
        with Process(tmp_path, "-m", "edge", "run", "--config", config) as door:
            wait_until(lambda: "reason=event-not-stored" in door.words, "a visitor comes", 60)
            wait_until(lambda: bool(ear.records(Health)), "health")
            problems = ear.records(Health)[-1].problems
            assert any("cannot be" in problem for problem in problems), problems
            assert ear.records(OpenCommand) == []
            if fault == "full":
                disk.empty()
            else:
                disk.remount("rw")
            ear.wait_for(OpenCommand, 1)
            kinds = {event.kind for event in ear.records(Event)}
            assert {EventKind.STARTED, EventKind.OPEN_EXPIRED, EventKind.DOOR_OPEN} <= kinds
            wait_until(lambda: EventKind.STORE_BACK in {e.kind for e in ear.records(Event)}, "store-back is published")
            wait_until(lambda: not in_health(ear, "cannot be"), "health reports no problem")
            assert door.stop() == 0
    said = [line for line in door.words.splitlines() if "WARNING" in line and "nothing opens" in line]
    assert len(said) == 1, door.words


def in_health(ear: Ear, words: str) -> bool:
    return any(words in problem for problem in ear.records(Health)[-1].problems)


# Clocks.


@needs_mosquitto
@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed")
def test_a_clock_that_jumps_both_ways_changes_nothing_but_the_times(tmp_path: Path) -> None:
    """A day forward, two days back: ids and numbers rise, visitors enter as usual, and events report the steps."""
    shift = tmp_path / "shift"
    shift.write_text("+0")
    fake = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(shift),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    with Mosquitto(tmp_path) as broker, Ear(config_for(broker)) as ear, Visitors() as camera:
        config = write_config(tmp_path, broker.url, camera.url)
        with Process(tmp_path, "-m", "edge", "run", "--config", config, **fake) as door:
            for number, jump in enumerate(("+0", "+86400", "-86400")):
                seen = len(ear.records(OpenCommand))
                (tmp_path / "next").write_text(jump)
                (tmp_path / "next").replace(shift)  # atomic: libfaketime ends a process that reads a partial file
                wait_until(lambda n=number: steps(ear) >= n, "noticed", 30)  # type: ignore[misc]
                ear.wait_for(OpenCommand, seen + 1)
            assert door.stop() == 0
            wait_until(lambda: EventKind.STOPPED in {event.kind for event in ear.records(Event)}, "stopped")
    events = ear.records(Event)
    assert [event.seq for event in events] == list(range(events[0].seq, events[0].seq + len(events)))
    assert [event.id for event in events] == sorted({event.id for event in events})
    stepped = [event.reason for event in events if event.kind is EventKind.CLOCK_STEPPED]
    assert stepped == [Reason.CLOCK_SET_FORWARD, Reason.CLOCK_SET_BACK]
    assert [event.kind for event in events].count(EventKind.OPEN_EXPIRED) == 0


def steps(ear: Ear) -> int:
    return [event.kind for event in ear.records(Event)].count(EventKind.CLOCK_STEPPED)


@needs_mosquitto
@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed")
def test_a_door_that_boots_in_1970_keeps_everything_when_the_clock_is_set(tmp_path: Path) -> None:
    """Without battery and network, events wait with a clock of 1970 until it is set; none expires, numbers rise."""
    shift = tmp_path / "shift"
    shift.write_text("@1970-01-01 00:10:00")
    fake = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(shift), "DONT_FAKE_MONOTONIC": "1"}
    port = free_port()
    config = write_config(tmp_path, f"mqtt://127.0.0.1:{port}")
    told = tmp_path / "told"
    with Process(tmp_path, HARNESS, config, told, "10", "0.01", FAKETIME_NO_CACHE="1", **fake):
        wait_until(lambda: enough(told, 0, 370, 10), "ten events wait", 30)
    told.unlink()
    with Mosquitto(tmp_path, port) as broker, Ear(config_for(broker)) as ear:
        with Process(tmp_path, HARNESS, config, told, "5", "0.01") as talker:
            assert talker.popen is not None
            assert talker.popen.wait(60) == 0
        wait_until(lambda: len(ear.records(Event)) >= 15, "all of them")
    events = [event for event in ear.records(Event) if event.kind is not EventKind.OPEN_EXPIRED]
    assert [event.at[:4] == "1970" for event in events] == [True] * 10 + [False] * 5
    seqs = [event.seq for event in ear.records(Event)]
    assert seqs == sorted(set(seqs))
    assert len({opening.id for opening in ear.records(OpenCommand)} & {event.id for event in events[:10]}) == 0


@needs_mosquitto
def test_whether_the_clock_is_set_stands_in_health_and_in_every_event(tmp_path: Path) -> None:
    """The kernel provides the state; tests/access/test_policy.py tests its effect on the rules."""
    with Mosquitto(tmp_path) as broker, Ear(config_for(broker)) as ear, Visitors() as camera:
        config = write_config(tmp_path, broker.url, camera.url)
        with Process(tmp_path, "-m", "edge", "run", "--config", config):
            wait_until(lambda: bool(ear.records(Health)), "health", 30)
            assert in_health(ear, "the clock is not synchronised") is not SYSTEM_CLOCK.is_synced()
            assert ear.records(Event)[0].clock_synced is SYSTEM_CLOCK.is_synced()


# Files and memory.


def test_a_damaged_model_is_named_and_the_door_stays_shut(tmp_path: Path) -> None:
    """One bit is wrong: exit code 2, after which systemd does not restart the door."""
    models = tmp_path / "models"
    shutil.copytree(HERE.parent / "models", models)
    file = models / read_manifest(models).models["embedder"].file
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 1
    file.write_bytes(whole)
    config = write_config(tmp_path, "mqtt://127.0.0.1:1", more=f'[models]\nfolder = "{models}"\n')
    with Process(tmp_path, "-m", "edge", "run", "--config", config) as door:
        assert door.popen is not None
        assert door.popen.wait(60) == 2
    assert file.name in door.words.splitlines()[-1]
    assert "Traceback" not in door.words


def test_a_program_that_runs_out_of_memory_says_so_in_one_line() -> None:
    """The exit code is one after which systemd restarts the program."""
    script = "from edge.core.cli_support import run_main; run_main(lambda: len(bytearray(1 << 50)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch("error: out of memory: .*\n", done.stderr)


@pytest.mark.parametrize("megabytes", [80, 160, 280])
def test_a_door_that_gets_too_little_memory_ends_at_once_and_can_be_started_again(
    tmp_path: Path, megabytes: int
) -> None:
    """Wherever the memory ends during the start: no hang, and no exit code that prevents a restart."""
    config = write_config(tmp_path, "mqtt://127.0.0.1:1", str(CLIP))
    with an_outbox(tmp_path / "state") as outbox:
        outbox.append(an_event("kept"))
    size = megabytes << 20
    run = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_AS, ({0}, {0})); sys.argv[0] = 'edge'; "
    run = run.format(size) + "runpy.run_module('edge', run_name='__main__')"
    with Process(tmp_path, "-c", run, "run", "--config", config) as door:
        assert door.popen is not None
        assert door.popen.wait(60) not in (0, 2)
    with an_outbox(tmp_path / "state") as outbox:
        assert outbox.pending()[0].detail == "kept"
