"""Repairs that let a mutated input pass the outer checks of a format, so that the inner checks are tested, too."""

from __future__ import annotations

import struct
import zlib

from fuzz.mutate import SEPARATOR

PNG = b"\x89PNG\r\n\x1a\n"


def pack(*parts: bytes) -> bytes:
    """Join several files into one input."""
    return SEPARATOR.join(parts)


def unpack(content: bytes, count: int) -> list[bytes]:
    """Split an input into `count` files; missing files are empty."""
    parts = content.split(SEPARATOR, count - 1)
    return parts + [b""] * (count - len(parts))


def png_with_checksums(content: bytes) -> bytes:
    """Return a PNG with correct checksums, as far as its chunk lengths are valid."""
    if not content.startswith(PNG):
        return content
    fixed, at = bytearray(content), len(PNG)
    while at + 12 <= len(fixed):
        (length,) = struct.unpack_from(">I", fixed, at)
        end = at + 8 + length
        if end + 4 > len(fixed):
            break
        struct.pack_into(">I", fixed, end, zlib.crc32(fixed[at + 4 : end]))
        at = end + 4
    return bytes(fixed)


def safetensors_with_length(content: bytes) -> bytes:
    """Return a safetensors file whose first eight bytes are the length of its JSON header."""
    end = content.find(b"}}") + 2
    while end < len(content) and content[end : end + 1] == b" ":
        end += 1
    return struct.pack("<Q", end - 8) + content[8:] if end > 8 else content
