"""Unknown visitors in the monitor: which faces are kept and for how long, how they are grouped, named and forgotten."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.mqtt_brokers import wait_until

pytest.importorskip("starlette", reason="needs the monitor extra")
pytest.importorskip("httpx2", reason="starlette's test client needs httpx2")

from starlette.testclient import TestClient
from support.monitor_fleet import an_event
from support.release_signer import ReleaseSigner
from threshold_tools.enroll.cache import FILE
from threshold_tools.enroll.consistency import centroid
from threshold_tools.enroll.gallery_builder import limits_sq
from threshold_tools.enroll.photo_quality import ENROL_QUALITY
from threshold_tools.enroll.review import review
from threshold_tools.monitor.app import MonitorContext, make_app
from threshold_tools.monitor.enrol_unknown import UnknownEnroller
from threshold_tools.monitor.face_store import MAX_JPEG_BYTES, FaceStore
from threshold_tools.monitor.gallery_publisher import GalleryPublisher
from threshold_tools.monitor.history import History, Retention
from threshold_tools.monitor.hub import Hub
from threshold_tools.monitor.listener import FaceImage
from threshold_tools.monitor.people import PeopleReviewer
from threshold_tools.monitor.security import AuthSettings
from threshold_tools.monitor.sessions import SessionSigner
from threshold_tools.monitor.unknown_routes import unknown_routes
from threshold_tools.photos import PhotoSampler

from edge.core.config import MqttConfig
from edge.core.records import BgrImage, Person
from edge.core.uuid7 import Uuid7Source
from edge.demo.run_demo import FOLDER
from edge.events.schema import EventKind
from edge.events.topics import Topics
from edge.recognition.gallery_file import load_gallery, save_gallery
from edge.updates.release_format import GALLERY, POLICY

DAY_S = 86_400
IDS = Uuid7Source()
FRONT = Topics("works", "front")
Photo = Callable[[str], BgrImage]


def jpeg(pixels: BgrImage, brighter: float = 1.0) -> bytes:
    changed = np.clip(pixels.astype(np.float32) * brighter, 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", changed)[1].tobytes()


def face(content: bytes, door: Topics = FRONT) -> FaceImage:
    return FaceImage(door, IDS.new(time.time_ns() // 10**6), content)


def keep(crops: FaceStore, *contents: bytes) -> list[FaceImage]:
    """Let these come; returns when they have been looked at."""
    faces = [face(content) for content in contents]
    for each in faces:
        crops.add(each)
    crops.regroup()
    return faces


def held(vector: bytes, crops: FaceStore) -> bool:
    """Whether any part of a vector is in the file that remembers them."""
    content = (crops.folder / FILE).read_bytes()
    return any(vector[at : at + 64] in content for at in range(0, len(vector), 64))


@pytest.fixture
def crops(tmp_path: Path) -> Iterator[FaceStore]:
    with FaceStore(tmp_path / "faces", 7.0) as made:
        yield made


# What is kept


def test_faces_of_one_person_are_grouped_and_others_stay_alone(crops: FaceStore, photo: Photo) -> None:
    keep(crops, jpeg(photo("obama2")), jpeg(photo("astronaut")), jpeg(photo("obama3")), jpeg(photo("biden")))
    (group,) = crops.faces.groups
    assert len(group) == 2
    assert len(crops.faces.ungrouped) == 2


def test_a_face_that_could_not_serve_says_why(crops: FaceStore, photo: Photo) -> None:
    small = cv2.resize(photo("biden"), None, fx=0.1, fy=0.1)
    keep(crops, jpeg(np.asarray(small, np.uint8)), jpeg(np.full((90, 90, 3), 128, np.uint8)))
    assert sorted(crop.assessment.rejection_reason.split(" (")[0] for crop in crops.faces.unusable) == [
        "no face",
        "too small",
    ]


def test_what_is_no_sound_picture_of_a_door_is_not_kept(crops: FaceStore, photo: Photo) -> None:
    good = jpeg(photo("biden"))
    crops.add(face(good, Topics("works", "..")))
    crops.add(face(b"\xff" * (MAX_JPEG_BYTES + 1)))
    keep(crops, b"", b"GIF89a", good[: len(good) // 2], jpeg(np.zeros((1100, 1100, 3), np.uint8)))
    small = np.asarray(cv2.resize(photo("biden"), (300, 300)), np.uint8)
    progressive = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    scan = progressive[progressive.rfind(b"\xff\xda") : -2]
    keep(crops, cv2.imencode(".webp", small)[1].tobytes(), progressive[:-2] + scan * 50 + b"\xff\xd9")
    assert not list(crops.folder.rglob("*.jpg"))
    assert not list(crops.folder.parent.glob("*.jpg"))


def test_faces_are_for_their_owner_alone(crops: FaceStore, photo: Photo) -> None:
    keep(crops, jpeg(photo("biden")))
    (kept,) = crops.folder.rglob("*.jpg")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert crops.folder.stat().st_mode & 0o777 == 0o700


def test_a_face_is_deleted_in_time_and_its_vector_with_it(crops: FaceStore, photo: Photo) -> None:
    keep(crops, jpeg(photo("biden")), jpeg(photo("astronaut")))
    old, young = crops.faces.ungrouped
    vector = old.assessment.vector
    assert held(vector, crops)
    os.utime(old.path, (time.time() - 8 * DAY_S,) * 2)
    crops.regroup()
    assert list(crops.folder.rglob("*.jpg")) == [young.path]
    assert not held(vector, crops)
    assert [crop.key for crop in crops.faces.ungrouped] == [young.key]


def test_a_face_that_somebody_deletes_by_hand_is_forgotten(crops: FaceStore, photo: Photo) -> None:
    keep(crops, jpeg(photo("biden")))
    (kept,) = crops.faces.ungrouped
    kept.path.unlink()
    crops.regroup()
    assert crops.faces.find([kept.key]) == []
    with contextlib.closing(sqlite3.connect(crops.folder / FILE)) as cache:
        assert cache.execute("SELECT COUNT(*) FROM sights").fetchone() == (0,)


def test_what_was_kept_is_there_after_a_restart_and_is_not_looked_at_again(tmp_path: Path, photo: Photo) -> None:
    with FaceStore(tmp_path / "faces", 7.0) as crops:
        keep(crops, jpeg(photo("biden")))
        (before,) = crops.faces.ungrouped
    with FaceStore(tmp_path / "faces", 7.0) as crops:
        wait_until(lambda: crops.loaded, "the first look")
        (after,) = crops.faces.ungrouped
    assert (after.key, after.assessment) == (before.key, before.assessment)


def test_only_the_picture_of_an_unknown_visitor_s_event_is_asked_for() -> None:
    """A picture without its event, of another door, or of somebody who was named, is none."""
    hub = Hub()
    stranger, known = an_event("front", 3, kind=EventKind.UNKNOWN), an_event("front", 0, kind=EventKind.DOOR_OPEN)
    for event in (stranger, known):
        hub.on_message("works", "front", event, 1)
    assert hub.is_unknown("works/front", stranger.id)
    assert not hub.is_unknown("works/back", stranger.id)
    assert not hub.is_unknown("works/front", known.id)
    assert not hub.is_unknown("works/front", IDS.new(1))


# The page


@dataclass
class Room:
    """The page of unknown visitors, with a people folder that holds the bundled person."""

    client: TestClient
    crops: FaceStore
    enroller: UnknownEnroller
    people: Path
    history: History

    @property
    def page(self) -> str:
        return self.client.get("/unknown").text

    def post(self, **fields: object) -> int:
        code, _ = self._answer(fields)
        return code

    def shown(self, **fields: object) -> str:
        """The page that answers a form."""
        return self._answer(fields)[1]

    def _answer(self, fields: Mapping[str, object]) -> tuple[int, str]:
        csrf = re.search(r'name="csrf" value="([\w-]+)"', self.page)
        assert csrf
        headers = {"origin": "http://127.0.0.1"}
        answer = self.client.post("/unknown", data={"csrf": csrf[1], **fields}, headers=headers)
        wait_until(lambda: not self.enroller.busy, "the naming", 30)
        return answer.status_code, answer.text


@pytest.fixture
def room_for(tmp_path: Path, crops: FaceStore) -> Iterator[Callable[..., Room]]:
    people = tmp_path / "people"
    shutil.copytree(FOLDER / "people", people)
    with History(tmp_path / "h.sqlite", Retention(30, 1000), now_ms=time.time_ns() // 10**6) as history:

        def make(publishing: GalleryPublisher | None = None) -> Room:
            enroller = UnknownEnroller(PeopleReviewer(people), crops, history, publishing)
            auth = AuthSettings(SessionSigner(None), frozenset(), True, "session", False)
            context = MonitorContext(Hub(), history, auth, unknown_routes(crops, enroller, history))
            client = TestClient(make_app(context), "http://127.0.0.1", follow_redirects=False)
            return Room(client, crops, enroller, people, history)

        yield make


def test_faces_are_shown_in_groups_and_only_those_that_are_kept(room_for: Callable[..., Room], photo: Photo) -> None:
    room = room_for()
    (kept,) = keep(room.crops, jpeg(photo("biden")))
    page = room.page
    assert f'value="works/front/{kept.event_id}"' in page
    assert room.client.get(f"/unknown/face/works/front/{kept.event_id}.jpg").content == kept.jpeg
    for other in ("works/front/" + IDS.new(1), "../people/barack-obama/obama2", "works/front/..%2f..%2fh"):
        assert room.client.get(f"/unknown/face/{other}.jpg").status_code == 404


def test_somebody_is_enrolled_by_the_checks_of_enrolment_and_it_can_be_taken_back(
    room_for: Callable[..., Room], photo: Photo
) -> None:
    """The faces move to the people folder, what is left to run is said, and undoing brings them back."""
    room = room_for()
    keep(room.crops, jpeg(photo("biden")))
    (crop,) = room.crops.faces.ungrouped
    assert room.post(act="enrol", face=crop.key, person="joe", name="Joe & Jill") == 303
    assert not room.crops.faces.ungrouped
    (stored,) = (room.people / "joe").glob("*.jpg")
    assert stored.read_bytes() == jpeg(photo("biden"))
    page = room.page
    assert "enrolled with 1 of 1 face from works/front" in page
    assert "1 usable photo of joe" in page
    assert "tools/sync.py publish" in page
    wait_until(lambda: len(room.history.notes(9)) == 1, "the note")
    assert room.post(act="undo") == 303
    assert not (room.people / "joe").exists()
    assert [back.key for back in room.crops.faces.ungrouped] == [crop.key]
    wait_until(lambda: len(room.history.notes(9)) == 2, "the second note")
    assert "joe: undone" in room.history.notes(9)[0].what
    assert room.history.notes(9)[0].who == "testclient"


def test_enrolled_photos_private_to_their_owner(room_for: Callable[..., Room], photo: Photo) -> None:
    """The folder of a person named on the page is 0700, the photo and the card in it are 0600."""
    room = room_for()
    keep(room.crops, jpeg(photo("biden")))
    room.post(act="enrol", face=room.crops.faces.ungrouped[0].key, person="joe", name="Joe")
    home = room.people / "joe"
    modes = {path.suffix: path.stat().st_mode & 0o777 for path in (home, *home.iterdir())}
    assert modes == {"": 0o700, ".jpg": 0o600, ".toml": 0o600}


def test_a_known_person_is_extended_and_taking_that_back_leaves_the_rest(
    room_for: Callable[..., Room], photo: Photo
) -> None:
    room = room_for()
    (room.people / "barack-obama" / "obama3.jpg").unlink()
    keep(room.crops, jpeg(photo("obama3")))
    room.post(act="enrol", face=room.crops.faces.ungrouped[0].key, person="barack-obama")
    assert len(list((room.people / "barack-obama").glob("*.jpg"))) == 2
    assert "extended with 1 of 1 face" in room.page
    room.post(act="undo")
    assert [path.name for path in (room.people / "barack-obama").glob("*.jpg")] == ["obama2.jpg"]


def test_of_a_group_it_is_said_who_of_those_enrolled_is_nearest(room_for: Callable[..., Room], photo: Photo) -> None:
    """By distance and limit, so that somebody known who is not recognised can be extended."""
    room = room_for()
    keep(room.crops, jpeg(photo("obama2")), jpeg(photo("obama3"), brighter=0.8))
    wait_until(lambda: "Nearest enrolled person: barack-obama, distance 0." in room.page, "the review", 20)


def test_a_face_of_somebody_enrolled_under_another_id_is_refused_with_the_reason(
    room_for: Callable[..., Room], photo: Photo
) -> None:
    """And nothing goes to the doors."""
    room = room_for()
    keep(room.crops, jpeg(photo("obama3"), brighter=0.8))
    room.post(act="enrol", face=room.crops.faces.ungrouped[0].key, person="zz-twin")
    page = room.page
    assert "like another person, barack-obama" in page
    assert "nothing goes to the doors" in page
    assert "tools/sync.py" not in page


@pytest.mark.parametrize("person", ["../evil", ".hidden", "a/b", "a\tb", "new person!", "*", "x" * 65])
def test_an_id_that_cannot_name_a_folder_changes_nothing(
    room_for: Callable[..., Room], photo: Photo, person: str
) -> None:
    room = room_for()
    keep(room.crops, jpeg(photo("biden")))
    room.post(act="enrol", face=room.crops.faces.ungrouped[0].key, person=person)
    assert "cannot be an id here" in room.page
    assert len(room.crops.faces.ungrouped) == 1
    assert sorted(path.name for path in room.people.iterdir() if path.is_dir()) == ["barack-obama"]


def test_nothing_is_named_without_a_face_an_id_or_the_form_s_own_token(
    room_for: Callable[..., Room], photo: Photo
) -> None:
    room = room_for()
    keep(room.crops, jpeg(photo("biden")))
    key = room.crops.faces.ungrouped[0].key
    assert room.post(act="enrol", face=key, person=" ") == 422
    assert room.post(act="enrol", face="works/front/none", person="joe") == 422
    headers = {"origin": "http://127.0.0.1"}
    assert room.client.post("/unknown", data={"act": "delete", "face": key}, headers=headers).status_code == 403
    assert len(room.crops.faces.ungrouped) == 1


def test_faces_are_forgotten_when_asked_and_that_is_noted(room_for: Callable[..., Room], photo: Photo) -> None:
    room = room_for()
    keep(room.crops, jpeg(photo("biden")), jpeg(photo("astronaut")))
    gone, stays = room.crops.faces.ungrouped
    assert room.post(act="delete", face=gone.key) == 303
    assert [crop.key for crop in room.crops.faces.ungrouped] == [stays.key]
    assert not gone.path.exists()
    assert not held(gone.assessment.vector, room.crops)
    wait_until(lambda: bool(room.history.notes(1)), "the note")
    assert room.history.notes(1)[0].what == "1 face from works/front deleted"
    assert "1 face from works/front deleted" in room.page


def test_a_broker_that_is_away_keeps_the_person_enrolled_and_says_what_is_left(
    room_for: Callable[..., Room], photo: Photo, publishing: GalleryPublisher
) -> None:
    room = room_for(publishing)
    keep(room.crops, jpeg(photo("biden")))
    room.post(act="enrol", face=room.crops.faces.ungrouped[0].key, person="joe")
    page = room.page
    assert "not published: " in page
    assert "tools/sync.py publish" in page
    assert (room.people / "joe").is_dir()


# What is published


@pytest.fixture
def desk(tmp_path: Path) -> ReleaseSigner:
    return ReleaseSigner(tmp_path / "repo")


CALIBRATED = {"barack-obama": 0.758, "astronaut": 0.798}


def calibrated(
    room: Room, desk: ReleaseSigner, photo: Photo, thresholds_sq: Mapping[str, float], rules: str = ""
) -> None:
    """Publish the people folder as release 1, with these thresholds."""
    (room.people / "astronaut").mkdir()
    cv2.imwrite(str(room.people / "astronaut" / "1.png"), photo("astronaut"))
    reader = PhotoSampler(ENROL_QUALITY)
    seen = review(room.people, reader)
    centroids = np.stack([centroid(photos) for photos in seen.kept.values()])
    path = room.people.parent / "g"
    limits = np.array([thresholds_sq[person] for person in seen.kept], np.float32)
    save_gallery(path, [Person(each, each) for each in seen.kept], centroids, limits, reader.embedder_sha256)
    files = {GALLERY: path.read_bytes()} | ({POLICY: rules.encode()} if rules else {})
    desk.release_files(files, len(seen.kept), embedder=reader.embedder_sha256)


def published(desk: ReleaseSigner) -> dict[str, float]:
    """Thresholds of the newest release by id, read as a door reads them."""
    repository = desk.repository()
    newest = repository.newest()
    assert newest is not None
    entry = newest.file(GALLERY)
    assert entry is not None
    path = desk.path / "read"
    path.write_bytes(repository.content(entry))
    gallery = load_gallery(path, newest.embedder_sha256)
    return {each.id: round(float(limit), 6) for each, limit in zip(gallery.people, gallery.thresholds_sq, strict=True)}


@pytest.fixture
def publishing(desk: ReleaseSigner) -> GalleryPublisher:
    """To a broker that is away: releases are made and signed, and stay here."""
    signers = {signer.public_key.keyid: signer for role in desk.keys.values() for signer in role}
    return GalleryPublisher(desk.path, signers, MqttConfig(url="mqtt://127.0.0.1:1"), "works")


def test_calibrated_thresholds_kept_by_naming(
    room_for: Callable[..., Room], photo: Photo, desk: ReleaseSigner, publishing: GalleryPublisher
) -> None:
    """People of the running release keep theirs exactly, a new person gets the median; undo changes nobody's."""
    room = room_for(publishing)
    calibrated(room, desk, photo, CALIBRATED)
    before = published(desk)
    keep(room.crops, jpeg(photo("biden")))
    room.post(act="enrol", face=room.crops.faces.ungrouped[0].key, person="joe")
    assert published(desk) == before | {"joe": pytest.approx((0.758 + 0.798) / 2)}
    room.post(act="undo")
    assert published(desk) == before


