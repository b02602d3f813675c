"""Records that the rooms of a door share, in the order in which they arise.

All are frozen: a record describes one moment. Frame pixels are the frame of reference of every ``_px`` field: origin at
the centre of the top left pixel, x to the right, y down. Fields ending in ``_ns`` are monotonic capture time in
nanoseconds (clip time in a replay). A distance is a squared Euclidean distance between unit vectors, 0 (same) to 4
(opposite): lower is nearer, and a lower threshold is stricter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

BgrImage = NDArray[np.uint8]
FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One camera frame.

    Attributes:
        pixels: (H, W, 3) uint8, BGR. Lent: valid until the source is asked for the next frame; copy to keep.
        seq: number of this frame since the source was opened, dropped frames included; starts at 0.
        captured_ns: capture time.
    """

    pixels: BgrImage
    seq: int
    captured_ns: int


@dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle in frame pixels; it may reach beyond the frame."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def area(self) -> float:
        return max(self.width, 0.0) * max(self.height, 0.0)

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def iou(self, other: Box) -> float:
        """Intersection over union, 0..1."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        if width <= 0 or height <= 0:
            return 0.0
        shared = width * height
        return shared / (self.area + other.area - shared)


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One detection.

    Attributes:
        box: the face without hair and ears, frame pixels.
        keypoints_px: (6, 2) float32, frame pixels: right eye, left eye, nose tip, mouth centre, right ear tragion,
            left ear tragion; right and left are the person's own.
        score: 0..1, the detector's confidence.
    """

    box: Box
    keypoints_px: FloatArray
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """A face followed over time: a snapshot at one frame.

    Attributes:
        id: unique within one tracker, rising from 1.
        face: the latest detection.
        first_ns: when it was first seen.
        last_ns: when it was last seen.
        hits: frames in which it was seen.
        lost: it has just ended; this is the last snapshot of it.
    """

    id: int
    face: Face
    first_ns: int
    last_ns: int
    hits: int
    lost: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """The dense mesh of one face.

    Attributes:
        points_px: (468, 3) float32, MediaPipe face mesh order; x and y in frame pixels, z in the same unit, negative
            towards the camera, 0 at the head's centre.
        five_px: (5, 2) float32, frame pixels: right eye, left eye, nose tip, right and left mouth corner; right and
            left are the person's own.
        presence: 0..1, confidence that there is a face at all.
    """

    points_px: FloatArray
    five_px: FloatArray
    presence: float


@dataclass(frozen=True, slots=True)
class Quality:
    """How well one sample shows a face.

    Attributes:
        weight: 0..1, weight of the sample as evidence; 0: rejected.
        size_px: distance between the eye centres in frame pixels.
        yaw_deg, pitch_deg, roll_deg: head pose; 0 is frontal; yaw is positive when the head turns to its own left,
            pitch when it looks up, roll when it tilts to its own right.
        sharpness: variance of the Laplacian of the aligned grey crop, grey levels squared.
        refusal: why the sample must not be used, or "".
        brightness: mean grey level of the face, 0..255.
        glare: share of the face that is nearly white, 0..1.
        embedding_norm: length of the embedder's raw vector in its typical lengths: around 1 for an ordinary photo,
            less the more is covered, smeared, dark or glaring; 0 where it was not measured.
    """

    weight: float
    size_px: float
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    sharpness: float
    refusal: str = ""
    brightness: float = 0.0
    glare: float = 0.0
    embedding_norm: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One sample of one face from one frame.

    Attributes:
        embedding: (D,) float32, unit length; D is 192 for the shipped embedder. None when the quality refuses it.
        quality: quality and weight of the sample.
        landmarks: the mesh, or None when the face was rejected before it was located.
    """

    embedding: FloatArray | None
    quality: Quality
    landmarks: Landmarks | None


@dataclass(frozen=True, slots=True)
class Person:
    """An enrolled person: ``id`` is for rules and machines, ``name`` for people."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Match:
    """A measurement against the gallery, not a decision.

    Attributes:
        person: the nearest enrolled person, or None when the gallery is empty.
        distance_sq: squared distance to that person's centroid; lower is nearer; 4 when the gallery is empty.
        threshold_sq: the distance at or below which this person is accepted; lower is stricter.
        runner_up_sq: squared distance to the nearest other person; 4 where there is none.
    """

    person: Person | None
    distance_sq: float
    threshold_sq: float
    runner_up_sq: float


class Identification(StrEnum):
    """Identity of a track according to its evidence so far."""

    RECOGNISED = "recognised"
    UNKNOWN = "unknown"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """Who a track is, from the evidence of several frames.

    Attributes:
        finding: recognised, unknown or undecided.
        track: the track at the time of the verdict.
        match: the fused embedding against the gallery. For an unknown it still names the nearest person: a
            measurement for calibration, which must not be reported as an identification.
        embedding: (D,) float32, unit length: the fused samples. It stays on the device.
        samples: number of fused samples.
        quality: mean quality of the samples, 0..1.
        reason: the condition that decided.
        decided_ns: time of the verdict.
    """

    finding: Identification
    track: Track
    match: Match
    embedding: FloatArray
    samples: int
    quality: float
    reason: str
    decided_ns: int


class AccessOutcome(StrEnum):
    """The three outcomes of an access decision."""

    DOOR_OPEN = "door-open"
    DENIED = "denied"
    UNKNOWN = "unknown"


class LivenessMode(StrEnum):
    """What has to be shown of being alive before a door opens, the strictest last."""  # part of the contract documents

    OFF = "off"
    PASSIVE = "passive"
    CHALLENGE = "challenge"


def strictest_mode(modes: Iterable[LivenessMode]) -> LivenessMode:
    """The strictest of them; OFF if there are none."""
    return max(modes, key=list(LivenessMode).index, default=LivenessMode.OFF)


@dataclass(frozen=True, slots=True)
class LivenessResult:
    """Liveness of a visitor.

    Attributes:
        score: 0 (genuine) to 1 (attack), from passive cues; None: not observed long enough.
        cues: the measured cues behind the score, by name.
        challenge: "passed", the reason of a failure, or "" without a challenge.
    """

    score: float | None
    cues: tuple[tuple[str, float], ...]
    challenge: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """A verdict after the access rules.

    Attributes:
        kind: the outcome.
        rule: the access rule that decided.
        verdict: the evidence behind it.
        t_ns: capture time of the frame that completed it.
        reason: why that rule denies access, such as "outside-schedule"; "" where the verdict is the reason.
        required_liveness: liveness required before the door opens; OFF also where nothing would open.
        liveness: liveness of the visitor; None where none was required.
    """

    kind: AccessOutcome
    rule: str
    verdict: Verdict
    t_ns: int
    reason: str = ""
    required_liveness: LivenessMode = LivenessMode.OFF
    liveness: LivenessResult | None = None
