"""Verifies open commands at a lock: signed by its own door, fresh, and not seen before.

This file stands alone: copy it to the lock. It needs Python 3.11 and the package `cryptography`, nothing else.

    verifier = OpenVerifier(Path("front.signing.pub").read_bytes(), door="front", memory=Path("front.number"))
    ...
    try:
        opened = verifier.verify(message.payload)   # a message from threshold/home/front/open
    except OpenRejectedError as reason:
        print(f"stays shut: {reason}")
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

OPEN = "application/vnd.threshold.open.v1+json"  # of the messages on …/open
EVENT = "application/vnd.threshold.event.v1+json"  # of those on …/events
RELEASE = "application/vnd.threshold.release.v1+json"  # of those on …/release
STATUS = "application/vnd.threshold.status.v1+json"  # of those on …/status
HEALTH = "application/vnd.threshold.health.v1+json"  # of those on …/health
MAX_MESSAGE_BYTES = 64 * 1024  # no message of a door is nearly this long


class OpenRejectedError(Exception):
    """The message opens nothing; the text says why."""


@dataclass(frozen=True, slots=True)
class VerifiedOpen:
    """The person to let in; `id` is the id of the door-open event on …/events."""

    id: str
    person: str
    at: str


def load_key(pem: bytes) -> Ed25519PublicKey:
    """A door's public key, from the bytes of its .signing.pub.

    Raises:
        ValueError: `pem` is no Ed25519 public key.
    """
    key = load_pem_public_key(pem)
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 public key")
    return key


def verify_signature(message: bytes, key: Ed25519PublicKey, kind: str) -> dict[str, Any]:
    """Verify the signature of a message, whatever its age, and return what was signed, a JSON object.

    Args:
        message: a whole payload, as received.
        key: public key of the door.
        kind: `OPEN`, `EVENT`, `RELEASE`, `STATUS` or `HEALTH`.

    Raises:
        OpenRejectedError: there is no valid signature of that key, or the plain fields differ from what was signed.
    """
    if len(message) > MAX_MESSAGE_BYTES:
        raise OpenRejectedError(f"{len(message)} bytes are no message of a door")
    try:
        plain = json.loads(message)
        envelope = plain.pop("dsse")
        payload = base64.b64decode(envelope["payload"], validate=True)
        signatures = [base64.b64decode(signature["sig"], validate=True) for signature in envelope["signatures"]]
        types = (envelope["payloadType"], kind)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise OpenRejectedError("not signed") from error
    if types[0] != types[1]:
        raise OpenRejectedError(f"signed as something else than {kind}")
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    if not any(_signature_valid(key, signature, signed) for signature in signatures):
        raise OpenRejectedError("not signed by this door, or altered")
    content: dict[str, Any] = json.loads(payload)
    if content != plain:
        raise OpenRejectedError("the plain fields are not what was signed")
    return content  # and not `plain`: JSON's 1 and true are equal here


class OpenVerifier:
    """Accepts each open command of one door once, in order, while it is fresh. Not thread-safe.

    A door numbers its commands (`seq`), and only rising numbers are accepted: a command that was held back is rejected
    once a later one has come, and a rejected command stays rejected, whatever this clock shows by then. A command that
    was captured before the verifier was made is rejected, too. If the door's numbers start again lower, which takes a
    new board whose clock was never set, delete `memory`.

    Args:
        pem: public key of the door.
        door: name of the door, the `door` of its door.toml.
        memory: file with the highest number so far, written before a command is accepted; None: a restart forgets it.
        max_age_s: limit of age, whatever expiry the door has set.
        skew_s: by how much this clock and the door's may differ; both should follow a time server.
        clock: wall clock, seconds since 1970 UTC.

    Raises:
        ValueError: `pem` is no Ed25519 public key, or `memory` holds no number.
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
        """Verify a message and return whom it lets in.

        Raises:
            OpenRejectedError: it is forged, altered, another door's, late, early or seen before, or `memory` cannot be
                written.
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
            raise OpenRejectedError("not version 1 of an open command") from error
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
        """Store the number of a message of the door, whether it opens or not.

        Raises:
            OpenRejectedError: the number is not above all before, or cannot be written.
        """
        if number <= self._number:
            raise OpenRejectedError("seen before, or older than one that was")
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
            raise OpenRejectedError(f"cannot be remembered: {error}") from error


def _remembered(memory: Path) -> int:
    text = memory.read_text()
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(f"{memory} holds no number; delete it if the lock may start without") from error


def _signature_valid(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True
