"""Takes a repository to the doors: as retained messages on a broker, or as files in a folder."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge.core.config import MqttConfig
from edge.core.errors import DECODE_ERRORS, BrokerError, BrokerRefusedError, ReleaseError
from edge.core.files import atomic_write, make_private_folder
from edge.events.topics import REPO_DELIVERY, repo_topic
from edge.mqtt.connection import connect
from edge.mqtt.paho_client import PahoClient
from edge.updates.release_format import is_repo_name
from edge.updates.sources import MqttSource

SILENCE_S = 20.0  # the broker acknowledges nothing for so long: give up
WINDOW = 20  # messages under way at once
_LOOK_AGAIN_S = (0.1, 0.3, 0.6, 0.0)  # pauses after a connection that broke; 0: give up


def publish(mqtt: MqttConfig, site: str, files: Sequence[tuple[str, bytes]], obsolete: Sequence[str]) -> int:
    """Publish files as retained messages in this order, the last one only after all others have arrived.

    Then the obsolete names are cleared from the broker.

    Returns:
        How many bytes were published.

    Raises:
        BrokerError: the broker cannot be reached, or does not keep what it is given.
    """
    connection, _ = connect(mqtt, client_id=f"threshold-sync-{uuid.uuid4().hex[:12]}")
    try:
        for part in (files[:-1], files[-1:], [(name, b"") for name in obsolete]):
            send(connection, [(repo_topic(site, name), content) for name, content in part])
        connection.close()
    except BaseException:
        connection.abort()
        raise
    name, content = files[-1]
    if fetch(mqtt, site, name) != content:
        raise BrokerRefusedError(
            f"{mqtt.url}: has not kept {repo_topic(site, name)}; "
            "it must allow retained messages there, and let this login write and read them"
        )
    return sum(len(content) for _, content in files)


def export(folder: Path, files: Sequence[tuple[str, bytes]], *, shared: bool = False) -> None:
    """Write files into a folder in this order, and remove those of former releases afterwards.

    Args:
        folder: created where it is missing.
        files: name and content.
        shared: let the umask decide who may read them; otherwise the owner alone, because they hold templates.
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
    """One file as the broker keeps it; asked for again where the broker hangs up, as amqtt does when it is busy."""
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


def send(connection: PahoClient, messages: Sequence[tuple[str, bytes]]) -> None:
    """Publish retained messages, each a topic and a payload, and wait until all are acknowledged."""
    left = list(reversed(messages))
    flying: dict[int, str] = {}
    heard_s = time.monotonic()
    while left or flying:
        while left and len(flying) < min(WINDOW, connection.receive_max):
            topic, payload = left.pop()
            flying[connection.publish(topic, payload, qos=REPO_DELIVERY.qos, retain=REPO_DELIVERY.retained)] = topic
        connection.poll(1.0)
        for receipt in connection.take_acks():
            heard_s = time.monotonic()
            topic = flying.pop(receipt.packet_id, "")
            if topic and receipt.refusal:
                raise BrokerRefusedError(
                    f"the broker does not take {topic} ({receipt.refusal}); check its rules and limits"
                )
        if time.monotonic() - heard_s > SILENCE_S:
            raise BrokerError(f"the broker has not acknowledged {len(flying)} messages for {SILENCE_S:.0f} s")


def read_lines(path: Path) -> list[str]:
    """The names that were published to a site the last time.

    Raises:
        ReleaseError: the file is damaged.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[str])
    except FileNotFoundError:
        return []
    except DECODE_ERRORS as error:
        raise ReleaseError(f"{path}: damaged ({error}); remove it, and clear the broker's retained messages") from error
