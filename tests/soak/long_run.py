"""Simulated hours of one door with random faults; resources are measured while no fault is active.

The door is the real daemon with the real models in its own process; only its camera and clock are simulated. The broker
is a real Mosquitto. A kill loses messages that wait for an absent listener; here the listener is never absent.
"""

from __future__ import annotations

import os
import select
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from securesystemslib.signer import CryptoSigner
from threshold_tools.release.repository import ROLES, Repository
from threshold_tools.release.transport import export

from edge.core.config import read_config
from edge.core.errors import InputError
from edge.core.records import Person
from edge.demo.run_demo import GALLERY
from edge.recognition.gallery_file import load_gallery, read_info, save_gallery
from edge.runtime.release_manager import install_root
from edge.runtime.system_stats import memory_mb
from edge.updates.release_format import GALLERY as RELEASED
from soak.broker import SoakBroker
from soak.child_process import ChildProcess
from soak.fault_script import FAULTS, OVER
from soak.invariants import (
    Reading,
    ResourceTrend,
    StoredEvent,
    Violation,
    check_end,
    check_events,
    check_opens,
    check_store,
    check_trend,
    measure_trend,
)
from soak.kill_run import DOOR, KEEP, min_margin_ms, stored_events
from soak.recording_listener import Recording
from soak.recording_outbox import read_notes
from soak.simulated_clock import SimulatedClock

PATIENCE_S = 300.0
_SAMPLES = 9  # readings of handles and threads; the median counts: a check for releases opens files for a moment
_DOOR_TOML = """site = "{site}"
door = "{door}"
state_folder = "{folder}/state"
gallery = "{folder}/state/gallery.safetensors"
[camera]
source = "/dev/script"
[models]
threads = 1
[motion]
idle_scan_every_s = 60.0
[recognition]
sample_every_s = 0.0
[access]
trust_clock = true
[mqtt]
url = "{url}"
[outbox]
keep_delivered = {keep}
[release]
source = "{folder}/releases"
check_every_s = 0.5
"""


class LongRunReport(msgspec.Struct, frozen=True):
    """Result of a long run; `violations` is empty if every invariant held."""

    seed: int
    hours: float
    seconds: float
    faults: dict[str, int]
    kinds: dict[str, int]
    stored: int
    arrived: int
    copies: int
    opens: int
    min_margin_ms: float
    trend: ResourceTrend
    readings: list[Reading]
    violations: list[Violation]


class TestSigner:
    """Signs releases of the bundled gallery, each with different extra people.

    Args:
        folder: folder of the repository.
        published: folder of the copy that the door reads.
    """

    def __init__(self, folder: Path, published: Path) -> None:
        self._folder = folder
        self._published = published
        self._keys = {role: [CryptoSigner.generate_ed25519()] for role in ROLES}
        self._number = 0
        Repository.create(folder, self._keys, 1)
        self.root = folder / "metadata" / "1.root.json"
        published.mkdir()

    def release(self) -> None:
        """Sign the next release; the number of extra people rises and falls, so that it does not cause growth."""
        self._number += 1
        embedder = read_info(GALLERY).embedder_sha256
        known = load_gallery(GALLERY, embedder)
        drawn = np.random.default_rng(self._number).normal(size=(1 + self._number % 3, known.centroids.shape[1]))
        strangers = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
        people = [*known.people, *(Person(f"p{self._number}-{row}", "Somebody") for row in range(len(strangers)))]
        path = self._folder / "next.safetensors"
        limits = np.append(known.thresholds_sq, np.full(len(strangers), 0.5, np.float32)).astype(np.float32)
        save_gallery(path, people, np.vstack([known.centroids, strangers]), limits, embedder)
        signers = {key.public_key.keyid: key for keys in self._keys.values() for key in keys}
        repository = Repository(self._folder, signers)
        repository.sign(repository.add({RELEASED: path.read_bytes()}, embedder, len(people)))
        export(self._published, repository.files())


class Supervisor:
    """Performs the actions that the fault script requests, and measures the resources of the door's process."""

    def __init__(
        self, broker: SoakBroker, recording: Recording, signer: TestSigner, door: ChildProcess, notes: Path
    ) -> None:
        self._broker, self._recording, self._signer, self._door, self._notes = broker, recording, signer, door, notes
        self.readings: list[Reading] = []
        self.done: Counter[str] = Counter()

    def handle(self, action: str) -> None:
        """Perform one action of the script.

        Raises:
            InputError: the action is unknown or fails.
        """
        if action.startswith("well"):
            self._read(float(action.split()[2]))
            return
        self.done[action] += 1
        if action == "broker-killed":
            self._recording.wait()
            self._broker.close()
        elif action == "broker-killed-over":
            self._broker.start()
            self._recording.wait()
        elif action == "broker-frozen":
            self._broker.freeze()
        elif action == "broker-frozen-over":
            self._broker.thaw()
            self._recording.wait()
        elif action == "release":
            self._signer.release()
        elif action.removesuffix(OVER) not in FAULTS:
            raise InputError(f"the door's process requests '{action}': {self._door.last_log_line}")

    def _read(self, hour: float) -> None:
        """Wait until all events have arrived, then measure memory, handles and threads."""
        noted, deadline = {one.id for one in read_notes(self._notes)}, time.monotonic() + PATIENCE_S
        while not noted <= {one.id for one in list(self._recording.events)}:
            if time.monotonic() > deadline:
                raise InputError(f"hour {hour:.1f}: no fault is active, and events do not arrive")
            time.sleep(0.02)
        assert self._door.process is not None
        pid = self._door.process.pid
        samples = []
        for _ in range(_SAMPLES):
            samples.append((len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))))
            time.sleep(0.03)
        handles, threads = (round(statistics.median(each)) for each in zip(*samples, strict=True))
        self.readings.append(Reading(hour, round(memory_mb(pid)[0], 3), handles, threads))


