"""Reason codes: why a door answered as it did, and why it reports something about itself.

The list is closed and part of the MQTT contract; `edge.events.reasons` has a sentence for each code.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Reason code; later versions may add some."""  # part of the contract documents

    # door-open
    WITHIN_THRESHOLD = "within-threshold"
    # denied
    NO_RULE = "no-rule-for-this-person"
    OUTSIDE_SCHEDULE = "outside-schedule"
    NOT_YET_VALID = "not-yet-valid"
    NO_LONGER_VALID = "no-longer-valid"
    CLOCK_NOT_SET = "clock-not-set"
    PRESENTATION_ATTACK = "presentation-attack"
    LIVENESS_NOT_SHOWN = "liveness-not-shown"
    CHALLENGE_FAILED = "challenge-failed"
    # unknown
    BEYOND_THRESHOLD = "beyond-threshold"
    RUNNER_UP_TOO_NEAR = "runner-up-too-near"
    TOO_FEW_AGREE = "too-few-agree"
    REPEATED_FAILURES = "repeated-failures"
    # started, stopped
    SERVICE_STARTED = "service-started"
    STOP_REQUESTED = "stop-requested"
    RECORDING_ENDED = "recording-ended"
    SERVICE_FAILED = "service-failed"
    # camera-lost, camera-back
    CAMERA_NOT_OPENED = "camera-not-opened"
    NO_FRAMES = "no-frames"
    CAMERA_OPENED = "camera-opened"
    # camera-blind, camera-sees
    IMAGE_BLACK = "image-black"
    IMAGE_OVEREXPOSED = "image-overexposed"
    IMAGE_COVERED = "image-covered"
    IMAGE_FROZEN = "image-frozen"
    IMAGE_VISIBLE = "image-visible"
    # `open-expired`, `open-unheard`
    OPEN_TOO_OLD = "open-too-old"
    BROKER_NOT_CONNECTED = "broker-not-connected"
    CONNECTION_BROKE = "connection-broke"
    BROKER_REFUSED_OPEN = "broker-refused-open"
    EVENT_NOT_STORED = "event-not-stored"
    LOCK_TOO_LATE = "lock-too-late"
    RELAY_FAILED = "relay-failed"
    DOOR_STOPPING = "door-stopping"
    NO_LOCK_SUBSCRIBED = "no-lock-subscribed"
    # events-dropped
    EVENTS_LOST = "events-lost"
    # release-applied, release-refused, and the release report
    RELEASE_APPLIED = "release-applied"
    RELEASE_RUNNING = "release-running"
    NO_RELEASE = "no-release"
    RELEASE_EXPIRED = "release-expired"
    RELEASE_NOT_VERIFIED = "release-not-verified"
    RELEASE_NOT_USABLE = "release-not-usable"
    RELEASE_NOT_STORED = "release-not-stored"
    RELEASE_ROLLED_BACK = "release-rolled-back"
    # store-failing, store-back, store-replaced
    DISK_FULL = "disk-full"
    DISK_FAILING = "disk-failing"
    EVENTS_STORED_AGAIN = "events-stored-again"
    DISK_HAS_ROOM = "disk-has-room"
    STORE_DAMAGED = "store-damaged"
    STORE_MISSING = "store-missing"
    # clock-stepped
    CLOCK_SET_FORWARD = "clock-set-forward"
    CLOCK_SET_BACK = "clock-set-back"
    # status
    CONNECTED = "connected"
    STOPPED = "stopped"
    CONNECTION_LOST = "connection-lost"
    # any
    OTHER = "other"


class UndecidedReason(StrEnum):
    """Reasons of a track without an answer; never published."""

    NO_SAMPLE = "no-sample"
    TOO_FEW_SAMPLES = "too-few-samples"
    PAUSED = "paused-after-failures"
