"""Reason codes in words: the meaning of each code, and what an operator does about it."""

from __future__ import annotations

from dataclasses import dataclass

from edge.core.reasons import Reason
from edge.events.schema import EventKind
from edge.liveness.prompts import ChallengeFailure


@dataclass(frozen=True, slots=True)
class ReasonText:
    """A reason in words: two sentences without their full stops."""

    meaning: str
    action: str = ""  # what an operator does; "": nothing


REASONS_BY_KIND: dict[EventKind, tuple[Reason, ...]] = {
    EventKind.DOOR_OPEN: (Reason.WITHIN_THRESHOLD,),
    EventKind.DENIED: (
        Reason.NO_RULE,
        Reason.OUTSIDE_SCHEDULE,
        Reason.NOT_YET_VALID,
        Reason.NO_LONGER_VALID,
        Reason.CLOCK_NOT_SET,
        Reason.PRESENTATION_ATTACK,
        Reason.LIVENESS_NOT_SHOWN,
        Reason.CHALLENGE_FAILED,
    ),
    EventKind.UNKNOWN: (
        Reason.BEYOND_THRESHOLD,
        Reason.RUNNER_UP_TOO_NEAR,
        Reason.TOO_FEW_AGREE,
        Reason.REPEATED_FAILURES,
    ),
    EventKind.STARTED: (Reason.SERVICE_STARTED,),
    EventKind.STOPPED: (Reason.STOP_REQUESTED, Reason.RECORDING_ENDED, Reason.SERVICE_FAILED),
    EventKind.CAMERA_LOST: (Reason.CAMERA_NOT_OPENED, Reason.NO_FRAMES),
    EventKind.CAMERA_BACK: (Reason.CAMERA_OPENED,),
    EventKind.CAMERA_BLIND: (
        Reason.IMAGE_BLACK,
        Reason.IMAGE_OVEREXPOSED,
        Reason.IMAGE_COVERED,
        Reason.IMAGE_FROZEN,
    ),
    EventKind.CAMERA_SEES: (Reason.IMAGE_VISIBLE,),
    EventKind.OPEN_EXPIRED: (
        Reason.OPEN_TOO_OLD,
        Reason.BROKER_NOT_CONNECTED,
        Reason.CONNECTION_BROKE,
        Reason.BROKER_REFUSED_OPEN,
        Reason.EVENT_NOT_STORED,
        Reason.LOCK_TOO_LATE,
        Reason.RELAY_FAILED,
        Reason.DOOR_STOPPING,
    ),
    EventKind.OPEN_UNHEARD: (Reason.NO_LOCK_SUBSCRIBED,),
    EventKind.EVENTS_DROPPED: (Reason.EVENTS_LOST,),
    EventKind.RELEASE_APPLIED: (Reason.RELEASE_APPLIED,),
    EventKind.RELEASE_REFUSED: (
        Reason.RELEASE_EXPIRED,
        Reason.RELEASE_NOT_VERIFIED,
        Reason.RELEASE_NOT_USABLE,
        Reason.RELEASE_NOT_STORED,
    ),
    EventKind.STORE_FAILING: (Reason.DISK_FULL, Reason.DISK_FAILING),
    EventKind.STORE_BACK: (Reason.EVENTS_STORED_AGAIN, Reason.DISK_HAS_ROOM),
    EventKind.STORE_REPLACED: (Reason.STORE_DAMAGED, Reason.STORE_MISSING),
    EventKind.CLOCK_STEPPED: (Reason.CLOCK_SET_FORWARD, Reason.CLOCK_SET_BACK),
}
STATUS_REASONS = (Reason.CONNECTED, Reason.STOPPED, Reason.CONNECTION_LOST)
RELEASE_REASONS = (
    Reason.NO_RELEASE,
    Reason.RELEASE_APPLIED,
    Reason.RELEASE_RUNNING,
    *REASONS_BY_KIND[EventKind.RELEASE_REFUSED],
    Reason.RELEASE_ROLLED_BACK,
)

