"""Simulated hours of one door, with everything failing now and then; what it holds is read whenever all is well again.

The door is the real daemon with the real models in a process of its own; only its camera and its clocks are made up.
The broker is a real Mosquitto. Killed, it takes along what it holds for a listener who is away; here he never is.
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
from edge.runtime.board import memory_mb
from edge.runtime.release_manager import install_root
from edge.updates.release_format import GALLERY as RELEASED
from soaking.broker import Broker
from soaking.clock import Clock
from soaking.judge import (
    Reading,
    ResourceTrend,
    StoredEvent,
    Violation,
    flatness,
    judge_end,
    judge_events,
    judge_flatness,
    judge_openings,
    judge_store,
)
from soaking.kills import DOOR, KEEP, least_margin_ms, stored_events
from soaking.listener import Record
from soaking.process import Program
from soaking.witness import notes_of
from soaking.world import FAULTS, OVER

PATIENCE_S = 300.0
_LOOKS = 9  # at handles and threads, of which the middle one counts: a look at a folder for releases takes a moment
_DOOR_TOML = """site = "{site}"
door = "{door}"
state_folder = "{folder}/state"
gallery = "{folder}/state/gallery.safetensors"
[camera]
source = "/dev/world"
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


class HoursReport(msgspec.Struct, frozen=True):
    """What became of simulated hours; `breaches` is empty when every promise was kept."""

    seed: int
    hours: float
    seconds: float
    faults: dict[str, int]
    kinds: dict[str, int]
    stored: int
    arrived: int
    copies: int
    openings: int
    least_margin_ms: float
    flatness: ResourceTrend
    readings: list[Reading]
    breaches: list[Violation]


class TestSigner:
    """Signs releases of the bundled gallery, every one with other strangers in it.

    Args:
        folder: for the repository, and beside it what the door sees of it.
        seen: that.
    """

    def __init__(self, folder: Path, seen: Path) -> None:
        self._folder = folder
        self._seen = seen
        self._keys = {role: [CryptoSigner.generate_ed25519()] for role in ROLES}
        self._number = 0
        Repository.create(folder, self._keys, 1)
        self.root = folder / "metadata" / "1.root.json"
        seen.mkdir()

    def release(self) -> None:
        """The next one; the number of strangers goes up and down, so that it cannot account for growth."""
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
        export(self._seen, repository.files())


class Watch:
    """Does what the world asks for, and reads what the door's process holds."""

    def __init__(self, broker: Broker, record: Record, desk: TestSigner, door: Program, notes: Path) -> None:
        self._broker, self._record, self._desk, self._door, self._notes = broker, record, desk, door, notes
        self.readings: list[Reading] = []
        self.done: Counter[str] = Counter()

    def handle(self, what: str) -> None:
        """Raises InputError when it cannot be done."""
        if what.startswith("well"):
            self._read(float(what.split()[2]))
            return
        self.done[what] += 1
        if what == "broker-killed":
            self._record.wait()
            self._broker.kill()
        elif what == "broker-killed-over":
            self._broker.start()
            self._record.wait()
        elif what == "broker-frozen":
            self._broker.freeze()
        elif what == "broker-frozen-over":
            self._broker.thaw()
            self._record.wait()
        elif what == "release":
            self._desk.release()
        elif what.removesuffix(OVER) not in FAULTS:
            raise InputError(f"the door's process wants '{what}': {self._door.last_log_line}")

    def _read(self, hour: float) -> None:
        """All is well: everything has arrived, then memory, handles and threads are looked at."""
        noted, deadline = {one.id for one in notes_of(self._notes)}, time.monotonic() + PATIENCE_S
        while not noted <= {one.id for one in list(self._record.events)}:
            if time.monotonic() > deadline:
                raise InputError(f"hour {hour:.1f}: all is well again, and events still do not arrive")
            time.sleep(0.02)
        assert self._door.process is not None
        pid = self._door.process.pid
        looks = []
        for _ in range(_LOOKS):
            looks.append((len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))))
            time.sleep(0.03)
        handles, threads = (round(statistics.median(each)) for each in zip(*looks, strict=True))
        self.readings.append(Reading(hour, round(memory_mb(pid)[0], 3), handles, threads))


