"""Fixtures of the monitor's tests."""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from threshold_tools.monitor.history import History
from threshold_tools.monitor.history_database import Retention

from edge.demo.run_demo import FOLDER

if TYPE_CHECKING:
    from support.unknown_faces import UnknownPage
    from threshold_tools.monitor.face_store import FaceStore
    from threshold_tools.monitor.gallery_publisher import GalleryPublisher

if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn", "httpx2")):
    collect_ignore_glob = ["test_*.py"]  # they need the extras monitor and dev


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    """An empty history."""
    with History(tmp_path / "h.sqlite", Retention(30, 1000), now_ms=time.time_ns() // 10**6) as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FaceStore]:
    """An empty folder of faces."""
    from threshold_tools.monitor.face_store import FaceStore

    with FaceStore(tmp_path / "faces", 7.0) as made:
        yield made


@pytest.fixture
def page_for(tmp_path: Path, store: FaceStore, history: History) -> Callable[..., UnknownPage]:
    """Makes the page of unknown visitors, with the bundled person enrolled; with a publisher, it publishes."""
    from support.monitor_client import monitor_client
    from support.unknown_faces import UnknownPage
    from threshold_tools.monitor.enrol_unknown import UnknownEnroller
    from threshold_tools.monitor.hub import Hub
    from threshold_tools.monitor.people import PeopleReviewer
    from threshold_tools.monitor.unknown_routes import unknown_routes

    people = tmp_path / "people"
    shutil.copytree(FOLDER / "people", people)

    def make(publisher: GalleryPublisher | None = None) -> UnknownPage:
        enroller = UnknownEnroller(PeopleReviewer(people), store, history, publisher)
        hub = Hub()
        client = monitor_client(history, hub=hub, routes=unknown_routes(store, enroller, history, hub.fleet))
        return UnknownPage(client, store, enroller, people, history, hub)

    return make
