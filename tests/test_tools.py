"""The desktop tools: photos to a gallery, photos to vectors, wishes to thresholds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import embed
import enroll
import numpy as np
import pytest
from cv2.typing import MatLike
from thresholds import distance_at, threshold_sq

from edge.config import DoorConfig
from edge.demo.show import CLIP
from edge.errors import InputError
from edge.identity.gallery import Gallery, load_gallery
from edge.records import Pixels
from edge.replay import replay
from edge.vision.manifest import Operating, default_folder, read_manifest

Photo = Callable[[str], Pixels]
ROOT = Path(__file__).parent.parent
EMBEDDER = read_manifest(default_folder()).models["embedder"].sha256


def put(path: Path, pixels: MatLike) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


@pytest.fixture
def people(tmp_path: Path, photo: Photo) -> Path:
    """Two people from three good photos."""
    folder = tmp_path / "people"
    put(folder / "obama" / "1.png", photo("obama2"))
    put(folder / "obama" / "2.png", photo("obama3"))
    put(folder / "biden" / "1.png", photo("biden"))
    return folder


def enrolled(folder: Path, out: Path) -> Gallery:
    enroll.enrol(folder, out, 1000)
    return load_gallery(out, EMBEDDER)


class TestEnroll:
    def test_the_folders_name_is_the_persons_id(self, people: Path, tmp_path: Path) -> None:
        gallery = enrolled(people, tmp_path / "g")
        assert [person.id for person in gallery.people] == ["biden", "obama"]

    def test_who_was_enrolled_is_recognised_in_a_clip_from_another_photo(self, people: Path, tmp_path: Path) -> None:
        enrolled(people, tmp_path / "g")
        first, second = replay(DoorConfig(site="a", door="b"), CLIP, tmp_path / "g")
        assert (first.kind, first.person and first.person.id) == ("door-open", "obama")
        assert second.kind == "unknown"

    def test_bad_photos_are_named_with_their_reasons_and_the_rest_goes_on(
        self, people: Path, tmp_path: Path, photo: Photo, capsys: pytest.CaptureFixture[str]
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
            "stray.png": "belongs to nobody",
            "empty.jpg": "",
            "text.jpg": "",
            "ghost": "not enrolled",
        }.items():
            assert told[name].startswith(reason), name

    def test_a_photo_of_somebody_else_who_is_enrolled_is_told(
        self, people: Path, tmp_path: Path, photo: Photo, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Two against two: no majority tells which are right, but two of them are like Biden."""
        put(people / "obama" / "3.png", photo("biden"))
        put(people / "obama" / "4.png", np.ascontiguousarray(photo("biden")[:, ::-1]))
        enrolled(people, tmp_path / "g")
        told = capsys.readouterr().err
        assert "unlike the person's other photos" in told or "like another person, biden" in told

    def test_one_person_under_two_ids_is_enrolled_once(
        self, people: Path, tmp_path: Path, photo: Photo, capsys: pytest.CaptureFixture[str]
    ) -> None:
        put(people / "joe" / "1.png", np.ascontiguousarray(photo("biden")[:, ::-1]))
        gallery = enrolled(people, tmp_path / "g")
        assert [person.id for person in gallery.people] == ["biden", "obama"]
        assert "joe: like another person, biden" in capsys.readouterr().err

    def test_two_photos_of_different_people_enrol_neither(
        self, people: Path, tmp_path: Path, photo: Photo, capsys: pytest.CaptureFixture[str]
    ) -> None:
        put(people / "biden" / "2.png", photo("astronaut"))
        gallery = enrolled(people, tmp_path / "g")
        assert [person.id for person in gallery.people] == ["obama"]
        assert "two photos that show different people" in capsys.readouterr().err

    def test_nobody_enrolled_writes_nothing(self, tmp_path: Path) -> None:
        put(tmp_path / "people" / "nobody" / "1.png", np.zeros((200, 200, 3), np.uint8))
        with pytest.raises(InputError, match="nobody could be enrolled"):
            enroll.enrol(tmp_path / "people", tmp_path / "g", 1000)
        assert not (tmp_path / "g").exists()

    def test_the_tool_runs_as_a_script_from_anywhere(self, people: Path, tmp_path: Path) -> None:
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

    def test_a_missing_folder_is_exit_code_2(self, tmp_path: Path) -> None:
        done = subprocess.run(
            [sys.executable, ROOT / "tools" / "enroll.py", "absent", "--out", "g"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (2, "error: absent: no such folder\n")


class TestEmbed:
    def test_every_photo_has_a_row_and_a_found_flag(self, people: Path, tmp_path: Path) -> None:
        (people / "biden" / "0-damaged.jpg").write_bytes(b"")
        put(people / "wall.png", np.full((100, 100, 3), 90, np.uint8))
        embed.embed(people, tmp_path / "x.npz")
        with np.load(tmp_path / "x.npz") as stored:
            assert list(stored["path"]) == [
                "biden/0-damaged.jpg",
                "biden/1.png",
                "obama/1.png",
                "obama/2.png",
                "wall.png",
            ]
            assert list(stored["found"]) == [False, True, True, True, False]
            embedding = stored["embedding"]
            assert (embedding.dtype, embedding.shape) == (np.float32, (5, 192))
            assert np.linalg.norm(embedding, axis=1) == pytest.approx([0, 1, 1, 1, 0], abs=1e-5)
            assert str(stored["embedder_sha256"]) == EMBEDDER
        assert np.sum((embedding[2] - embedding[3]) ** 2) < np.sum((embedding[1] - embedding[2]) ** 2)

    def test_a_folder_without_photos_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no image in it"):
            embed.embed(tmp_path, tmp_path / "x.npz")


class TestThresholds:
    TABLE = (Operating(1e-2, 1.5), Operating(1e-4, 1.2), Operating(1e-6, 0.9))

    def test_rows_are_met_and_joined_in_the_logarithm(self) -> None:
        assert distance_at(self.TABLE, 1e-4) == pytest.approx(1.2)
        assert distance_at(self.TABLE, 1e-5) == pytest.approx(1.05)
        assert distance_at(self.TABLE, 1e-9) == 0.9
        assert distance_at(self.TABLE, 0.5) == 1.5

    def test_a_larger_gallery_needs_a_stricter_threshold(self) -> None:
        limits = [threshold_sq(self.TABLE, one_stranger_in=1000, people=people) for people in (1, 10, 100, 1000)]
        assert limits[0] == pytest.approx(1.2)  # never laxer than 1 in 10,000 for one comparison
        assert limits == sorted(limits, reverse=True)
        assert limits[3] == pytest.approx(0.9, abs=0.01)