def test_lax_calibration_not_passed_on(
    room_for: Callable[..., Room], photo: Photo, desk: ReleaseSigner, publishing: GalleryPublisher
) -> None:
    """A new person never gets a looser threshold than the embedder's table gives."""
    room = room_for(publishing)
    calibrated(room, desk, photo, dict.fromkeys(CALIBRATED, 1.2))
    keep(room.crops, jpeg(photo("biden")))
    room.post(act="enrol", face=room.crops.faces.ungrouped[0].key, person="joe")
    after = published(desk)
    assert after["barack-obama"] == after["astronaut"] == pytest.approx(1.2)
    assert after["joe"] < 1.0


def test_look_alike_tightens_and_undo_restores(
    room_for: Callable[..., Room], photo: Photo, desk: ReleaseSigner, publishing: GalleryPublisher
) -> None:
    """A threshold that reaches beyond the new person is cut, which the page says; undo brings it back."""
    room = room_for(publishing)
    calibrated(room, desk, photo, dict.fromkeys(CALIBRATED, 1.5))
    before = published(desk)
    keep(room.crops, jpeg(photo("biden")))
    room.post(act="enrol", face=room.crops.faces.ungrouped[0].key, person="joe")
    after = published(desk)
    assert after["astronaut"] < before["astronaut"]
    assert "stricter because of a look-alike: astronaut, 1.500 becomes" in room.page
    room.post(act="undo")
    assert published(desk) == before


