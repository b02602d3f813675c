"""Meaning of each event kind, and the expiry of messages, for the documents."""

from __future__ import annotations

from edge.events.schema import EventKind
from edge.events.topics import Channel

MEANINGS: dict[EventKind, str] = {
    EventKind.DOOR_OPEN: "A person was recognised, and an access rule admits them.",
    EventKind.DENIED: "A person was recognised and is not admitted.",
    EventKind.UNKNOWN: "The visitor matches no enrolled person.",
    EventKind.STARTED: "The door has started.",
    EventKind.STOPPED: "The door was stopped, or it failed.",
    EventKind.CAMERA_LOST: "The camera cannot be opened, or sends no frames any more.",
    EventKind.CAMERA_BACK: "The camera is open again.",
    EventKind.CAMERA_BLIND: "The images of the camera are unusable.",
    EventKind.CAMERA_SEES: "The images of the camera are usable again.",
    EventKind.OPEN_EXPIRED: "An open command may not have arrived in time, so the door may have stayed locked. "
    "A visitor who stays gets another `door-open`.",
    EventKind.OPEN_UNHEARD: "The broker accepted an open command, but no lock subscribes to it. "
    "Only some MQTT 5 brokers report this.",
    EventKind.EVENTS_DROPPED: "Events were lost; `dropped` is their number.",
    EventKind.RELEASE_APPLIED: "A release of people, rules or models is in use.",
    EventKind.RELEASE_REFUSED: "A release was refused; the previous one stays in use.",
    EventKind.STORE_FAILING: "The disk does not store events; they wait in memory.",
    EventKind.STORE_BACK: "The disk stores events again.",
    EventKind.STORE_REPLACED: "The event store was damaged or missing, and a new one is in use.",
    EventKind.CLOCK_STEPPED: "The clock was set by more than two seconds.",
}

# When a message expires at the broker (MQTT 5), by the last part of its topic; others never expire.
EXPIRY: dict[str, str] = {
    Channel.OPEN: "`[mqtt] open_max_age_s` after the capture",
    Channel.CHALLENGE: "at `expires_at`; the result after 5 s",
    "snapshot": "`[snapshots] max_age_s` after the capture",
}
