"""Parses `[camera] source` and makes its label for logs, events and reports.

A source may contain a password in many forms, so the label has only parts on an allow-list: scheme, host and port of a
stream. Nothing else of a stream address is ever shown.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import unquote

_STREAMS = ("rtsp", "rtsps", "http", "https")
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)
_AUTHORITY = re.compile(r"[^/?#\\]*")
_PUBLIC_PATH = re.compile(r"[a-z0-9/._-]*", re.ASCII | re.IGNORECASE)
_ADDRESS_SIGNS = frozenset(":@?&=%")  # frequent in addresses and logins, rare in file names


class SourceKind(StrEnum):
    """How a source is opened."""

    PICAMERA = "picamera2"
    DEVICE = "device"
    STREAM = "stream"
    RECORDING = "recording"


@dataclass(frozen=True, slots=True)
class CameraSource:
    """A parsed camera source; `str` gives its label."""

    kind: SourceKind  # how it is opened
    label: str  # for logs, events and pages; never contains a password, also of a malformed address
    secret: bool  # whether the address has more than scheme, host, port and a plain path, such as a login
    address: str = field(repr=False)  # as configured; only for opening the camera, never for messages

    def __str__(self) -> str:
        return self.label


def source_of(text: str) -> CameraSource:
    """Parse a `[camera] source`: picamera2[:N], a device in /dev, a stream, or a clip or folder of stills."""
    if f"{text}:".startswith("picamera2:"):
        number = text.partition(":")[2]
        label = f"picamera2:{number}" if number.isascii() and number.isdecimal() else "picamera2"
        return CameraSource(SourceKind.PICAMERA, label, secret=False, address=text)
    if text.startswith("/dev/"):
        return CameraSource(SourceKind.DEVICE, text, secret=False, address=text)
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() in _STREAMS:
        return _stream(text, scheme.lower(), rest)
    # A misspelt address must not be shown as the name of a missing file.
    misspelt = bool(_ADDRESS_SIGNS & set(text)) and not os.path.exists(os.path.expanduser(text))
    label = "the source (neither a known kind of address nor a file)" if misspelt else text
    return CameraSource(SourceKind.RECORDING, label, secret=misspelt, address=text)


def _stream(text: str, scheme: str, rest: str) -> CameraSource:
    """Parse an address; its host is shown only if every program parses the same host.

    A "/", "?" or "#" within a password ends the authority, so the apparent host may be a part of the login. An "@"
    after the authority reveals such an address.
    """
    found = _AUTHORITY.match(rest)
    authority = found.group() if found else ""
    behind = rest[len(authority) :]
    host = authority.rpartition("@")[2]
    sure = "@" not in unquote(behind) and _HOST.fullmatch(host) is not None
    secret = host != authority or not sure or _PUBLIC_PATH.fullmatch(behind) is None
    return CameraSource(SourceKind.STREAM, f"{scheme}://{host if sure else '…'}", secret=secret, address=text)
