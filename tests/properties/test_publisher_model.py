"""The publisher with a model of a broker that is slow, refuses, and drops connections.

`Session`, `SendQueue` and the outbox are real. A model of a broker replaces the socket; it draws the next action
whenever the publisher waits.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter, deque
from pathlib import Path
from typing import Literal, NamedTuple, cast

from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.manual_clock import ManualClock
from support.mqtt_brokers import T0_NS, an_event
from support.outboxes import open_outbox

from edge.core.errors import BrokerError
from edge.core.timestamps import format_unix_ns
from edge.core.wakeup_pipe import WakeupPipe
from edge.events.homeassistant import HomeAssistantBirthListener
from edge.events.schema import VERSION, Event, OpenCommand, PersonRef, decode
from edge.events.signing import no_signature
from edge.events.topics import Channel, Topics
from edge.mqtt.paho_client import IncomingMessage, PahoClient, PublishAck
from edge.mqtt.send_queue import SendQueue, Snapshot
from edge.mqtt.session import MAX_IN_FLIGHT, PendingOpen, Session
from edge.outbox.outbox import Outbox

S = 1_000_000_000
MAX_AGE_NS = 3 * S
TOPICS = Topics("home", "front")
STEPS = [
    "events",
    "opening",
    "picture",
    "take",
    "acknowledge",
    "acknowledge late ones first",
    "wait",
    "refuse",
    "break off",
]


class Calm(Exception):  # noqa: N818 ends a run; not an error
    """End of the trial: all messages are sent."""


class TickingClock(ManualClock):
    """Clock that advances a little at every reading, as time passes while the publisher works."""

    def __init__(self, tick_ns: int) -> None:
        super().__init__(monotonic_s=100)
        self.tick_ns = tick_ns

    def monotonic_ns(self) -> int:
        self.advance(self.tick_ns / S)
        return super().monotonic_ns()


class Sent(NamedTuple):
    """A message in flight."""

    topic: str
    payload: bytes


class World:
    """The door, the clock, and everything that the broker received; `script` has the next actions."""

    def __init__(self, outbox: Outbox, script: list[tuple[str, int]], tick_ns: int) -> None:
        self.outbox = outbox
        self.script = list(reversed(script))
        self.clock = TickingClock(tick_ns)
        self.opens: deque[PendingOpen] = deque()
        self.queue = SendQueue()
        self.appended: list[str] = []
        self.received: list[tuple[int, str]] = []  # events by number and id, copies included
        self.acknowledged = 0  # the highest number that the broker has acknowledged
        self.openings: dict[str, int] = {}  # id to expiry
        self.published: Counter[str] = Counter()  # openings passed to the network
        self.landed: Counter[str] = Counter()
        self.expired: Counter[str] = Counter()

    @property
    def now_ns(self) -> int:
        return ManualClock.monotonic_ns(self.clock)

    def session(self, client: PahoClient) -> Session:
        return Session(
            client=client,
            url="mqtt://broker",
            topics=TOPICS,
            outbox=self.outbox,
            opens=self.opens,
            queue=self.queue,
            birth=HomeAssistantBirthListener(None),
            sign=no_signature,
            clock=self.clock,
            on_open_expired=lambda command, *_: self.expired.update([command.id]),
            on_open_arrived=lambda *_: None,
        )

    def happen(self, count: int) -> None:
        for _ in range(count):
            event = an_event()
            self.outbox.append(event)
            self.appended.append(event.id)

    def show(self) -> None:
        """Publish a picture of the last event."""
        if self.appended:
            seq = self.outbox.acknowledged_seq() + self.outbox.depth()
            self.queue.add_snapshot(Snapshot(self.appended[-1], seq, b"jpeg", self.now_ns + MAX_AGE_NS))

    def open(self) -> None:
        at = format_unix_ns(T0_NS)
        number = f"open-{len(self.openings)}"
        message = OpenCommand(
            v=VERSION, id=number, seq=0, door="front", person=PersonRef(id="a", name="A"), at=at, expires_at=at
        )
        self.openings[number] = self.now_ns + MAX_AGE_NS
        self.opens.append(PendingOpen(message, self.now_ns + MAX_AGE_NS))


class ModelClient:
    """A connection to the model: published messages may arrive, and messages that arrived may be acknowledged."""

    protocol: Literal["5"] = "5"

    def __init__(self, world: World, receive_max: int) -> None:
        self.world = world
        self.receive_max = receive_max
        self.number = 0
        self.sent: dict[int, Sent] = {}  # not received by the broker yet
        self.taken: dict[int, Sent] = {}  # received, not acknowledged
        self.last_seq = 0
        self.waiting: list[PublishAck] = []
        self.idle = 0
        self.pinged = False

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> int:
        self.number += 1
        if qos:
            self.sent[self.number] = Sent(topic, payload)
        found = Topics.parse(topic)
        channel = found[1] if found else None  # None: a picture
        if channel is Channel.EVENTS:
            event = cast("Event", decode(channel, payload))
            assert event.seq > self.last_seq, "out of order or repeated in one connection"
            assert event.seq > self.world.acknowledged, "sent again though the broker has it"
            assert not retain
            self.last_seq = event.seq
        elif channel is Channel.OPEN:
            opening = cast("OpenCommand", decode(channel, payload))
            assert self.world.now_ns < self.world.openings[opening.id], "an opening sent late"
            assert self.pinged, "an opening that a broker would pass on when it thaws"
            assert (retain, qos, expiry_s in range(1, 4)) == (False, 1, True)
            self.world.published[opening.id] += 1
        under_way = [*self.sent.values(), *self.taken.values()]
        self.pinged = False
        assert len(under_way) <= self.receive_max, "more under way than the broker lets us"
        assert sum(each.topic == TOPICS.topic_for(Channel.EVENTS) for each in under_way) <= MAX_IN_FLIGHT
        return self.number

    def subscribe(self, topics: list[str], qos: int) -> None:
        raise AssertionError("nothing to subscribe to")

    def ping(self) -> None:
        self.pinged = True

    def is_congested(self) -> bool:
        return False

    def take_acks(self) -> list[PublishAck]:
        taken, self.waiting = self.waiting, []
        return taken

    def take_messages(self) -> list[IncomingMessage]:
        return []

    def abort(self) -> None:
        """Drop messages in flight; the broker keeps the messages that it received."""

    def poll(self, timeout_s: float, wakeup: WakeupPipe | None = None) -> None:
        world = self.world
        assert timeout_s > 0
        step, count = world.script.pop() if world.script else ("settle", 0)
        if step == "events":
            world.happen(count)
        elif step == "opening":
            world.open()
        elif step == "picture":
            world.show()
        elif step == "take":
            self.take(count)
        elif step.startswith("acknowledge"):
            self.acknowledge(count, late_first="late" in step, refusal="")
        elif step == "wait":
            world.clock.advance(count / 2)
        elif step == "refuse":
            self.acknowledge(1, late_first=False, refusal="quota exceeded")
        elif step == "break off":
            raise BrokerError("the connection was lost")
        else:
            self.settle()

    def take(self, count: int) -> None:
        """Deliver the next messages in order."""
        for number in list(self.sent)[:count]:
            message = self.taken[number] = self.sent.pop(number)
            if message.topic == TOPICS.topic_for(Channel.EVENTS):
                event = cast("Event", decode(Channel.EVENTS, message.payload))
                self.world.received.append((event.seq, event.id))

    def acknowledge(self, count: int, *, late_first: bool, refusal: str) -> None:
        numbers = list(self.taken)[-count:] if late_first else list(self.taken)[:count]
        for number in numbers:
            message = self.taken.pop(number)
            self.waiting.append(PublishAck(number, refusal))
            if not refusal and message.topic == TOPICS.topic_for(Channel.OPEN):
                self.world.landed[cast("OpenCommand", decode(Channel.OPEN, message.payload)).id] += 1
            if not refusal and not any(
                each.topic == TOPICS.topic_for(Channel.EVENTS) for each in [*self.taken.values(), *self.sent.values()]
            ):
                self.world.acknowledged = max(self.world.acknowledged, self.last_seq)
            if refusal:
                return

    def settle(self) -> None:
        """Receive and acknowledge everything until no message follows."""
        self.idle = 0 if self.sent or self.taken else self.idle + 1
        if self.idle > 2:
            raise Calm
        self.take(len(self.sent))
        self.acknowledge(len(self.taken), late_first=False, refusal="")


def play(world: World, receive_max: int) -> None:
    """Use one connection after another, like `Publisher`, until all messages are sent."""
    wakeup = WakeupPipe()
    while True:
        session = world.session(cast("PahoClient", ModelClient(world, receive_max)))
        try:
            session.announce_online()
            session.run(wakeup, lambda: None)
        except BrokerError:
            continue
        except Calm:
            return
        finally:
            session.abort()


@example(script=[("opening", 1)], receive_max=3, tick_ns=S * 2 // 3)  # it expires while it is built
@example(script=[("opening", 1)], receive_max=3, tick_ns=S * 4 // 5)
@example(script=[("events", 2), ("picture", 1)], receive_max=1, tick_ns=S // 1000)
@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    script=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 9)), max_size=40),
    receive_max=st.sampled_from([1, 3, 20, 65_535]),
    tick_ns=st.sampled_from([S // 1000, S // 10, S * 2 // 3]),
)
def test_order_of_events_and_age_of_openings(script: list[tuple[str, int]], receive_max: int, tick_ns: int) -> None:
    """The promises hold for every behaviour of broker and network."""
    home = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    (home / "outbox.ballast").touch()
    try:
        with open_outbox(home, clock=ManualClock(synced=False)) as outbox:
            world = World(outbox, script, tick_ns)
            play(world, receive_max)
            assert outbox.depth() == 0
        firsts = list(dict.fromkeys(world.received))
        assert [id_ for _, id_ in firsts] == world.appended, "lost, or first seen out of order"
        assert len({seq for seq, _ in firsts}) == len(firsts), "one number for two events"
        assert all(count == 1 for count in world.published.values()), "an opening sent twice"
        for opening in world.openings:
            assert world.expired[opening] <= 1, "given up twice"
            assert world.landed[opening] or world.expired[opening], "an opening vanished without a word"
    finally:
        shutil.rmtree(home)
