"""door.toml: every tunable of a door, typed, with its unit and default, checked once at start.

Stages take their own table and nothing else. An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from edge.errors import ConfigError
from edge.tables import Table, checked, read_tables

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
DistanceSq = Annotated[float, Meta(ge=0, le=4)]
Factor = Annotated[float, Meta(gt=0, le=2)]
Count = Annotated[int, Meta(ge=1)]
_NAME = "letters, digits, '.', '_' and '-', a letter or a digit first, at most 64"
Slug = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description=_NAME)]
TopicName = Annotated[
    str,
    Meta(
        pattern=r"^[^+#$/\x00-\x1f][^+#\x00-\x1f]{0,127}$",
        description="a topic without '+' and '#', not beginning with '$' or '/', of at most 128 characters",
    ),
]
DoorSlug = Annotated[  # threshold/<site>/repo is taken
    str, Meta(pattern=r"^(?!repo$)[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description=f"{_NAME}; and not 'repo'")
]


class CameraConfig(Table, frozen=True):
    """Where frames come from: picamera2, /dev/videoN, an rtsp:// or http:// address, a clip, or a folder of stills."""

    source: Annotated[str, Meta(min_length=1)] = "picamera2"  # logs and events show scheme, host and port of it only
    width_px: Annotated[int, Meta(ge=64, le=4096)] = 640  # asked of the camera; a clip keeps its own size
    height_px: Annotated[int, Meta(ge=64, le=4096)] = 480
    fps: Annotated[float, Meta(gt=0, le=240)] = 15.0  # asked of a camera; the rate of a folder of stills
    rotate_deg: Literal[0, 90, 180, 270] = 0  # clockwise, to make people stand upright
    lost_after_s: Positive = 5.0  # no frame for so long: the camera counts as lost


class ModelsConfig(Table, frozen=True):
    """Which models run, and on what."""

    folder: str = ""  # "": the models that came with this installation
    detector: Literal["far", "near"] = "far"  # far: finds small faces; near: only large ones, faster
    delegate: Literal["none", "edgetpu"] = "none"
    runtime: Literal["auto", "ai-edge-litert", "tflite-runtime"] = "auto"
    threads: Annotated[int, Meta(ge=1, le=16)] = 2


class MotionConfig(Table, frozen=True):
    """When to look at all."""

    enabled: bool = True
    noise_levels: Positive = 10.0  # grey levels a spot must change by
    area: Share = 0.002  # share of the picture that must change
    linger_s: NotNegative = 2.0  # keep looking for so long after the last movement
    patrol_s: Positive = 2.0  # look once in so long even if nothing moves
    still_s: NotNegative = 0.25  # the same while somebody stands there who needs no more samples


class SightConfig(Table, frozen=True):
    """When a camera that gives frames counts as blind. It is told of and opens or closes nothing."""

    blind_after_s: NotNegative = 10.0  # black, flooded or covered for so long: the camera is blind
    sees_after_s: NotNegative = 3.0  # and for so long no more: it sees again
    frozen_after_s: Positive = 30.0  # the same picture, byte for byte, for so long: it is opened anew
    black_level: NotNegative = 16.0  # mean grey level of the brightest patch up to which all is black
    flooded_share: Share = 0.8  # of the picture white, above which it is flooded; 1: never
    covered_detail: NotNegative = 0.06  # detail below which the lens is covered: scenes have 0.2 and more; 0: never


class DetectorConfig(Table, frozen=True):
    """What counts as a face."""

    min_score: Share = 0.5
    max_overlap: Share = 0.3  # IoU above which two detections are one face
    max_faces: Count = 8  # the largest ones are kept
    scan_every_s: NotNegative = 0.5  # search for far faces once in so long; 0: in every frame


class TrackerConfig(Table, frozen=True):
    """How faces become tracks."""

    min_overlap: Share = 0.2  # IoU of a face with a track's last box to continue it
    max_step: Positive = 0.6  # or: centres nearer than this share of the box's side
    lost_after_s: Positive = 0.8  # unseen for so long: the visitor has left


class QualityConfig(Table, frozen=True):
    """Which samples may count as evidence, and how much."""

    min_size_px: Positive = 18.0  # between the eye centres; about 2 m at 640 px and 60 degrees
    max_yaw_deg: Positive = 40.0
    max_pitch_deg: Positive = 35.0
    min_sharpness: NotNegative = 10.0  # variance of the Laplacian of the aligned crop, grey levels squared
    min_brightness: NotNegative = 12.0  # mean grey level of the face, 0..255; darker: "too-dark"
    max_glare: Share = 0.8  # share of the face that is white; more: "too-bright"
    min_presence: Share = 0.9  # the mesh's belief that there is a face at all
    min_strength: NotNegative = 0.6  # of the embedder's answer, 1 for an ordinary photo; weaker: "unclear"
    full_strength: Positive = 1.0  # from here on a sample has its full weight


