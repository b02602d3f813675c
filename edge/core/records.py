"""Records that the packages of a door share, in the order of the pipeline.

Records are immutable. Fields ending in ``_px`` are in frame pixels: origin at the centre of the top left pixel, x to
the right, y down. Fields ending in ``_ns`` are monotonic capture time in
nanoseconds (clip time in a replay). A distance is a squared Euclidean distance between unit vectors, 0 (same) to 4
(opposite): lower is nearer, and a lower threshold is stricter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from edge.core.reasons import Reason, UndecidedReason

BgrImage = NDArray[np.uint8]
FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One camera frame."""

    pixels: BgrImage  # (H, W, 3) uint8, BGR; valid until the next frame is requested, so copy to keep
    seq: int  # number of the frame since the source was opened, including dropped frames; starts at 0
    captured_ns: int  # capture time


@dataclass(frozen=True, slots=True)
class Box:
    """Axis-aligned rectangle in frame pixels; it may extend beyond the frame."""

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
    """One detection."""

    box: Box  # the face without hair and ears, frame pixels
    # (6, 2) float32, frame pixels: right eye, left eye, nose tip, mouth centre, right ear tragion, left ear tragion;
    # right and left are the person's own
    keypoints_px: FloatArray
    score: float  # 0..1, the detector's confidence


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Snapshot of a tracked face at one frame."""

    id: int  # unique within one tracker, increasing from 1
    face: Face  # the latest detection
    first_ns: int  # time of the first detection
    last_ns: int  # time of the latest detection
    hits: int  # number of frames with a detection
    lost: bool = False  # whether the track has ended; this is its last snapshot


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """Dense landmark mesh of one face."""

    # (468, 3) float32, MediaPipe face mesh order; x and y in frame pixels, z in the same unit, negative towards the
    # camera, 0 at the head's centre
    points_px: FloatArray
    # (5, 2) float32, frame pixels: right eye, left eye, nose tip, right and left mouth corner; right and left are the
    # person's own
    five_px: FloatArray
    presence: float  # 0..1, confidence that this is a face


@dataclass(frozen=True, slots=True)
class Quality:
    """Quality of one sample of a face.

    Head pose: 0 is frontal; yaw is positive when the head turns to its own left, pitch when it looks up, roll when it
    tilts to its own right.
    """

    weight: float  # 0..1, weight of the sample as evidence; 0: rejected
    size_px: float  # distance between the eye centres in frame pixels
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    sharpness: float  # variance of the Laplacian of the aligned grey crop, grey levels squared
    refusal: str = ""  # reason code if the sample must not be used, or ""
    brightness: float = 0.0  # mean grey level of the face, 0..255
    glare: float = 0.0  # share of the face that is nearly white, 0..1
    # norm of the raw embedding divided by its typical value: about 1 for an ordinary photo, lower for covered, blurred,
    # dark or overexposed faces; 0: not measured
    embedding_norm: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Sample of one face from one frame."""

    # (D,) float32, unit length; D is 192 for the bundled embedder. None: rejected by its quality
    embedding: FloatArray | None
    quality: Quality  # quality and weight
    landmarks: Landmarks | None  # the mesh; None: rejected before the landmarks were computed


@dataclass(frozen=True, slots=True)
class Person:
    """Enrolled person: `id` is for rules and machines, `name` for people."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Match:
    """Distances to the gallery; a measurement, not a decision."""

    person: Person | None  # nearest enrolled person; None: the gallery is empty
    distance_sq: float  # squared distance to the centroid of that person; lower is nearer; 4: the gallery is empty
    threshold_sq: float  # largest distance at which this person is accepted; lower is stricter
    runner_up_sq: float  # squared distance to the second nearest person; 4: there is none


class Identification(StrEnum):
    """Identity of a track by its evidence so far."""

    RECOGNISED = "recognised"
    UNKNOWN = "unknown"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """Identity of a track, from the evidence of several frames."""

    finding: Identification  # recognised, unknown or undecided
    track: Track  # the track at the time of the verdict
    # match of the fused embedding. For an unknown visitor it still contains the nearest person: a measurement for
    # calibration, which must not be reported as an identification
    match: Match
    embedding: FloatArray  # (D,) float32, unit length: the fused samples; never published
    samples: int  # number of fused samples
    quality: float  # mean quality of the samples, 0..1
    reason: Reason | UndecidedReason  # condition that decided
    decided_ns: int  # time of the verdict


class AccessOutcome(StrEnum):
    """The three outcomes of an access decision."""

    DOOR_OPEN = "door-open"
    DENIED = "denied"
    UNKNOWN = "unknown"


class LivenessMode(StrEnum):
    """Proof of life that is required before a door opens, the strictest last."""  # part of the contract documents

    OFF = "off"
    PASSIVE = "passive"
    CHALLENGE = "challenge"


def strictest_mode(modes: Iterable[LivenessMode]) -> LivenessMode:
    """The strictest of the modes; OFF if there are none."""
    return max(modes, key=list(LivenessMode).index, default=LivenessMode.OFF)


@dataclass(frozen=True, slots=True)
class LivenessResult:
    """Liveness of a visitor."""

    score: float | None  # 0 (genuine) to 1 (attack), from passive cues; None: observed too briefly
    cues: tuple[tuple[str, float], ...]  # measured cues of the score, by name
    challenge: str = ""  # "passed", the reason of a failure, or "" without a challenge


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """Verdict with the outcome of the access rules."""

    kind: AccessOutcome  # the outcome
    rule: str  # access rule that decided
    verdict: Verdict  # evidence of the decision
    t_ns: int  # capture time of the last frame of the evidence
    reason: Reason | None = None  # reason for which the rule denies access; None: the verdict is the reason
    # liveness required before the door opens; OFF also if it would not open
    required_liveness: LivenessMode = LivenessMode.OFF
    liveness: LivenessResult | None = None  # liveness of the visitor; None: not required
