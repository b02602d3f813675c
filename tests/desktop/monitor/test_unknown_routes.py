"""The page of unknown visitors: its faces and forms."""

from __future__ import annotations

from collections.abc import Callable

from support.mqtt_brokers import wait_until
from support.unknown_faces import IDS, Photo, UnknownPage, add_faces, is_cached, jpeg


def test_page_shows_stored_faces_only(page_for: Callable[..., UnknownPage], photo: Photo) -> None:
    page = page_for()
    (kept,) = add_faces(page.store, jpeg(photo("biden")))
    text = page.text
    assert f'value="works/front/{kept.event_id}"' in text
    assert page.client.get(f"/unknown/face/works/front/{kept.event_id}.jpg").content == kept.jpeg
    for other in ("works/front/" + IDS.new(1), "../people/barack-obama/obama2", "works/front/..%2f..%2fh"):
        assert page.client.get(f"/unknown/face/{other}.jpg").status_code == 404


def test_group_shows_nearest_enrolled_person(page_for: Callable[..., UnknownPage], photo: Photo) -> None:
    """With distance and threshold, so that an operator can add photos of a person who is not recognised."""
    page = page_for()
    add_faces(page.store, jpeg(photo("obama2")), jpeg(photo("obama3"), brighter=0.8))
    wait_until(lambda: "Nearest enrolled person: barack-obama, distance 0." in page.text, "the review", 20)


def test_form_without_face_id_or_token_rejected(page_for: Callable[..., UnknownPage], photo: Photo) -> None:
    page = page_for()
    add_faces(page.store, jpeg(photo("biden")))
    key = page.store.faces.ungrouped[0].key
    assert page.post(act="enrol", face=key, person=" ") == 422
    assert page.post(act="enrol", face="works/front/none", person="joe") == 422
    headers = {"origin": "http://127.0.0.1"}
    assert page.client.post("/unknown", data={"act": "delete", "face": key}, headers=headers).status_code == 403
    assert len(page.store.faces.ungrouped) == 1


def test_faces_deleted_and_noted(page_for: Callable[..., UnknownPage], photo: Photo) -> None:
    page = page_for()
    add_faces(page.store, jpeg(photo("biden")), jpeg(photo("astronaut")))
    deleted, stays = page.store.faces.ungrouped
    assert page.post(act="delete", face=deleted.key) == 303
    assert [face.key for face in page.store.faces.ungrouped] == [stays.key]
    assert not deleted.path.exists()
    assert not is_cached(deleted.assessment.vector, page.store)
    wait_until(lambda: bool(page.history.notes(1)), "the note")
    assert page.history.notes(1)[0].what == "1 face from works/front deleted"
    assert "1 face from works/front deleted" in page.text
