"""Checks of the board: power, heat, memory, disk, clock, and who may read the door's files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from edge.access.model import AccessRules
from edge.core.clock import SYSTEM_CLOCK, Clock
from edge.core.config import DoorConfig
from edge.diagnostics.report import CheckResult, fail, ok, warn
from edge.runtime.hardening import world_accessible_paths
from edge.vision.camera_source import source_of

# get_throttled of the Raspberry Pi's firmware (documentation of vcgencmd): now, and the same since the start.
_UNDER_VOLTAGE, _CAPPED, _THROTTLED, _SOFT_LIMIT = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_SINCE_START = 16
_SUPPLY = "take the power supply made for this board (5 V 3 A; a Pi 5: 5 A), a short thick cable, no hub"
_COOLING = "give it a heat sink, a fan or air; a Pi slows down from 80 degrees on"
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
        before = flags >> _SINCE_START
        if flags & _UNDER_VOLTAGE:
            return fail("power", "under-voltage now: the processor slows down, cameras drop out", _SUPPLY)
        if flags & (_THROTTLED | _CAPPED | _SOFT_LIMIT):
            return warn("power", "the processor is slowed down now, by heat", _COOLING)
        if before & _UNDER_VOLTAGE:
            return warn("power", "under-voltage since the start of the board", _SUPPLY)
        if before & (_THROTTLED | _CAPPED | _SOFT_LIMIT):
            return warn("power", "the processor was slowed down since the start, by heat", _COOLING)
        return ok("power", "no under-voltage and no throttling since the start")
    for name in sorted(sys.glob("class/hwmon/hwmon*/name")):
        alarm = name.with_name("in0_lcrit_alarm")
        if name.read_text().strip() == "rpi_volt" and alarm.exists():
            if alarm.read_text().strip() != "0":
                return fail("power", "under-voltage: the processor slows down, cameras drop out", _SUPPLY)
            return ok("power", "no under-voltage")
    return ok("power", "not available on this hardware")


def _temperature(sys: Path) -> CheckResult:
    try:
        degrees = int((sys / "class/thermal/thermal_zone0/temp").read_text()) / 1000
    except (OSError, ValueError):
        return ok("heat", "not available on this hardware")
    if degrees >= _HOT_C:
        return fail("heat", f"{degrees:.0f} degrees: the processor slows down", _COOLING)
    if degrees >= _WARM_C:
        return warn("heat", f"{degrees:.0f} degrees, without having had much to do", _COOLING)
    return ok("heat", f"{degrees:.0f} degrees")


def _memory(proc: Path) -> CheckResult:
    lines = (proc / "meminfo").read_text().splitlines()
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines if ":" in line}
    free_mb = kilobytes["MemAvailable"] * 1024 / 1e6
    detail = f"{free_mb:.0f} MB free of {kilobytes['MemTotal'] * 1024 / 1e6:.0f}; a door takes about 130"
    remedy = "end other programs, boot without a desktop (sudo raspi-config), or take a board with 1 GB or more"
    if free_mb < _NEEDED_MB:
        return fail("memory", detail, remedy)
    return warn("memory", detail, remedy) if free_mb < _COMFORTABLE_MB else ok("memory", detail)


def _disk(folder: Path, sys: Path) -> Iterator[CheckResult]:
    here = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    space = os.statvfs(here)
    free_mb = space.f_bavail * space.f_frsize / 1e6
    detail = f"{free_mb:,.0f} MB free at {here}"
    remedy = "make room: old files, logs (journalctl --vacuum-size=100M), or a larger card"
    few_inodes = space.f_files > 0 and space.f_favail < _FEW_INODES
    if space.f_flag & os.ST_RDONLY:
        yield fail(
            "disk", f"{here} is read-only", "mount it for writing; a worn card makes itself read-only: replace it"
        )
    elif free_mb < _FULL_MB or few_inodes:
        yield fail("disk", detail + (", no more files fit" if few_inodes else ""), remedy)
    elif free_mb < _LITTLE_MB:
        yield warn("disk", detail, remedy)
    else:
        yield ok("disk", detail)
    worn = _storage_wear(here, sys)
    if worn:
        yield warn("wear", worn, "replace it before it fails: the event store and the releases lie on it")


def _storage_wear(here: Path, sys: Path) -> str:
    """A warning if the flash memory under a folder reports that it is worn, else ""."""
    number = here.stat().st_dev
    block = (sys / f"dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    for device in (block / "device", block.parent / "device"):
        try:
            tenths = max(int(word, 16) for word in (device / "life_time").read_text().split())
            spare = int((device / "pre_eol_info").read_text(), 16)
        except (OSError, ValueError):
            continue
        if tenths >= _WORN_TENTHS or spare >= _SPARE_LOW:
            return f"the flash memory has used up {min(tenths, 10) * 10} % of its life by its own estimate"
    return ""


def check_state_folder(config: DoorConfig) -> CheckResult:
    """Whether this user may write to the state folder."""
    folder = Path(config.state_folder)
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return ok("state", f"{folder}: writable")
    make = f"sudo install -d -m 700 -o threshold -g threshold {folder}"
    if folder.is_dir():
        return fail(
            "state", f"{folder}: this user may not write it", f"check as the door's user (sudo -u threshold); {make}"
        )
    return fail("state", f"{folder}: there is no such folder", f"{make}, or set state_folder")


def check_permissions(config: DoorConfig, door_toml: Path) -> CheckResult:
    """Whether other users may read or alter the door's files."""
    details, remedies = [], []
    if paths := " ".join(map(str, world_accessible_paths(config))):
        details.append(f"others than the door's user may read or write {paths}")
        remedies.append(f"chmod go= {paths}")
    if (keys := _secret_keys(config)) and door_toml.stat().st_mode & stat.S_IRWXO:
        details.append(f"{door_toml} may hold a password ({', '.join(keys)}), and every user can read it")
        remedies.append(f"chmod o= {door_toml}")
    if details:
        return fail("privacy", "; ".join(details), "; ".join(remedies))
    return ok("privacy", "gallery, events and keys are for the door's user alone")