class VerdictConfig(Table, frozen=True):
    """How many frames become one verdict. Distances are squared Euclidean, 0..4; a lower threshold is stricter."""

    threshold_sq: DistanceSq | None = None  # None: each person's own, from the gallery
    threshold_factor: Factor = 1.0  # multiplies either; below 1 is stricter
    margin_sq: DistanceSq = 0.1  # the runner-up must be farther by at least this
    min_samples: Count = 3  # agreeing samples for a name
    agree_slack_sq: DistanceSq = 0.25  # a single sample agrees with a name up to so much beyond its threshold
    unknown_samples: Count = 10  # samples before a visitor who stays is called unknown
    sample_every_s: NotNegative = 0.1  # at most one sample of a track in so long
    recheck_every_s: Positive = 1.0  # after the verdict: is it still the same face?
    same_face_sq: DistanceSq = 1.2  # a sample farther than this from its track's mean is another face
    same_visitor_sq: DistanceSq = 1.0  # a stranger within this of one just announced is the same stranger
    cooldown_s: NotNegative = 10.0  # who stays, or returns within this, is not announced again


class LivenessConfig(Table, frozen=True):
    """When a face counts as a picture of one. Scores are 0 (genuine) to 1 (attack); a lower limit is stricter."""

    mode: Literal["off", "passive", "challenge"] = "off"  # passive: watched; challenge: asked to move the head
    attack_score: Share = 0.5  # at or above: an attack
    min_s: Positive = 1.0  # watched so long before a score counts; at most 1.3 are used
    flat_s: Positive = (
        2.5  # watched so long, who has shown no life counts as a picture; one show of it is enough before
    )
    max_s: Positive = 6.0  # who has not shown enough by then is denied
    retry_s: NotNegative = 3.0  # who was denied for it and stays is looked at anew after so long
    ask_when: Literal["always", "doubt"] = "always"  # with mode = "challenge"; doubt: only from `doubt_score` on
    doubt_score: Share = 0.2  # at or above, or not enough seen by `max_s`: asked
    asks: Annotated[tuple[Literal["turn-left", "turn-right", "look-up"], ...], Meta(min_length=1)] = (
        "turn-left",
        "turn-right",
        "look-up",
    )  # what may be asked, drawn anew each time; left and right are the visitor's own
    ask_steps: Annotated[int, Meta(ge=1, le=5)] = 2  # movements in a row
    ask_timeout_s: Positive = 6.0  # to hear of each, to make it, and back


class AccessConfig(Table, frozen=True):
    """Who of the recognised may pass; everybody else is denied."""

    allow: tuple[str, ...] | None = None  # person ids or shell-style patterns; None: all, or as the policy says
    policy: str = ""  # a policy.toml with groups, schedules and dates, instead of `allow`
    trust_clock: bool = False  # true: the clock is right at the start without a time server, as it has a battery


class LockoutConfig(Table, frozen=True):
    """What follows repeated failures of one visitor, or repeated presentation attacks on one name."""

    failures: Count = 5  # in a row, until the first pause; so many attacks on one name: show life twice
    pause_s: NotNegative = 30.0  # nothing opens to this visitor for so long
    threshold_factor: Annotated[float, Meta(gt=0, le=1)] = 0.85  # of the threshold afterwards, until a success
    extra_samples: Annotated[int, Meta(ge=0)] = 3  # beyond `min_samples` afterwards, until a success
    forget_s: Positive = 600.0  # a visitor unseen for so long is forgotten
    max_visitors: Count = 64  # remembered at most; beyond this the one unseen longest is forgotten


class SnapshotsConfig(Table, frozen=True):
    """Pictures of faces on `…/snapshot/<event id>`, beside their events. Nothing of them is stored on the door."""

    kinds: tuple[Literal["unknown", "denied", "door-open"], ...] = ()  # of which events; none: it is off
    jpeg_quality: Annotated[int, Meta(ge=10, le=100)] = 85
    margin: Annotated[float, Meta(ge=0, le=2)] = 0.5  # around the face on each side, as a share of its size
    max_px: Annotated[int, Meta(ge=64, le=1024)] = 320  # the longer side of the picture; larger ones are scaled down
    max_age_s: Positive = 60.0  # not sent by then: dropped, also by the broker (MQTT 5)


