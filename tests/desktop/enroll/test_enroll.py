"""Enrolment: from a people folder to a gallery."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.face_images import direction, face, towards
from support.rendered_portraits import EMBEDDER, Photo, put, two_people
from threshold_tools.enroll.cache import FILE, PhotoCache
from threshold_tools.enroll.cli import main
from threshold_tools.enroll.consistency import (
    TWIN_SHARE,
    Rejections,
    centroid,
    check_consistency,
    distance_sq,
    flag_similar_people,
)
from threshold_tools.enroll.consistency import UsablePhoto as Usable
from threshold_tools.enroll.folder import PersonProfile, read_profile, write_profile
from threshold_tools.enroll.photo_quality import (
    ENROL_QUALITY,
    PhotoAssessment,
    assess_photo,
    fingerprint,
    rejection_reason,
    same_picture,
)
from threshold_tools.photos import PhotoSample, PhotoSampler

from edge.core.config import DoorConfig
from edge.core.errors import GalleryError, InputError
from edge.core.records import FloatArray, Quality, Sample
from edge.demo.run_demo import CLIP
from edge.recognition.gallery import Gallery
from edge.recognition.gallery_file import load_gallery, save_gallery
from edge.replay.replay import replay

ROOT = Path(__file__).parents[3]


@pytest.fixture
def people(tmp_path: Path, photo: Photo) -> Path:
    return two_people(tmp_path / "people", photo)


def enrolled(folder: Path, out: Path) -> Gallery:
    main([str(folder), "--out", str(out)])
    return load_gallery(out, EMBEDDER)


def test_the_folders_name_is_the_persons_id(people: Path, tmp_path: Path) -> None:
    gallery = enrolled(people, tmp_path / "g")
    assert [person.id for person in gallery.people] == ["biden", "obama"]


def test_enrolled_person_is_recognised_in_a_clip(people: Path, tmp_path: Path) -> None:
    enrolled(people, tmp_path / "g")
    first, second = replay(DoorConfig(site="a", door="b"), CLIP, tmp_path / "g")
    assert (first.kind, first.person and first.person.id) == ("door-open", "obama")
    assert second.kind == "unknown"


def test_bad_photos_are_named_with_their_reasons(
    people: Path, tmp_path: Path, photo: Photo, capsys: pytest.CaptureFixture[str]
) -> None:
    good = photo("obama2")
    put(people / "obama" / "noise.png", np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8))
    put(people / "obama" / "two.png", np.hstack([good, good]))
    put(people / "obama" / "small.png", cv2.resize(good, None, fx=0.1, fy=0.1, interpolation=cv2.INTER_AREA))
    put(people / "obama" / "soft.png", cv2.GaussianBlur(good, (0, 0), 8))
    put(people / "obama" / "wrong.png", photo("astronaut"))
    put(people / "stray.png", good)
    (people / "obama" / "empty.jpg").touch()
    (people / "obama" / "text.jpg").write_text("no picture")
    (people / "ghost").mkdir()
    (people / "ghost" / "empty.jpg").touch()
    gallery = enrolled(people, tmp_path / "g")
    assert [person.id for person in gallery.people] == ["biden", "obama"]
    told = {Path(line.split(": ")[0]).name: line.split(": ", 1)[1] for line in capsys.readouterr().err.splitlines()}
    for name, reason in {
        "noise.png": "no face",
        "two.png": "several faces",
        "small.png": "too small",
        "soft.png": "blurred",
        "wrong.png": "unlike the person's other photos",
        "stray.png": "not in the folder of a person",
        "empty.jpg": "",
        "text.jpg": "",
        "ghost": "not enrolled, no usable photo",
    }.items():
        assert told[name].startswith(reason), name


def test_photo_of_another_enrolled_person_is_reported(
    people: Path, tmp_path: Path, photo: Photo, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two photos against two: without a majority, similarity to another person decides."""
    put(people / "obama" / "3.png", photo("biden"))
    put(people / "obama" / "4.png", np.ascontiguousarray(photo("biden")[:, ::-1]))
    enrolled(people, tmp_path / "g")
    told = capsys.readouterr().err
    assert "unlike the person's other photos" in told or "looks like another person, biden" in told


