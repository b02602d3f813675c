"""door.toml: every tunable of a door, typed, with its unit and default, checked once at start.

Stages take their own table and nothing else. An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from edge.core.errors import ConfigError
from edge.core.toml_config import StrictStruct, convert, load_toml

Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
DistanceSq = Annotated[float, Meta(ge=0, le=4)]
Factor = Annotated[float, Meta(gt=0, le=2)]
Count = Annotated[int, Meta(ge=1)]
ChallengeMovements = Annotated[tuple[Literal["turn-left", "turn-right", "look-up"], ...], Meta(min_length=1)]
_NAME = "letters, digits, '.', '_' and '-', a letter or a digit first, at most 64"
SiteId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description=_NAME)]
TopicName = Annotated[
    str,
    Meta(
        pattern=r"^[^+#$/\x00-\x1f][^+#\x00-\x1f]{0,127}$",
        description="a topic without '+' and '#', not beginning with '$' or '/', of at most 128 characters",
    ),
]
DoorId = Annotated[  # threshold/<site>/repo is taken
    str, Meta(pattern=r"^(?!repo$)[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description=f"{_NAME}; and not 'repo'")
]


class CameraConfig(StrictStruct, frozen=True):
    """Where frames come from: picamera2, /dev/videoN, an rtsp:// or http:// address, a clip, or a folder of stills."""

    source: Annotated[str, Meta(min_length=1)] = "picamera2"  # logs show scheme, host and port of an address
    width_px: Annotated[int, Meta(ge=64, le=4096)] = 640  # requested from the camera; a clip keeps its size
    height_px: Annotated[int, Meta(ge=64, le=4096)] = 480  # likewise
    fps: Annotated[float, Meta(gt=0, le=240)] = 15.0  # requested from the camera; the rate of a folder of stills
    rotate_deg: Literal[0, 90, 180, 270] = 0  # clockwise rotation that puts people upright
    lost_after_s: Positive = 5.0  # the camera is reported as lost after this long without a frame


class ModelsConfig(StrictStruct, frozen=True):
    """Which models run, and on what."""

    folder: str = ""  # "": the models that came with this installation
    detector: Literal["far", "near"] = "far"  # far: finds small faces; near: only large ones, faster
    delegate: Literal["none", "edgetpu"] = "none"  # edgetpu: run on a Coral accelerator
    runtime: Literal["auto", "ai-edge-litert", "tflite-runtime"] = "auto"  # library that runs the models
    threads: Annotated[int, Meta(ge=1, le=16)] = 2  # processor threads of the models


class MotionConfig(StrictStruct, frozen=True):
    """Motion test that decides whether the detector runs."""

    enabled: bool = True  # false: the detector runs on every frame
    noise_grey_levels: Positive = 10.0  # grey levels by which a spot must change
    min_changed_share: Fraction = 0.002  # share of the picture that must change
    keep_awake_s: NonNegative = 2.0  # the detector keeps running for this long after the last movement
    idle_scan_every_s: Positive = 2.0  # longest interval between detector runs when nothing moves
    still_scan_every_s: NonNegative = 0.25  # the same while a visitor is present who needs no more samples


class CameraHealthConfig(StrictStruct, frozen=True):
    """When a camera that gives frames is reported as blind. It does not affect decisions."""

    blind_after_s: NonNegative = 10.0  # black, flooded or covered for this long: the camera is blind
    recovered_after_s: NonNegative = 3.0  # and for this long no longer: it sees again
    frozen_after_s: Positive = 30.0  # the same picture, byte for byte, for this long: the camera is reopened
    black_max_level: NonNegative = 16.0  # mean grey level of the brightest patch up to which all is black
    overexposed_share: Fraction = 0.8  # of the picture white, above which it is flooded; 1: never
    covered_max_detail: NonNegative = 0.06  # detail below which the lens is covered: scenes have 0.2 and more; 0: never