class MqttConfig(Table, frozen=True):
    """The broker. A file is given by its path, or as "credential:NAME" if systemd's LoadCredential= hands it over."""

    url: Annotated[str, Meta(pattern=r"^mqtts?://")] = "mqtt://localhost:1883"
    insecure: bool = False  # true: unencrypted mqtt:// to another host, for all on the network to read and alter
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    username: str = ""  # or "credential:NAME"
    password_file: str = ""  # its first line
    ca_file: str = ""  # of the authority that signed the broker's certificate; "": the system's authorities
    cert_file: str = ""  # this door's own certificate, for a broker that asks for one
    key_file: str = ""  # and its private key
    signing_key: str = ""  # Ed25519 private key; signs `open`, `events`, `release`, `status` and `health`
    keepalive_s: Annotated[int, Meta(ge=5, le=3600)] = 30  # a broker without a sign for 1.5 times this says "offline"
    open_max_age_s: Positive = 3.0  # an `open` older than this is dropped, never sent late
    health_every_s: Positive = 10.0  # how often `…/health` is published


class LockConfig(Table, frozen=True):
    """A relay on a pin of this board that opens the lock, also while the broker is away; then nothing is published on
    `…/open`. docs/wiring.md says what to connect.
    """

    pin: Annotated[int, Meta(ge=0, le=27)]  # by its GPIO (BCM) number, not its place on the header
    active_high: bool = True  # false: the relay closes when the pin is low
    pulse_s: Annotated[float, Meta(ge=0.1, le=60)] = 3.0  # unlocked for so long; another opening begins it anew


class HomeAssistantConfig(Table, frozen=True):
    """Lets Home Assistant find this door by itself, by MQTT device discovery: docs/home-assistant.md. Without the table
    nothing is said to it. To take the door away again, turn it off and start the door once before removing the table.
    """

    enabled: bool = True  # false: takes the door away from Home Assistant
    name: str = ""  # of the device; "": the door's
    discovery_prefix: TopicName = "homeassistant"
    birth_topic: TopicName = "homeassistant/status"  # where Home Assistant says that it has started


class MetricsConfig(Table, frozen=True):
    """Figures for Prometheus at http://…/metrics, unencrypted, for whoever reaches that address; they name nobody."""

    listen: str = "127.0.0.1"  # an IP address of this board; "0.0.0.0" or "::": all of them
    port: Annotated[int, Meta(ge=1, le=65535)] = 9450


class OutboxConfig(Table, frozen=True):
    """The store of events that the broker has not acknowledged yet."""

    max_events: Count = 100_000  # beyond this the oldest are dropped, counted and announced
    max_age_days: Positive = 90.0  # and those older than this, once the clock is set
    keep_sent: Annotated[int, Meta(ge=0)] = 1000  # acknowledged events kept for looking back
    keep_days: Positive = 30.0  # but none longer than this after it happened, once the clock is set


class ReleaseConfig(Table, frozen=True):
    """Signed galleries, access rules and models from afar; with this table the door takes them from nowhere else."""

    source: Annotated[str, Meta(min_length=1)] = "mqtt"  # "mqtt", a folder such as a USB stick, or http(s)://
    check_every_s: Positive = 30.0  # how often a folder or address is looked at; the broker tells at once
    max_mb: Annotated[int, Meta(ge=1, le=4096)] = 128  # a release larger than this many MiB is refused


class DoorConfig(Table, frozen=True):
    """The whole of door.toml."""

    site: Slug  # shared by all doors of a building: letters, digits, ".", "_" and "-"
    door: DoorSlug  # unique within the site
    state_folder: str = "/var/lib/threshold"  # events that wait for the broker, releases, and usually the gallery
    gallery: str = "/var/lib/threshold/gallery.safetensors"  # who is known, made by tools/enroll.py
    gallery_key: str = ""  # galleries are sealed on this disk with this key, a path or "credential:NAME"; `edge seal`
    camera: CameraConfig = CameraConfig()
    models: ModelsConfig = ModelsConfig()
    motion: MotionConfig = MotionConfig()
    sight: SightConfig = SightConfig()
    detector: DetectorConfig = DetectorConfig()
    tracker: TrackerConfig = TrackerConfig()
    quality: QualityConfig = QualityConfig()
    verdict: VerdictConfig = VerdictConfig()
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
    tables = read_tables(path)
    try:
        return checked(tables, DoorConfig)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