def test_one_person_under_two_ids_is_enrolled_once(
    people: Path, tmp_path: Path, photo: Photo, capsys: pytest.CaptureFixture[str]
) -> None:
    put(people / "joe" / "1.png", np.ascontiguousarray(photo("biden")[:, ::-1]))
    gallery = enrolled(people, tmp_path / "g")
    assert [person.id for person in gallery.people] == ["biden", "obama"]
    assert "joe: looks like biden" in capsys.readouterr().err


def test_two_photos_of_different_people_enrol_neither(
    people: Path, tmp_path: Path, photo: Photo, capsys: pytest.CaptureFixture[str]
) -> None:
    put(people / "biden" / "2.png", photo("astronaut"))
    gallery = enrolled(people, tmp_path / "g")
    assert [person.id for person in gallery.people] == ["obama"]
    assert "its two photos show different people" in capsys.readouterr().err


def test_nobody_enrolled_writes_nothing(tmp_path: Path) -> None:
    put(tmp_path / "people" / "nobody" / "1.png", np.zeros((200, 200, 3), np.uint8))
    with pytest.raises(InputError, match="no person could be enrolled"):
        main([str(tmp_path / "people"), "--out", str(tmp_path / "g")])
    assert not (tmp_path / "g").exists()


def test_the_tool_runs_as_a_script_from_anywhere(people: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "enroll.py", people, "--out", "g.safetensors"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "2 people from 3 photos, 0 problems" in done.stderr
    assert load_gallery(tmp_path / "g.safetensors", EMBEDDER).info.people == 2


def test_a_missing_folder_is_exit_code_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "enroll.py", "absent", "--out", "g"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "error: absent: no such folder\n")


def run(*words: str | Path) -> None:
    """Run the command line in this process."""
    main([str(word) for word in words])


def processed(capsys: pytest.CaptureFixture[str]) -> tuple[int, int]:
    """Number of photos that the last run processed, and that it found in the cache."""
    line = next(line for line in capsys.readouterr().err.splitlines() if "processed" in line)
    numbers = [int(word) for word in line.rpartition(": ")[2].split() if word.isdigit()]
    return numbers[0], numbers[1]


