"""Reads photos; rejects damaged files that OpenCV would decode to a grey or incomplete picture."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

from edge.core.errors import ImageError
from edge.core.records import BgrImage
from edge.vision.opencv import silence_opencv

MAX_PIXELS = 100_000_000
MAX_SNAPSHOT_PIXELS = 1024 * 1024
MAX_SCANS = 64  # of a JPEG; libjpeg writes ten for a progressive picture, and decodes the whole picture for each
MAX_SNAPSHOT_SCANS = 20
_JPEG, _SCAN = b"\xff\xd8\xff", b"\xff\xda"


def read_image(path: Path) -> BgrImage:
    """Read a JPEG, PNG, BMP or WebP file.

    Returns:
        (H, W, 3) uint8 BGR, rotated by its EXIF orientation; grey, CMYK, alpha and 16-bit are converted.

    Raises:
        ImageError: the file cannot be read, is empty, truncated, of another format, or has more than 100 megapixels or
            `MAX_SCANS`.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
    return decode_image(content, path)


def decode_image(content: bytes, path: Path, most_pixels: int = MAX_PIXELS, most_scans: int = MAX_SCANS) -> BgrImage:
    """Decode the content of a file, like `read_image`; errors name `path`.

    Raises:
        ImageError: the content is empty, truncated, of another format, or has more than `most_pixels` or `most_scans`.
    """
    silence_opencv()
    if not content:
        raise ImageError(f"{path}: an empty file (0 bytes)")
    # A thumbnail counts as one more scan. These two bytes never occur in the data of a picture.
    scans = content.count(_SCAN) if content.startswith(_JPEG) else 0
    if scans > most_scans:
        raise ImageError(f"{path}: {scans} scans; at most {most_scans} are allowed")
    try:
        size = _image_size(content)
    except (struct.error, IndexError) as error:
        raise ImageError(f"{path}: a truncated image; copy it again") from error
    except ValueError as error:
        raise ImageError(f"{path}: damaged ({error}); copy it again") from error
    if size is None:
        raise ImageError(f"{path}: not a JPEG, PNG, BMP or WebP image")
    _check_size(path, size, most_pixels)
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f"{path}: cannot be decoded ({error.err})") from error
    if pixels is None:
        raise ImageError(f"{path}: damaged, cannot be decoded")
    _check_size(path, (pixels.shape[1], pixels.shape[0]), most_pixels)
    return np.asarray(pixels, np.uint8)


def decode_snapshot(content: bytes, path: Path) -> BgrImage:
    """Decode a JPEG that was received over the network, like `read_image`.

    Any client that may publish chooses these bytes, so size and number of scans are limited before decoding.

    Raises:
        ImageError: not a JPEG, more than `MAX_SNAPSHOT_PIXELS` or `MAX_SNAPSHOT_SCANS`, or damaged.
    """
    if not content.startswith(_JPEG):
        raise ImageError(f"{path}: not a JPEG image")
    return decode_image(content, path, MAX_SNAPSHOT_PIXELS, MAX_SNAPSHOT_SCANS)


def _check_size(path: Path, size: tuple[int, int], most_pixels: int) -> None:
    if size[0] * size[1] > most_pixels:
        raise ImageError(f"{path}: {size[0]}x{size[1]} px is too large; the limit is {most_pixels / 1e6:g} megapixels")


def _image_size(content: bytes) -> tuple[int, int] | None:
    """Width and height from the header; None: another format. Damage raises IndexError, struct.error or ValueError."""
    if content.startswith(_JPEG):
        return _inspect_jpeg(content)
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _inspect_png(content)
    if content.startswith(b"BM"):
        width, height = struct.unpack_from("<ii", content, 18)
        return abs(width), abs(height)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        if len(content) < struct.unpack_from("<I", content, 4)[0] + 8:
            raise IndexError("shorter than the length in its RIFF header")
        return _inspect_webp(content)
    return None


def _inspect_webp(content: bytes) -> tuple[int, int]:
    """Width and height from the first chunk (RFC 9649): canvas, lossless or lossy picture."""
    kind, data = content[12:16], content[20:30]
    if kind == b"VP8X" and len(data) == 10:
        return 1 + int.from_bytes(data[4:7], "little"), 1 + int.from_bytes(data[7:10], "little")
    if kind == b"VP8L" and data[0] == 0x2F:
        bits = int.from_bytes(data[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and data[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 6)
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError("no picture data")


def _inspect_png(content: bytes) -> tuple[int, int]:
    """Check all chunks (ISO/IEC 15948); their checksums find damage that some libpng report only on stderr."""
    size: tuple[int, int] = struct.unpack_from(">II", content, 16)
    at, kind, has_rows = 8, b"", False
    while kind != b"IEND":
        length: int = struct.unpack_from(">I", content, at)[0]
        kind = content[at + 4 : at + 8]
        (checksum,) = struct.unpack_from(">I", content, at + 8 + length)
        if zlib.crc32(memoryview(content)[at + 4 : at + 8 + length]) != checksum:
            raise ValueError("wrong checksum")
        has_rows |= kind == b"IDAT"
        at += 12 + length
    if not has_rows:
        raise ValueError("no picture data")
    return size


def _inspect_jpeg(content: bytes) -> tuple[int, int]:
    """Check the segments (ITU-T T.81, annex B) up to the data of the picture, which must end with an end marker.

    A thumbnail inside a segment has an end marker, too, so a search of the whole file is not enough.
    """
    at, size = 2, (0, 0)
    while True:
        while content[at + 1] == 0xFF:  # fill bytes
            at += 1
        marker = content[at + 1]
        length: int = struct.unpack_from(">H", content, at + 2)[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", content, at + 5)
            size = (width, height)
        at += 2 + length
        if marker == 0xDA:
            if content.find(b"\xff\xd9", at) < 0:
                raise IndexError("no end marker")
            return size
        if content[at] != 0xFF:
            raise IndexError("segments out of step")
