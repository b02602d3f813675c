"""Models, gallery, releases, access rules and lock of a configuration, and settings that conflict."""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge.access.policy import Policy
from edge.access.policy_file import load_configured_rules
from edge.core.cli_support import counted
from edge.core.config import DoorConfig, LockConfig
from edge.core.errors import ThresholdError
from edge.diagnostics.report import CheckResult, fail, ok, run_check, warn
from edge.recognition.encryption import read_key
from edge.recognition.gallery_file import load_gallery
from edge.recognition.threshold_limits import loose_settings
from edge.runtime.door_lock import open_relay
from edge.runtime.hardening import unencrypted_snapshots
from edge.runtime.release_manager import describe_status, release_expiry
from edge.runtime.runtime_bundle import RuntimeBundle, lax_thresholds
from edge.vision.camera import is_recorded
from edge.vision.face_sampler import VisionStages
from edge.vision.manifest import OperatingPoint

_RUNS = 5  # runs of each model; the fastest counts
_ROOT_WARNING, _OTHERS_WARNING = timedelta(days=30), timedelta(days=3)  # every publication renews the other roles
# Pins with a pull-up during boot; the others have a pull-down (BCM2835, table 6-31).
_PULL_UP_PINS = range(9)
_MIN_CHALLENGE_S = 3.0
_STALE_S = 10.0  # later another person may be at the door
_EEPROM_OR_I2C = range(4)
_NAMED = 3  # rules listed by name
_EXAMPLE = "correct the rules; see the example systemd/policy.toml"
_CALIBRATE = "set thresholds with threshold calibrate"
_ROTATE = "renew it with threshold sync rotate"
_PUBLISH = "renew it: run threshold sync publish on the desktop"


def check_models(
    config: DoorConfig, vision: VisionStages, now_s: Callable[[], float] = time.perf_counter
) -> Iterator[CheckResult]:
    """Models, runtime, and whether they are fast enough for the camera; `now_s` is a clock in seconds."""
    models = vision.models
    yield ok("models", ", ".join(Path(model.contract.file).stem for model in models))
    name, delegate = models[0].runtime, config.models.delegate
    parts = [model.delegated for model in models]
    best_s = [min(timeit.repeat(model.invoke, timer=now_s, repeat=_RUNS, number=1)) for model in models]
    spent_ms = sum(best_s) * 1000
    detail = f"{name}, {counted(config.models.threads, 'thread')}; all models run in {spent_ms:.0f} ms"
    if delegate == "edgetpu":
        yield ok("runtime", f"{detail}, on the Edge TPU")
    elif 0 in parts:
        slow = ", ".join(model.contract.file for model, count in zip(models, parts, strict=True) if count == 0)
        remedy = 'run pip install --upgrade ai-edge-litert, and set [models] runtime = "auto"'
        yield warn("runtime", f"{detail}; {slow} without XNNPACK, which is several times slower", remedy)
    elif spent_ms > 1000 / config.camera.fps:
        remedy = 'set [models] detector = "near" if visitors come within 2 m, raise threads, or lower [camera] fps'
        yield warn("runtime", f"{detail}: too slow for {config.camera.fps:g} frames per second", remedy)
    else:
        yield ok("runtime", detail + (", XNNPACK" if None not in parts else ""))


def check_people(config: DoorConfig, vision: VisionStages) -> Iterator[CheckResult]:
    """The gallery, or the signed releases and when their metadata expires."""
    if config.release is None:
        yield run_check(
            "gallery",
            lambda: _gallery(config, vision),
            "make one with threshold enroll PHOTOS --out FILE, and copy it to the door",
        )
        return
    remedy = "run edge release trust-root ROOT.json, then threshold sync publish on the desktop"
    yield run_check("release", lambda: _release(config, vision), remedy)
    remedy = "run edge release trust-root ROOT.json"
    yield run_check("trust", lambda: check_metadata_expiry(config, datetime.now(UTC)), remedy)


def _gallery(config: DoorConfig, vision: VisionStages) -> CheckResult:
    embedder, key = vision.reader.embedder, read_key(config.gallery_key)
    gallery = load_gallery(Path(config.gallery), embedder.sha256, key, dimension=embedder.dimension)
    info, lax = gallery.info, lax_thresholds(gallery, embedder)
    encrypted = ", encrypted" if config.gallery_key else ""
    if not info.people:
        return fail("gallery", f"{config.gallery}: nobody is enrolled", "enrol people with threshold enroll")
    if lax:
        return warn("gallery", f"{config.gallery}: {lax}", _CALIBRATE)
    return ok(
        "gallery",
        f"{config.gallery}: {counted(info.people, 'person', 'people')}{encrypted}, version {info.version[:12]}",
    )


def _release(config: DoorConfig, vision: VisionStages) -> CheckResult:
    detail, lax = describe_status(config, vision)
    return (
        warn("release", f"{detail}; {lax}", f"{_CALIBRATE}, and publish the gallery") if lax else ok("release", detail)
    )


def check_metadata_expiry(config: DoorConfig, now: datetime) -> CheckResult:
    """When the trusted release metadata expires; `now` is an aware datetime.

    Raises:
        ReleaseError: no root is trusted, or the metadata is damaged.
    """
    left = sorted((moment - now, role) for role, moment in release_expiry(config).items())
    for days, role in left:
        remedy, soon = (_ROTATE, _ROOT_WARNING) if role == "root" else (_PUBLISH, _OTHERS_WARNING)
        if days < timedelta():
            return fail(
                "trust",
                f"{role} metadata expired {counted(-days.days, 'day')} ago; the door accepts no newer release",
                remedy,
            )
        if days < soon:
            return warn("trust", f"{role} metadata expires in {counted(days.days, 'day')}", remedy)
    days, role = left[0]
    return ok("trust", f"valid; {role} metadata expires first, in {counted(days.days, 'day')}")


