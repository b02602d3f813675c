"""Explanation of a recognition."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from support.face_images import direction
from support.rendered_portraits import EMBEDDER, Photo, put
from threshold_tools.explain import cli, occlusion_map, photo, report
from threshold_tools.explain.cli import Explained
from threshold_tools.explain.page import page
from threshold_tools.explain.photo import PhotoAnalyzer
from threshold_tools.reports.terminal import to_text

from edge.core.config import AccessConfig, DetectorConfig, DoorConfig, QualityConfig, RecognitionConfig
from edge.core.errors import GalleryError, ImageError, InputError
from edge.core.records import Person, Quality
from edge.demo.run_demo import FOLDER
from edge.recognition.gallery_file import load_gallery, save_gallery

GALLERY = FOLDER / "gallery.safetensors"
OBAMA = FOLDER / "people" / "barack-obama" / "obama2.jpg"
OBAMA_AGAIN = FOLDER / "people" / "barack-obama" / "obama3.jpg"
BIDEN = Path(__file__).parents[2] / "data" / "biden.jpg"
TOOL = Path(__file__).parents[3] / "tools" / "explain.py"


@pytest.fixture(scope="module")
def known() -> Explained:
    """Explanation of an enrolled person."""
    return cli.explain(OBAMA, "barack-obama", gallery=GALLERY)


@pytest.fixture(scope="module")
def stranger() -> Explained:
    """Explanation of two photos of two people."""
    return cli.explain(BIDEN, str(OBAMA_AGAIN))


@pytest.fixture
def small(tmp_path: Path, photo: Photo) -> Path:
    """The enrolled face, but twelve pixels between the eyes."""
    put(tmp_path / "small.png", cv2.resize(photo("obama2"), None, fx=0.15, fy=0.15, interpolation=cv2.INTER_AREA))
    return tmp_path / "small.png"


explain_fast = partial(cli.explain, occlusion=False)


def gallery_of_two(path: Path) -> Path:
    """The person of the demo and a made-up person."""
    demo = load_gallery(GALLERY, EMBEDDER)
    people = [Person("ada", "Ada"), *demo.people]
    centroids = np.vstack([direction(0)[None], demo.centroids])
    save_gallery(path, people, centroids, np.array([0.5, 0.9], np.float32), EMBEDDER)
    return path


def test_enrolled_face_is_explained_with_the_decision(known: Explained) -> None:
    found = known.found
    assert found.target.id == "barack-obama"
    assert found.target.distance_sq < found.target.threshold_sq == pytest.approx(0.93)
    assert (found.answer.kind, found.answer.samples, found.answer.rule) == ("door-open", 3, "allow *")
    assert found.verdict[0] == "Such a sample counts for barack-obama. A door needs 3 samples that agree."


def test_the_distance_is_the_one_that_the_door_measures(known: Explained) -> None:
    gallery = load_gallery(GALLERY, EMBEDDER)
    embedding = known.a.sample.embedding
    assert embedding is not None
    assert known.found.target.distance_sq == pytest.approx(gallery.nearest(embedding).distance_sq, abs=1e-5)


def test_second_photo_is_treated_as_enrolled(stranger: Explained) -> None:
    found = stranger.found
    assert (found.target.name, found.gallery, found.nearest) == ("obama3.jpg", "", [])
    assert found.target.distance_sq > 1.5 > found.target.threshold_sq
    assert (found.answer.kind, found.answer.samples, found.answer.counts) == ("unknown", 10, False)
    assert found.b is not None
    same = explain_fast(OBAMA, str(OBAMA_AGAIN)).found
    assert same.target.distance_sq < 0.6
    assert same.answer.kind == "door-open"


def test_rejected_view_is_measured_and_names_its_limit(small: Path) -> None:
    found = cli.explain(small, None, gallery=GALLERY).found
    assert found.verdict[0] == "Rejected as too-small: distance between the eyes 12 px (needs at least 18 px)."
    assert (found.answer.kind, found.answer.counts, found.a.weight) == ("", False, 0.0)
    assert [part.name for part in found.a.parts if not part.ok] == ["size_px"]
    assert found.target.distance_sq < 0.9, "a refused sample has weight 0, but a distance"
    assert found.a.occlusion is not None
    assert max(map(max, found.a.occlusion.grid)) > 0.05


def test_face_below_the_minimum_score_is_rejected() -> None:
    config = DoorConfig(site="s", door="d", detector=DetectorConfig(min_score=0.99))
    found = explain_fast(OBAMA, None, gallery=GALLERY, config=config).found
    assert found.verdict[0].startswith("Rejected as no-face: detector score 0.8")


def test_person_who_is_not_nearest_is_measured(tmp_path: Path) -> None:
    gallery = gallery_of_two(tmp_path / "two.safetensors")
    found = explain_fast(OBAMA, "ada", gallery=gallery).found
    assert [each.id for each in found.nearest] == ["barack-obama", "ada"]
    assert found.target.name == "Ada"
    assert found.target.threshold_sq == pytest.approx(0.5)
    assert found.target.distance_sq > 1
    assert "counts for barack-obama" in found.verdict[0]


def test_default_comparison_is_with_the_nearest_person(tmp_path: Path) -> None:
    gallery = gallery_of_two(tmp_path / "two.safetensors")
    assert explain_fast(OBAMA, None, gallery=gallery).found.target.id == "barack-obama"


def test_thresholds_and_demands_are_those_of_the_door() -> None:
    strict = DoorConfig(site="s", door="d", recognition=RecognitionConfig(threshold_factor=0.01, min_samples=5))
    found = explain_fast(OBAMA, None, gallery=GALLERY, config=strict).found
    assert found.target.threshold_sq == pytest.approx(0.0093)
    assert (found.answer.kind, found.answer.needed) == ("unknown", 5)
    assert "the distance is above the threshold" in found.verdict[-1]


def test_the_rules_of_the_door_decide() -> None:
    config = DoorConfig(site="s", door="d", access=AccessConfig(allow=("somebody-else",)))
    found = explain_fast(OBAMA, None, gallery=GALLERY, config=config).found
    assert (found.answer.kind, found.answer.reason) == ("denied", "no-rule-for-this-person")
    assert "no rule allows this person" in found.verdict[-1]


def test_a_schedule_is_asked_at_the_given_moment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'timezone = "UTC"\n[schedules.day]\nmon-sun = ["08:00-20:00"]\n'
        '[[doors.front.allow]]\npeople = ["*"]\nschedule = "day"\n'
    )
    kinds = {}
    for clock in ("12:00", "23:00"):
        rules = ["--policy", str(policy), "--door", "front", "--at", f"2026-03-02T{clock}+00:00"]
        cli.main([str(OBAMA), "--gallery", str(GALLERY), "--json", *rules])
        answer = json.loads(capsys.readouterr().out)["answer"]
        kinds[clock] = answer["kind"], answer["reason"]
    assert kinds == {"12:00": ("door-open", "within-threshold"), "23:00": ("denied", "outside-schedule")}


def test_of_several_faces_the_used_one_is_said(tmp_path: Path, photo: Photo) -> None:
    large, other = photo("obama2"), cv2.resize(photo("biden"), (240, 240))
    padded = cv2.copyMakeBorder(other, 0, large.shape[0] - 240, 0, 0, cv2.BORDER_CONSTANT)
    put(tmp_path / "two.png", np.hstack([large, padded]))
    found = explain_fast(tmp_path / "two.png", "barack-obama", gallery=GALLERY)
    assert found.found.a.faces == 2
    assert found.found.a.box[2] < large.shape[1], "the larger face, on the left"
    assert "2 faces, the largest and most central is used" in to_text(report.document(found.found))


def test_a_photo_without_a_face_is_told(tmp_path: Path) -> None:
    put(tmp_path / "wall.png", np.full((100, 100, 3), 90, np.uint8))
    with pytest.raises(ImageError, match=r"wall.png: no face found"):
        explain_fast(tmp_path / "wall.png", None, gallery=GALLERY)


def test_an_unreadable_photo_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_text("nothing")
    with pytest.raises(ImageError, match=r"broken.jpg: not a JPEG"):
        explain_fast(OBAMA, str(tmp_path / "broken.jpg"))


@pytest.mark.parametrize(
    ("person", "hint"),
    [("barak-obama", "did you mean 'barack-obama'"), ("zzz", "enrolled are ada, barack-obama"), ("Ada", "is 'ada'")],
)
def test_unknown_person_is_reported_with_the_nearest_name(tmp_path: Path, person: str, hint: str) -> None:
    gallery = gallery_of_two(tmp_path / "two.safetensors")
    with pytest.raises(InputError, match=hint):
        explain_fast(OBAMA, person, gallery=gallery)


def test_a_person_needs_a_gallery() -> None:
    with pytest.raises(InputError, match="name the gallery with --gallery"):
        explain_fast(OBAMA, "barack-obama")
    with pytest.raises(InputError, match="name a second photo, or a gallery with --gallery"):
        explain_fast(OBAMA, None)


def test_a_gallery_of_another_embedder_is_refused(tmp_path: Path) -> None:
    save_gallery(tmp_path / "g", [Person("a", "A")], direction(0)[None], np.ones(1, np.float32), "0" * 64)
    with pytest.raises(GalleryError, match="another embedder"):
        explain_fast(OBAMA, None, gallery=tmp_path / "g")


def test_an_empty_gallery_is_refused(tmp_path: Path) -> None:
    save_gallery(tmp_path / "g", [], np.zeros((0, 192), np.float32), np.zeros(0, np.float32), EMBEDDER)
    with pytest.raises(InputError, match="the gallery is empty"):
        explain_fast(OBAMA, None, gallery=tmp_path / "g")


def test_quality_parts_have_the_limits_of_their_name() -> None:
    @dataclasses.dataclass
    class Later:
        weight: float
        size_px: float
        gloom: float
        refusal: str

    class Gates(msgspec.Struct):
        min_size_px: float = 18.0
        min_gloom: float = 0.2
        max_gloom: float = 0.8
        full_weight_gloom: float = 0.5
        min_presence: float = 0.5

    found = photo.quality_parts(0.9, 0.4, Later(1, 20, 0.9, ""), Gates(), DetectorConfig())  # type: ignore[arg-type]
    assert [(part.name, part.gate, part.ok) for part in found] == [
        ("score", "at least 0.5", True),
        ("presence", "at least 0.5", False),
        ("size_px", "at least 18 px", True),
        ("gloom", "at least 0.2 and at most 0.8", False),
    ]
    assert found[3].full == 0.5
    assert (report.format_part(found[2]), report.format_part(found[3])) == ("20 px", "0.90")


def test_a_strength_that_was_not_measured_is_no_part() -> None:
    gates, detector, seen = QualityConfig(), DetectorConfig(), Quality(1.0, 60.0, 0.0, 0.0, 0.0, 500.0)
    assert "embedding_norm" not in [part.name for part in photo.quality_parts(1, 1, seen, gates, detector)]
    weak = dataclasses.replace(seen, embedding_norm=gates.min_norm / 2)
    (part,) = (part for part in photo.quality_parts(1, 1, weak, gates, detector) if part.name == "embedding_norm")
    assert not part.ok
    assert part.full == gates.full_weight_norm


def test_quality_parts_agree_with_the_rejections_of_a_door(small: Path) -> None:
    silent = ("weight", "refusal", "embedding_norm")  # the last where the manifest does not know the typical one
    names = [field.name for field in dataclasses.fields(Quality) if field.name not in silent]
    analyzer = PhotoAnalyzer(DoorConfig(site="s", door="d", quality=QualityConfig(max_yaw_deg=5)))
    seen = analyzer.analyze(OBAMA)
    assert [part.name for part in seen.report.parts if part.name not in silent][2:] == names
    assert seen.report.refusal == "turned-away"
    assert [part.name for part in seen.report.parts if not part.ok] == ["yaw_deg"]
    assert seen.sample.embedding is None


def test_covering_the_face_changes_the_distance(known: Explained) -> None:
    occlusion = known.found.a.occlusion
    assert occlusion is not None
    grid = np.array(occlusion.grid)
    assert grid.shape == (occlusion_map.CELLS, occlusion_map.CELLS)
    assert grid[4:9, 3:9].mean() > 0.1, "eyes, nose and mouth"
    assert np.abs(grid[:2, [0, 1, -2, -1]]).mean() < 0.03
    assert next(iter(occlusion.regions)) in ("nose", "left eye", "right eye")
    assert occlusion.regions["nose"] > 5 * abs(occlusion.regions["background"])


def test_occlusion_matches_the_embedder(known: Explained) -> None:
    analyzer = PhotoAnalyzer(DoorConfig(site="s", door="d"))
    embedder = analyzer.sampler.vision.reader.embedder
    target = load_gallery(GALLERY, EMBEDDER).centroids[0]
    covered = known.a.crop.copy()
    middle = 112 / occlusion_map.CELLS * 5.5
    covered[round(middle) - 12 : round(middle) + 12, round(middle) - 12 : round(middle) + 12] = 128
    distances = []
    for pixels in (known.a.crop, covered):
        embedder.pixels[:] = pixels
        distances.append(2 - 2 * float(embedder.embed() @ target))
    occlusion = known.found.a.occlusion
    assert occlusion is not None
    assert occlusion.grid[5][5] == pytest.approx(distances[1] - distances[0], abs=1e-3)


def test_text_explains_the_scale(known: Explained, stranger: Explained, small: Path) -> None:
    for done in (known, stranger, explain_fast(small, str(OBAMA))):
        text = to_text(report.document(done.found))
        assert report.SCALE in text
    assert "12 px ✗" in text


def test_headline_names_result_distance_and_thresexplained(known: Explained, stranger: Explained, small: Path) -> None:
    lines = [report.verdict(each.found).headline for each in (known, stranger, explain_fast(small, str(OBAMA)))]
    assert re.match(r"Recognised as barack-obama: distance 0\.\d\d, threshold 0\.93 \(lower is nearer\)", lines[0])
    assert lines[1].startswith("Different people: distance ")
    assert lines[2].startswith("A door rejects this photo, face too small: distance ")


def test_the_scale_shows_distance_and_threshold_in_order(known: Explained, stranger: Explained) -> None:
    for done, order in ((known, "o|"), (stranger, "|o")):
        (bar,) = (line for line in to_text(report.document(done.found)).splitlines() if line.startswith("  0 "))
        assert [sign for sign in bar if sign in "o|"] == list(order)


def test_scale_separates_close_distance_and_thresexplained(known: Explained) -> None:
    for distance, order in ((0.929, "o|"), (0.931, "|o")):
        near = msgspec.structs.replace(known.found.target, distance_sq=distance, threshold_sq=0.93)
        text = to_text(report.document(msgspec.structs.replace(known.found, target=near)))
        (bar,) = (line for line in text.splitlines() if line.startswith("  0 "))
        assert [sign for sign in bar if sign in "o|"] == list(order)


def test_share_of_strangers_stays_within_the_table(known: Explained, stranger: Explained) -> None:
    assert "Fewer than one stranger in 1,000,000" in report.strangers(known.found)
    assert "More than one stranger in" in report.strangers(stranger.found)
    between = msgspec.structs.replace(known.found, strangers=(0.0004, 1e-6, 1e-2))
    assert report.strangers(between) == "About one stranger in 2,500 is this near to a given person."


def test_page_is_self_contained(stranger: Explained) -> None:
    text = page(stranger.found, stranger.a, stranger.b)
    assert text.count("data:image/jpeg;base64,") == 8, "photo, close-up, aligned face and heatmap, twice"
    assert "http" not in text.replace("http-equiv", "")
    assert report.SCALE in text
    for sentence in stranger.found.verdict:
        assert sentence in text
    for part in stranger.found.a.parts:
        assert part.label in text


def test_names_cannot_put_anything_into_the_page(known: Explained) -> None:
    bad = "<script>alert(1)</script>"
    near = msgspec.structs.replace(known.found.target, id=bad, name=bad)
    other = msgspec.structs.replace(near, id="other")
    found = msgspec.structs.replace(known.found, target=near, nearest=[near, other], verdict=[bad], gallery=bad)
    assert bad not in page(found, known.a, None)


def test_the_command_prints_json_and_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    cli.main(["--json", "--out", str(out), str(OBAMA), "--gallery", str(GALLERY), "barack-obama"])
    printed = capsys.readouterr()
    assert json.loads(printed.out)["target"]["id"] == "barack-obama"
    assert json.loads(printed.out)["embedder_sha256"] == EMBEDDER
    assert out.read_text().startswith("<!doctype html>")
    assert out.stat().st_mode & 0o077 == 0
    assert printed.err == f"{out}: page written\n"


def test_a_mistake_is_one_line_and_exit_code_2() -> None:
    done = subprocess.run([sys.executable, TOOL, "none.jpg", OBAMA], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: none.jpg: cannot be read (No such file or directory)\n"


def test_rules_without_a_gallery_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([str(OBAMA), str(OBAMA_AGAIN), "--door", "front"])
    assert "rules are about enrolled people" in capsys.readouterr().err
