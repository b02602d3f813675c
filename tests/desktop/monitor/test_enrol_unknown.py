"""Unknown visitors are enrolled from the page: checks, what is published, thresholds, and undo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.monitor_fleet import a_status
from support.mqtt_brokers import wait_until
from support.release_signer import ReleaseSigner
from support.unknown_faces import Photo, UnknownPage, add_faces, jpeg
from threshold_tools.enroll.consistency import centroid
from threshold_tools.enroll.photo_quality import ENROL_QUALITY
from threshold_tools.enroll.review import review
from threshold_tools.monitor.gallery_publisher import GalleryPublisher
from threshold_tools.photos import PhotoSampler

from edge.core.config import MqttConfig
from edge.core.records import Person
from edge.events.schema import DoorConnection
from edge.recognition.gallery_file import load_gallery, save_gallery
from edge.updates.release_format import GALLERY, POLICY


def test_unknown_visitor_enrolled_and_undone(page_for: Callable[..., UnknownPage], photo: Photo) -> None:
    """The faces move to the people folder, the page shows the commands to run, and undo moves the faces back."""
    page = page_for()
    add_faces(page.store, jpeg(photo("biden")))
    (kept,) = page.store.faces.ungrouped
    assert page.post(act="enrol", face=kept.key, person="joe", name="Joe & Jill") == 303
    assert not page.store.faces.ungrouped
    (stored,) = (page.people / "joe").glob("*.jpg")
    assert stored.read_bytes() == jpeg(photo("biden"))
    text = page.text
    assert "1 of 1 face from works/front added to the people folder" in text
    assert "1 of 1 photo of joe usable" in text
    assert "threshold sync publish" in text
    wait_until(lambda: len(page.history.notes(9)) == 1, "the note")
    assert page.post(act="undo") == 303
    assert not (page.people / "joe").exists()
    assert [back.key for back in page.store.faces.ungrouped] == [kept.key]
    wait_until(lambda: len(page.history.notes(9)) == 2, "the second note")
    assert "joe: undone" in page.history.notes(9)[0].what
    assert page.history.notes(9)[0].who == "testclient"


def test_enrolled_photos_private_to_their_owner(page_for: Callable[..., UnknownPage], photo: Photo) -> None:
    """The folder of a new person has mode 0700, photo and person.toml have 0600."""
    page = page_for()
    add_faces(page.store, jpeg(photo("biden")))
    page.enrol_first("joe", name="Joe")
    home = page.people / "joe"
    modes = {path.suffix: path.stat().st_mode & 0o777 for path in (home, *home.iterdir())}
    assert modes == {"": 0o700, ".jpg": 0o600, ".toml": 0o600}


def test_known_person_extended_and_undone(page_for: Callable[..., UnknownPage], photo: Photo) -> None:
    page = page_for()
    (page.people / "barack-obama" / "obama3.jpg").unlink()
    add_faces(page.store, jpeg(photo("obama3")))
    page.enrol_first("barack-obama")
    assert len(list((page.people / "barack-obama").glob("*.jpg"))) == 2
    assert "2 of 2 photos of barack-obama usable" in page.text
    page.post(act="undo")
    assert [path.name for path in (page.people / "barack-obama").glob("*.jpg")] == ["obama2.jpg"]


def test_face_of_another_person_rejected(page_for: Callable[..., UnknownPage], photo: Photo) -> None:
    """And nothing is published."""
    page = page_for()
    add_faces(page.store, jpeg(photo("obama3"), brighter=0.8))
    page.enrol_first("zz-twin")
    text = page.text
    assert "looks like barack-obama" in text
    assert "nothing was published" in text
    assert "threshold sync" not in text


@pytest.mark.parametrize("person", ["../evil", ".hidden", "a/b", "a\tb", "new person!", "*", "x" * 65])
def test_id_that_cannot_name_a_folder(page_for: Callable[..., UnknownPage], photo: Photo, person: str) -> None:
    page = page_for()
    add_faces(page.store, jpeg(photo("biden")))
    page.enrol_first(person)
    assert "cannot be an id here" in page.text
    assert len(page.store.faces.ungrouped) == 1
    assert sorted(path.name for path in page.people.iterdir() if path.is_dir()) == ["barack-obama"]


def test_absent_broker_leaves_commands(
    page_for: Callable[..., UnknownPage], photo: Photo, publisher: GalleryPublisher
) -> None:
    page = page_for(publisher)
    add_faces(page.store, jpeg(photo("biden")))
    page.enrol_first("joe")
    text = page.text
    assert "not published: " in text
    assert "threshold sync publish" in text
    assert (page.people / "joe").is_dir()


@pytest.fixture
def signer(tmp_path: Path) -> ReleaseSigner:
    return ReleaseSigner(tmp_path / "repo")


CALIBRATED = {"barack-obama": 0.758, "astronaut": 0.798}


def calibrated(
    page: UnknownPage, signer: ReleaseSigner, photo: Photo, thresholds_sq: Mapping[str, float], rules: str = ""
) -> None:
    """Publish the people folder as release 1, with these thresholds."""
    (page.people / "astronaut").mkdir()
    cv2.imwrite(str(page.people / "astronaut" / "1.png"), photo("astronaut"))
    reader = PhotoSampler(ENROL_QUALITY)
    seen = review(page.people, reader)
    centroids = np.stack([centroid(photos) for photos in seen.kept.values()])
    path = page.people.parent / "g"
    limits = np.array([thresholds_sq[person] for person in seen.kept], np.float32)
    save_gallery(path, [Person(each, each) for each in seen.kept], centroids, limits, reader.embedder_sha256)
    files = {GALLERY: path.read_bytes()} | ({POLICY: rules.encode()} if rules else {})
    signer.release_files(files, len(seen.kept), embedder=reader.embedder_sha256)


def published(signer: ReleaseSigner) -> dict[str, float]:
    """Thresholds of the newest release by id, as a door reads them."""
    repository = signer.repository()
    newest = repository.newest()
    assert newest is not None
    entry = newest.file(GALLERY)
    assert entry is not None
    path = signer.path / "read"
    path.write_bytes(repository.content(entry))
    gallery = load_gallery(path, newest.embedder_sha256)
    return {each.id: round(float(limit), 6) for each, limit in zip(gallery.people, gallery.thresholds_sq, strict=True)}


@pytest.fixture
def publisher(signer: ReleaseSigner) -> GalleryPublisher:
    """A publisher without a broker: releases are signed, and stay in the repository."""
    signers = {key.public_key.keyid: key for role in signer.keys.values() for key in role}
    return GalleryPublisher(signer.path, signers, MqttConfig(url="mqtt://127.0.0.1:1"), "works")


def test_calibrated_thresholds_kept_by_enrolment(
    page_for: Callable[..., UnknownPage], photo: Photo, signer: ReleaseSigner, publisher: GalleryPublisher
) -> None:
    """People of the newest release keep theirs exactly, a new person gets the median; undo restores all."""
    page = page_for(publisher)
    calibrated(page, signer, photo, CALIBRATED)
    before = published(signer)
    add_faces(page.store, jpeg(photo("biden")))
    page.enrol_first("joe")
    assert published(signer) == before | {"joe": pytest.approx((0.758 + 0.798) / 2)}
    page.post(act="undo")
    assert published(signer) == before


def test_new_person_no_looser_than_the_table(
    page_for: Callable[..., UnknownPage], photo: Photo, signer: ReleaseSigner, publisher: GalleryPublisher
) -> None:
    """After a lax calibration, a new person gets the threshold of the embedder's table."""
    page = page_for(publisher)
    calibrated(page, signer, photo, dict.fromkeys(CALIBRATED, 1.2))
    add_faces(page.store, jpeg(photo("biden")))
    page.enrol_first("joe")
    after = published(signer)
    assert after["barack-obama"] == after["astronaut"] == pytest.approx(1.2)
    assert after["joe"] < 1.0


