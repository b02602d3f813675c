"""Encrypts galleries on disk: without the key, a stolen card can be neither read nor modified.

The file has a magic number, the first bytes of a digest that identifies the key, a nonce, and the gallery encrypted
with ChaCha20-Poly1305 (RFC 8439), which is fast also on boards without AES instructions. Magic number and key digest
are authenticated, too. The file is decrypted into memory, so it must be small enough not to be memory-mapped.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from edge.core.credentials import secret_line
from edge.core.errors import ConfigError, GalleryError
from edge.core.files import atomic_write, overwrite

MAGIC = b"threshold-sealed"
MAX_BYTES = 64 * 1024 * 1024  # largest gallery; a larger one is memory-mapped, which is impossible if encrypted
_KEY_BYTES = 32
_NAME_BYTES = 8  # of the digest that identifies a key
_NONCE_BYTES = 12
_HEAD = len(MAGIC) + _NAME_BYTES
_NAMED = b"threshold gallery key\0"  # domain separation of this digest


@dataclass(frozen=True, slots=True)
class GalleryKey:
    """A secret of 32 bytes; `repr` does not show it."""

    secret: bytes = field(repr=False)

    @property
    def name(self) -> bytes:
        """8 bytes that identify this key and reveal nothing of it."""
        return hashlib.sha256(_NAMED + self.secret).digest()[:_NAME_BYTES]


def read_key(named: str, setting: str = "gallery_key") -> GalleryKey | None:
    """Read the key of a setting, a path or credential:NAME; None if the setting is empty.

    Raises:
        ConfigError: the key cannot be read, or its first line is not 64 hexadecimal digits.
    """
    if not named:
        return None
    try:
        secret = bytes.fromhex(secret_line(named, setting))
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        secret = b""
    if len(secret) != _KEY_BYTES:
        raise ConfigError(
            f"{setting}: {named} has no key of 64 hexadecimal digits; make one with  openssl rand -hex 32"
        )
    return GalleryKey(secret)


def is_encrypted(head: bytes) -> bool:
    """Whether a file with these first bytes is an encrypted gallery."""
    return head.startswith(MAGIC)


def encrypt(content: bytes, key: GalleryKey, where: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Encrypt the content of the gallery file at `where`; the result differs at every call.

    Raises:
        GalleryError: the gallery is too large.
    """
    # Imported here, so that a door without a key starts faster.
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    if len(content) > max_bytes:
        raise GalleryError(
            f"{where}: {len(content) >> 20} MiB; so large a gallery is memory-mapped and cannot be encrypted (limit: "
            f"{max_bytes >> 20} MiB); encrypt the disk instead"
        )
    head, nonce = MAGIC + key.name, secrets.token_bytes(_NONCE_BYTES)
    return head + nonce + ChaCha20Poly1305(key.secret).encrypt(nonce, content, head)


def decrypt(content: bytes, key: GalleryKey | None, where: Path) -> bytes:
    """Decrypt the content of an encrypted gallery file; errors name `where`.

    Raises:
        GalleryError: the key is missing or another one, or the file was modified.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    if key is None:
        raise GalleryError(f"{where}: encrypted, and no key is given; set gallery_key in door.toml")
    head, rest = content[:_HEAD], content[_HEAD:]
    if head[len(MAGIC) :] != key.name:
        raise GalleryError(f"{where}: encrypted with another key than gallery_key; restore that key or enrol again")
    try:
        return ChaCha20Poly1305(key.secret).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], head)
    except (InvalidTag, ValueError) as error:  # ValueError: truncated
        raise GalleryError(f"{where}: encrypted, and damaged or modified; restore a copy or enrol again") from error


def can_decrypt(path: Path, key: GalleryKey | None) -> bool:
    """Whether a file was encrypted with this key, or is plain if there is no key; the content is not checked."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return head == MAGIC + key.name if key else not is_encrypted(head)


def decrypt_if_needed(content: bytes, key: GalleryKey | None, where: Path) -> bytes:
    """Plain content of a gallery file. With a key, the file must be encrypted, so that only key holders can replace it.

    Raises:
        GalleryError: the file is plain although there is a key, or cannot be decrypted.
    """
    if is_encrypted(content):
        return decrypt(content, key, where)
    if key is not None:
        raise GalleryError(
            f"{where}: not encrypted, although gallery_key is set; run  edge gallery encrypt --config door.toml"
        )
    return content


def reencrypt(paths: list[Path], key: GalleryKey, *, undo: bool = False) -> list[Path]:
    """Encrypt galleries in place, or decrypt them; returns those that changed.

    The old content is overwritten, if the file system writes in place. The owner is kept.

    Raises:
        GalleryError: a gallery cannot be read, was encrypted with another key, or is too large.
    """
    return [path for path in paths if _change(path, key, undo)]


def _change(path: Path, key: GalleryKey, undo: bool) -> bool:
    try:
        content = path.read_bytes()
        owner = path.stat()
    except OSError as error:
        raise GalleryError(f"{path}: cannot be read ({error.strerror})") from error
    if is_encrypted(content) is not undo:
        return False
    changed = decrypt_if_needed(content, key, path) if undo else encrypt(content, key, path)
    with path.open("r+b") as old:
        atomic_write(path, changed, private=True)
        if os.geteuid() == 0:
            os.chown(path, owner.st_uid, owner.st_gid)
        overwrite(old)
    return True
