"""Checks of board, disk, clock and file permissions."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import pytest
from support.door_checks import PLAIN, one, write
from support.door_process import a_disk
from support.manual_clock import ManualClock

from edge.access.model import allow_list
from edge.access.policy_file import parse_policy
from edge.core.config import (
    AccessConfig,
    CameraConfig,
    DoorConfig,
    ReleaseConfig,
)
from edge.diagnostics.host_checks import check_board, check_clock, check_permissions, check_state_folder
from edge.diagnostics.report import CheckResult, State

MEMINFO = "MemTotal: {total} kB\nMemAvailable: {free} kB\n"


@pytest.fixture
def sys_folder(tmp_path: Path) -> Path:
    """Folders /sys and /proc of a board without problems."""
    write(tmp_path / "proc/meminfo", MEMINFO.format(total=1_000_000, free=600_000))
    write(tmp_path / "sys/class/thermal/thermal_zone0/temp", "48000\n")
    write(tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled", "0\n")
    return tmp_path / "sys"


def board(sys_folder: Path, what: str, config: DoorConfig = PLAIN) -> CheckResult:
    return one(check_board(config, sys=sys_folder, proc=sys_folder.with_name("proc")), what)


@pytest.mark.parametrize(
    ("flags", "state", "told"),
    [
        ("0", State.OK, "no under-voltage"),
        ("50005", State.FAIL, "under-voltage now"),
        ("50000", State.WARN, "under-voltage since boot"),
        ("e0008", State.WARN, "throttled now because of heat"),
        ("80000", State.WARN, "was throttled since boot"),
    ],
)
def test_weak_supply_and_throttling_by_firmware_flags(sys_folder: Path, flags: str, state: State, told: str) -> None:
    write(sys_folder / "devices/platform/soc/soc:firmware/get_throttled", f"{flags}\n")
    found = board(sys_folder, "power")
    assert found.state is state
    assert told in found.detail


def test_weak_supply_by_the_kernel_alone(sys_folder: Path) -> None:
    shutil.rmtree(sys_folder / "devices")
    assert board(sys_folder, "power").detail == "not available on this hardware"
    write(sys_folder / "class/hwmon/hwmon1/name", "rpi_volt\n")
    alarm = write(sys_folder / "class/hwmon/hwmon1/in0_lcrit_alarm", "0\n")
    assert board(sys_folder, "power").state is State.OK
    alarm.write_text("1\n")
    assert board(sys_folder, "power").state is State.FAIL


@pytest.mark.parametrize(("degrees", "state"), [(48, State.OK), (72, State.WARN), (83, State.FAIL)])
def test_heat(sys_folder: Path, degrees: int, state: State) -> None:
    write(sys_folder / "class/thermal/thermal_zone0/temp", f"{degrees}000\n")
    found = board(sys_folder, "heat")
    assert (found.state, found.detail[:2]) == (state, str(degrees))


@pytest.mark.parametrize(("free_kb", "state"), [(600_000, State.OK), (200_000, State.WARN), (90_000, State.FAIL)])
def test_too_little_memory(sys_folder: Path, free_kb: int, state: State) -> None:
    write(sys_folder.with_name("proc") / "meminfo", MEMINFO.format(total=1_000_000, free=free_kb))
    assert board(sys_folder, "memory").state is state


def test_worn_card(sys_folder: Path, tmp_path: Path) -> None:
    config = msgspec.structs.replace(PLAIN, state_folder=str(tmp_path / "not-there-yet"))
    number = tmp_path.stat().st_dev
    device = sys_folder / f"dev/block/{os.major(number)}:{os.minor(number)}/device"
    life = write(device / "life_time", "0x02 0x03\n")
    write(device / "pre_eol_info", "0x01\n")
    assert "wear" not in [f.what for f in check_board(config, sys=sys_folder, proc=sys_folder.with_name("proc"))]
    life.write_text("0x02 0x0a\n")
    assert "100 % of its life" in board(sys_folder, "wear", config).detail


def test_full_and_read_only_disk(sys_folder: Path, tmp_path: Path) -> None:
    with a_disk(tmp_path / "card", 64) as disk:
        config = msgspec.structs.replace(PLAIN, state_folder=str(disk.folder))
        assert board(sys_folder, "disk", config).state is State.WARN
        disk.fill()
        assert board(sys_folder, "disk", config).state is State.FAIL
        disk.empty()
        disk.remount("ro")
        assert "read-only" in board(sys_folder, "disk", config).detail


def test_missing_state_folder(tmp_path: Path) -> None:
    assert check_state_folder(msgspec.structs.replace(PLAIN, state_folder=str(tmp_path))).state is State.OK
    found = check_state_folder(msgspec.structs.replace(PLAIN, state_folder=str(tmp_path / "none")))
    assert (found.state, "install -d -m 700" in found.remedy) == (State.FAIL, True)


def test_readable_camera_password(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    camera = CameraConfig(source="rtsp://u:secret@camera/stream")
    config = msgspec.structs.replace(PLAIN, state_folder=str(state), gallery=str(state / "g"), camera=camera)
    path = write(tmp_path / "door.toml", "")
    path.chmod(0o644)
    found = check_permissions(config, path)
    assert (found.state, found.remedy) == (State.FAIL, f"chmod o= {path}")
    assert "secret" not in found.detail
    path.chmod(0o640)
    assert check_permissions(config, path).state is State.OK


TIMED = """
timezone = "Europe/Berlin"
[schedules.day]
mon-fri = ["07:00-19:00"]
[doors.b]
allow = [{ people = ["ada"], schedule = "day" }, { people = ["bob"] }]
"""


def test_clock_not_set(tmp_path: Path) -> None:
    """An error if rules with times let nobody in or expiry cannot be checked; else a warning."""
    clock = ManualClock(synced=False)
    always, timed = allow_list(["*"]), parse_policy(write(tmp_path / "policy.toml", TIMED))
    assert check_clock(PLAIN, always, clock).state is State.WARN
    found = check_clock(PLAIN, timed, clock)
    assert found.state is State.FAIL
    assert found.detail == "not synchronised: rules with times let nobody in (1 of 2 rules)"
    assert "let nobody in" not in check_clock(msgspec.structs.replace(PLAIN, door="c"), timed, clock).detail
    dated = parse_policy(write(tmp_path / "p.toml", f"{TIMED}[people.bob]\nvalid_until = 2030-01-01\n[doors.c]\n"))
    other = check_clock(msgspec.structs.replace(PLAIN, door="c"), dated, clock)
    assert other.detail == "not synchronised: people with dates of validity are not let in"
    releases = msgspec.structs.replace(PLAIN, release=ReleaseConfig())
    assert check_clock(releases, None, clock).detail == "not synchronised: the expiry of releases cannot be checked"
    trusted = msgspec.structs.replace(PLAIN, access=AccessConfig(trust_clock=True))
    assert check_clock(trusted, timed, clock).state is State.WARN