def hours_run(
    folder: Path,
    *,
    hours: float,
    periods: int,
    seed: int,
    most_growth: float,
    told: Callable[[str], None],
) -> HoursReport:
    """Let a door live through simulated hours.

    Args:
        folder: for everything that is written; empty or new.
        hours: simulated.
        periods: so often all is well again, and what the door holds is read.
        seed: of all chance but the operating system's.
        most_growth: share by which its memory may grow after the warm-up.
        told: hears of the progress, a line at a time.

    Raises:
        InputError: mosquitto is not installed, or the run cannot go on.
    """
    began = time.monotonic()
    (folder / "state").mkdir(parents=True)
    notes, times = folder / "notes.jsonl", folder / "clock"
    clock = Clock(times)
    desk = TestSigner(folder / "repository", folder / "releases")
    with Broker(folder / "broker") as broker:
        record = Record(broker.port, DOOR, lambda _: clock.time())
        record.start()
        broker.remember()
        config = folder / "door.toml"
        config.write_text(
            _DOOR_TOML.format(site=DOOR.site, door=DOOR.door, folder=folder, url=broker.url, keep=KEEP),
            encoding="utf-8",
        )
        (folder / "state" / "gallery.safetensors").write_bytes(GALLERY.read_bytes())
        install_root(read_config(config), desk.root)
        arguments = (config, notes, times, hours, periods, seed)
        with Program(folder / "door.log", "living.py", *arguments) as door:
            watch = Watch(broker, record, desk, door, notes)
            try:
                for what in iter(lambda: _line(door), ""):
                    watch.handle(what)
                    _answer(door)
                    if what.startswith("well"):
                        told(f"{watch.readings[-1].hour:.1f} h: {watch.readings[-1].memory_mb:.1f} MB")
                assert door.process is not None
                if door.process.wait(PATIENCE_S):
                    raise InputError(f"the door ended by itself: {door.last_log_line}")
                record.wait()
            finally:
                record.close()
    return _report(folder, record, watch, seed=seed, hours=hours, began=began, most_growth=most_growth)


def _line(door: Program) -> str:
    """What is wanted next; "" when the door's process has ended."""
    assert door.process is not None
    assert door.process.stdout is not None
    ready, _, _ = select.select([door.process.stdout], [], [], PATIENCE_S)
    if not ready:
        raise InputError(f"the door's process hangs: {door.last_log_line}")
    return door.process.stdout.readline().strip()


def _answer(door: Program) -> None:
    assert door.process is not None
    assert door.process.stdin is not None
    door.process.stdin.write("done\n")
    door.process.stdin.flush()


def _report(
    folder: Path, record: Record, watch: Watch, *, seed: int, hours: float, began: float, most_growth: float
) -> HoursReport:
    events, depth = stored_events(folder / "state")
    stored = [StoredEvent(event.seq, event.id, event.dropped or 0) for event in events]
    found = flatness(watch.readings)
    ids = {one.id for one in record.events}
    return HoursReport(
        seed=seed,
        hours=hours,
        seconds=round(time.monotonic() - began, 1),
        faults={what: count for what, count in sorted(watch.done.items()) if not what.endswith(OVER)},
        kinds=dict(sorted(Counter(event.kind.value for event in events).items())),
        stored=len(stored),
        arrived=len(ids),
        copies=len(record.events) - len(ids),
        openings=len(record.openings),
        least_margin_ms=least_margin_ms(record),
        flatness=found,
        readings=watch.readings,
        breaches=[
            *judge_store(notes_of(folder / "notes.jsonl"), stored),
            *judge_events(stored, record.events),
            *judge_openings(stored, record.openings),
            *judge_end(depth, record.unreadable),
            *judge_flatness(found, most_growth),
        ],
    )