@pytest.mark.parametrize(
    ("kept_sq", "apart_sq", "expected"),
    [
        ({"a": 0.8, "b": 0.7}, 2.0, [0.8, 0.7, 0.75]),
        ({"a": 0.8, "b": 0.7}, 0.8, [0.72, 0.7, 0.72]),
        ({"a": 0.7, "b": 0.7, "gone": 0.1}, 2.0, [0.7, 0.7, 0.7]),
        ({"a": 1.2, "b": 1.2}, 2.0, [1.2, 1.2, 0.86]),
        ({}, 2.0, [0.86, 0.86, 0.86]),
        ({}, 0.8, [0.72, 0.72, 0.72]),
    ],
)
def test_limits_of_a_changed_gallery(kept_sq: dict[str, float], apart_sq: float, expected: list[float]) -> None:
    """Kept exactly, or tightened by a look-alike; a third person gets the median, at most the table's 0.86."""
    axes = np.eye(4, dtype=np.float32)
    centroids = np.sqrt(1 - apart_sq / 2) * axes[0] + np.sqrt(apart_sq / 2) * axes[1:]  # equally far from each other
    found = limits_sq(["a", "b", "new"], centroids.astype(np.float32), 0.86, kept_sq)
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


POLICY_TOML = """
[groups]
staff = ["barack-obama"]
[doors.front]
allow = [{ groups = ["staff"] }]
[doors."lab-*"]
allow = [{ people = ["guest-*"] }]
"""


