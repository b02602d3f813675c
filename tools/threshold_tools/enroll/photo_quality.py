"""Quality of one enrolment photo, or the reason it is rejected."""

from __future__ import annotations

import cv2
import msgspec
import numpy as np

from edge.core.config import QualityConfig
from edge.core.records import BgrImage, Box, Face, FloatArray
from threshold_tools.photos import PhotoSample, PhotoSampler, normalize

ENROL_QUALITY = QualityConfig(min_size_px=20, max_yaw_deg=35, max_pitch_deg=30, min_sharpness=20, min_norm=0.7)
RIVAL_SHARE = 0.35  # a second face with more than this share of the main one's area makes the photo ambiguous
# Two fingerprints of 256 bits that differ in at most this many bits are of one picture. Resized, cropped and re-encoded
# copies of development photos differed in 0 to 31 bits, different photos of one person in 47 or more.
SAME_PICTURE_BITS = 30
_THUMB_PX = 112
_MARGIN = 0.35  # of the face's box, around it in the thumbnail


class PhotoAssessment(msgspec.Struct, frozen=True):
    """Result of the check of one photo; the record that the cache stores."""

    rejection_reason: str  # in words, or ""
    vector: bytes  # (D,) float32: the unit vector of face and mirrored face; empty if the photo is rejected
    weight: float  # quality, 0..1
    fingerprint: bytes  # of the aligned face, 32 bytes, nearly the same for copies of a picture; empty if rejected
    thumbnail: bytes  # JPEG of the face, or of the whole photo if no face was found
    quality_text: str  # measured quality in words, for the contact sheet

    @property
    def embedding(self) -> FloatArray:
        """(D,) float32 unit vector; empty if the photo is rejected."""
        return np.frombuffer(self.vector, "<f4").astype(np.float32)


def assess_photo(reader: PhotoSampler, pixels: BgrImage) -> PhotoAssessment:
    """Assess one photo, (H, W, 3) uint8 BGR, for enrolment."""
    shown = reader.sample(pixels, mirror=True)
    thumbnail = _thumbnail(pixels, shown.main)
    reason = rejection_reason(shown)
    sample = shown.sample
    quality_text = ""
    if sample is not None:
        quality = sample.quality
        quality_text = f"eyes {quality.size_px:.0f} px apart, sharpness {quality.sharpness:.0f}"
        if sample.landmarks is not None:
            quality_text += f", clarity {quality.embedding_norm:.2f}" if quality.embedding_norm else ""
            quality_text += f", turned {quality.yaw_deg:+.0f}°, up/down {quality.pitch_deg:+.0f}°"
    if reason or sample is None or sample.embedding is None or shown.mirrored is None:
        return PhotoAssessment(reason or "no face", b"", 0.0, b"", thumbnail, quality_text)
    vector = normalize(sample.embedding + shown.mirrored).astype("<f4").tobytes()
    # The input of the embedder still contains the aligned crop, mirrored; the fingerprint works on that as well.
    return PhotoAssessment(
        "", vector, sample.quality.weight, fingerprint(reader.vision.reader.embedder.pixels), thumbnail, quality_text
    )


def rejection_reason(shown: PhotoSample) -> str:
    """Reason why a photo is rejected, in words, or ""."""
    if shown.main is None or shown.sample is None:
        return "no face"
    rivals = [
        face for face in shown.faces if face is not shown.main and face.box.area > RIVAL_SHARE * shown.main.box.area
    ]
    if rivals:
        return f"several faces ({len(rivals) + 1}); crop it to one"
    quality = shown.sample.quality
    return {
        "": "",
        "no-face": "no clear face (detected, but its landmarks are not found)",
        "too-small": f"too small (eyes {quality.size_px:.0f} px apart, need {ENROL_QUALITY.min_size_px:.0f})",
        "blurred": f"blurred (sharpness {quality.sharpness:.0f}, need {ENROL_QUALITY.min_sharpness:.0f})",
        "turned-away": f"turned away ({abs(quality.yaw_deg):.0f}°, at most {ENROL_QUALITY.max_yaw_deg:.0f}°)",
        "too-dark": f"too dark (mean grey level {quality.brightness:.0f}, need {ENROL_QUALITY.min_brightness:.0f})",
        "too-bright": f"too bright ({100 * quality.glare:.0f} % of the face is white)",
        "unclear": (
            f"unclear (clarity {quality.embedding_norm:.2f}, need {ENROL_QUALITY.min_norm:g}): is the face covered?"
        ),
        "tilted": f"looking up or down ({abs(quality.pitch_deg):.0f}°, at most {ENROL_QUALITY.max_pitch_deg:.0f}°)",
    }[quality.refusal]


def fingerprint(crop: BgrImage) -> bytes:
    """Difference hash, 256 bits: whether each cell of a 16 x 16 grid is brighter than its left neighbour."""
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    cells = cv2.resize(grey, (17, 16), interpolation=cv2.INTER_AREA).astype(np.int16)
    return np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes()


def same_picture(a: bytes, b: bytes) -> bool:
    """Whether two fingerprints are of one picture."""
    return bool(a) and (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_count() <= SAME_PICTURE_BITS


def _thumbnail(pixels: BgrImage, face: Face | None) -> bytes:
    """A small JPEG of the face with a margin, or of the whole photo if there is no face."""
    if face is not None:
        pixels = crop(pixels, face.box, _MARGIN)
    scale = _THUMB_PX / max(pixels.shape[:2])
    size = max(round(pixels.shape[1] * scale), 1), max(round(pixels.shape[0] * scale), 1)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


def crop(pixels: BgrImage, box: Box, margin: float) -> BgrImage:
    """The part of a picture in a box, with a margin of `margin` times its longer side, clipped to the picture."""
    wide = margin * max(box.width, box.height)
    height, width = pixels.shape[:2]
    left, right = max(round(box.left - wide), 0), min(round(box.right + wide), width)
    top, bottom = max(round(box.top - wide), 0), min(round(box.bottom + wide), height)
    return pixels[top : max(bottom, top + 1), left : max(right, left + 1)]
