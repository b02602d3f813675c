"""A process that runs inputs, and the monitor of its time, memory and exit."""

from __future__ import annotations

import contextlib
import mmap
import os
import resource
import signal
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edge.runtime.system_stats import memory_mb

_PROGRESS = struct.Struct("<QQ")  # current input, and processor time of the process at its start
_LOOK_S = 0.1
_STUCK_S = 30.0  # an input that takes this long in real time hangs, even if it only waits
_MOST_BYTES = 4 << 30  # address space in addition to that at the start: stops unlimited growth
_FINDINGS = 20


class Finding(msgspec.Struct, frozen=True):
    """An error that no input may cause."""

    index: int
    kind: str
    text: str


class Part(msgspec.Struct):
    """Results of the inputs of one process."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    worst_ns: int = 0
    cpu_s: float = 0.0
    growth_bytes: int = 0
    findings: list[Finding] = msgspec.field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """Results of one target."""

    name: str
    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    worst_ns: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    growth_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, part: Part) -> None:
        """Add the results of one process."""
        self.inputs += part.inputs
        self.accepted += part.accepted
        self.refused += part.refused
        self.cpu_s += part.cpu_s
        self.worst_ns = max(self.worst_ns, part.worst_ns)
        self.growth_bytes = max(self.growth_bytes, part.growth_bytes)
        self.findings += part.findings


def measure(folder: Path, first: int, inputs: int, longest_s: float, feed: Callable[[int], bool]) -> None:
    """Run inputs `first` to `inputs - 1` and store their results; the file `progress` shows the current input."""
    part, parent = Part(), os.getppid()
    before_mb, _ = memory_mb()
    resource.setrlimit(resource.RLIMIT_AS, (_address_bytes() + _MOST_BYTES,) * 2)
    (folder / "progress").write_bytes(_PROGRESS.pack(first, time.process_time_ns()))
    began_ns = time.process_time_ns()
    with (folder / "progress").open("r+b") as file, mmap.mmap(file.fileno(), 0) as progress:
        for index in range(first, inputs):
            start_ns = time.process_time_ns()
            _PROGRESS.pack_into(progress, 0, index, start_ns)
            try:
                accepted = feed(index)
                part.accepted += accepted
                part.refused += not accepted
            except Exception as error:
                _note(part.findings, index, error)
            took_ns = time.process_time_ns() - start_ns
            part.worst_ns = max(part.worst_ns, took_ns)
            if took_ns > longest_s * 1e9:
                part.findings.append(Finding(index, "slow", f"{took_ns / 1e9:.1f} s, more than {longest_s:g} s"))
            part.inputs += 1
            if part.inputs % 1000 == 0:
                _store(folder, part, before_mb, began_ns)
                if os.getppid() != parent:
                    sys.exit("the monitoring process has ended")
    _store(folder, part, before_mb, began_ns)


def watched(process: subprocess.Popen[bytes], folder: Path, first: int, longest_s: float) -> Part:
    """Wait for a process and return its results, also if it died; kill it if an input takes too long."""
    at, since_s = first, time.monotonic()
    stuck = False
    while process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_S)
        index, start_ns = _progress(folder, at)
        if index != at:
            at, since_s = index, time.monotonic()
        elif start_ns and (_cpu_ns(process.pid) - start_ns > longest_s * 1e9 or time.monotonic() - since_s > _STUCK_S):
            stuck = True
            process.kill()
            process.wait()
    part = _stored(folder)
    if process.returncode == 0:
        return part
    at, began_ns = _progress(folder, first)
    part.inputs = at - first + 1 if began_ns else 0
    kind = f"hang of more than {longest_s:g} s" if stuck else _death(process.returncode)
    output = (folder / "output").read_text(errors="replace").strip().splitlines()
    part.findings.append(Finding(at, kind, output[-1] if output and not stuck else ""))
    return part


def _death(code: int) -> str:
    return f"crash ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"


def _note(findings: list[Finding], index: int, error: Exception) -> None:
    """Record an undocumented error, once for each line that raises it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/edge/" in frame.filename or "/tools/" in frame.filename] or frames
    kind = f"{type(error).__name__} in {Path(own[-1].filename).name}:{own[-1].lineno}"
    if len(findings) < _FINDINGS and kind not in {found.kind for found in findings}:
        findings.append(Finding(index, kind, " ".join(str(error).split())[:200]))


def _store(folder: Path, part: Part, before_mb: float, began_ns: int) -> None:
    _, peak_mb = memory_mb()  # getrusage would include the peak of the parent process
    part.growth_bytes = max(round((peak_mb - before_mb) * 1e6), 0)
    part.cpu_s = (time.process_time_ns() - began_ns) / 1e9
    (folder / "part").write_bytes(msgspec.json.encode(part))


def _stored(folder: Path) -> Part:
    try:
        return msgspec.json.decode((folder / "part").read_bytes(), type=Part)
    except FileNotFoundError:
        return Part()


def _progress(folder: Path, otherwise: int) -> tuple[int, int]:
    try:
        index, start_ns = _PROGRESS.unpack((folder / "progress").read_bytes())
    except (FileNotFoundError, struct.error):
        return otherwise, 0
    return index, start_ns


def _cpu_ns(pid: int) -> int:
    """Processor time of all threads of a process; 0 if it does not exist."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _address_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