@pytest.mark.parametrize(
    ("person", "told"),
    [("joe", "no access rule at any door"), ("guest-1", "access rules for guest-1: lab-*; none at front")],
)
def test_confirmation_of_a_naming(
    room_for: Callable[..., Room],
    photo: Photo,
    desk: ReleaseSigner,
    publishing: GalleryPublisher,
    person: str,
    told: str,
) -> None:
    """The page says thresholds and access rules before anything changes; it warns where no door has a rule."""
    room = room_for(publishing)
    calibrated(room, desk, photo, CALIBRATED, POLICY_TOML)
    keep(room.crops, jpeg(photo("biden")))
    page = room.shown(act="preview", face=room.crops.faces.ungrouped[0].key, person=person)
    assert f"threshold of {person}: 0.778 (lower is stricter)" in page
    assert "thresholds of the others: 0.758 to 0.798, unchanged" in page
    assert told in page
    assert not (room.people / person).exists()
    assert set(published(desk)) == set(CALIBRATED)
    room.post(act="enrol", face=room.crops.faces.ungrouped[0].key, person=person)
    assert published(desk)[person] == pytest.approx(0.778)


def test_confirmation_refuses_a_bad_id(room_for: Callable[..., Room], photo: Photo) -> None:
    """With the reason, and without the button to go on."""
    room = room_for()
    keep(room.crops, jpeg(photo("biden")))
    page = room.shown(act="preview", face=room.crops.faces.ungrouped[0].key, person="new person!")
    assert "cannot be an id here" in page
    assert 'value="enrol"' not in page


def test_a_history_from_before_there_were_notes_takes_them(tmp_path: Path) -> None:
    path, bounds = tmp_path / "h.sqlite", Retention(30, 1000)
    with History(path, bounds, now_ms=1):
        pass
    with contextlib.closing(sqlite3.connect(path)) as old, old:
        old.execute("DROP TABLE audit")
    with History(path, bounds, now_ms=1) as history:
        assert history.notes(9) == []