def test_look_alike_tightens_and_undo_restores(
    page_for: Callable[..., UnknownPage], photo: Photo, signer: ReleaseSigner, publisher: GalleryPublisher
) -> None:
    """A threshold that would accept the new person becomes stricter, and the page names it; undo restores it."""
    page = page_for(publisher)
    calibrated(page, signer, photo, dict.fromkeys(CALIBRATED, 1.5))
    before = published(signer)
    add_faces(page.store, jpeg(photo("biden")))
    page.enrol_first("joe")
    after = published(signer)
    assert after["astronaut"] < before["astronaut"]
    assert "stricter because of a look-alike: astronaut, from 1.500 to" in page.text
    page.post(act="undo")
    assert published(signer) == before


POLICY_TOML = """
[groups]
staff = ["barack-obama"]
[doors.front]
allow = [{ groups = ["staff"] }]
[doors."lab-*"]
allow = [{ people = ["guest-*"] }]
"""


@pytest.mark.parametrize(
    ("person", "access"),
    [("joe", "No access rule lets joe in at any door"), ("guest-1", "access rules for guest-1: lab-*; none at front")],
)
def test_preview_of_an_enrolment(
    page_for: Callable[..., UnknownPage],
    photo: Photo,
    signer: ReleaseSigner,
    publisher: GalleryPublisher,
    person: str,
    access: str,
) -> None:
    """The page shows thresholds, access rules and doors before anything changes; it warns if no rule fits."""
    page = page_for(publisher)
    calibrated(page, signer, photo, CALIBRATED, POLICY_TOML)
    add_faces(page.store, jpeg(photo("biden")))
    page.hub.on_message("works", "back", a_status("back", DoorConnection.OFFLINE), 0)
    page.hub.on_message("works", "front", a_status("front"), 0)
    page.hub.on_message("other", "gate", a_status("gate"), 0)
    text = page.answer(act="preview", face=page.store.faces.ungrouped[0].key, person=person)
    assert f"threshold of {person}: 0.778 (lower is stricter)" in text
    assert "thresholds of the others: 0.758 to 0.798, unchanged" in text
    assert access in text
    assert "Enrolling publishes release 2 to site works, 2 doors: back, front." in text
    assert "1 of them is not online now" in text
    assert not (page.people / person).exists()
    assert set(published(signer)) == set(CALIBRATED)
    page.enrol_first(person)
    assert published(signer)[person] == pytest.approx(0.778)


def test_preview_rejects_a_bad_id(page_for: Callable[..., UnknownPage], photo: Photo) -> None:
    """With the reason, and without the button to enrol."""
    page = page_for()
    add_faces(page.store, jpeg(photo("biden")))
    text = page.answer(act="preview", face=page.store.faces.ungrouped[0].key, person="new person!")
    assert "cannot be an id here" in text
    assert 'value="enrol"' not in text