class DetectorConfig(StrictStruct, frozen=True):
    """What counts as a face."""

    min_score: Fraction = 0.5  # score of the detector from which a detection counts
    nms_iou: Fraction = 0.3  # IoU above which two detections are one face
    max_faces: Count = 8  # the largest ones are kept
    far_scan_every_s: NonNegative = 0.5  # interval between searches for far faces; 0: every frame


class TrackerConfig(StrictStruct, frozen=True):
    """How faces become tracks."""

    min_iou: Fraction = 0.2  # IoU of a face with a track's last box to continue it
    max_centre_step: Positive = 0.6  # or: centres nearer than this share of the box's side
    lost_after_s: Positive = 0.8  # a visitor unseen for this long has left


class QualityConfig(StrictStruct, frozen=True):
    """Which samples may count as evidence, and how much."""

    min_size_px: Positive = 18.0  # between the eye centres; about 2 m at 640 px and 60 degrees
    max_yaw_deg: Positive = 40.0  # head turned to the side by more: "turned-away"
    max_pitch_deg: Positive = 35.0  # head raised or lowered by more: "tilted"
    min_sharpness: NonNegative = 10.0  # variance of the Laplacian of the aligned crop, grey levels squared
    min_brightness: NonNegative = 12.0  # mean grey level of the face, 0..255; darker: "too-dark"
    max_glare: Fraction = 0.8  # share of the face that is white; more: "too-bright"
    min_presence: Fraction = 0.9  # probability from the mesh that this is a face; less: "no-face"
    min_norm: NonNegative = 0.6  # strength of the embedding, 1 for an ordinary photo; weaker: "unclear"
    full_weight_norm: Positive = 1.0  # strength from which a sample has its full weight


class RecognitionConfig(StrictStruct, frozen=True):
    """How many frames become one verdict. Distances are squared Euclidean, 0..4; a lower threshold is stricter."""

    threshold_sq: DistanceSq | None = None  # None: each person's own, from the gallery
    threshold_factor: Factor = 1.0  # multiplies either; below 1 is stricter
    margin_sq: DistanceSq = 0.1  # the runner-up must be farther by at least this
    min_samples: Count = 3  # agreeing samples for a name
    vote_slack_sq: DistanceSq = 0.25  # a single sample may exceed the threshold by this much and still agree
    unknown_samples: Count = 10  # samples before a visitor who stays is called unknown
    sample_every_s: NonNegative = 0.1  # shortest interval between samples of a track
    recheck_every_s: Positive = 1.0  # interval of checks, after the verdict, that it is still the same face
    track_consistency_sq: DistanceSq = 1.2  # a sample farther than this from its track's mean is another face
    same_stranger_sq: DistanceSq = 1.0  # a stranger within this of one just announced is the same stranger
    cooldown_s: NonNegative = 10.0  # visitors who stay or return within this time are not reported again


class LivenessConfig(StrictStruct, frozen=True):
    """When a face counts as a picture of one. Scores are 0 (genuine) to 1 (attack); a lower limit is stricter."""

    mode: Literal["off", "passive", "challenge"] = "off"  # passive: watched; challenge: asked to move the head
    attack_score: Fraction = 0.5  # at or above: an attack
    min_watch_s: Positive = 1.0  # shortest time of watching before a score counts; at most the last 1.3 s are used
    attack_after_s: Positive = 2.5  # a face without any sign of life for this long is an attack
    timeout_s: Positive = 6.0  # visitors who have not shown life by then are denied
    retry_s: NonNegative = 3.0  # visitors denied for it who stay are watched again after this long
    challenge_when: Literal["always", "doubt"] = "always"  # doubt: only for a score of at least `challenge_score`
    challenge_score: Fraction = 0.2  # a score at or above this, or none by `timeout_s`, leads to a challenge
    challenge_movements: ChallengeMovements = (
        "turn-left",
        "turn-right",
        "look-up",
    )  # what may be asked; left and right are the visitor's own
    challenge_steps: Annotated[int, Meta(ge=1, le=5)] = 2  # movements in a row
    challenge_step_timeout_s: Positive = 6.0  # for each movement: to hear of it, make it, and look straight again


