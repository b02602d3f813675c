"""Typed configuration of a door (door.toml): every key with its range and default, checked once at start.

Each stage receives its own table only. The comment of a key is its meaning in docs/reference/configuration.md;
docs/generators/configuration_keys.toml has the unit and "change it when".
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
    str, Meta(pattern=r"^(?!repo$)[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description=f"{_NAME}; not 'repo'")
]


class CameraConfig(StrictStruct, frozen=True):
    """The camera, or a recording in its place."""

    # picamera2, /dev/videoN, an rtsp:// or http:// address, a clip, or a folder of stills; a password in an address is
    # never logged
    source: Annotated[str, Meta(min_length=1)] = "picamera2"
    width_px: Annotated[int, Meta(ge=64, le=4096)] = 640  # width requested from the camera; a clip keeps its size
    height_px: Annotated[int, Meta(ge=64, le=4096)] = 480  # height requested from the camera; a clip keeps its size
    fps: Annotated[float, Meta(gt=0, le=240)] = 15.0  # rate requested from the camera; the rate of a folder of stills
    rotate_deg: Literal[0, 90, 180, 270] = 0  # clockwise rotation that puts people upright
    lost_after_s: Positive = 5.0  # the camera is reported as lost after this long without a frame


class ModelsConfig(StrictStruct, frozen=True):
    """The models, and the hardware and library that run them."""

    folder: str = ""  # folder of other models; "": the models of this installation
    detector: Literal["far", "near"] = "far"  # far: finds small faces; near: finds only large ones, and is faster
    delegate: Literal["none", "edgetpu"] = "none"  # none: run on the processor; edgetpu: on a Coral accelerator
    runtime: Literal["auto", "ai-edge-litert", "tflite-runtime"] = "auto"  # library; auto: the one that is installed
    threads: Annotated[int, Meta(ge=1, le=16)] = 2  # processor threads of the models


class MotionConfig(StrictStruct, frozen=True):
    """Motion test that decides whether the detector runs."""

    enabled: bool = True  # true: a still scene is not searched; false: the detector runs on every frame
    noise_grey_levels: Positive = 10.0  # difference from the background, 0 to 255, above which a pixel has changed
    min_changed_share: Fraction = 0.002  # share of changed pixels in a frame above which something moves
    keep_awake_s: NonNegative = 2.0  # the detector keeps running for this long after the last movement
    idle_scan_every_s: Positive = 2.0  # longest interval between detector runs when nothing moves
    still_scan_every_s: NonNegative = 0.25  # the same while a visitor who needs no more samples stands still


class CameraHealthConfig(StrictStruct, frozen=True):
    """When a camera that delivers frames is reported as blind. It does not affect decisions."""

    blind_after_s: NonNegative = 10.0  # black, overexposed or covered for this long: reported as blind
    recovered_after_s: NonNegative = 3.0  # a good picture for this long: no longer reported as blind
    frozen_after_s: Positive = 30.0  # identical frames, byte for byte, for this long: the camera is reopened
    black_max_level: NonNegative = 16.0  # black: the brightest patch has at most this mean grey level, 0 to 255
    overexposed_share: Fraction = 0.8  # overexposed: a larger share of the picture than this is white; 1: never
    covered_max_detail: NonNegative = 0.06  # covered: less detail than this; scenes have 0.2 and more; 0: never


class DetectorConfig(StrictStruct, frozen=True):
    """Face detection."""

    min_score: Fraction = 0.5  # lowest score of a detection; higher is stricter
    nms_iou: Fraction = 0.3  # overlap (IoU) above which two detections are one face
    max_faces: Count = 8  # largest number of faces in a frame; the largest faces are kept
    far_scan_every_s: NonNegative = 0.5  # interval between searches of the whole frame for small faces; 0: every frame


class TrackerConfig(StrictStruct, frozen=True):
    """How faces of successive frames become one visitor."""

    min_iou: Fraction = 0.2  # lowest overlap (IoU) of a face with a track's last box to continue the track
    # a track is also continued if the centres are nearer than this share of the box's side
    max_centre_step: Positive = 0.6
    lost_after_s: Positive = 0.8  # a visitor unseen for this long has left


class QualityConfig(StrictStruct, frozen=True):
    """Limits of usable samples. Each limit is followed by the code of its rejection."""

    min_size_px: Positive = 18.0  # distance between the eye centres; 18 px is about 2 m at 640 px and 60°: `too-small`
    max_yaw_deg: Positive = 40.0  # largest turn of the head to a side: `turned-away`
    max_pitch_deg: Positive = 35.0  # largest tilt of the head up or down: `tilted`
    min_sharpness: NonNegative = 10.0  # variance of the Laplacian of the aligned crop: `blurred`
    min_brightness: NonNegative = 12.0  # mean grey level of the face, 0 to 255: `too-dark`
    max_glare: Fraction = 0.8  # share of the face that is white: `too-bright`
    min_presence: Fraction = 0.9  # probability, from the face mesh, that this is a face: `no-face`
    min_norm: NonNegative = 0.6  # length of the raw embedding, 1 for an ordinary photo: `unclear`
    full_weight_norm: Positive = 1.0  # length of the raw embedding from which a sample has its full weight


class RecognitionConfig(StrictStruct, frozen=True):
    """How samples become one verdict. Distances are squared Euclidean, 0 to 4: lower is nearer. A lower threshold is
    stricter.
    """

    threshold_sq: DistanceSq | None = None  # one threshold for everybody; not set: each person's own, from the gallery
    threshold_factor: Factor = 1.0  # multiplies every threshold; below 1 is stricter
    margin_sq: DistanceSq = 0.1  # the second-nearest person must be farther by at least this; higher is stricter
    min_samples: Count = 3  # agreeing samples for a name; higher is stricter
    vote_slack_sq: DistanceSq = 0.25  # a single sample agrees up to the threshold plus this; lower is stricter
    unknown_samples: Count = 10  # samples after which a visitor who stays is reported as unknown
    sample_every_s: NonNegative = 0.1  # shortest interval between samples of a track
    recheck_every_s: Positive = 1.0  # interval of the samples that check, after a verdict, that the face is the same
    track_consistency_sq: DistanceSq = 1.2  # a sample farther than this from its track's mean is another face
    same_stranger_sq: DistanceSq = 1.0  # an unknown face within this of a recent one is the same stranger
    cooldown_s: NonNegative = 10.0  # visitors who stay or return within this time are not reported again


class LivenessConfig(StrictStruct, frozen=True):
    """Detection of photos and screens (presentation attacks). Scores are 0 (genuine) to 1 (attack); a lower limit is
    stricter.
    """

    # off: none; passive: looks for signs of life; challenge: also asks the visitor to move the head
    mode: Literal["off", "passive", "challenge"] = "off"
    attack_score: Fraction = 0.5  # scores from this on are an attack; lower is stricter
    min_watch_s: Positive = 1.0  # shortest observation before a score counts; above 1.3 s it has no further effect
    attack_after_s: Positive = 2.5  # a face without any sign of life for this long is an attack
    timeout_s: Positive = 6.0  # visitors who have not shown life by then are denied
    retry_s: NonNegative = 3.0  # denied visitors who stay are observed again after this long
    # always: everybody is asked; doubt: only after a score of `challenge_score` or more, or none by `timeout_s`
    challenge_when: Literal["always", "doubt"] = "always"
    challenge_score: Fraction = 0.2  # with challenge_when = "doubt": score from which a visitor is asked
    # movements that may be asked; left and right are the visitor's
    challenge_movements: ChallengeMovements = ("turn-left", "turn-right", "look-up")
    challenge_steps: Annotated[int, Meta(ge=1, le=5)] = 2  # movements in one challenge; more are stricter
    challenge_step_timeout_s: Positive = 6.0  # time to notice one request, move, and look straight again


class AccessConfig(StrictStruct, frozen=True):
    """Which recognised people may pass; all others are denied."""

    # person ids or shell-style patterns; not set: everybody in the gallery, or the people whom `policy` allows
    allow: tuple[str, ...] | None = None
    policy: str = ""  # path of a policy.toml with groups, schedules and dates, in place of `allow`
    trust_clock: bool = False  # true: the clock is right at the start even without a time server


class LockoutConfig(StrictStruct, frozen=True):
    """Pauses after repeated failures of one visitor, and stricter liveness after repeated attacks on one name."""

    # failures in a row before the first pause; attacks in a row on one name before life must be shown twice
    max_failures: Count = 5
    lockout_s: NonNegative = 30.0  # the door does not open to this visitor for this long
    threshold_factor: Annotated[float, Meta(gt=0, le=1)] = 0.85  # multiplies thresholds after a pause, until a success
    extra_samples: Annotated[int, Meta(ge=0)] = 3  # added to `min_samples` after a pause, until a success
    forget_after_s: Positive = 600.0  # a visitor unseen for this long is forgotten
    max_visitors: Count = 64  # most visitors remembered; the one unseen longest is forgotten first


class SnapshotsConfig(StrictStruct, frozen=True):
    """Pictures of faces on `…/snapshot/<event id>`, never stored on the door. First read docs/understand/privacy.md."""

    kinds: tuple[Literal["unknown", "denied", "door-open"], ...] = ()  # events that get a picture; empty: none do
    jpeg_quality: Annotated[int, Meta(ge=10, le=100)] = 85  # JPEG quality
    margin: Annotated[float, Meta(ge=0, le=2)] = 0.5  # margin around the face on each side, as a share of its size
    max_px: Annotated[int, Meta(ge=64, le=1024)] = 320  # longer side of the picture; larger ones are scaled down
    max_age_s: Positive = 60.0  # a picture not delivered by then is dropped, with MQTT 5 also by the broker


class MqttConfig(StrictStruct, frozen=True):
    """The MQTT broker. A file is a path, or "credential:NAME" for a file of systemd's LoadCredential=."""

    url: Annotated[str, Meta(pattern=r"^mqtts?://")] = "mqtt://localhost:1883"  # address; mqtts:// is encrypted
    # true: allow unencrypted mqtt:// to another host; anybody on that network can read and change the messages
    insecure: bool = False
    protocol: Literal["auto", "5", "3.1.1"] = "auto"  # MQTT version; auto: 5, or 3.1.1 if the broker has only that
    username: str = ""  # user name, or "credential:NAME"
    password_file: str = ""  # file whose first line is the password
    ca_file: str = ""  # certificate of the authority that signed the broker's; "": the system's authorities
    cert_file: str = ""  # this door's certificate, if the broker requires one
    key_file: str = ""  # private key of `cert_file`
    signing_key: str = ""  # Ed25519 private key; signs `open`, `events`, `release`, `status`, `health`; "": unsigned
    keepalive_s: Annotated[int, Meta(ge=5, le=3600)] = 30  # no sign for 1.5 times this: the broker reports `offline`
    open_max_age_s: Positive = 3.0  # an `open` older than this is dropped instead of sent late
    health_every_s: Positive = 10.0  # interval of `…/health` messages


