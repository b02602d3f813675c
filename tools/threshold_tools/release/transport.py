"""Publishes a repository as retained messages on a broker, or as files in a folder."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from tqdm import tqdm

from edge.core.config import MqttConfig
from edge.core.errors import DECODE_ERRORS, BrokerError, BrokerRefusedError, ReleaseError
from edge.core.files import atomic_write, make_private_folder
from edge.events.topics import REPO_DELIVERY, repo_topic
from edge.mqtt.connection import connect
from edge.mqtt.paho_client import PahoClient
from edge.updates.release_format import is_repo_name
from edge.updates.sources import MqttSource

SILENCE_S = 20.0  # timeout without an acknowledgement
WINDOW = 20  # most unacknowledged messages
_LOOK_AGAIN_S = (0.1, 0.3, 0.6, 0.0)  # pauses after a broken connection; 0: stop


def publish(mqtt: MqttConfig, site: str, files: Sequence[tuple[str, bytes]], obsolete: Sequence[str]) -> int:
    """Publish files as retained messages in this order, the last one after all others are acknowledged.

    Then the obsolete names are deleted from the broker.

    Returns:
        Number of bytes published.

    Raises:
        BrokerError: the broker cannot be reached, or does not retain the messages.
    """
    connection, _ = connect(mqtt, client_id=f"threshold-sync-{uuid.uuid4().hex[:12]}")
    total = sum(len(content) for _, content in files)
    try:
        with tqdm(total=total, desc="publish", unit="B", unit_scale=True, delay=1, disable=None, leave=False) as bar:
            for part in (files[:-1], files[-1:], [(name, b"") for name in obsolete]):
                send(connection, [(repo_topic(site, name), content) for name, content in part], bar.update)
        connection.close()
    except BaseException:
        connection.abort()
        raise
    name, content = files[-1]
    if fetch(mqtt, site, name) != content:
        raise BrokerRefusedError(
            f"{mqtt.url}: has not retained {repo_topic(site, name)}; "
            "allow retained messages there, and let this login write and read them"
        )
    return total


def export(folder: Path, files: Sequence[tuple[str, bytes]], *, shared: bool = False) -> None:
    """Write files into a folder in this order, then delete those of former releases.

    Args:
        folder: created where it is missing.
        files: name and content.
        shared: permissions by the umask; otherwise only the owner may read them, because they contain templates.
    """
    if shared:
        folder.mkdir(parents=True, exist_ok=True)
    else:
        make_private_folder(folder)
    for name, content in files:
        atomic_write(folder / name, content, private=not shared)
    names = {name for name, _ in files}
    for path in list(folder.iterdir()):
        if is_repo_name(path.name) and path.name not in names:
            path.unlink()


def fetch(mqtt: MqttConfig, site: str, name: str) -> bytes | None:
    """One file as the broker retains it. Retries when the broker disconnects, as amqtt does when it is busy."""
    for pause_s in _LOOK_AGAIN_S:
        source = MqttSource(mqtt, site, f"threshold-sync-{uuid.uuid4().hex[:12]}", answer_s=1.0)
        try:
            return source.fetch([name]).get(name)
        except BrokerRefusedError:
            raise
        except BrokerError:
            if not pause_s:
                raise
            time.sleep(pause_s)
        finally:
            source.close()
    raise AssertionError


def send(
    connection: PahoClient, messages: Sequence[tuple[str, bytes]], on_acked: Callable[[int], object] = lambda _: None
) -> None:
    """Publish retained messages and wait until all are acknowledged.

    Args:
        connection: connection to the broker.
        messages: topics and payloads.
        on_acked: called with the length of each acknowledged payload, in bytes.

    Raises:
        BrokerRefusedError: the broker rejects a message.
        BrokerError: the broker does not acknowledge in time.
    """
    left = list(reversed(messages))
    in_flight: dict[int, tuple[str, int]] = {}
    acked_s = time.monotonic()
    while left or in_flight:
        while left and len(in_flight) < min(WINDOW, connection.receive_max):
            topic, payload = left.pop()
            packet = connection.publish(topic, payload, qos=REPO_DELIVERY.qos, retain=REPO_DELIVERY.retained)
            in_flight[packet] = topic, len(payload)
        connection.poll(1.0)
        for receipt in connection.take_acks():
            acked_s = time.monotonic()
            topic, length = in_flight.pop(receipt.packet_id, ("", 0))
            if topic and receipt.refusal:
                raise BrokerRefusedError(
                    f"the broker rejects {topic} ({receipt.refusal}); check its access rules and limits"
                )
            on_acked(length)
        if time.monotonic() - acked_s > SILENCE_S:
            raise BrokerError(f"the broker has not acknowledged {len(in_flight)} messages for {SILENCE_S:.0f} s")


def read_lines(path: Path) -> list[str]:
    """The names of the files that were last published to a site.

    Raises:
        ReleaseError: the file is damaged.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[str])
    except FileNotFoundError:
        return []
    except DECODE_ERRORS as error:
        raise ReleaseError(f"{path}: damaged ({error}); delete it, and the retained messages on the broker") from error
