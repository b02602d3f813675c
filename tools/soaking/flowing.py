"""The door of a kill run, a process of its own: events without end until it is asked to stop or dies.

    python flowing.py DOOR.toml NOTES FPS SEED

The real daemon with made-up sight; it takes a note of every event once that counts as stored.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path

from edge.core.config import read_config
from edge.runtime.daemon import Daemon
from soaking import eyes, witness


def main() -> None:
    config, notes, fps, seed = read_config(Path(sys.argv[1])), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    logging.basicConfig(level=logging.WARNING)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_stop_alone, args=(stop,), daemon=True).start()
    witness.install(notes)
    eyes.install(fps, seed)
    Daemon(config).run(stop)


def _stop_alone(stop: threading.Event) -> None:
    """Whoever was to kill this process has gone."""
    sys.stdin.read()
    stop.set()


if __name__ == "__main__":
    main()
