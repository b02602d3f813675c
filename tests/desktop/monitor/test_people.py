"""The review of people in the monitor: every photo with its result, thresholds, look-alikes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from starlette.testclient import TestClient
from support.monitor_client import ORIGIN, csrf_of, monitor_client
from support.mqtt_brokers import wait_until
from threshold_tools.monitor.history import History
from threshold_tools.monitor.people import PeopleReviewer, people_routes

from edge.core.records import BgrImage
from edge.demo.run_demo import FOLDER


@pytest.fixture
def people(tmp_path: Path, photo: Callable[[str], BgrImage]) -> Path:
    """The bundled person with a photo of another person and a damaged one, a second person, and a stray photo."""
    folder = tmp_path / "people"
    shutil.copytree(FOLDER / "people", folder)
    (folder / "joe <b>").mkdir()
    cv2.imwrite(str(folder / "joe <b>" / "one.png"), photo("biden"))
    cv2.imwrite(str(folder / "barack-obama" / "other.png"), photo("astronaut"))
    (folder / "barack-obama" / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    shutil.copy(folder / "joe <b>" / "one.png", folder / "stray.png")
    return folder


@pytest.fixture
def client(people: Path, history: History) -> TestClient:
    """A client; the folder has been reviewed."""
    reviewer = PeopleReviewer(people)
    reviewer.start()
    wait_until(lambda: not reviewer.busy, "the review", 30)
    return monitor_client(history, routes=people_routes(reviewer))


def test_every_photo_shown_with_its_result(client: TestClient) -> None:
    page = client.get("/people").text
    assert "unlike the person&#39;s other photos" in page
    assert "truncated" in page
    assert "not in the folder of a person" in page
    assert page.count("weight ") == 3
    assert "2 of 4 usable" in page


def test_thresholds_and_nearest_person_shown(client: TestClient) -> None:
    page = client.get("/people").text
    assert "lower is stricter" in page
    assert "joe &lt;b&gt;, distance" in page
    assert "<b>, distance" not in page


def test_search_by_name_and_by_doubtful_photos(client: TestClient) -> None:
    assert "1 person" in client.get("/people?q=obama").text
    doubtful = client.get("/people?doubt=1").text
    assert "1 person" in doubtful
    assert "other.png" in doubtful
    assert "No person matches." in client.get("/people?q=nobody").text
    assert client.get("/people?page=999&q=%00").status_code == 200


def test_only_numbered_faces_are_accessible(client: TestClient) -> None:
    first = client.get("/people/photo/0.jpg")
    assert first.content.startswith(b"\xff\xd8\xff")
    for other in ("999", "-1", "0.jpg/../../barack-obama/obama2"):
        assert client.get(f"/people/photo/{other}.jpg").status_code == 404


def test_error_of_the_folder_shown_on_the_page(client: TestClient, people: Path) -> None:
    """With the result of the last review."""
    (people / "joe <b>" / "person.toml").write_text("nmae = 'x'")
    csrf = csrf_of(client.get("/people").text)
    assert client.post("/people", data={"csrf": csrf}, headers=ORIGIN).status_code == 303
    wait_until(lambda: "unknown key &#39;nmae&#39;" in client.get("/people").text, "the error")
    assert "2 of 4 usable" in client.get("/people").text
