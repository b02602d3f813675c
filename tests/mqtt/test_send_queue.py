"""The queue of messages other than events: expiry, limits and replacement."""

from __future__ import annotations

from support.mqtt_brokers import T0_NS
from support.mqtt_doors import a_report

from edge.core.timestamps import format_unix_ns
from edge.events.schema import VERSION, Challenge
from edge.liveness.prompts import ChallengeFailure, ChallengeState
from edge.mqtt.send_queue import SendQueue, Snapshot


def a_challenge(number: int) -> Challenge:
    at = format_unix_ns(T0_NS)
    state = ChallengeState.ASKED
    return Challenge(
        v=VERSION,
        door="front",
        id=f"{number}",
        at=at,
        expires_at=at,
        ask=None,
        state=state,
        step=1,
        steps=1,
        reason=ChallengeFailure.NONE,
    )


def a_snapshot(seq: int) -> Snapshot:
    return Snapshot(f"event {seq}", seq, b"jpeg", expires_ns=100)


def test_snapshot_waits_for_its_event() -> None:
    """It is dropped if the event is late."""
    queue = SendQueue()
    queue.add_snapshot(a_snapshot(5))
    assert queue.pop_snapshot(sent_seq=4, now_ns=0) is None
    assert not queue.is_empty()
    taken = queue.pop_snapshot(sent_seq=5, now_ns=99)
    assert taken is not None
    assert taken.seq == 5
    queue.add_snapshot(a_snapshot(6))
    assert queue.pop_snapshot(sent_seq=6, now_ns=100) is None
    assert queue.is_empty()


def test_at_most_sixteen_snapshots_wait() -> None:
    """Without a broker the oldest are dropped."""
    queue = SendQueue()
    for seq in range(100):
        queue.add_snapshot(a_snapshot(seq))
    waiting = iter(lambda: queue.pop_snapshot(sent_seq=100, now_ns=0), None)
    assert [each.seq for each in waiting] == list(range(84, 100))


def test_expired_challenge_is_dropped() -> None:
    """The next one is returned with its own expiry."""
    queue = SendQueue()
    queue.add_challenge(a_challenge(1), expires_ns=10)
    queue.add_challenge(a_challenge(2), expires_ns=11)
    assert not queue.is_empty()
    assert queue.pop_challenge(now_ns=10) == (a_challenge(2), 11)
    assert queue.pop_challenge(now_ns=10) is None
    assert queue.is_empty()


def test_at_most_sixteen_challenges_wait() -> None:
    queue = SendQueue()
    for number in range(20):
        queue.add_challenge(a_challenge(number), expires_ns=10)
    waiting = iter(lambda: queue.pop_challenge(now_ns=0), None)
    assert [message.id for message, _ in waiting] == [str(number) for number in range(4, 20)]


def test_latest_health_report_replaces_others() -> None:
    queue = SendQueue()
    queue.set_health(a_report(1))
    queue.set_health(a_report(2))
    assert not queue.is_empty()
    assert [queue.pop_health(), queue.pop_health()] == [a_report(2), None]


def test_retained_payload_is_sent_once_per_connection() -> None:
    """The latest of each topic; all of them again on the next connection."""
    queue = SendQueue()
    queue.set_retained("a", b"old")
    queue.set_retained("a", b"new")
    queue.set_retained("b", b"b")
    everything = {("a", b"new"), ("b", b"b")}
    assert {queue.pop_retained(), queue.pop_retained()} == everything
    assert queue.pop_retained() is None
    assert queue.is_empty()
    queue.requeue_retained()
    assert not queue.is_empty()
    assert {queue.pop_retained(), queue.pop_retained()} == everything