class AccessConfig(StrictStruct, frozen=True):
    """Which recognised people may pass; all others are denied."""

    allow: tuple[str, ...] | None = None  # person ids or shell-style patterns; None: all, or as the policy says
    policy: str = ""  # a policy.toml with groups, schedules and dates, instead of `allow`
    trust_clock: bool = False  # true: the clock is right at the start without a time server, as it has a battery


class LockoutConfig(StrictStruct, frozen=True):
    """What follows repeated failures of one visitor, or repeated presentation attacks on one name."""

    max_failures: Count = 5  # in a row, until the first pause; so many attacks on one name: show life twice
    lockout_s: NonNegative = 30.0  # the door stays shut to this visitor for this long
    threshold_factor: Annotated[float, Meta(gt=0, le=1)] = 0.85  # multiplies the threshold afterwards, until a success
    extra_samples: Annotated[int, Meta(ge=0)] = 3  # beyond `min_samples` afterwards, until a success
    forget_after_s: Positive = 600.0  # a visitor unseen for this long is forgotten
    max_visitors: Count = 64  # most visitors remembered; the one unseen longest is forgotten first


class SnapshotsConfig(StrictStruct, frozen=True):
    """Pictures of faces on `…/snapshot/<event id>`, beside their events. Nothing of them is stored on the door."""

    kinds: tuple[Literal["unknown", "denied", "door-open"], ...] = ()  # of which events; none: it is off
    jpeg_quality: Annotated[int, Meta(ge=10, le=100)] = 85  # 10 to 100
    margin: Annotated[float, Meta(ge=0, le=2)] = 0.5  # around the face on each side, as a share of its size
    max_px: Annotated[int, Meta(ge=64, le=1024)] = 320  # the longer side of the picture; larger ones are scaled down
    max_age_s: Positive = 60.0  # not sent by then: dropped, also by the broker (MQTT 5)


class MqttConfig(StrictStruct, frozen=True):
    """The broker. A file is given by its path, or as "credential:NAME" if systemd's LoadCredential= hands it over."""

    url: Annotated[str, Meta(pattern=r"^mqtts?://")] = "mqtt://localhost:1883"  # mqtts://: encrypted
    insecure: bool = False  # true: unencrypted mqtt:// to another host, for all on the network to read and alter
    protocol: Literal["auto", "5", "3.1.1"] = "auto"  # auto: 5, or 3.1.1 where the broker has only that
    username: str = ""  # or "credential:NAME"
    password_file: str = ""  # its first line
    ca_file: str = ""  # of the authority that signed the broker's certificate; "": the system's authorities
    cert_file: str = ""  # this door's own certificate, for a broker that asks for one
    key_file: str = ""  # and its private key
    signing_key: str = ""  # Ed25519 private key; signs `open`, `events`, `release`, `status` and `health`
    keepalive_s: Annotated[int, Meta(ge=5, le=3600)] = 30  # a broker without a sign for 1.5 times this says "offline"
    open_max_age_s: Positive = 3.0  # an `open` older than this is dropped instead of sent late
    health_every_s: Positive = 10.0  # how often `…/health` is published


class LockConfig(StrictStruct, frozen=True):
    """A relay on a pin of this board that opens the lock, also while the broker is away; then nothing is published on
    `…/open`. docs/guides/lock-wiring.md says what to connect.
    """

    pin: Annotated[int, Meta(ge=0, le=27)]  # by its GPIO (BCM) number, not its place on the header
    active_high: bool = True  # false: the relay closes when the pin is low
    pulse_s: Annotated[float, Meta(ge=0.1, le=60)] = 3.0  # unlocked for this long; another opening restarts the time