REASON_TEXTS: dict[Reason, ReasonText] = {
    Reason.WITHIN_THRESHOLD: ReasonText("The face matches one enrolled person, and no other person is close"),
    Reason.NO_RULE: ReasonText(
        "No access rule at this door names this person", "Add the person to a rule of policy.toml and publish it"
    ),
    Reason.OUTSIDE_SCHEDULE: ReasonText(
        "The rule for this person is not active at this time", "Change its schedule if the person should pass now"
    ),
    Reason.NOT_YET_VALID: ReasonText(
        "The access of this person has not begun", "Change valid_from if the person should pass now"
    ),
    Reason.NO_LONGER_VALID: ReasonText(
        "The access of this person has ended", "Change valid_until if the person should pass again"
    ),
    Reason.CLOCK_NOT_SET: ReasonText(
        "The rule depends on the time, and the clock of the door is not set",
        "Let the door reach a time server; edge check shows whether it does",
    ),
    Reason.PRESENTATION_ATTACK: ReasonText(
        "The face looks like a photo or a screen", "Find out who tried; [snapshots] can show the face"
    ),
    Reason.LIVENESS_NOT_SHOWN: ReasonText(
        "The visitor showed too little sign of life in time",
        "Ask the visitor to look at the camera and to move the head a little",
    ),
    Reason.CHALLENGE_FAILED: ReasonText(
        "The visitor did not make the movement that the door asked for",
        "Ask the visitor to try again; liveness.challenge is the cause",
    ),
    Reason.BEYOND_THRESHOLD: ReasonText(
        "The face matches no enrolled person", "Enrol the visitor, or add photos of an enrolled person"
    ),
    Reason.RUNNER_UP_TOO_NEAR: ReasonText(
        "The face matches two enrolled people about equally well",
        "Check the photos of both people for wrong or poor ones",
    ),
    Reason.TOO_FEW_AGREE: ReasonText(
        "Too few samples match the same person", "Check the light and the photos of the person"
    ),
    Reason.REPEATED_FAILURES: ReasonText(
        "The visitor has failed several times and is paused",
        "Let the visitor wait, or check why the door does not recognise them",
    ),
    Reason.SERVICE_STARTED: ReasonText("The service has started"),
    Reason.STOP_REQUESTED: ReasonText("Somebody stopped the service, or the system is shutting down"),
    Reason.RECORDING_ENDED: ReasonText("The recording has ended"),
    Reason.SERVICE_FAILED: ReasonText("The service failed", "Read its log: journalctl -u edge"),
    Reason.CAMERA_NOT_OPENED: ReasonText(
        "The camera cannot be opened", "Check its cable, its power and [camera] source"
    ),
    Reason.NO_FRAMES: ReasonText("The camera stopped sending frames", "Check its cable, its power and its network"),
    Reason.CAMERA_OPENED: ReasonText("The camera is open again"),
    Reason.IMAGE_BLACK: ReasonText("The image is black", "Turn on a light or uncover the lens"),
    Reason.IMAGE_OVEREXPOSED: ReasonText("The image is white", "Shield the lens from the sun or the lamp"),
    Reason.IMAGE_COVERED: ReasonText("The image has no detail", "Uncover, clean or focus the lens"),
    Reason.IMAGE_FROZEN: ReasonText(
        "The camera repeats the same image, so the door reopens it", "If this happens often, update or replace it"
    ),
    Reason.IMAGE_VISIBLE: ReasonText("The image is usable again"),
    Reason.OPEN_TOO_OLD: ReasonText(
        "The open command expired before it was sent", "Check the network between the door and the broker"
    ),
    Reason.BROKER_NOT_CONNECTED: ReasonText(
        "The door had no connection to the broker", "Check the broker and the network of the door"
    ),
    Reason.CONNECTION_BROKE: ReasonText(
        "The connection broke before the broker acknowledged the open command",
        "Check the network between the door and the broker",
    ),
    Reason.BROKER_REFUSED_OPEN: ReasonText(
        "The broker refused the open command", "Let the door write to its open topic in the access rules of the broker"
    ),
    Reason.EVENT_NOT_STORED: ReasonText(
        "The event could not be stored, so the door did not open", "Check the disk of the door"
    ),
    Reason.LOCK_TOO_LATE: ReasonText(
        "The open command expired before the lock could act", "Check whether the board of the door is overloaded"
    ),
    Reason.RELAY_FAILED: ReasonText("The relay of the lock could not be switched", "Check its wiring and [lock]"),
    Reason.DOOR_STOPPING: ReasonText("The service was stopping"),
    Reason.NO_LOCK_SUBSCRIBED: ReasonText(
        "No lock subscribes to the open topic of this door", "Start the lock and check its topic"
    ),
    Reason.EVENTS_LOST: ReasonText(
        "Events were dropped because too many waited, or for too long",
        "Check the connection to the broker and [outbox]",
    ),
    Reason.RELEASE_APPLIED: ReasonText("A release of people, rules or models is in use"),
    Reason.RELEASE_RUNNING: ReasonText("The release on the disk of the door is in use"),
    Reason.NO_RELEASE: ReasonText("The door has no release yet", "Publish one with threshold sync"),
    Reason.RELEASE_EXPIRED: ReasonText(
        "The signed metadata has expired", "Publish again, or check the clock of the door"
    ),
    Reason.RELEASE_NOT_VERIFIED: ReasonText(
        "The release is incomplete, damaged, older, or not signed by a trusted key", "Publish it again"
    ),
    Reason.RELEASE_NOT_USABLE: ReasonText(
        "The release is genuine, but this door cannot use it", "Correct what the detail names and publish again"
    ),
    Reason.RELEASE_NOT_STORED: ReasonText("The release could not be stored", "Check the disk of the door"),
    Reason.RELEASE_ROLLED_BACK: ReasonText(
        "The release failed on this door, which runs the previous one", "Read the log of the door and publish a new one"
    ),
    Reason.DISK_FULL: ReasonText("The disk is full", "Free space on the disk of the door"),
    Reason.DISK_FAILING: ReasonText(
        "The disk does not store events; nothing opens until it does", "Check the disk, and replace it if it is worn"
    ),
    Reason.EVENTS_STORED_AGAIN: ReasonText("The disk stores events again"),
    Reason.DISK_HAS_ROOM: ReasonText("The disk has free space again"),
    Reason.STORE_DAMAGED: ReasonText(
        "The event store was damaged and was replaced", "Check the disk; events may be lost"
    ),
    Reason.STORE_MISSING: ReasonText(
        "The event store was missing, and a new one was made", "Find out what deleted it; events may be lost"
    ),
    Reason.CLOCK_SET_FORWARD: ReasonText(
        "The clock was set forward", "If this happens often, check the time server and the battery of the clock"
    ),
    Reason.CLOCK_SET_BACK: ReasonText(
        "The clock was set back", "If this happens often, check the time server and the battery of the clock"
    ),
    Reason.CONNECTED: ReasonText("The door is connected to the broker"),
    Reason.STOPPED: ReasonText("The service of the door was stopped"),
    Reason.CONNECTION_LOST: ReasonText(
        "The broker lost the connection to the door", "Check the power and the network of the door"
    ),
    Reason.OTHER: ReasonText("The reason is not in this list; the detail describes it"),
}