def long_run(
    folder: Path,
    *,
    hours: float,
    periods: int,
    seed: int,
    max_growth: float,
    progress: Callable[[str], None],
) -> LongRunReport:
    """Run a door through simulated hours.

    Args:
        folder: folder for all files of the run, empty or new.
        hours: simulated hours.
        periods: number of moments without a fault, at which resources are measured.
        seed: seed of every random draw except those of the operating system.
        max_growth: share by which memory may grow after the warm-up.
        progress: function that receives a line from time to time.

    Raises:
        InputError: mosquitto is not installed, or the run cannot continue.
    """
    began = time.monotonic()
    (folder / "state").mkdir(parents=True)
    notes, times = folder / "notes.jsonl", folder / "clock"
    clock = SimulatedClock(times)
    signer = TestSigner(folder / "repository", folder / "releases")
    with SoakBroker(folder / "broker") as broker:
        recording = Recording(broker.port, DOOR, lambda _: clock.unix_ns() / 1e9)
        recording.start()
        broker.save_subscriptions()
        config = folder / "door.toml"
        config.write_text(
            _DOOR_TOML.format(site=DOOR.site, door=DOOR.door, folder=folder, url=broker.url, keep=KEEP),
            encoding="utf-8",
        )
        (folder / "state" / "gallery.safetensors").write_bytes(GALLERY.read_bytes())
        install_root(read_config(config), signer.root)
        arguments = (config, notes, times, hours, periods, seed)
        with ChildProcess(folder / "door.log", "long_run_door.py", *arguments) as door:
            supervisor = Supervisor(broker, recording, signer, door, notes)
            try:
                for action in iter(lambda: _next_action(door), ""):
                    supervisor.handle(action)
                    _answer(door)
                    if action.startswith("well"):
                        progress(f"{supervisor.readings[-1].hour:.1f} h: {supervisor.readings[-1].memory_mb:.1f} MB")
                assert door.process is not None
                if door.process.wait(PATIENCE_S):
                    raise InputError(f"the door ended unexpectedly: {door.last_log_line}")
                recording.wait()
            finally:
                recording.close()
    return _report(folder, recording, supervisor, seed=seed, hours=hours, began=began, max_growth=max_growth)


def _next_action(door: ChildProcess) -> str:
    """Return the next request; "" when the door's process has ended."""
    assert door.process is not None
    assert door.process.stdout is not None
    ready, _, _ = select.select([door.process.stdout], [], [], PATIENCE_S)
    if not ready:
        raise InputError(f"the door's process hangs: {door.last_log_line}")
    return door.process.stdout.readline().strip()


def _answer(door: ChildProcess) -> None:
    assert door.process is not None
    assert door.process.stdin is not None
    door.process.stdin.write("done\n")
    door.process.stdin.flush()


def _report(
    folder: Path,
    recording: Recording,
    supervisor: Supervisor,
    *,
    seed: int,
    hours: float,
    began: float,
    max_growth: float,
) -> LongRunReport:
    events, depth = stored_events(folder / "state")
    stored = [StoredEvent(event.seq, event.id, event.dropped or 0) for event in events]
    trend = measure_trend(supervisor.readings)
    ids = {one.id for one in recording.events}
    return LongRunReport(
        seed=seed,
        hours=hours,
        seconds=round(time.monotonic() - began, 1),
        faults={what: count for what, count in sorted(supervisor.done.items()) if not what.endswith(OVER)},
        kinds=dict(sorted(Counter(event.kind.value for event in events).items())),
        stored=len(stored),
        arrived=len(ids),
        copies=len(recording.events) - len(ids),
        opens=len(recording.opens),
        min_margin_ms=min_margin_ms(recording),
        trend=trend,
        readings=supervisor.readings,
        violations=[
            *check_store(read_notes(folder / "notes.jsonl"), stored),
            *check_events(stored, recording.events),
            *check_opens(stored, recording.opens),
            *check_end(depth, recording.unreadable),
            *check_trend(trend, max_growth),
        ],
    )