class HomeAssistantConfig(StrictStruct, frozen=True):
    """Lets Home Assistant find this door by MQTT device discovery: docs/guides/home-assistant.md. Without the table
    nothing is published for it. To remove the door there, set enabled = false and start the door once; then remove it.
    """

    enabled: bool = True  # false: takes the door away from Home Assistant
    name: str = ""  # of the device; "": the door's
    discovery_prefix: TopicName = "homeassistant"  # as set in Home Assistant
    birth_topic: TopicName = "homeassistant/status"  # where Home Assistant says that it has started


class MetricsConfig(StrictStruct, frozen=True):
    """Metrics for Prometheus at http://…/metrics, unencrypted, for all who reach that address. They name nobody."""

    listen: str = "127.0.0.1"  # an IP address of this board; "0.0.0.0" or "::": all of them
    port: Annotated[int, Meta(ge=1, le=65535)] = 9450  # TCP port


class OutboxConfig(StrictStruct, frozen=True):
    """The store of events that the broker has not acknowledged yet."""

    max_events: Count = 100_000  # beyond this the oldest are dropped, counted and announced
    max_age_days: Positive = 90.0  # and those older than this, once the clock is set
    keep_delivered: Annotated[int, Meta(ge=0)] = 1000  # acknowledged events kept for looking back
    keep_delivered_days: Positive = 30.0  # but none longer than this after it happened, once the clock is set


class ReleaseConfig(StrictStruct, frozen=True):
    """Signed releases of gallery, access rules and models; with this table the door takes them from nowhere else."""

    source: Annotated[str, Meta(min_length=1)] = "mqtt"  # "mqtt", a folder such as a USB stick, or http(s)://
    check_every_s: Positive = 30.0  # interval of checks of a folder or address; the broker notifies at once
    max_mb: Annotated[int, Meta(ge=1, le=4096)] = 128  # a release larger than this many MiB is refused


class DoorConfig(StrictStruct, frozen=True):
    """The whole of door.toml."""

    site: SiteId  # shared by all doors of a building: letters, digits, ".", "_" and "-"
    door: DoorId  # unique within the site
    state_folder: str = "/var/lib/threshold"  # events that wait for the broker, releases, and usually the gallery
    gallery: str = "/var/lib/threshold/gallery.safetensors"  # who is known, made by threshold enroll
    gallery_key: str = ""  # encrypts galleries on this disk, a path or "credential:NAME"; see `edge gallery encrypt`
    camera: CameraConfig = CameraConfig()
    models: ModelsConfig = ModelsConfig()
    motion: MotionConfig = MotionConfig()
    camera_health: CameraHealthConfig = CameraHealthConfig()
    detector: DetectorConfig = DetectorConfig()
    tracker: TrackerConfig = TrackerConfig()
    quality: QualityConfig = QualityConfig()
    recognition: RecognitionConfig = RecognitionConfig()
    access: AccessConfig = AccessConfig()
    lockout: LockoutConfig = LockoutConfig()
    liveness: LivenessConfig = LivenessConfig()
    snapshots: SnapshotsConfig = SnapshotsConfig()
    mqtt: MqttConfig = MqttConfig()
    lock: LockConfig | None = None  # without the table: what subscribes to `…/open` drives the lock
    home_assistant: HomeAssistantConfig | None = None  # without the table: nothing is published outside threshold/
    metrics: MetricsConfig | None = None  # without the table: none are served
    outbox: OutboxConfig = OutboxConfig()
    release: ReleaseConfig | None = None  # without the table: the gallery above and the installed models


def read_config(path: Path) -> DoorConfig:
    """Read and check door.toml.

    Raises:
        ConfigError: it does not exist or cannot be read, is not TOML, or has an unknown key or a value of the wrong
            type or range.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such file; write one with  edge setup --out {path}")
    tables = load_toml(path)
    try:
        return convert(tables, DoorConfig)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
