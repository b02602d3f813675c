"""Verifies that a release report is signed by the door that it names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.core.errors import ReleaseError
from edge.events.verifier import RELEASE, OpenRejectedError, load_key, verify_signature

_SUFFIX = ".signing.pub"  # as systemd/mosquitto/keys.sh names them


class SignatureState(StrEnum):
    """State of the signature of a report."""

    VERIFIED = "verified"
    WRONG = "wrongly signed"
    UNSIGNED = "unsigned"
    UNCHECKED = "signed, not checked"


def read_keys(folder: Path) -> dict[str, Ed25519PublicKey]:
    """The public keys of doors by name, from the files DOOR.signing.pub of a folder.

    Raises:
        ReleaseError: there is no such file, or one cannot be read.
    """
    paths = sorted(folder.glob(f"*{_SUFFIX}"))
    if not paths:
        raise ReleaseError(f"{folder}: contains no DOOR{_SUFFIX}; systemd/mosquitto/keys.sh makes them")
    keys = {}
    for path in paths:
        try:
            keys[path.name.removesuffix(_SUFFIX)] = load_key(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ReleaseError(f"{path}: is not an Ed25519 public key in PEM ({error})") from error
    return keys


def signature_of(door: str, payload: bytes, keys: Mapping[str, Ed25519PublicKey]) -> SignatureState:
    """State of the signature of a release report.

    Args:
        door: name of the door in the report's topic.
        payload: the report, as received; JSON.
        keys: public keys of doors, by name.
    """
    try:
        signed = "dsse" in json.loads(payload)
    except (ValueError, RecursionError):
        signed = False
    if not signed:
        return SignatureState.UNSIGNED
    if door not in keys:
        return SignatureState.UNCHECKED
    try:
        content = verify_signature(payload, keys[door], RELEASE)
    except OpenRejectedError:
        return SignatureState.WRONG
    return SignatureState.VERIFIED if content.get("door") == door else SignatureState.WRONG