class LockConfig(StrictStruct, frozen=True):
    """A relay on a GPIO pin of this board that opens the lock, also while the broker is away. The door then publishes
    nothing on `…/open`. Wiring: docs/guides/lock-wiring.md.
    """

    pin: Annotated[int, Meta(ge=0, le=27)]  # GPIO (BCM) number of the pin, not its place on the header
    active_high: bool = True  # true: a high level on the pin opens the lock; false: a low level does
    pulse_s: Annotated[float, Meta(ge=0.1, le=60)] = 3.0  # unlocked for this long; another opening restarts the time


class HomeAssistantConfig(StrictStruct, frozen=True):
    """MQTT device discovery for Home Assistant: docs/guides/home-assistant.md. To remove the door from Home Assistant,
    set enabled = false, start the door once, then remove the table.
    """

    enabled: bool = True  # true: the door appears in Home Assistant; false: it is removed from there
    name: str = ""  # name of the device; "": the door's
    discovery_prefix: TopicName = "homeassistant"  # discovery prefix that is set in Home Assistant
    birth_topic: TopicName = "homeassistant/status"  # topic on which Home Assistant announces that it has started


class MetricsConfig(StrictStruct, frozen=True):
    """Prometheus metrics by HTTP on the path /metrics, unencrypted and without login. They contain no names."""

    listen: str = "127.0.0.1"  # IP address of this board to listen on; "0.0.0.0" or "::": all of them
    port: Annotated[int, Meta(ge=1, le=65535)] = 9450  # TCP port


