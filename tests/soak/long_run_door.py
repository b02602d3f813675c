"""The door of a long run, in a process of its own: the real daemon with the real models and a fault script.

    python long_run_door.py DOOR.toml NOTES CLOCK HOURS PERIODS SEED

It prints one line for each requested action, and continues when it has read a line.
"""

from __future__ import annotations

import functools
import gc
import logging
import sys
import threading
from pathlib import Path

from edge.core.config import read_config
from edge.mqtt.publisher import Publisher
from edge.runtime.daemon import Daemon
from soak.fault_script import FaultScript
from soak.recording_outbox import RecordingOutbox
from soak.simulated_clock import SimulatedClock

BACKOFF_S = (0.02, 0.5)  # between attempts to connect, in real seconds; the longest is about a minute of simulated time


def request(action: str) -> None:
    """Print an action and wait until it is done."""
    gc.collect()  # measure memory without garbage
    print(action, flush=True)
    if not sys.stdin.readline():
        raise SystemExit("the supervising process has ended")


def main() -> None:
    config, notes, times = (Path(word) for word in sys.argv[1:4])
    hours, periods, seed = float(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6])
    logging.basicConfig(level=logging.WARNING)
    logging.raiseExceptions = False  # a full disk accepts no log lines
    clock = SimulatedClock(times)
    script = FaultScript(clock, hours=hours, periods=periods, seed=seed, request=request)
    daemon = Daemon(
        read_config(config),
        clock=clock,
        open_camera=script.open_camera,
        make_outbox=functools.partial(RecordingOutbox, notes),
        make_publisher=functools.partial(Publisher, backoff_s=BACKOFF_S),
    )
    daemon.run(threading.Event())


if __name__ == "__main__":
    main()
