"""What each kind of event means, in a line, and until when messages may be held back."""

from __future__ import annotations

from edge.events.schema import EventKind
from edge.events.topics import Channel

MEANINGS: dict[EventKind, str] = {
    EventKind.DOOR_OPEN: "somebody was recognised, and a rule lets them in",
    EventKind.DENIED: "somebody was recognised, and nothing lets them in; `reason` says why",
    EventKind.UNKNOWN: "a visitor is none of those enrolled",
    EventKind.STARTED: "the door has begun to watch",
    EventKind.STOPPED: "it was told to stop, or has failed",
    EventKind.CAMERA_LOST: "the camera gives no frames any more",
    EventKind.CAMERA_BACK: "it does again",
    EventKind.CAMERA_BLIND: "the camera gives frames that show nothing: black, flooded, covered, frozen",
    EventKind.CAMERA_SEES: "they show something again",
    EventKind.OPEN_EXPIRED: "an opening did not surely arrive in time, so the door may have stayed shut; "
    "a visitor who stays gets another `door-open`",
    EventKind.OPEN_UNHEARD: "the broker took an opening and no lock subscribes to it, so the door stayed shut; only a "
    "broker of MQTT 5 says so, and not every one",
    EventKind.EVENTS_DROPPED: "the event store was full or its events too old: `dropped` of them are lost",
    EventKind.RELEASE_APPLIED: "a release of people, rules or models is in use",
    EventKind.RELEASE_REFUSED: "a release was refused; the one before stays in use",
    EventKind.STORE_FAILING: "the disk takes no events; they are held in memory",
    EventKind.STORE_BACK: "it takes them again",
    EventKind.STORE_REPLACED: "the event store was damaged and begun anew",
    EventKind.CLOCK_STEPPED: "the clock was set by more than two seconds",
}

# Until when a broker may hold a message back (MQTT 5), by the last part of its topic; others without limit.
EXPIRY: dict[str, str] = {
    Channel.OPEN: "`[mqtt] open_max_age_s` after the capture",
    Channel.CHALLENGE: "at `expires_at`; how it ended, after 5 s",
    "snapshot": "`[snapshots] max_age_s` after the capture",
}
