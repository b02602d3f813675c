"""The door of a kill run, in a process of its own: it makes events until it is stopped or killed.

    python kill_run_door.py DOOR.toml NOTES FPS SEED

It is the real daemon with fake vision, and notes every event when it is stored.
"""

from __future__ import annotations

import functools
import logging
import signal
import sys
import threading
from pathlib import Path

from edge.core.config import read_config
from edge.runtime.daemon import Daemon
from soak.fake_vision import FakeCamera, fake_bundle
from soak.recording_outbox import RecordingOutbox


def main() -> None:
    config, notes, fps, seed = read_config(Path(sys.argv[1])), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    logging.basicConfig(level=logging.WARNING)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_stop_with_parent, args=(stop,), daemon=True).start()
    daemon = Daemon(
        config,
        bundle=fake_bundle(),
        open_camera=lambda _config, realtime=False: FakeCamera(fps, seed),
        make_outbox=functools.partial(RecordingOutbox, notes),
    )
    daemon.run(stop)


def _stop_with_parent(stop: threading.Event) -> None:
    """Stop when the parent process has ended."""
    sys.stdin.read()
    stop.set()


if __name__ == "__main__":
    main()
