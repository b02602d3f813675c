"""door.toml: every tunable of a door, typed, with its unit and default, checked once at start.

Stages take their own table and nothing else. An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge.errors import ConfigError

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
DistanceSq = Annotated[float, Meta(ge=0, le=4)]
Count = Annotated[int, Meta(ge=1)]
Slug = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every table in door.toml."""


class CameraConfig(Table, frozen=True):
    """Where frames come from: picamera2, /dev/videoN, an rtsp:// or http:// address, a clip, or a folder of stills."""

    source: Annotated[str, Meta(min_length=1)] = "picamera2"
    width_px: Annotated[int, Meta(ge=64, le=4096)] = 640  # asked of the camera; a clip keeps its own size
    height_px: Annotated[int, Meta(ge=64, le=4096)] = 480
    fps: Annotated[float, Meta(gt=0, le=240)] = 15.0  # asked of a camera; the rate of a folder of stills
    rotate_deg: Literal[0, 90, 180, 270] = 0  # clockwise, to make people stand upright
    lost_after_s: Positive = 5.0  # no frame for so long: the camera counts as lost


class ModelsConfig(Table, frozen=True):
    """Which models run, and on what."""

    folder: str = ""  # "": the models that came with this installation
    detector: Literal["far", "near"] = "far"  # far: up to about 5 m; near: up to about 2 m
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


class DetectorConfig(Table, frozen=True):
    """What counts as a face."""

    min_score: Share = 0.5
    max_overlap: Share = 0.3  # IoU above which two detections are one face
    max_faces: Count = 8  # the largest ones are kept


class TrackerConfig(Table, frozen=True):
    """How faces become tracks."""

    min_overlap: Share = 0.2  # IoU of a face with a track's last box to continue it
    max_step: Positive = 0.6  # or: centres nearer than this share of the box's side
    lost_after_s: Positive = 0.8  # unseen for so long: the visitor has left


class QualityConfig(Table, frozen=True):
    """Which samples may count as evidence, and how much."""

    min_size_px: Positive = 18.0  # between the eye centres; about 2 m at 640 px and 60 degrees
    full_size_px: Positive = 40.0  # from here on size costs no weight
    max_yaw_deg: Positive = 40.0
    max_pitch_deg: Positive = 35.0
    min_sharpness: NotNegative = 15.0  # variance of the Laplacian of the aligned crop, grey levels squared
    full_sharpness: Positive = 150.0
    min_presence: Share = 0.5


class VerdictConfig(Table, frozen=True):
    """How many frames become one verdict. Distances are squared Euclidean, 0..4; a lower threshold is stricter."""

    threshold_sq: DistanceSq | None = None  # None: each person's own, from the gallery
    margin_sq: DistanceSq = 0.1  # the runner-up must be farther by at least this
    min_samples: Count = 3  # agreeing samples for a name
    agree_slack_sq: DistanceSq = 0.25  # a single sample agrees with a name up to so much beyond its threshold
    unknown_samples: Count = 10  # samples before a visitor who stays is called unknown
    sample_every_s: NotNegative = 0.1  # at most one sample of a track in so long
    recheck_every_s: Positive = 1.0  # after the verdict: is it still the same face?
    same_face_sq: DistanceSq = 1.2  # a sample farther than this from its track's mean is another face
    same_visitor_sq: DistanceSq = 1.0  # a stranger within this of one just announced is the same stranger
    cooldown_s: NotNegative = 10.0  # who stays, or returns within this, is not announced again


class AccessConfig(Table, frozen=True):
    """Who of the recognised may pass; everybody else is denied."""

    allow: tuple[str, ...] = ("*",)  # person ids or shell-style patterns


class MqttConfig(Table, frozen=True):
    """The broker. The password is read from `password_file`, never written here."""

    url: Annotated[str, Meta(pattern=r"^mqtts?://")] = "mqtt://localhost:1883"
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    username: str = ""
    password_file: str = ""
    ca_file: str = ""  # "": the system's certificates, for mqtts://
    keepalive_s: Annotated[int, Meta(ge=5, le=3600)] = 30
    open_max_age_s: Positive = 3.0  # an `open` older than this is dropped, never sent late
    health_every_s: Positive = 10.0


class OutboxConfig(Table, frozen=True):
    """The store of events that the broker has not acknowledged yet."""

    max_events: Count = 100_000  # beyond this the oldest are dropped, counted and announced
    keep_sent: Annotated[int, Meta(ge=0)] = 1000  # acknowledged events kept for looking back


class DoorConfig(Table, frozen=True):
    """The whole of door.toml."""

    site: Slug
    door: Slug
    state_folder: str = "/var/lib/threshold"
    gallery: str = "/var/lib/threshold/gallery.safetensors"
    camera: CameraConfig = CameraConfig()
    models: ModelsConfig = ModelsConfig()
    motion: MotionConfig = MotionConfig()
    detector: DetectorConfig = DetectorConfig()
    tracker: TrackerConfig = TrackerConfig()
    quality: QualityConfig = QualityConfig()
    verdict: VerdictConfig = VerdictConfig()
    access: AccessConfig = AccessConfig()
    mqtt: MqttConfig = MqttConfig()
    outbox: OutboxConfig = OutboxConfig()


def read_config(path: Path) -> DoorConfig:
    """Read and check door.toml.

    Raises:
        ConfigError: it cannot be read, is not TOML, has an unknown key or a value of the wrong type or range.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from error
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    try:
        return msgspec.convert(tables, DoorConfig)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from error


def _explain(error: msgspec.ValidationError) -> str:
    """msgspec's message in a user's words, with the nearest known key for an unknown one."""
    what, _, where = str(error).partition(" - at ")
    where = where.strip("`$.")
    unknown = re.search(r"unknown field `(.*)`", what)
    if unknown is None:
        return f"{where or 'top level'}: {what[:1].lower()}{what[1:]}"
    key = unknown.group(1)
    table = _table(where)
    known = [field.encode_name for field in msgspec.structs.fields(table)]
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
    return f"{f'[{where}]' if where else 'top level'}: unknown key '{key}'; {hint}"


def _table(name: str) -> type[Table]:
    """The type of the table called `name`; the whole document for ""."""
    kinds = {field.encode_name: field.type for field in msgspec.structs.fields(DoorConfig)}
    kind = kinds.get(name, DoorConfig)
    return kind if isinstance(kind, type) and issubclass(kind, Table) else DoorConfig
