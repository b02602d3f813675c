"""The door of simulated hours, a process of its own: the real daemon with the real models, in a world made up.

    python living.py DOOR.toml NOTES CLOCK HOURS PERIODS SEED

It says on its standard output what is to be done to it, a line each, and goes on when it has read a line.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
from pathlib import Path

from edge.core.config import read_config
from edge.runtime.daemon import Daemon
from soaking import clock, witness, world


def ask(what: str) -> None:
    """Have it done."""
    gc.collect()  # so that what is held is compared with what is held, and no garbage with none
    print(what, flush=True)
    if not sys.stdin.readline():
        raise SystemExit("whoever watched has gone")


def main() -> None:
    config, notes, times = (Path(word) for word in sys.argv[1:4])
    hours, periods, seed = float(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6])
    logging.basicConfig(level=logging.WARNING)
    logging.raiseExceptions = False  # a full disk takes no log line either
    simulated = clock.Clock(times)
    witness.install(notes)
    outside = world.FaultScript(simulated, hours=hours, periods=periods, seed=seed, ask=ask)
    clock.install(simulated)
    world.install(outside)
    Daemon(read_config(config)).run(threading.Event())


if __name__ == "__main__":
    main()
