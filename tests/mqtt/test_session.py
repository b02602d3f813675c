"""A session over a scripted connection: sent messages, their times, and answers of the broker."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from support.manual_clock import NS, ManualClock
from support.mqtt_brokers import an_event
from support.mqtt_doors import FRONT, a_report, an_open_command
from support.outboxes import details, open_outbox

from edge.core.errors import BrokerError, BrokerRefusedError
from edge.core.reasons import Reason
from edge.core.wakeup_pipe import WakeupPipe
from edge.events.homeassistant import BIRTH, DiscoveryMessage, HomeAssistantBirthListener
from edge.events.schema import Event, OpenCommand, decode
from edge.events.topics import Channel
from edge.mqtt.paho_client import IncomingMessage, PahoClient, PublishAck
from edge.mqtt.send_queue import SendQueue, Snapshot
from edge.mqtt.session import ACK_GRACE_NS, MAX_IN_FLIGHT, RESERVED_IN_FLIGHT, PendingOpen, Session, SessionStopped
from edge.outbox.outbox import Outbox

LIFE_NS = 3 * NS


class ScriptedClient:
    """A connection whose broker follows a script, one step at each `poll`."""

    protocol = "5"

    def __init__(self, receive_max: int = 65_535) -> None:
        self.receive_max = receive_max
        self.script: list[Callable[[], None]] = []
        self.sent: list[str] = []  # last part of the topic, or "ping"
        self.payloads: dict[int, bytes] = {}
        self.waits_s: list[float] = []
        self.acks: list[PublishAck] = []
        self.messages: list[IncomingMessage] = []
        self.congested = self.closed = self.aborted = False

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> int:
        self.sent.append(topic.split("/")[3])
        self.payloads[len(self.payloads) + 1] = payload
        return len(self.payloads)

    def ping(self) -> None:
        self.sent.append("ping")

    def is_congested(self) -> bool:
        return self.congested

    def poll(self, timeout_s: float, wakeup: WakeupPipe | None = None) -> None:
        self.waits_s.append(timeout_s)
        if self.script:
            self.script.pop(0)()

    def answer(self, *packet_ids: int, refusal: str = "", unheard: bool = False) -> Callable[[], None]:
        """A step: the broker acknowledges."""
        return lambda: self.acks.extend(PublishAck(packet_id, refusal, unheard) for packet_id in packet_ids)

    def take_acks(self) -> list[PublishAck]:
        taken, self.acks = self.acks, []
        return taken

    def take_messages(self) -> list[IncomingMessage]:
        taken, self.messages = self.messages, []
        return taken

    def subscribe(self, topics: list[str], qos: int) -> None:
        self.sent.append(f"subscribe {topics[0]}")

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


class Door:
    """A session with its environment; it stops after the script."""

    def __init__(self, outbox: Outbox, receive_max: int = 65_535, discovery: DiscoveryMessage | None = None) -> None:
        self.clock = ManualClock()
        self.client = ScriptedClient(receive_max)
        self.opens: deque[PendingOpen] = deque()
        self.queue = SendQueue()
        self.expired: list[tuple[str, Reason]] = []
        self.arrived: list[tuple[str, bool]] = []
        self.signing_s = 0.0
        self.outbox = outbox
        self.session = Session(
            client=cast("PahoClient", self.client),
            url="mqtt://broker",
            topics=FRONT,
            outbox=outbox,
            opens=self.opens,
            queue=self.queue,
            birth=HomeAssistantBirthListener(discovery, lambda _low, high: high),
            sign=self.sign,
            clock=self.clock,
            on_open_expired=lambda command, reason, _: self.expired.append((command.id, reason)),
            on_open_arrived=lambda command, unheard: self.arrived.append((command.id, unheard)),
        )

    def sign(self, _channel: Channel, payload: bytes) -> bytes:
        self.clock.advance(self.signing_s)
        return payload

    def open(self, life_ns: int = LIFE_NS) -> OpenCommand:
        command = an_open_command()
        self.opens.append(PendingOpen(command, self.clock.monotonic_ns() + life_ns))
        return command

    def run(self, *script: Callable[[], None]) -> list[str]:
        """Run the session through the script; returns the sent messages."""
        self.client.script = [*script, self._stop]
        self._stop_ns: int | None = None
        with pytest.raises(SessionStopped):
            self.session.run(WakeupPipe(), lambda: self._stop_ns)
        return self.client.sent

    def _stop(self) -> None:
        self._stop_ns = self.clock.monotonic_ns()  # no time is left for anything but offline


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(open_outbox(tmp_path))


def test_open_after_a_ping(door: Door) -> None:
    """A frozen broker whose connection was cut stops at the ping."""
    command = door.open()
    assert door.run(door.client.answer(1)) == ["ping", "open", "status"]
    assert decode(Channel.OPEN, door.client.payloads[1]) == command
    assert door.arrived == [(command.id, False)]
    assert door.expired == []


def test_open_too_old_after_signing(door: Door) -> None:
    """The time is checked last, and the open command is not sent."""
    command = door.open()
    door.signing_s = LIFE_NS / NS
    assert door.run() == ["status"]
    assert door.expired == [(command.id, Reason.OPEN_TOO_OLD)]


def test_open_too_old_while_waiting_for_a_place(door: Door) -> None:
    """The broker accepts one message; the next open command expires unsent."""
    door.client.receive_max = 1
    first, second = door.open(), door.open(life_ns=NS)
    sent = door.run(lambda: door.clock.advance(1), door.client.answer(1))
    assert sent == ["ping", "open", "status"]
    assert (door.arrived, door.expired) == ([(first.id, False)], [(second.id, Reason.OPEN_TOO_OLD)])


def test_open_without_acknowledgement_cuts_the_connection(door: Door) -> None:
    """After its expiry and a grace period, not before."""
    command = door.open()
    grace_s = (LIFE_NS + ACK_GRACE_NS) / NS
    door.client.script = [lambda: door.clock.advance(grace_s), lambda: door.clock.advance(1e-9)]
    with pytest.raises(BrokerError, match="not acknowledged in time"):
        door.session.run(WakeupPipe(), lambda: None)
    assert len(door.client.waits_s) == 2
    assert door.client.waits_s[0] == 1.0
    door.session.abort()
    assert door.client.aborted
    assert [id_ for id_, reason in door.expired if reason is Reason.CONNECTION_BROKE] == [command.id]


def test_wait_ends_with_the_grace_period(door: Door) -> None:
    """The session wakes up in time to cut the connection."""
    door.open(life_ns=NS // 2)
    door.run(lambda: door.clock.advance(1.4))
    assert door.client.waits_s[:2] == [1.0, pytest.approx(0.1)]


def test_open_without_a_subscriber(door: Door) -> None:
    command = door.open()
    door.run(door.client.answer(1, unheard=True))
    assert door.arrived == [(command.id, True)]


def test_open_refused_by_the_broker(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    """It is reported, and the connection continues."""
    command = door.open()
    door.run(door.client.answer(1, refusal="not authorised"))
    assert door.expired == [(command.id, Reason.BROKER_REFUSED_OPEN)]
    assert door.arrived == []
    assert "check its access rules" in caplog.text


def test_connection_breaks_while_an_open_is_sent(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def publish(*_arguments: object, **_named: object) -> int:
        raise BrokerError("lost")

    command = door.open()
    monkeypatch.setattr(door.client, "publish", publish)
    with pytest.raises(BrokerError):
        door.session.run(WakeupPipe(), lambda: None)
    assert door.expired == [(command.id, Reason.CONNECTION_BROKE)]


def test_refused_event_ends_the_session(door: Door) -> None:
    """Earlier events are delivered; the refused one stays in the outbox."""
    for text in "abc":
        door.outbox.append(an_event(text))
    door.client.script = [lambda: (door.client.answer(1)(), door.client.answer(2, refusal="quota")())]  # type: ignore[list-item]
    with pytest.raises(BrokerRefusedError, match=r"refuses events of this door \(quota\)"):
        door.session.run(WakeupPipe(), lambda: None)
    assert details(door.outbox) == ["b", "c"]


def test_events_are_delivered_up_to_the_first_gap(door: Door) -> None:
    """An early acknowledgement of a later event delivers nothing yet."""
    for text in "abc":
        door.outbox.append(an_event(text))
    depths: list[int] = []
    late_first = [door.client.answer(2), lambda: depths.append(door.outbox.depth()), door.client.answer(1, 3)]
    assert door.run(*late_first, lambda: depths.append(door.outbox.depth())) == ["events"] * 3 + ["status"]
    assert depths == [3, 0]
    events = [cast("Event", decode(Channel.EVENTS, door.client.payloads[number])) for number in (1, 2, 3)]
    assert [event.seq for event in events] == [1, 2, 3]
    assert all(event.published_at for event in events)


@pytest.mark.parametrize(("receive_max", "first"), [(1, 1), (RESERVED_IN_FLIGHT + 2, 2), (65_535, MAX_IN_FLIGHT)])
def test_window_of_events(tmp_path: Path, receive_max: int, first: int) -> None:
    """Places stay free for open commands and status if the broker accepts more than one message."""
    door = Door(open_outbox(tmp_path), receive_max)
    for number in range(MAX_IN_FLIGHT + 5):
        door.outbox.append(an_event(str(number)))
    assert door.run() == ["events"] * first + ["status"]


def test_place_for_a_waiting_open(door: Door) -> None:
    """If the broker accepts one message, no event is sent before the open command."""
    door.client.receive_max = 1
    door.outbox.append(an_event())
    door.open()
    assert door.run(door.client.answer(1)) == ["ping", "open", "events", "status"]


def test_snapshot_after_its_event(door: Door) -> None:
    """It never overtakes the event and does not use a congested network."""
    event = an_event()
    door.queue.add_snapshot(Snapshot(event.id, 1, b"jpeg", door.clock.monotonic_ns() + LIFE_NS))
    door.client.congested = True

    def append() -> None:
        door.outbox.append(event)

    def uncongest() -> None:
        door.client.congested = False

    assert door.run(append, uncongest) == ["events", "snapshot", "status"]


def test_health_waits_for_the_network(door: Door) -> None:
    """A report made while the network is congested is dropped, because the next one is newer."""
    door.client.congested = True
    door.queue.set_health(a_report(1))
    assert door.run() == ["status"]


def test_online_first_then_retained_payloads(door: Door) -> None:
    door.queue.set_retained("threshold/home/front/presence", b"{}")
    door.session.announce_online()
    assert door.run() == ["status", "presence", "status"]


def test_home_assistant_birth_repeats_retained_payloads(tmp_path: Path) -> None:
    """Once, after the jitter, which ends the wait."""
    topic = "homeassistant/device/front/config"
    door = Door(open_outbox(tmp_path), discovery=DiscoveryMessage(topic, b"{}", "homeassistant/status", (0.5, 0.5)))
    door.queue.set_retained(topic, b"{}")
    door.session.announce_online()
    birth = IncomingMessage("homeassistant/status", BIRTH, retained=False)
    sent = door.run(lambda: door.client.messages.append(birth), lambda: door.clock.advance(0.5))
    assert sent == ["status", "subscribe homeassistant/status", "config", "config", "status"]
    assert door.client.waits_s[1] == 0.5


def test_stop_when_everything_is_sent(door: Door) -> None:
    """Before the deadline."""
    door.outbox.append(an_event())
    stop_ns = door.clock.monotonic_ns() + 60 * NS
    door.client.script = [door.client.answer(1), door.client.answer(2)]
    with pytest.raises(SessionStopped):
        door.session.run(WakeupPipe(), lambda: stop_ns)
    assert door.client.sent == ["events", "status"]
    assert door.client.closed
    assert len(door.client.waits_s) == 2


def test_stop_at_the_deadline(door: Door) -> None:
    """Offline is published in time, although an event is not acknowledged."""
    door.outbox.append(an_event())
    stop_ns = door.clock.monotonic_ns() + 3 * NS
    door.client.script = [lambda: door.clock.advance(2.1), lambda: door.clock.advance(0.5)]
    door.client.script += [lambda: door.clock.advance(0.4)]
    with pytest.raises(SessionStopped):
        door.session.run(WakeupPipe(), lambda: stop_ns)
    assert door.client.sent == ["events", "status"]
    assert door.client.closed
    assert door.outbox.depth() == 1


def test_unreadable_outbox_does_not_delay_opens(door: Door) -> None:
    door.outbox.close()
    command = door.open()
    assert door.run(door.client.answer(1)) == ["ping", "open", "status"]
    assert door.arrived == [(command.id, False)]
