"""Mosquitto for soak runs: can be killed, frozen and restarted; keeps subscriptions but no messages."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from support.mqtt_brokers import Mosquitto, wait_until

# The broker queues no messages: each is sent to every listener before the sender gets its acknowledgement.
_CONF = """allow_anonymous true
persistence true
persistence_location {folder}/
autosave_interval 0
max_inflight_messages 0
max_queued_messages 0
log_type none
"""


class SoakBroker(Mosquitto):
    """Mosquitto on its own port; a context manager.

    Args:
        folder: folder of its configuration and its database of subscriptions.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, conf=_CONF.format(folder=folder))
        self._database = folder / "mosquitto.db"

    def save_subscriptions(self) -> None:
        """Write the subscriptions to disk, so that the broker restores them after a kill. Messages are not restored."""
        os.kill(self.pid, signal.SIGUSR1)
        wait_until(self._database.exists, "mosquitto saves its subscriptions")

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)
