"""Checks of the board: power, temperature, memory, disk, clock, and the permissions of the door's files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from edge.access.model import AccessRules
from edge.core.cli_support import counted
from edge.core.clock import SYSTEM_CLOCK, Clock
from edge.core.config import DoorConfig
from edge.diagnostics.report import CheckResult, fail, ok, warn
from edge.runtime.hardening import world_accessible_paths
from edge.vision.camera_source import source_of

# Bits of get_throttled of the Raspberry Pi firmware (documentation of vcgencmd): state now; 16 bits higher, since boot.
_UNDER_VOLTAGE, _CAPPED, _THROTTLED, _SOFT_LIMIT = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_SINCE_BOOT = 16
_SUPPLY = "use the power supply made for this board (5 V, 3 A; Pi 5: 5 A) and a short, thick cable without a hub"
_COOLING = "add a heat sink, a fan or ventilation; a Pi slows down above 80 °C"
_HOT_C, _WARM_C = 80.0, 70.0
_NEEDED_MB, _COMFORTABLE_MB = 150, 300  # `edge run` takes 125 MB with 10,000 people (benchmarks/visit_latency.py)
_FULL_MB, _LITTLE_MB = 20, 200  # the event store at its largest takes about 100 MB
_FEW_INODES = 1000
# eMMC's own estimate (JEDEC eMMC 5.0, EXT_CSD 267 to 269): life in tenths used up, and spare blocks left.
_WORN_TENTHS, _SPARE_LOW = 9, 2


def check_board(config: DoorConfig, *, sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> Iterator[CheckResult]:
    """Check power, heat, memory and disk; `sys` and `proc` are mount points."""
    yield _power(sys)
    yield _temperature(sys)
    yield _memory(proc)
    yield from _disk(Path(config.state_folder), sys)


def _power(sys: Path) -> CheckResult:
    for path in sorted(sys.glob("devices/platform/soc*/*firmware/get_throttled")):
        flags = int(path.read_text().strip(), 16)
        before = flags >> _SINCE_BOOT
        if flags & _UNDER_VOLTAGE:
            return fail("power", "under-voltage now: the processor slows down and cameras disconnect", _SUPPLY)
        if flags & (_THROTTLED | _CAPPED | _SOFT_LIMIT):
            return warn("power", "the processor is throttled now because of heat", _COOLING)
        if before & _UNDER_VOLTAGE:
            return warn("power", "there was under-voltage since boot", _SUPPLY)
        if before & (_THROTTLED | _CAPPED | _SOFT_LIMIT):
            return warn("power", "the processor was throttled since boot because of heat", _COOLING)
        return ok("power", "no under-voltage and no throttling since boot")
    for name in sorted(sys.glob("class/hwmon/hwmon*/name")):
        alarm = name.with_name("in0_lcrit_alarm")
        if name.read_text().strip() == "rpi_volt" and alarm.exists():
            if alarm.read_text().strip() != "0":
                return fail("power", "under-voltage: the processor slows down and cameras disconnect", _SUPPLY)
            return ok("power", "no under-voltage")
    return ok("power", "not available on this hardware")


def _temperature(sys: Path) -> CheckResult:
    try:
        degrees = int((sys / "class/thermal/thermal_zone0/temp").read_text()) / 1000
    except (OSError, ValueError):
        return ok("heat", "not available on this hardware")
    if degrees >= _HOT_C:
        return fail("heat", f"{degrees:.0f} °C: the processor slows down", _COOLING)
    if degrees >= _WARM_C:
        return warn("heat", f"{degrees:.0f} °C while nearly idle", _COOLING)
    return ok("heat", f"{degrees:.0f} °C")


def _memory(proc: Path) -> CheckResult:
    lines = (proc / "meminfo").read_text().splitlines()
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines if ":" in line}
    free_mb = kilobytes["MemAvailable"] * 1024 / 1e6
    detail = f"{free_mb:,.0f} MB free of {kilobytes['MemTotal'] * 1024 / 1e6:,.0f} MB; a door needs about 130 MB"
    remedy = "end other programs, boot without a desktop (sudo raspi-config), or use a board with 1 GB or more"
    if free_mb < _NEEDED_MB:
        return fail("memory", detail, remedy)
    return warn("memory", detail, remedy) if free_mb < _COMFORTABLE_MB else ok("memory", detail)


def _disk(folder: Path, sys: Path) -> Iterator[CheckResult]:
    here = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    space = os.statvfs(here)
    free_mb = space.f_bavail * space.f_frsize / 1e6
    detail = f"{free_mb:,.0f} MB free at {here}"
    remedy = "delete old files or logs (journalctl --vacuum-size=100M), or use a larger card"
    few_inodes = space.f_files > 0 and space.f_favail < _FEW_INODES
    if space.f_flag & os.ST_RDONLY:
        remedy = "mount it for writing; if the card is worn and became read-only, replace it"
        yield fail("disk", f"{here} is read-only", remedy)
    elif free_mb < _FULL_MB or few_inodes:
        yield fail("disk", detail + ("; no more files can be created" if few_inodes else ""), remedy)
    elif free_mb < _LITTLE_MB:
        yield warn("disk", detail, remedy)
    else:
        yield ok("disk", detail)
    worn = _storage_wear(here, sys)
    if worn:
        yield warn("wear", worn, "replace the card before it fails; it stores the events and releases")


def _storage_wear(here: Path, sys: Path) -> str:
    """Warning if the flash memory of a folder reports that it is worn, else ""."""
    number = here.stat().st_dev
    block = (sys / f"dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    for device in (block / "device", block.parent / "device"):
        try:
            tenths = max(int(word, 16) for word in (device / "life_time").read_text().split())
            spare = int((device / "pre_eol_info").read_text(), 16)
        except (OSError, ValueError):
            continue
        if tenths >= _WORN_TENTHS or spare >= _SPARE_LOW:
            return f"the flash memory reports {min(tenths, 10) * 10} % of its lifetime used"
    return ""


def check_state_folder(config: DoorConfig) -> CheckResult:
    """Whether this user can write to the state folder."""
    folder = Path(config.state_folder)
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return ok("state", f"{folder}: writable")
    make = f"sudo install -d -m 700 -o threshold -g threshold {folder}"
    if folder.is_dir():
        remedy = f"run the check as the door's user (sudo -u threshold edge check), or  {make}"
        return fail("state", f"{folder}: this user cannot write to it", remedy)
    return fail("state", f"{folder}: no such folder", f"{make}, or set state_folder")


def check_permissions(config: DoorConfig, door_toml: Path) -> CheckResult:
    """Whether other users can read or change the door's files."""
    details, remedies = [], []
    if paths := " ".join(map(str, world_accessible_paths(config))):
        details.append(f"other users can read or write {paths}")
        remedies.append(f"chmod go= {paths}")
    if (keys := _secret_keys(config)) and door_toml.stat().st_mode & stat.S_IRWXO:
        details.append(f"every user can read {door_toml}, which may contain a password ({', '.join(keys)})")
        remedies.append(f"chmod o= {door_toml}")
    if details:
        return fail("privacy", "; ".join(details), "; ".join(remedies))
    return ok("privacy", "only the door's user can read gallery, events and keys")


