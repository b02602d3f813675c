"""Temperature of the board, and memory of a process."""

from __future__ import annotations

from pathlib import Path

_THERMAL = Path("/sys/class/thermal/thermal_zone0/temp")


def temperature_c() -> float | None:
    """Temperature of the processor, degrees Celsius; None: no sensor."""
    try:
        return int(_THERMAL.read_text()) / 1000
    except (OSError, ValueError):
        return None


def memory_mb(process: int | str = "self") -> tuple[float, float]:
    """Resident memory of a process now and at its peak, in MB (10^6 bytes)."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    now, peak = (int(fields[key].split()[0]) * 1024 / 1e6 for key in ("VmRSS", "VmHWM"))
    return now, peak
