"""Topics of a door: making, parsing, QoS and retain flags."""

from __future__ import annotations

from edge.events.topics import DELIVERY_TERMS, Channel, Topics


def test_qos_and_retain_flag_of_every_channel() -> None:
    """Messages that open a door or show a visitor are not retained."""
    assert set(DELIVERY_TERMS) == set(Channel)
    assert not any(DELIVERY_TERMS[channel].retained for channel in (Channel.EVENTS, Channel.OPEN, Channel.CHALLENGE))


def test_parsing_reverses_making() -> None:
    """Other topics are not topics of a door."""
    door = Topics("home", "front.1")
    assert door.topic_for(Channel.OPEN) == "threshold/home/front.1/open"
    assert all(Topics.parse(door.topic_for(channel)) == (door, channel) for channel in Channel)
    picture = door.snapshot("018f0c5a-0000-7000-8000-000000000000")
    assert Topics.split_snapshot(picture) == (door, picture.rpartition("/")[2])
    assert Topics.parse(picture) is None
    assert Topics.split_snapshot(door.snapshot("+")) is None
    for other in ("threshold/home/front/events/x", "threshold/home/repo/root.json", "x/home/front/events", ""):
        assert Topics.parse(other) is None