def _secret_keys(config: DoorConfig) -> list[str]:
    """Keys of door.toml whose value may contain a login."""
    addresses = {"camera.source": config.camera.source}
    if config.release:
        addresses["release.source"] = config.release.source
    keys = [key for key, address in addresses.items() if source_of(address).secret]
    return [*keys, "mqtt.url"] if "@" in config.mqtt.url else keys


def check_clock(config: DoorConfig, rules: AccessRules | None, clock: Clock = SYSTEM_CLOCK) -> CheckResult:
    """Whether the clock is synchronised, and what fails without it; `rules` is None if they cannot be read."""
    if clock.is_synced():
        return ok("clock", "synchronised")
    remedy = "turn on a time service: sudo timedatectl set-ntp true; the network must allow UDP port 123"
    if config.access.trust_clock:
        return warn("clock", "not synchronised; it is trusted because [access] trust_clock is set", remedy)
    effects = [effect] if rules and (effect := _effect_on_rules(rules, config.door)) else []
    if config.release:
        effects.append("the expiry of releases cannot be checked")
    if config.mqtt.url.startswith("mqtts://"):
        effects.append("the broker's certificate cannot be checked")
    if effects:
        return fail("clock", f"not synchronised: {'; '.join(effects)}", remedy)
    return warn("clock", "not synchronised: events may have a wrong time", remedy)


def _effect_on_rules(rules: AccessRules, door: str) -> str:
    """Effect of an unset clock on the rules of a door, for people; "" if there is none."""
    allow = rules.door(door).allow
    timed = sum(rule.schedule is not None for rule in allow)
    if timed:
        return f"rules with times let nobody in ({timed} of {counted(len(allow), 'rule')})"
    return "people with dates of validity are not let in" if rules.people else ""
