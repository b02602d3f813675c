"""The fusion study: degraded photos, measures against slow references on made-up samples, and the tool."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from support.face_images import DIMENSION
from support.rendered_portraits import Photo, put, two_people
from support.tool_process import refusal_of
from threshold_tools.lab.fusion import track_fusion
from threshold_tools.lab.fusion.augment import KINDS, degrade
from threshold_tools.lab.fusion.cli import TrackFusionReport, document, main
from threshold_tools.lab.fusion.quality_power import measure_kinds, own_distances
from threshold_tools.lab.fusion.samples import PLAIN, SampleSet, collect_samples
from threshold_tools.photos import ANY_QUALITY, PhotoSampler
from threshold_tools.reports.terminal import to_text

from edge.core.config import QualityConfig, RecognitionConfig
from edge.core.errors import InputError
from edge.core.records import Landmarks, Quality

SPREAD = 12  # dimensions in which made-up people differ


@pytest.fixture(scope="module")
def reader() -> PhotoSampler:
    return PhotoSampler(ANY_QUALITY)


@pytest.fixture(scope="module")
def mesh(reader: PhotoSampler, photo: Photo) -> Landmarks:
    sample = reader.sample(photo("obama2")).sample
    assert sample is not None
    assert sample.landmarks is not None
    return sample.landmarks


def made_up(photos_of: list[int], *, copies: int = 3, seed: int = 0) -> SampleSet:
    """People with so many photos each; copies are noisier, and the noise of a look shows in its weight."""
    rng = np.random.default_rng(seed)
    people: list[int] = []
    photos: list[int] = []
    kinds: list[str] = []
    noises: list[float] = []
    for person, count in enumerate(photos_of):
        for _ in range(count):
            photo = photos[-1] + 1 if photos else 0
            for copy in range(1 + copies):
                people.append(person)
                photos.append(photo)
                kinds.append("mask" if copy else PLAIN)
                noises.append(rng.uniform(0.2, 1.5) if copy else 0.1)
    centres = rng.normal(size=(len(photos_of), SPREAD))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    vectors = np.zeros((len(people), DIMENSION), np.float32)
    vectors[:, :SPREAD] = centres[people] + np.array(noises)[:, None] * rng.normal(size=(len(people), SPREAD)) / 2
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    marks = np.array(kinds)
    refused = [noise > 1.4 for noise in noises]
    quality = [
        Quality(
            0.0 if bad else 1 / (1 + noise) ** 4,
            40,
            0,
            0,
            0,
            100,
            "unclear" if bad else "",
            embedding_norm=1 - noise / 2,
        )
        for noise, bad in zip(noises, refused, strict=True)
    ]
    return SampleSet(
        vectors,
        np.where((marks == PLAIN)[:, None], vectors, np.float32(0)),
        quality,
        np.array(people),
        np.array(photos),
        marks,
        [f"p{number:03d}" for number in range(len(photos_of))],
        {kind: int((marks == kind).sum()) + 1 for kind in (PLAIN, "mask")},
    )


class TestAugment:
    @pytest.mark.parametrize("kind", KINDS)
    def test_degradations_change_the_picture_reproducibly(self, photo: Photo, mesh: Landmarks, kind: str) -> None:
        pixels = photo("obama2")
        before = pixels.copy()
        one = degrade(kind, pixels, mesh, np.random.default_rng(3))
        other = degrade(kind, pixels, mesh, np.random.default_rng(3))
        assert one.tobytes() == other.tobytes()
        assert one.dtype == np.uint8
        assert (one.shape == pixels.shape) == (kind != "small")
        assert one.shape != pixels.shape or np.abs(one.astype(int) - pixels).max() > 20
        assert pixels.tobytes() == before.tobytes()

    @pytest.mark.parametrize("kind", ["blur", "motion", "mask", "sunglasses", "dark", "bright"])
    def test_degraded_faces_have_lower_norms(
        self, reader: PhotoSampler, photo: Photo, mesh: Landmarks, kind: str
    ) -> None:
        """On average over a few strengths; a face that is not found is as weak as can be."""
        plain = reader.sample(photo("obama2")).sample
        assert plain is not None
        harmed = []
        for seed in range(4):
            sample = reader.sample(degrade(kind, photo("obama2"), mesh, np.random.default_rng(seed))).sample
            harmed.append(sample.quality.embedding_norm if sample else 0.0)
        assert np.mean(harmed) < 0.95 * plain.quality.embedding_norm

    def test_covering_stays_on_the_face(self, photo: Photo, mesh: Landmarks) -> None:
        pixels = photo("obama2")
        points = mesh.points_px[:, :2]
        width = np.ptp(points[:, 0])
        for kind in ("mask", "sunglasses"):
            changed = np.argwhere(np.any(degrade(kind, pixels, mesh, np.random.default_rng(0)) != pixels, axis=2))
            assert len(changed) > 0.05 * width * width
            assert changed[:, 1].min() >= points[:, 0].min() - 0.2 * width
            assert changed[:, 1].max() <= points[:, 0].max() + 0.2 * width


class TestCollectSamples:
    def test_photos_and_copies_are_sampled(self, tmp_path: Path, photo: Photo) -> None:
        folder = two_people(tmp_path / "people", photo)
        put(folder / "biden" / "wall.png", np.full((200, 200, 3), 90, np.uint8))
        looks, _ = collect_samples(folder, QualityConfig(), copies=2, most=5, seed=1)
        assert looks.names == ["biden", "obama"]
        assert looks.tried[PLAIN] == 4
        assert sum(looks.tried.values()) == 4 + 3 * 2
        assert looks.plain.sum() == 3
        assert np.linalg.norm(looks.enrolled, axis=1) == pytest.approx(looks.plain.astype(float), abs=1e-5)
        assert len(np.unique(looks.photos)) == 3
        again, _ = collect_samples(folder, QualityConfig(), copies=2, most=5, seed=1)
        assert again.embedding.tobytes() == looks.embedding.tobytes()

    def test_limits_and_weights_of_the_configuration(self, tmp_path: Path, photo: Photo) -> None:
        folder = two_people(tmp_path / "people", photo)
        lax, _ = collect_samples(folder, QualityConfig(), copies=0, most=5, seed=0)
        strict, _ = collect_samples(folder, QualityConfig(min_norm=9), copies=0, most=5, seed=0)
        assert not lax.refused.any()
        assert [each.refusal for each in strict.quality] == ["unclear"] * 3

    def test_photos_without_a_face_are_told(self, tmp_path: Path) -> None:
        put(tmp_path / "biden" / "wall.png", np.full((200, 200, 3), 90, np.uint8))
        with pytest.raises(InputError, match="no face found"):
            collect_samples(tmp_path, QualityConfig(), copies=1, most=5, seed=0)


class TestQualityPower:
    def test_sample_is_compared_with_the_persons_other_photos(self) -> None:
        looks = made_up([1, 3, 2, 4])
        distance_sq, known = own_distances(looks)
        for row in range(len(looks)):
            others = looks.plain & (looks.people == looks.people[row]) & (looks.photos != looks.photos[row])
            assert known[row] == (others.sum() >= 2)
            if known[row]:
                mean = looks.embedding[others].mean(axis=0)
                expected = 2 - 2 * looks.embedding[row] @ mean / np.linalg.norm(mean)
                assert distance_sq[row] == pytest.approx(expected, abs=1e-5)

    def test_every_kind_says_what_a_door_refuses(self) -> None:
        looks = made_up([6] * 20)
        results = {each.kind: each for each in measure_kinds(looks, 0.8)}
        mask = results["mask"]
        assert (mask.no_face, mask.refused) == (1, {"unclear": int(looks.refused.sum())})
        distance_sq, _ = own_distances(looks)
        masked = looks.kinds == "mask"
        assert mask.distance_sq == pytest.approx(np.median(distance_sq[masked]))
        assert mask.fnmr == pytest.approx((distance_sq[masked] > 0.8).mean())
        assert mask.fnmr_accepted == pytest.approx((distance_sq[masked & ~looks.refused] > 0.8).mean())
        assert (results[PLAIN].fnmr or 0) < (mask.fnmr_accepted or 0) < (mask.fnmr or 0)

    def test_too_few_photos_of_everybody_measure_nothing(self) -> None:
        assert measure_kinds(made_up([2] * 30), 0.8) == []


class TestFusion:
    @pytest.mark.parametrize("tracks_of", track_fusion.KINDS_OF_TRACKS)
    def test_tracks_show_other_photos_than_those_enrolled(self, tracks_of: str) -> None:
        looks = made_up([6] * 12 + [2] * 12)
        drawn = track_fusion.simulate_tracks(looks, tracks_of, 3, np.random.default_rng(0))
        assert drawn is not None
        assert drawn.owners.tolist() == list(range(12))
        for track in drawn.own:
            assert len(set(looks.people[track].tolist())) == 1
            assert len(set(track.tolist())) == 3
            assert tracks_of != "photos" or looks.plain[track].all()
            assert tracks_of != "copies" or len(set(looks.photos[track].tolist())) == 1
        assert set(looks.people[drawn.strangers].ravel().tolist()) == set(range(12, 24))
        for owner, centroid in zip(drawn.owners.tolist(), drawn.centroids, strict=True):
            shown = drawn.own[looks.people[drawn.own[:, 0]] == owner]
            free = looks.plain & (looks.people == owner) & ~np.isin(looks.photos, looks.photos[shown])
            sums = [looks.embedding[list(three)].sum(axis=0) for three in combinations(np.flatnonzero(free), 3)]
            assert any(np.allclose(centroid, each / np.linalg.norm(each), atol=1e-5) for each in sums)

    def test_too_few_people_make_no_tracks(self) -> None:
        for photos_of in ([5] * 9 + [2] * 30, [5] * 30 + [2] * 9):
            assert track_fusion.simulate_tracks(made_up(photos_of), "mixed", 2, np.random.default_rng(0)) is None


class TestVisits:
    def test_more_samples_are_slower_and_stricter(self) -> None:
        looks = made_up([6] * 12 + [3] * 40, seed=4)
        lines = track_fusion.measure_visits(
            looks, "mixed", lambda people: 0.5, RecognitionConfig(track_consistency_sq=4.0), seed=0
        )
        assert [line.min_samples for line in lines] == list(track_fusion.MIN_SAMPLES)
        assert lines[0].samples_taken < lines[2].samples_taken
        assert lines[0].false_accepts.value > lines[-1].false_accepts.value
        for line in lines:
            assert line.samples_taken >= line.min_samples
            assert line.recognised.low <= line.recognised.value <= line.recognised.high

    def test_threshold_of_zero_accepts_no_visit(self) -> None:
        looks = made_up([6] * 12 + [3] * 12)
        for line in track_fusion.measure_visits(looks, "photos", lambda people: 0.0, RecognitionConfig(), seed=0):
            assert (line.recognised.value, line.false_accepts.value, line.misidentified) == (0, 0, 0)


class TestTool:
    def test_folder_with_too_few_photos(self, tmp_path: Path, photo: Photo, capsys: pytest.CaptureFixture[str]) -> None:
        main([str(two_people(tmp_path / "people", photo)), "--copies", "1", "--json"])
        report = json.loads(capsys.readouterr().out)
        assert (report["people"], report["kinds"], report["visits"]) == (2, [], [])
        assert [note.split(":")[0] for note in report["notes"]] == ["no quality", "no visits"]

    def test_the_tables_hold_what_was_measured(self) -> None:
        looks = made_up([6] * 12 + [3] * 30, seed=4)
        report = TrackFusionReport(
            source="faces",
            embedder_sha256="ab" * 32,
            seed=0,
            copies=3,
            people=42,
            samples=len(looks),
            threshold_sq=0.8,
            kinds=measure_kinds(looks, 0.8),
            visits=track_fusion.measure_visits(looks, "mixed", lambda people: 0.5, RecognitionConfig(), seed=0)[:1],
            notes=["a note"],
        )
        text = to_text(document(report))
        for words in (
            "Quality of samples",
            "Visits",
            "Take min_samples = ",
            "unclear",
            "mask",
            "mixed",
            "note: a note",
        ):
            assert words in text

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (["absent"], "error: absent: no such folder"),
            ([".", "--config", "absent.toml"], "error: absent.toml: no such file"),
        ],
    )
    def test_unusable_input_is_exit_code_2(self, tmp_path: Path, words: list[str], expected: str) -> None:
        assert refusal_of("track_fusion.py", words, tmp_path).startswith(expected)