def _secret_keys(config: DoorConfig) -> list[str]:
    """The keys of door.toml whose value can hold a login."""
    addresses = {"camera.source": config.camera.source}
    if config.release:
        addresses["release.source"] = config.release.source
    keys = [key for key, address in addresses.items() if source_of(address).secret]
    return [*keys, "mqtt.url"] if "@" in config.mqtt.url else keys


def check_clock(config: DoorConfig, rules: AccessRules | None, clock: Clock = SYSTEM_CLOCK) -> CheckResult:
    """Whether the clock can be trusted, and what does not work without it; rules that cannot be read are None."""
    if clock.is_synced():
        return ok("clock", "synchronised")
    remedy = "enable a time service: sudo timedatectl set-ntp true; check that the network allows it (UDP 123)"
    if config.access.trust_clock:
        return warn("clock", "not synchronised, but trusted ([access] trust_clock)", remedy)
    timed = _timed_rules(rules, config.door) if rules else ""
    needs = [f"{timed}, and let nobody in until it is"] if timed else []
    if config.release:
        needs.append("the expiry of releases cannot be checked")
    if config.mqtt.url.startswith("mqtts://"):
        needs.append("the broker's certificate cannot be checked")
    if needs:
        return fail("clock", f"not synchronised: {'; '.join(needs)}", remedy)
    return warn("clock", "not synchronised: events carry a wrong time", remedy)


def _timed_rules(rules: AccessRules, door: str) -> str:
    """Which rules at a door let nobody in while the clock is not set, for people; "" if none does."""
    allow = rules.door(door).allow
    timed = [rule for rule in allow if rule.schedule is not None]
    if timed:
        return "the rules have times" if len(timed) == len(allow) else f"{len(timed)} of {len(allow)} rules have times"
    return "people have dates of validity" if rules.people else ""
