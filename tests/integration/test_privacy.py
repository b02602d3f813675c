"""No face template appears in logs, events, health, records or files."""

from __future__ import annotations

import base64
import logging
import re
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from support.mqtt_brokers import config_for, make_broker
from support.private_files import (
    Edge,
    edge_runner,
)
from support.release_signer import vector

from edge.core.config import CameraConfig, DoorConfig
from edge.core.records import FloatArray
from edge.demo.run_demo import CLIP, GALLERY
from edge.events.topics import Channel, Topics
from edge.mqtt.subscriber import Message, Subscriber
from edge.recognition.gallery_file import load_gallery
from edge.runtime.daemon import Daemon
from edge.runtime.runtime_bundle import load_configured
from edge.vision.embedder import Embedder
from edge.vision.face_sampler import VisionStages


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Edge:
    return edge_runner(monkeypatch, capfd)


NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d\d)?")
NUMBERS_IN_A_ROW = re.compile(r"(?:-?\d+(?:\.\d+)?(?:e[-+]?\d+)?[\s,;]+){5,}-?\d", re.IGNORECASE)
BYTES_AS_TEXT = re.compile(r"[0-9a-f]{65,}|(?:\\x[0-9a-f]{2}){4,}|[A-Za-z0-9+/]{100,}|array\(|ndarray", re.IGNORECASE)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[FloatArray]:
    """Collect every vector of the embedder."""
    vectors: list[FloatArray] = []
    embed = Embedder.embed

    def watched(self: Embedder) -> FloatArray:
        vectors.append(embed(self).copy())
        return vectors[-1]

    monkeypatch.setattr(Embedder, "embed", watched)
    return vectors


def traces(content: bytes, vectors: list[FloatArray]) -> list[str]:
    """Return the vectors whose beginning is in the content: as bytes, hex, base64 or a list of numbers."""
    found = []
    text = content.decode("latin-1")
    numbers = np.asarray([float(each) for each in NUMBER.findall(text)])
    windows = sliding_window_view(numbers, 4) if len(numbers) >= 4 else np.zeros((0, 4))
    for at, each in enumerate(vectors):
        start = each[:6].tobytes()
        forms = (start, start.hex().encode(), base64.b64encode(start), repr(start)[2:-1].encode())
        if any(form in content for form in forms) or np.any(np.all(np.abs(windows - each[:4]) < 2e-3, axis=1)):
            found.append(f"vector {at}")
    return found


def long_arrays(text: str) -> list[str]:
    return [match.group()[:80] for form in (NUMBERS_IN_A_ROW, BYTES_AS_TEXT) for match in form.finditer(text)]


def test_search_for_vectors_finds_every_form() -> None:
    one = vector(1)
    shown = (str(one.tolist()), str(one), repr(one), one.tobytes().hex(), repr(one.tobytes()))
    for content in (one.tobytes(), base64.b64encode(one.tobytes()), *(each.encode() for each in shown)):
        assert traces(b"log 0.5: " + content + b" end", [vector(2), one]) == ["vector 1"]
    for text in shown:
        assert long_arrays(text)


def test_door_writes_nothing_of_a_face(
    tmp_path: Path, seen: list[FloatArray], caplog: pytest.LogCaptureFixture, vision: VisionStages
) -> None:
    """A door runs on the clip with all logs on; a subscriber receives all topics."""
    caplog.set_level(logging.DEBUG)
    with make_broker("embedded", tmp_path) as broker:
        mqtt = msgspec.structs.replace(config_for(broker), health_every_s=0.2)
        config = DoorConfig(
            site="home",
            door="front",
            state_folder=str(tmp_path / "state"),
            gallery=str(GALLERY),
            camera=CameraConfig(source=str(CLIP)),
            mqtt=mqtt,
        )
        received: list[Message] = []
        with Subscriber(mqtt, Topics("home", "front"), list(Channel)) as subscriber:
            Daemon(config).run(threading.Event())
            for message in subscriber.messages(20):
                received.append(message)
                if b'"stopped"' in message.payload:
                    break
    assert {message.channel for message in received} >= {Channel.EVENTS, Channel.OPEN, Channel.HEALTH}
    assert len(seen) > 10
    faces = [*seen, *load_gallery(GALLERY, vision.reader.embedder.sha256).centroids]
    stored = b"".join(path.read_bytes() for path in sorted((tmp_path / "state").rglob("*")) if path.is_file())
    for place, content in {
        "log": caplog.text.encode(),
        "messages": b"\n".join(message.payload for message in received),
        "disk": stored,
    }.items():
        assert not traces(content, faces), place
    assert not long_arrays(caplog.text)
    assert not [found for message in received for found in long_arrays(message.payload.decode())]


def test_replay_writes_nothing_of_a_face(
    edge: Edge,
    seen: list[FloatArray],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    code, said = edge("--verbose", "replay", CLIP, "--gallery", GALLERY)
    assert code == 0
    assert len(seen) > 10
    text = caplog.text + said
    assert not traces(text.encode(), seen)
    assert not long_arrays(text)
    assert not list(tmp_path.iterdir())


def test_printed_records_show_no_vector(vision: VisionStages) -> None:
    """In a traceback or log line, a gallery or a bundle is shown by name, without numbers."""
    gallery = load_gallery(GALLERY, vision.reader.embedder.sha256)
    config = DoorConfig(site="home", door="front", gallery=str(GALLERY))
    for each in (gallery, load_configured(config)):
        assert not long_arrays(repr(each))
