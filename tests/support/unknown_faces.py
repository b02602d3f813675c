"""Faces of unknown visitors as sent by a door, and the page that shows them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from starlette.testclient import TestClient
from threshold_tools.enroll.cache import FILE
from threshold_tools.monitor.enrol_unknown import UnknownEnroller
from threshold_tools.monitor.face_store import FaceStore
from threshold_tools.monitor.history import History
from threshold_tools.monitor.hub import Hub
from threshold_tools.monitor.listener import FaceImage

from edge.core.records import BgrImage
from edge.core.uuid7 import Uuid7Source
from edge.events.topics import Topics
from support.monitor_client import ORIGIN, csrf_of
from support.mqtt_brokers import wait_until

IDS = Uuid7Source()
FRONT = Topics("works", "front")
Photo = Callable[[str], BgrImage]


def jpeg(pixels: BgrImage, brighter: float = 1.0) -> bytes:
    """Return a picture as encoded by a door; pixels (H, W, 3) uint8 BGR."""
    changed = np.clip(pixels.astype(np.float32) * brighter, 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", changed)[1].tobytes()


def face_image(content: bytes, door: Topics = FRONT) -> FaceImage:
    """Store a picture with a new event of a door."""
    return FaceImage(door, IDS.new(time.time_ns() // 10**6), content)


def add_faces(store: FaceStore, *contents: bytes) -> list[FaceImage]:
    """Add pictures; returns when they are grouped."""
    faces = [face_image(content) for content in contents]
    for each in faces:
        store.add(each)
    store.regroup()
    return faces


def is_cached(vector: bytes, store: FaceStore) -> bool:
    """Return whether the cache of assessments contains a part of a vector."""
    content = (store.folder / FILE).read_bytes()
    return any(vector[at : at + 64] in content for at in range(0, len(vector), 64))


@dataclass
class UnknownPage:
    """The page of unknown visitors, with a people folder of the bundled person."""

    client: TestClient
    store: FaceStore
    enroller: UnknownEnroller
    people: Path
    history: History
    hub: Hub

    @property
    def text(self) -> str:
        """Return the page."""
        return self.client.get("/unknown").text

    def post(self, **fields: object) -> int:
        """Send a form and wait for the enrolment; returns the status code."""
        return self._answer(fields)[0]

    def answer(self, **fields: object) -> str:
        """Send a form and wait for the enrolment; returns the HTML of the response."""
        return self._answer(fields)[1]

    def enrol_first(self, person: str, **fields: str) -> int:
        """Enrol the first of the ungrouped faces."""
        return self.post(act="enrol", face=self.store.faces.ungrouped[0].key, person=person, **fields)

    def _answer(self, fields: Mapping[str, object]) -> tuple[int, str]:
        answer = self.client.post("/unknown", data={"csrf": csrf_of(self.text), **fields}, headers=ORIGIN)
        wait_until(lambda: not self.enroller.busy, "the enrolment", 30)
        return answer.status_code, answer.text