class OutboxConfig(StrictStruct, frozen=True):
    """Stored events: those that the broker has not acknowledged, and a history of those that it has."""

    max_events: Count = 100_000  # most waiting events; the oldest ones beyond it are dropped and counted
    max_age_days: Positive = 90.0  # waiting events older than this are dropped, once the clock is set
    keep_delivered: Annotated[int, Meta(ge=0)] = 1000  # most acknowledged events kept as history
    keep_delivered_days: Positive = 30.0  # acknowledged events older than this are deleted, once the clock is set


class ReleaseConfig(StrictStruct, frozen=True):
    """Signed releases of gallery, access rules and models. With this table the door accepts these from nowhere else."""

    source: Annotated[str, Meta(min_length=1)] = "mqtt"  # "mqtt", a folder such as a USB stick, or http(s)://
    check_every_s: Positive = 30.0  # interval of checks of a folder or address; the broker announces releases itself
    max_mb: Annotated[int, Meta(ge=1, le=4096)] = 128  # a larger release is rejected


class DoorConfig(StrictStruct, frozen=True):
    """The whole of door.toml."""

    site: SiteId  # name of the site, the same for all doors of a building
    door: DoorId  # name of this door, unique within the site
    state_folder: str = "/var/lib/threshold"  # folder of stored events, releases, and usually the gallery
    gallery: str = "/var/lib/threshold/gallery.safetensors"  # file of the enrolled people, made by `threshold enroll`
    gallery_key: str = ""  # key that encrypts galleries on this disk; see `edge gallery encrypt`; "": not encrypted
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
    lock: LockConfig | None = None  # without the table: a subscriber of `…/open` drives the lock
    home_assistant: HomeAssistantConfig | None = None  # without the table: nothing is published outside threshold/
    metrics: MetricsConfig | None = None  # without the table: no metrics
    outbox: OutboxConfig = OutboxConfig()
    release: ReleaseConfig | None = None  # without the table: `gallery` and the installed models


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
