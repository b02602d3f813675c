"""A door without a camera, in a process that tests can kill; decisions are simulated, the rest is real.

    python publisher_harness.py DOOR.toml STORED COUNT PAUSE_S

The id of each stored event is appended to the file STORED; every third decision opens the door. A new process
continues the work of a killed one. It ends when COUNT events are stored and the broker has acknowledged all of them.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from edge.core.clock import SYSTEM_CLOCK, WallClock
from edge.core.config import read_config
from edge.core.records import AccessOutcome
from edge.events.factory import EventContext
from edge.events.topics import Topics
from edge.mqtt.publisher import Publisher
from edge.runtime.event_recorder import EventRecorder
from support.decisions import a_decision


def main() -> None:
    config, stored, count, pause_s = read_config(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    logbook = EventRecorder(config, lambda: EventContext(config.door, True, "1"), WallClock(SYSTEM_CLOCK, trusted=True))
    publisher = Publisher(
        config.mqtt,
        Topics(config.site, config.door),
        logbook.outbox,
        on_open_expired=logbook.open_expired,
        backoff_s=(0.02, 0.2),
    )
    file = os.open(stored, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    done, pause = os.fstat(file).st_size // 37, threading.Event()
    with logbook.outbox, publisher:
        while done < count:
            kind = AccessOutcome.DENIED if done % 3 else AccessOutcome.DOOR_OPEN
            decision = a_decision(kind)
            recorded = logbook.record_decision(decision)
            logbook.maintain()
            os.write(file, f"{logbook.outbox.recent(1)[0].id}\n".encode())
            done += 1
            if recorded is not None and recorded[1] is not None:
                publisher.open(recorded[1], decision.t_ns)
            pause.wait(pause_s)
        while logbook.outbox.depth():
            pause.wait(0.01)


if __name__ == "__main__":
    main()
