"""Signing keys: Ed25519, each in an encrypted PEM file in REPO/keys or another folder."""

from __future__ import annotations

import getpass
import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, Signer

from edge.core.errors import ReleaseError
from edge.core.files import atomic_write

PASSWORD_VARIABLE = "THRESHOLD_KEY_PASSWORD"
_GOOD_PASSWORD = 12  # characters


def password(*, new: bool = False) -> bytes:
    """Password of the keys, from the environment or the terminal; `new` asks twice.

    Raises:
        ReleaseError: there is neither, or the two entries differ.
    """
    given = os.environ.get(PASSWORD_VARIABLE, "")
    if not given:
        if not sys.stdin.isatty():
            raise ReleaseError(
                f"the password of the keys is needed: set {PASSWORD_VARIABLE}, or run this in a terminal"
            )
        given = getpass.getpass("Password of the signing keys: ")
        if new and getpass.getpass("Again: ") != given:
            raise ReleaseError("the two passwords differ; nothing was changed")
    if new and len(given) < _GOOD_PASSWORD:
        print(
            f"warning: a password of {len(given)} characters is easy to guess; use at least {_GOOD_PASSWORD}",
            file=sys.stderr,
        )
    return given.encode()


def free_key_path(folder: Path, role: str) -> Path:
    """The first unused name for a key of a role: root-1.pem, root-2.pem, ..."""
    numbers = itertools.count(1)
    return next(path for number in numbers if not (path := folder / f"{role}-{number}.pem").exists())


def make_key(path: Path, secret: bytes) -> Signer:
    """Make a key in a new PEM file, encrypted with a password and readable only by this user.

    Raises:
        ReleaseError: the file exists.
    """
    if path.exists():
        raise ReleaseError(f"{path}: exists; keys are not overwritten")
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(secret))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    atomic_write(path, pem, private=True)
    return CryptoSigner(private)


def load_keys(folders: Sequence[Path], secret: bytes) -> dict[str, Signer]:
    """All keys in some folders, by key id.

    Raises:
        ReleaseError: a file cannot be read, or has another password.
    """
    signers: dict[str, Signer] = {}
    locked: list[Path] = []
    for path in sorted(path for folder in folders for path in folder.glob("*.pem")):
        try:
            signer = CryptoSigner(load_pem_private_key(path.read_bytes(), secret))
        except (ValueError, TypeError):
            locked.append(path)
            continue
        except OSError as error:
            raise ReleaseError(f"{path}: cannot be read ({error.strerror})") from error
        signers[signer.public_key.keyid] = signer
    if locked:
        names = ", ".join(path.name for path in locked)
        raise ReleaseError(f"{locked[0].parent}: this password does not open {names}")
    return signers
