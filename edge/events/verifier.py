"""Verifies open commands at a lock: signed by the door, fresh, and not seen before.

Copy this file to the lock. It needs only Python 3.11 and the package `cryptography`.

    verifier = OpenVerifier(Path("front.signing.pub").read_bytes(), door="front", memory=Path("front.number"))
    ...
    try:
        opened = verifier.verify(message.payload)   # a message from threshold/home/front/open
    except OpenRejectedError as reason:
        print(f"stays locked: {reason}")
    else:
        unlock(opened.person)
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

OPEN = "application/vnd.threshold.open.v1+json"  # payload type on …/open
EVENT = "application/vnd.threshold.event.v1+json"  # on …/events
RELEASE = "application/vnd.threshold.release.v1+json"  # on …/release
STATUS = "application/vnd.threshold.status.v1+json"  # on …/status
HEALTH = "application/vnd.threshold.health.v1+json"  # on …/health
MAX_MESSAGE_BYTES = 64 * 1024  # doors send much shorter messages


class OpenRejectedError(Exception):
    """The message must not open the lock; the text is the reason."""


@dataclass(frozen=True, slots=True)
class VerifiedOpen:
    """A valid open command: id of the door-open event, id of the person, capture time."""

    id: str
    person: str
    at: str


def load_key(pem: bytes) -> Ed25519PublicKey:
    """Load the public key of a door from the bytes of its .signing.pub.

    Raises:
        ValueError: `pem` is not an Ed25519 public key.
    """
    key = load_pem_public_key(pem)
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 public key")
    return key


def verify_signature(message: bytes, key: Ed25519PublicKey, kind: str) -> dict[str, Any]:
    """Verify the signature of a message, not its age, and return the signed JSON object.

    Args:
        message: payload as received.
        key: public key of the door.
        kind: `OPEN`, `EVENT`, `RELEASE`, `STATUS` or `HEALTH`.

    Raises:
        OpenRejectedError: no valid signature of that key, or the plain fields differ from the signed ones.
    """
    if len(message) > MAX_MESSAGE_BYTES:
        raise OpenRejectedError(f"{len(message)} bytes: too long for a message of a door")
    try:
        plain = json.loads(message)
        envelope = plain.pop("dsse")
        payload = base64.b64decode(envelope["payload"], validate=True)
        signatures = [base64.b64decode(signature["sig"], validate=True) for signature in envelope["signatures"]]
        types = (envelope["payloadType"], kind)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise OpenRejectedError("not signed") from error
    if types[0] != types[1]:
        raise OpenRejectedError(f"signed as another type than {kind}")
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    if not any(_signature_valid(key, signature, signed) for signature in signatures):
        raise OpenRejectedError("not signed by this door, or altered")
    content: dict[str, Any] = json.loads(payload)
    if content != plain:
        raise OpenRejectedError("the plain fields differ from the signed ones")
    return content  # not `plain`: 1 and true are equal in Python


class OpenVerifier:
    """Accepts each open command of one door once, in order, while it is fresh. Not thread-safe.

    A door numbers its commands (`seq`), and only rising numbers are accepted. So a command that was held back is
    rejected after a later one, and a rejected command stays rejected, whatever the clock of the lock shows. Commands
    captured before the verifier was made are rejected, too. If the numbers of the door start again lower, as on a new
    board whose clock was never set, delete `memory`.

    Args:
        pem: public key of the door.
        door: name of the door, `door` in its door.toml.
        memory: file with the highest number so far, written before a command is accepted; None: lost at a restart.
        max_age_s: limit of age; it also holds if the door has set a later expiry.
        skew_s: largest difference between the clocks of the lock and the door; both should follow a time server.
        clock: wall clock, seconds since 1970 UTC.

    Raises:
        ValueError: `pem` is not an Ed25519 public key, or `memory` contains no number.
        OSError: `memory` cannot be read.
    """

    def __init__(
        self,
        pem: bytes,
        door: str,
        *,
        memory: Path | None = None,
        max_age_s: float = 10.0,
        skew_s: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key = load_key(pem)
        self._door = door
        self._max_age_s = max_age_s
        self._skew_s = skew_s
        self._clock = clock
        self._began = clock()
        self._memory = memory
        self._number = _remembered(memory) if memory is not None and memory.exists() else 0

    def verify(self, message: bytes) -> VerifiedOpen:
        """Verify a message and return its open command.

        Raises:
            OpenRejectedError: the message is forged, altered, of another door, late, early or seen before, or `memory`
                cannot be written.
        """
        content = verify_signature(message, self._key, OPEN)
        now = self._clock()
        try:
            opened = VerifiedOpen(str(content["id"]), str(content["person"]["id"]), str(content["at"]))
            door, number = content["door"], content["seq"]
            if type(number) is not int or number < 1:
                raise ValueError("seq")
            at = datetime.fromisoformat(content["at"]).timestamp()
            expires = datetime.fromisoformat(content["expires_at"]).timestamp()
        except (KeyError, TypeError, ValueError) as error:
            raise OpenRejectedError("not an open command of version 1") from error
        if door != self._door:
            raise OpenRejectedError(f"meant for door '{door}'")
        self._remember(number)
        if now > min(expires, at + self._max_age_s) + self._skew_s:
            raise OpenRejectedError(f"too late: captured at {opened.at}")
        if at > now + self._skew_s:
            raise OpenRejectedError(f"from the future: captured at {opened.at}")
        if at < self._began:
            raise OpenRejectedError("captured before this verifier started")
        return opened

    def _remember(self, number: int) -> None:
        """Store the number of a signed command, also of one that is then rejected.

        Raises:
            OpenRejectedError: the number is not above all earlier ones, or cannot be written.
        """
        if number <= self._number:
            raise OpenRejectedError("seen before, or older than the last one")
        self._number = number
        if self._memory is None:
            return
        fresh = self._memory.with_name(self._memory.name + ".new")
        try:
            with fresh.open("w") as file:
                file.write(f"{number}\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, self._memory)
        except OSError as error:
            raise OpenRejectedError(f"its number cannot be stored: {error}") from error


def _remembered(memory: Path) -> int:
    text = memory.read_text()
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(f"{memory} contains no number; delete it to start without one") from error


def _signature_valid(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True