CHALLENGE_FAILURES: dict[ChallengeFailure, str] = {
    ChallengeFailure.NONE: "The challenge has not failed.",
    ChallengeFailure.TOO_LATE: "The movement was not completed in time.",
    ChallengeFailure.TOO_EARLY: "The movement began sooner than a person can react.",
    ChallengeFailure.NOT_STILL: "The head was not straight and still before the movement.",
    ChallengeFailure.MOVED_UNASKED: "The head moved before the door asked for a movement.",
    ChallengeFailure.WRONG_MOVEMENT: "The head moved in another direction.",
    ChallengeFailure.JUMPED: "The head moved in a jump, as if one picture replaced another.",
    ChallengeFailure.OUT_OF_SIGHT: "The face was out of sight for too long.",
    ChallengeFailure.LEFT: "The visitor left.",
    ChallengeFailure.ANOTHER_FACE: "Another face took the place of the recognised one.",
    ChallengeFailure.INTERRUPTED: "New people, rules or models came into use.",
}


def reason_meaning(reason: str, detail: str | None = None) -> str:
    """The meaning of a reason without a full stop, such as "The disk is full: /var".

    Args:
        reason: a code; one that is not in the list is returned as it is.
        detail: what the event adds, such as an error message; it follows the meaning.
    """
    if reason == Reason.OTHER and detail:
        return detail
    meaning = REASON_TEXTS[Reason(reason)].meaning if reason in _CODES else reason
    return f"{meaning}: {detail}" if detail else meaning


def reason_sentence(reason: str, detail: str | None = None) -> str:
    """The meaning of a reason, and what an operator does about it; arguments as for `reason_meaning`."""
    action = REASON_TEXTS[Reason(reason)].action if reason in _CODES else ""
    sentences = [reason_meaning(reason, detail), *([action] if action else [])]
    return " ".join(f"{sentence.rstrip('.')}." for sentence in sentences)


_CODES = frozenset(code.value for code in Reason)
