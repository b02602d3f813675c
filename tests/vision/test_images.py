"""Pictures of unknown origin: their cost is checked before they are decoded."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.core.errors import ImageError
from edge.core.records import BgrImage
from edge.vision.images import MAX_PIXELS, MAX_SCANS, MAX_SNAPSHOT_SCANS, decode_image, decode_snapshot

NAME = Path("face")


def encoded(pixels: BgrImage, suffix: str = ".jpg", *flags: int) -> bytes:
    return cv2.imencode(suffix, pixels, flags)[1].tobytes()


def noise(height: int = 40, width: int = 60, channels: int = 3) -> BgrImage:
    return np.random.default_rng(1).integers(0, 255, (height, width, channels), np.uint8)


def riff(chunk: bytes, data: bytes) -> bytes:
    """A WebP file of one chunk."""
    body = b"WEBP" + chunk + len(data).to_bytes(4, "little") + data
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def with_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated up to this number of scans."""
    jpeg = encoded(noise(), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    start = jpeg.rfind(b"\xff\xda")
    return jpeg[:-2] + jpeg[start:-2] * (count - jpeg.count(b"\xff\xda")) + b"\xff\xd9"


@pytest.mark.parametrize(("quality", "channels"), [(80, 3), (101, 3), (80, 4)])
def test_webp_of_every_kind(quality: int, channels: int) -> None:
    """Lossy, lossless and with alpha: each has another header, and all are accepted."""
    content = encoded(noise(channels=channels), ".webp", cv2.IMWRITE_WEBP_QUALITY, quality)
    assert decode_image(content, NAME).shape == (40, 60, 3)


@pytest.mark.parametrize(
    ("chunk", "data"),
    [
        (b"VP8L", b"\x2f" + (16382 | 16382 << 14).to_bytes(4, "little")),
        (b"VP8 ", b"\0\0\0\x9d\x01\x2a" + (16383).to_bytes(2, "little") * 2),
        (b"VP8X", b"\0\0\0\0" + (16382).to_bytes(3, "little") * 2),
    ],
)
def test_webp_too_large_by_its_header(chunk: bytes, data: bytes) -> None:
    """A file of 38 bytes must not allocate 1.6 GB before it is rejected."""
    assert MAX_PIXELS < 16383**2
    with pytest.raises(ImageError, match="16383x16383 px is too large"):
        decode_image(riff(chunk, data + b"\0" * 8), NAME)


@pytest.mark.parametrize(
    "content", [riff(b"VP8L", b""), riff(b"VP8X", b"\0"), riff(b"VP8 ", b"\0"), riff(b"ICCP", b"")]
)
def test_webp_without_a_size(content: bytes) -> None:
    with pytest.raises(ImageError, match=r"damaged|truncated"):
        decode_image(content, NAME)


def test_snapshot_as_doors_send_it() -> None:
    """Baseline, and progressive with the number of scans that encoders write."""
    assert decode_snapshot(encoded(noise()), NAME).shape == (40, 60, 3)
    assert decode_snapshot(with_scans(MAX_SNAPSHOT_SCANS), NAME).shape == (40, 60, 3)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (encoded(noise(), ".webp"), "not a JPEG"),
        (encoded(noise(), ".png"), "not a JPEG"),
        (encoded(noise(), ".bmp"), "not a JPEG"),
        (b"", "not a JPEG"),
        (with_scans(MAX_SNAPSHOT_SCANS + 1), "21 scans; at most 20"),
        (encoded(np.zeros((1025, 1024, 3), np.uint8)), "1024x1025 px is too large"),
        (encoded(noise())[:-2], "truncated"),
    ],
    ids=["webp", "png", "bmp", "empty", "scans", "size", "truncated"],
)
def test_snapshot_that_would_cost_too_much(content: bytes, told: str) -> None:
    """It is rejected before decoding."""
    with pytest.raises(ImageError, match=told):
        decode_snapshot(content, NAME)


def test_photo_of_too_many_scans() -> None:
    """A file of 250 KB must not take 12 s of CPU time."""
    assert decode_image(with_scans(MAX_SCANS), NAME).shape == (40, 60, 3)
    with pytest.raises(ImageError, match="65 scans; at most 64"):
        decode_image(with_scans(MAX_SCANS + 1), NAME)