def check_access(config: DoorConfig, bundle: RuntimeBundle | None, release: str) -> Iterator[CheckResult]:
    """Whether the active access rules let anybody pass, and whether every rule matches somebody.

    Args:
        config: door configuration.
        bundle: what the door runs; None if it does not load: then the rules of door.toml are checked without a gallery.
        release: name of the release that contains the rules; "" for the rules of door.toml.
    """
    if bundle is None and config.release:
        yield warn(
            "access", "not checked, because the release or gallery cannot be loaded", "correct the errors above first"
        )
        return
    try:
        rules = bundle.rules if bundle else load_configured_rules(config.access)
    except ThresholdError as error:
        yield fail("access", str(error), _EXAMPLE)
        return
    where, remedy = _origin(config, release)
    allow = rules.door(config.door).allow
    if not allow:
        yield fail("access", f"{where}: nobody may pass at door '{config.door}'", remedy)
        return
    detail = f"{where}: door '{config.door}', {counted(len(allow), 'rule')}"
    people = [person.id for person in bundle.gallery.people] if bundle else []
    if not people:
        yield ok("access", detail)
        return
    policy = Policy(rules, config.door)
    passing = sum(policy.names(person) for person in people)
    if not passing:
        yield fail("access", f"{where}: nobody in the gallery may pass at door '{config.door}'", remedy)
        return
    detail += f", {counted(passing, 'person', 'people')} of {len(people)} may pass"
    idle = [rule for rule, count in policy.people_per_rule(people).items() if not count]
    if idle:
        listed = ", ".join(idle[:_NAMED]) + (", …" if len(idle) > _NAMED else "")
        matches = "rule matches" if len(idle) == 1 else "rules match"
        yield warn("access", f"{detail}; {len(idle)} {matches} nobody in the gallery: {listed}", remedy)
    else:
        yield ok("access", detail)


def _origin(config: DoorConfig, release: str) -> tuple[str, str]:
    """The place of the rules, and the remedy for them."""
    if release:
        ignored = config.access.policy or config.access.allow is not None
        note = " ([access] of door.toml is not used)" if ignored else ""
        return (
            f"rules of {release}{note}",
            "correct the rules on the desktop, and run threshold sync publish --policy FILE",
        )
    return config.access.policy or "[access] allow", _EXAMPLE


def check_lock(lock: LockConfig) -> CheckResult:
    """Whether the pin is available, and its state during boot; the pin is set to locked and released.

    Raises:
        ConfigError, LockError: the pin is not available.
    """
    open_relay(lock).close()
    detail = f"pin {lock.pin}: locked; opens for {lock.pulse_s:g} s"
    if lock.pin in _EEPROM_OR_I2C:
        remedy = "use another pin, such as 17"
        return warn("lock", f"{detail}; the board uses this pin itself (EEPROM, I2C)", remedy)
    if (lock.pin in _PULL_UP_PINS) is lock.active_high:
        remedy = "use pin 9 or higher" if lock.active_high else "use pin 4 to 8, or a relay with active_high = true"
        return warn("lock", f"{detail}; the relay may open the lock during boot", remedy)
    return ok("lock", detail)


def check_recognition(config: DoorConfig, impostors: Sequence[OperatingPoint]) -> Iterator[CheckResult]:
    """Settings of [recognition] that may let strangers in, by the impostor distances of the embedder."""
    remedy = "remove this setting unless you measured it; the gallery has thresholds (docs/guides/tuning.md)"
    for lax in loose_settings(config.recognition, impostors):
        yield (fail if lax.open else warn)("verdict", f"[recognition] {lax.detail}", remedy)


def check_settings(config: DoorConfig) -> Iterator[CheckResult]:
    """Settings that are valid alone but conflict with others."""
    yield from list(_suspicious_settings(config)) or [ok("settings", "no conflicting settings")]


def _suspicious_settings(config: DoorConfig) -> Iterator[CheckResult]:
    if config.lock and config.liveness.mode == "off" and not config.access.policy:  # a policy can require liveness
        yield warn("settings", "a photo in front of the camera opens this lock", 'set [liveness] mode = "passive"')
    if config.lock and is_recorded(config.camera.source):
        yield fail("settings", "[lock]: a recording never opens the door", "set [camera] source to a camera")
    if config.liveness.mode == "challenge" and config.liveness.challenge_step_timeout_s < _MIN_CHALLENGE_S:
        seconds = config.liveness.challenge_step_timeout_s
        detail = f"[liveness] challenge_step_timeout_s = {seconds:g}: too short to notice and make a movement"
        yield warn("settings", detail, "set 4 s or more; some visitors need the time")
    if config.mqtt.open_max_age_s > _STALE_S:
        detail = f"[mqtt] open_max_age_s = {config.mqtt.open_max_age_s:g}: the door may open that late after a visit"
        yield warn("settings", detail, "remove it; the default of 3 s is enough on a working network")


def check_snapshots(config: DoorConfig) -> CheckResult:
    """Whether pictures of faces are sent encrypted."""
    clear = unencrypted_snapshots(config)
    if clear:
        return fail("snapshots", clear, "use mqtts:// (see systemd/mosquitto/), or remove [snapshots]")
    return ok("snapshots", f"pictures of faces for {', '.join(config.snapshots.kinds)} go to {config.mqtt.url}")