class TestCache:
    def test_second_run_uses_only_the_cache(
        self, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        enrolled(people, tmp_path / "g")
        assert processed(capsys) == (3, 0)
        enrolled(people, tmp_path / "h")
        assert processed(capsys) == (0, 3)
        assert (tmp_path / "g").read_bytes() == (tmp_path / "h").read_bytes()

    def test_only_new_or_changed_photos_are_processed(
        self, people: Path, tmp_path: Path, photo: Photo, capsys: pytest.CaptureFixture[str]
    ) -> None:
        enrolled(people, tmp_path / "g")
        capsys.readouterr()
        put(people / "eileen" / "1.png", photo("astronaut"))
        put(people / "obama" / "1.png", photo("obama2")[10:, :].copy())
        assert enrolled(people, tmp_path / "g").info.people == 3
        assert processed(capsys) == (2, 2)

    @pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
    def test_a_truncated_cache_is_made_again(
        self, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], share: float
    ) -> None:
        enrolled(people, tmp_path / "g")
        content = (people / FILE).read_bytes()
        (people / FILE).write_bytes(content[: int(share * len(content))])
        enrolled(people, tmp_path / "h")
        assert (tmp_path / "g").read_bytes() == (tmp_path / "h").read_bytes()
        capsys.readouterr()
        enrolled(people, tmp_path / "h")
        assert processed(capsys) == (0, 3)

    def test_a_flipped_byte_never_reaches_the_gallery(self, people: Path, tmp_path: Path) -> None:
        enrolled(people, tmp_path / "g")
        content = (people / FILE).read_bytes()
        for at in range(100, len(content), len(content) // 12):
            damaged = bytearray(content)
            damaged[at] ^= 0xFF
            (people / FILE).write_bytes(bytes(damaged))
            enrolled(people, tmp_path / "h")
            assert (tmp_path / "g").read_bytes() == (tmp_path / "h").read_bytes(), at

    def test_foreign_cache_file_is_replaced(self, people: Path, tmp_path: Path) -> None:
        (people / FILE).write_text("not a database")
        assert enrolled(people, tmp_path / "g").info.people == 2

    def test_unwritable_cache_is_reported(
        self, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (people / FILE).mkdir()
        assert enrolled(people, tmp_path / "g").info.people == 2
        assert "the cache cannot be written" in capsys.readouterr().err

    def test_killed_run_keeps_most_of_its_work(self, tmp_path: Path) -> None:
        """Photos are committed in portions, which another process sees before the end of the run."""
        look = PhotoAssessment("too small", b"", 0.0, b"", b"", "")
        with PhotoCache(tmp_path / FILE, "models") as running:
            for number in range(100):
                running.put(str(number), look)
            with PhotoCache(tmp_path / FILE, "models") as after:
                assert sum(after.get(str(number)) == look for number in range(100)) == 96

    def test_no_cache_leaves_no_trace(self, people: Path, tmp_path: Path) -> None:
        run(people, "--out", tmp_path / "g", "--no-cache")
        assert not (people / FILE).exists()

    def test_deleted_person_is_overwritten_in_the_cache(self, people: Path, tmp_path: Path, photo: Photo) -> None:
        """Neither the vector nor the thumbnail of a removed person stays in the file."""
        enrolled(people, tmp_path / "g")
        vector = assess_photo(PhotoSampler(ENROL_QUALITY), photo("biden")).vector
        pieces = [vector[at : at + 32] for at in range(0, len(vector), 32)]  # a page may end inside a vector
        content = (people / FILE).read_bytes()
        assert sum(piece in content for piece in pieces) > len(pieces) / 2
        run("remove", people, "biden")
        content = (people / FILE).read_bytes()
        assert not any(piece in content for piece in pieces)


class TestKeeping:
    def test_a_card_names_the_person(self, people: Path, tmp_path: Path) -> None:
        write_profile(people / "biden", PersonProfile(id="joe", name='Joe "J" Müller', groups=("staff",)))
        gallery = enrolled(people, tmp_path / "g")
        assert [(person.id, person.name) for person in gallery.people] == [
            ("joe", 'Joe "J" Müller'),
            ("obama", "obama"),
        ]

    @pytest.mark.parametrize(
        ("card", "told"),
        [
            ("name = ", "not valid TOML"),
            ("nmae = 'a'", "unknown key 'nmae'; did you mean 'name'?"),
            ("name = 3", "name = 3: expected text, got a number; put it in quotes"),
            (
                "name = 'a\\tb'\n".replace("'", '"'),
                "name: expected at most 200 characters, without tabs and line breaks",
            ),
            ("groups = 'staff'", "groups: expected a list, got text; put it in brackets"),
            ("valid_from = 'soon'", "invalid RFC3339 encoded date"),
            ("valid_from = 2026-02-01\nvalid_until = 2026-01-01", "is before valid_from"),
            ("id = 'obama'", "the id 'obama' belongs to"),
        ],
    )
    def test_bad_profile_is_reported(self, people: Path, tmp_path: Path, card: str, told: str) -> None:
        (people / "biden" / "person.toml").write_text(card)
        with pytest.raises(InputError, match=r"obama|person\.toml") as caught:
            main([str(people), "--out", str(tmp_path / "g")])
        assert told in str(caught.value)

    def test_add_copies_usable_photos_and_keeps_the_profile(
        self, people: Path, tmp_path: Path, photo: Photo, capsys: pytest.CaptureFixture[str]
    ) -> None:
        put(tmp_path / "face.png", photo("astronaut"))
        put(tmp_path / "wall.png", np.full((200, 200, 3), 90, np.uint8))
        run("add", people, "eileen", tmp_path / "face.png", tmp_path / "wall.png", "--group", "crew")
        run("add", people, "eileen", "--name", "Eileen", "--valid-until", "2027-01-31")
        told = capsys.readouterr()
        assert "wall.png: no face; not added" in told.err
        assert "eileen: 1 of 1 photo usable" in told.err
        assert read_profile(people / "eileen") == PersonProfile(
            name="Eileen", groups=("crew",), valid_until=datetime.date(2027, 1, 31)
        )
        run("list", people, "--json")
        assert json.loads(capsys.readouterr().out)[1] == {
            "id": "eileen",
            "name": "Eileen",
            "groups": ["crew"],
            "valid_from": None,
            "valid_until": "2027-01-31",
            "photos": 1,
        }

    def test_replace_needs_a_usable_photo(self, people: Path, tmp_path: Path, photo: Photo) -> None:
        put(tmp_path / "1.png", photo("obama3"))
        put(tmp_path / "wall.png", np.full((200, 200, 3), 90, np.uint8))
        with pytest.raises(InputError, match=r"nothing was changed; wall\.png: no face"):
            run("add", people, "obama", tmp_path / "wall.png", "--replace")
        assert sorted(path.name for path in (people / "obama").iterdir()) == ["1.png", "2.png"]
        run("add", people, "obama", tmp_path / "1.png", "--replace")
        (kept,) = (people / "obama").iterdir()
        assert kept.read_bytes() == (tmp_path / "1.png").read_bytes()

    @pytest.mark.parametrize("person", ["../evil", "a/b", ".hidden", " a", "a\nb", ""])
    def test_an_id_that_cannot_name_a_folder_is_refused(
        self, people: Path, tmp_path: Path, photo: Photo, person: str
    ) -> None:
        put(tmp_path / "face.png", photo("astronaut"))
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(InputError, match="cannot be an id here"):
            run("add", people, person, tmp_path / "face.png", "--no-cache")
        assert sorted(tmp_path.rglob("*")) == before

    def test_a_face_cut_from_footage_enrols(self, tmp_path: Path) -> None:
        """A person cut from the clip at one moment is recognised in the rest of it."""
        (tmp_path / "people").mkdir()
        run("frames", tmp_path / "people", CLIP, "--person", "guest", "--at", "2.4")
        enrolled(tmp_path / "people", tmp_path / "g")
        first, second = replay(DoorConfig(site="a", door="b"), CLIP, tmp_path / "g")
        assert (first.kind, first.person and first.person.id) == ("door-open", "guest")
        assert second.kind == "unknown"

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["--at", "100"], "ends at 8.9"),
            (["--at", "2.4", "--box", "5000,10,20,20"], "is outside the picture"),
            (["--at", "2.4", "--at", "3", "--box", "1,1,20,20"], "one --at with it"),
            (["--at", "2.4", "--box", "0,0,60,60"], "guest: nothing was changed; door-2"),
        ],
    )
    def test_unusable_frame_is_reported_and_not_stored(self, tmp_path: Path, words: list[str], told: str) -> None:
        with pytest.raises(InputError, match=told):
            run("frames", tmp_path, CLIP, "--person", "guest", *words)
        assert not list(tmp_path.iterdir())

    def test_box_chooses_one_of_several_faces(self, people: Path, tmp_path: Path, photo: Photo) -> None:
        pair = np.hstack([cv2.resize(photo(name), (400, 500)) for name in ("biden", "obama2")])
        writer = cv2.VideoWriter(str(tmp_path / "pair.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, pair.shape[1::-1])
        for _ in range(3):
            writer.write(pair)
        writer.release()
        with pytest.raises(InputError, match="several faces; choose one with --box, one of ") as caught:
            run("frames", people, tmp_path / "pair.avi", "--person", "guest", "--at", "0.1")
        boxes = str(caught.value).rpartition("one of ")[2].split()
        left = min(boxes, key=lambda box: int(box.split(",")[0]))
        run("frames", people, tmp_path / "pair.avi", "--person", "biden", "--at", "0.1", "--box", left)
        gallery = enrolled(people, tmp_path / "g")
        assert [person.id for person in gallery.people] == ["biden", "obama"]

    def test_remove_deletes_one_photo_or_the_person(self, people: Path) -> None:
        run("remove", people, "obama", "--photo", "2.png")
        assert [path.name for path in (people / "obama").iterdir()] == ["1.png"]
        with pytest.raises(InputError, match=r"no photo called '\.\./biden/1\.png'"):
            run("remove", people, "obama", "--photo", "../biden/1.png")
        run("remove", people, "obama")
        assert [path.name for path in people.iterdir()] == ["biden"]
        with pytest.raises(InputError, match="no person has the id 'obama'"):
            run("remove", people, "obama")

    def test_a_folder_named_like_a_command_is_reached_by_its_path(
        self, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        people.rename(tmp_path / "list")
        monkeypatch.chdir(tmp_path)
        run("./list", "--out", "g")
        assert load_gallery(tmp_path / "g", EMBEDDER).info.people == 2

    def test_sheet_shows_every_photo_with_its_reason(self, people: Path, tmp_path: Path, photo: Photo) -> None:
        write_profile(people / "biden", PersonProfile(name="<script>alert(1)</script>"))
        put(people / "obama" / "wrong.png", photo("astronaut"))
        put(people / "obama" / "again.jpg", photo("obama2"))
        (people / "obama" / "empty.jpg").touch()
        run(people, "--out", tmp_path / "g", "--sheet", tmp_path / "sheet.html")
        sheet = (tmp_path / "sheet.html").read_text()
        assert sheet.count("<li ") == 6
        assert sheet.count("data:image/jpeg;base64,") == 5
        for told in ("unlike the person&#39;s other photos", "nearly identical to 1.png", "an empty file"):
            assert told in sheet
        assert "<script>alert" not in sheet
        assert "Usable: 3 of 6 photos. Enrolled: 2 of 2 people." in sheet
        assert "Retake or remove these 3 photos: again.jpg of obama, empty.jpg of obama, wrong.png of obama." in sheet

    def test_files_with_faces_are_private(self, people: Path, tmp_path: Path) -> None:
        run(people, "--out", tmp_path / "g", "--sheet", tmp_path / "sheet.html")
        for path in (tmp_path / "g", tmp_path / "sheet.html", people / FILE):
            assert path.stat().st_mode & 0o077 == 0, path

    def test_empty_person_folders_are_named(
        self, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (people / "anna").mkdir()
        (people / "carl").mkdir()
        write_profile(people / "carl", PersonProfile(groups=("staff",)))
        (people / ".hidden").mkdir()
        told = [
            f"{people / name}: this folder contains no photo; nobody is enrolled from it" for name in ("anna", "carl")
        ]
        commands: list[list[str | Path]] = [["list", people], ["list", people, "--json"], [people, "--out", "g"]]
        monkeypatch.chdir(tmp_path)
        for words in commands:
            run(*words)
            lines = capsys.readouterr().err.splitlines()
            assert [line for line in lines if "anna" in line or "carl" in line or "hidden" in line] == told


def test_calibrated_thresholds_are_kept(
    people: Path, tmp_path: Path, photo: Photo, capsys: pytest.CaptureFixture[str]
) -> None:
    before = enrolled(people, tmp_path / "g")
    calibrated = np.array([0.7, 0.75], np.float32)
    save_gallery(tmp_path / "calibrated", before.people, before.centroids, calibrated, EMBEDDER)
    put(tmp_path / "eileen.png", photo("astronaut"))
    run("add", people, "eileen", tmp_path / "eileen.png")
    assert "calibrate again, or use --thresholds-from" in capsys.readouterr().err
    run(people, "--out", tmp_path / "h", "--thresholds-from", tmp_path / "calibrated")
    after = load_gallery(tmp_path / "h", EMBEDDER)
    limits = {person.id: limit for person, limit in zip(after.people, after.thresholds_sq, strict=True)}
    assert (limits["biden"], limits["obama"]) == tuple(calibrated)
    assert limits["eileen"] == pytest.approx(0.725)
    assert (
        "1 new person: the next  threshold calibrate  measures how similar strangers look to them"
        in capsys.readouterr().err
    )
    save_gallery(tmp_path / "other", before.people, before.centroids, calibrated, "0" * 64)
    with pytest.raises(GalleryError, match="embedder"):
        run(people, "--out", tmp_path / "h", "--thresholds-from", tmp_path / "other")


@pytest.mark.parametrize("name", ["g.npz", "g.html", "g.toml"])
def test_gallery_with_a_wrong_suffix_is_rejected(people: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"a gallery needs a name that ends in \.safetensors, not in \."):
        run(people, "--out", tmp_path / name)
    assert not (tmp_path / name).exists()


def test_target_beyond_the_table_is_reported(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table of the embedder supports one stranger in 500,000 for two people."""
    run(people, "--out", tmp_path / "g", "--one-stranger-in", "1000")
    assert "warning" not in capsys.readouterr().err
    run(people, "--out", tmp_path / "g", "--one-stranger-in", "10000000")
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(told) == 1
    assert "for one in 10,000,000 use  threshold calibrate --strangers" in told[0]


def usable(name: str, vector: FloatArray, **other: bytes) -> Usable:
    return Usable(Path(name), vector, 1.0, **other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "reason", ["no-face", "too-small", "blurred", "turned-away", "tilted", "too-dark", "too-bright", "unclear"]
)
def test_every_rejection_reason_has_words(reason: str) -> None:
    main = face(100, 100)
    sample = Sample(None, Quality(0.0, 10, 50, 50, 0, 1, reason, 5, 0.9, 0.4), None)
    words = rejection_reason(PhotoSample([main], main, sample, None)).split(" (")[0]
    known = {"tilted": "looking up or down", "no-face": "no clear face"}
    assert words == known.get(reason, reason.replace("-", " "))


class TestJudge:
    def test_photos_have_equal_weight_in_the_centroid(self) -> None:
        """With weights, one clear photo of another person would dominate the person's own dim photos."""
        photos = [Usable(Path("a"), direction(0), 1.0), Usable(Path("b"), direction(1), 0.1)]
        assert centroid(photos) == pytest.approx((direction(0) + direction(1)) / np.sqrt(2), abs=1e-6)

    def test_a_person_copied_under_another_id_stays_enrolled_once(self) -> None:
        """All photos of both folders are similar to the other folder; only one person is rejected."""
        anna = [towards(direction(0), direction(axis), 0.3) for axis in (1, 2, 3)]
        findings = Rejections()
        kept = check_consistency(
            {
                "anna": [usable(f"a{number}", vector) for number, vector in enumerate(anna)],
                "copy": [usable(f"c{number}", vector) for number, vector in enumerate(anna)],
            },
            1.0,
            findings,
        )
        assert {person: len(photos) for person, photos in kept.items()} == {"anna": 3}
        assert findings.people["copy"].startswith("looks like anna (distance 0.00)")

    def test_lookalikes_stay_and_are_noted(self) -> None:
        everybody = {"a": [usable("1", direction(0))], "b": [usable("2", towards(direction(0), direction(1), 0.8))]}
        findings = Rejections()
        kept = check_consistency(everybody, 1.0, findings)
        flag_similar_people(kept, 0.7, findings)
        assert (list(kept), findings.notes, findings.count) == (["a", "b"], {}, 0)
        flag_similar_people(kept, 0.9, findings)
        assert findings.notes["a"] == "looks like b (distance 0.80); gets a stricter threshold"

    def test_better_of_two_nearly_identical_photos_is_kept(self) -> None:
        better = Usable(Path("b"), direction(0), 0.9, fingerprint=bytes(31) + b"\x03")
        worse = Usable(Path("a"), direction(0), 0.5, fingerprint=bytes(32))
        findings = Rejections()
        kept = check_consistency({"anna": [worse, better]}, 1.0, findings)
        assert kept["anna"] == [better]
        assert findings.photos == {Path("a"): "nearly identical to b; use a photo from another moment"}

    def test_rejections_match_comparing_one_by_one(self) -> None:
        """Matrix products in blocks find the same duplicates as a product for each photo."""
        random = np.random.default_rng(7)
        faces = [direction(axis) for axis in range(180)]
        people: dict[str, list[Usable]] = {}
        for number in range(150):
            shown = number - 3 if number % 10 == 9 else number  # every tenth person is the one three before them
            vectors = [towards(faces[shown], faces[random.integers(150, 180)], 0.2) for _ in range(3)]
            if number % 7 == 3 and shown == number:
                vectors.append(towards(faces[number - 1], faces[number], 0.3))  # of the person before
            people[str(number)] = [usable(f"{number}/{i}", vector) for i, vector in enumerate(vectors)]
        findings = Rejections()
        kept = check_consistency(people, 1.5, findings)
        twins, mislabelled = one_by_one(people, 1.5)
        assert (len(twins), len(mislabelled) > 10) == (15, True)
        assert {id_: told.split(" (")[0].rpartition(" ")[2] for id_, told in findings.people.items()} == twins
        assert {str(path): told.split(" (")[0].rpartition(" ")[2] for path, told in findings.photos.items()} == (
            mislabelled
        )
        assert list(kept) == [id_ for id_ in people if id_ not in twins]


def one_by_one(people: dict[str, list[Usable]], limit_sq: float) -> tuple[dict[str, str], dict[str, str]]:
    """Duplicate people and mislabelled photos, each with the similar person: slow reference."""
    kept: dict[str, FloatArray] = {}
    twins = {}
    for person, photos in people.items():
        own = centroid(photos)
        like = min(kept, key=lambda other: distance_sq(kept[other], own), default=None)
        if like is not None and distance_sq(kept[like], own) < TWIN_SHARE * limit_sq:
            twins[person] = like
        else:
            kept[person] = own
    mislabelled = {}
    for person in kept:
        for photo in people[person]:
            others = [other for other in kept if other != person]
            like = min(others, key=lambda other: distance_sq(kept[other], photo.embedding))
            rest = centroid([each for each in people[person] if each is not photo])
            if distance_sq(kept[like], photo.embedding) <= min(limit_sq, distance_sq(rest, photo.embedding)):
                mislabelled[str(photo.path)] = like
    return twins, mislabelled


def test_fingerprint_survives_resizing_and_distinguishes_photos(photo: Photo) -> None:
    first, other = (photo(name) for name in ("obama2", "obama3"))
    again = np.asarray(cv2.resize(first, (80, 80)), np.uint8)
    assert same_picture(fingerprint(first), fingerprint(again))
    assert not same_picture(fingerprint(first), fingerprint(other))
    assert not same_picture(b"", b"")


def test_unsupported_picture_format_is_named_with_a_remedy(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (people / "obama" / "IMG_1.HEIC").write_bytes(b"x")
    enrolled(people, tmp_path / "g")
    assert "IMG_1.HEIC: HEIC is not supported; save it as JPEG or PNG" in capsys.readouterr().err
