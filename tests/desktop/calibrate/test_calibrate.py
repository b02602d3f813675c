"""Thresholds for target rates, from the table of the embedder and from the tail of strangers' distances."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.face_images import direction, towards
from support.rendered_portraits import EMBEDDER, Photo, two_people
from threshold_tools.calibrate.calibration import ENROLLED_SQ, calibrate, reject_lookalikes
from threshold_tools.calibrate.cli import main
from threshold_tools.calibrate.rates import Attempts, ImpostorModel, attempts, is_rejected, limits
from threshold_tools.calibrate.report import document
from threshold_tools.calibrate.tail import SHAPE_RANGE, fit_tail
from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.reports.terminal import to_text
from threshold_tools.stats import RankedScores, Reals, clopper_pearson, rate_over_people
from threshold_tools.thresholds import fmr_at, max_thresholds_sq, threshold_for_fmr, threshold_sq

from edge.core.errors import InputError
from edge.core.records import FloatArray, Person
from edge.recognition.gallery import Gallery
from edge.recognition.gallery_file import load_gallery, save_gallery
from edge.vision.manifest import OperatingPoint

ROOT = Path(__file__).parents[3]
SPREAD = 14  # directions in which made-up faces differ: few enough that strangers come near


def made_up(count: int, seed: int, spread: int = SPREAD) -> FloatArray:
    """(count, 192) unit rows, uniform on a sphere of `spread` dimensions."""
    vectors = np.zeros((count, 192), np.float32)
    vectors[:, :spread] = np.random.default_rng(seed).normal(size=(count, spread))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def near(vectors: FloatArray, noise: float, seed: int) -> FloatArray:
    """Other photos of the same people: (N, D) unit rows."""
    moved = vectors + np.random.default_rng(seed).normal(0, noise / np.sqrt(192), vectors.shape).astype(np.float32)
    return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), np.float32)


def labelled(vectors: FloatArray) -> LabelledEmbeddings:
    """One photo each of as many people."""
    paths = [f"s{number}/1.jpg" for number in range(len(vectors))]
    return LabelledEmbeddings(vectors, np.ones(len(vectors), bool), paths, EMBEDDER)


def gallery_of(path: Path, centroids: FloatArray) -> Path:
    people = [Person(f"p{number}", f"p{number}") for number in range(len(centroids))]
    save_gallery(path, people, centroids, np.ones(len(centroids), np.float32), EMBEDDER)
    return path


def stored(path: Path, vectors: FloatArray, labels: list[str] | None = None, embedder: str = EMBEDDER) -> Path:
    """Write vectors in the format of threshold embed."""
    names = labels or [f"s{number}" for number in range(len(vectors))]
    paths = [f"{name}/{number}.jpg" for number, name in enumerate(names)]
    found = np.ones(len(vectors), bool)
    np.savez(path, path=np.array(paths), embedding=vectors, found=found, embedder_sha256=embedder)
    return path


def opened(gallery: Gallery, vectors: FloatArray) -> float:
    """Share of single photos that the gallery of a door accepts."""
    matches = [gallery.nearest(vector) for vector in vectors]
    return float(np.mean([match.distance_sq <= match.threshold_sq for match in matches]))


class TestPromise:
    @pytest.mark.parametrize(("people", "seed"), [(1, 1), (20, 2), (200, 3)])
    def test_threshold_meets_its_target_on_new_strangers(self, tmp_path: Path, people: int, seed: int) -> None:
        """Within a factor of two of the target at one in 100, and within its interval at one in 1000."""
        gallery = gallery_of(tmp_path / "g", made_up(people, seed))
        strangers = stored(tmp_path / "s.npz", made_up(1500, seed + 100))
        fresh = made_up(12_000, seed + 200)
        for target in (100, 1000):
            report = calibrate(gallery, tmp_path / "g2", target, strangers_path=strangers)
            measured = opened(load_gallery(tmp_path / "g2", EMBEDDER), fresh)
            (row,) = (row for row in report.rows if row.one_stranger_in == target)
            assert row.fpir.low <= measured <= row.fpir.high
            if target == 100:
                assert 0.5 <= measured * target <= 2

    def test_larger_gallery_or_stricter_target_lowers_the_threshold(self, tmp_path: Path) -> None:
        strangers = stored(tmp_path / "s.npz", made_up(1500, 1))
        bases = [
            [row.threshold_sq for row in report.rows]
            for people in (5, 50, 500)
            for report in [
                calibrate(gallery_of(tmp_path / "g", made_up(people, 2)), tmp_path / "h", 100, strangers_path=strangers)
            ]
        ]
        assert all(rows == sorted(rows, reverse=True) for rows in bases)
        assert [rows[0] for rows in bases] == sorted((rows[0] for rows in bases), reverse=True)

    def test_strangers_have_equal_weight(self, tmp_path: Path) -> None:
        gallery = gallery_of(tmp_path / "g", made_up(20, 1))
        vectors = made_up(1000, 2)
        nearest = attempts(labelled(vectors), load_gallery(gallery, EMBEDDER).centroids)
        often = np.repeat(vectors[[int(nearest.distance_sq.argmin())]], 400, axis=0)
        labels = [f"s{number}" for number in range(1000)] + [f"s{int(nearest.distance_sq.argmin())}"] * 400
        once = calibrate(gallery, tmp_path / "h", 100, strangers_path=stored(tmp_path / "a.npz", vectors))
        many = stored(tmp_path / "b.npz", np.concatenate([vectors, often]), labels)
        assert calibrate(gallery, tmp_path / "h", 100, strangers_path=many).threshold_sq == pytest.approx(
            once.threshold_sq, abs=0.02
        )

    def test_a_lookalike_is_stricter_than_everybody_else(self, tmp_path: Path) -> None:
        centroids = made_up(30, 1)
        centroids[1] = towards(direction(100), direction(101), 0.0)
        centroids[2] = towards(direction(100), direction(101), 0.3)
        strangers = stored(tmp_path / "s.npz", made_up(1000, 2))
        report = calibrate(gallery_of(tmp_path / "g", centroids), tmp_path / "g2", 100, strangers_path=strangers)
        limits_sq = load_gallery(tmp_path / "g2", EMBEDDER).thresholds_sq
        assert limits_sq[1:3] == pytest.approx([0.27, 0.27], abs=1e-3)
        assert np.delete(limits_sq, [1, 2]).min() > 0.27
        assert report.thresholds_sq["p1"] == pytest.approx(0.27, abs=1e-3)

    def test_rejections_are_counted_with_an_interval(self, tmp_path: Path) -> None:
        centroids = made_up(40, 1)
        gallery = gallery_of(tmp_path / "g", centroids)
        own = [f"p{number}" for number in range(40)] * 3 + ["somebody"]
        vectors = np.concatenate([near(centroids, 0.5, seed) for seed in range(3)] + [made_up(1, 9)])
        genuine = stored(tmp_path / "own.npz", vectors, own)
        strangers = stored(tmp_path / "s.npz", made_up(1000, 2))
        report = calibrate(gallery, tmp_path / "g2", 100, strangers_path=strangers, genuine_path=genuine)
        assert (report.genuine_people, report.genuine_photos) == (40, 120)
        rates = [row.fnir for row in report.rows]
        assert all(rate and rate.low <= rate.value <= rate.high for rate in rates)
        values = [rate.value for rate in rates if rate]
        assert values == sorted(values)
        assert values[0] < 0.2

    def test_two_runs_print_the_same(self, tmp_path: Path) -> None:
        gallery = gallery_of(tmp_path / "g", made_up(20, 1))
        strangers = stored(tmp_path / "s.npz", made_up(300, 2))
        first, second = (calibrate(gallery, tmp_path / "h", 100, strangers_path=strangers) for _ in range(2))
        assert first == second


class TestSupport:
    @pytest.mark.parametrize(
        ("count", "target", "told"),
        [
            (99, 10, "99 strangers are too few; one in 10 needs 100 different people"),
            (200, 2001, "200 strangers support one in 2,000 at most; one in 2,001 needs 201 different people"),
            (1000, 1_000_000, "one in 1,000,000 needs 100,000 different people"),
        ],
    )
    def test_target_beyond_the_data_is_rejected(self, tmp_path: Path, count: int, target: float, told: str) -> None:
        gallery = gallery_of(tmp_path / "g", made_up(20, 1))
        strangers = stored(tmp_path / "s.npz", made_up(count, 2))
        with pytest.raises(InputError, match=told):
            calibrate(gallery, tmp_path / "g2", target, strangers_path=strangers)
        assert not (tmp_path / "g2").exists()

    def test_photos_of_few_people_are_not_many_strangers(self, tmp_path: Path) -> None:
        strangers = stored(tmp_path / "s.npz", made_up(3000, 2), [f"s{number % 50}" for number in range(3000)])
        with pytest.raises(InputError, match="50 strangers are too few"):
            calibrate(gallery_of(tmp_path / "g", made_up(20, 1)), tmp_path / "g2", 100, strangers_path=strangers)

    def test_without_strangers_the_table_limits_the_target(self, tmp_path: Path) -> None:
        gallery = gallery_of(tmp_path / "g", made_up(20, 1))
        report = calibrate(gallery, tmp_path / "g2", 1000)
        (row,) = (row for row in report.rows if row.one_stranger_in == 1000)
        assert row.fpir.value == pytest.approx(1e-3, rel=0.01)
        assert "not known" in to_text(document(report, tmp_path / "g2"))
        with pytest.raises(InputError, match="give --strangers with 100,000 different people"):
            calibrate(gallery, tmp_path / "g2", 1_000_000)

    def test_an_enrolled_stranger_is_named_and_left_out(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """By id, or by a face that is much nearer than the tail of the others predicts; other strangers are kept."""
        centroids = made_up(20, 1, spread=40)
        vectors = made_up(1000, 2, spread=40)
        gallery = gallery_of(tmp_path / "g", centroids)
        clean = calibrate(gallery, tmp_path / "h", 1000, strangers_path=stored(tmp_path / "a.npz", vectors))
        assert clean.left_out == []
        vectors[7] = near(centroids[[3]], 0.2, 1)[0]
        labels = [f"s{number}" for number in range(1000)]
        labels[9] = "p5"
        dirty = stored(tmp_path / "b.npz", vectors, labels)
        report = calibrate(gallery, tmp_path / "g2", 1000, strangers_path=dirty)
        assert [line.partition(":")[0] for line in report.left_out] == ["p5", "s7/7.jpg"]
        assert "looks like the enrolled p3" in capsys.readouterr().err
        assert report.strangers == 998
        assert report.threshold_sq == pytest.approx(clean.threshold_sq, abs=0.02)

    def test_many_similar_strangers_are_not_treated_as_enrolled(self) -> None:
        """A truncated tail would make all strangers beyond the cut outliers."""
        tried = attempts(labelled(made_up(1500, 2)), made_up(200, 1))
        assert np.mean(tried.distance_sq < ENROLLED_SQ) > 0.1
        assert reject_lookalikes(tried) == []


class TestBadInput:
    def bad_npz(self, path: Path, changes: dict[str, object]) -> Path:
        arrays: dict[str, object] = {
            "path": np.array(["a/1.jpg", "b/1.jpg"]),
            "embedding": made_up(2, 1),
            "found": np.ones(2, bool),
            "embedder_sha256": EMBEDDER,
        }
        np.savez(path, **(arrays | changes))  # type: ignore[arg-type]
        return path

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"embedder_sha256": "0" * 64}, "made by another embedder"),
            ({"embedding": np.zeros((2, 192), np.float32)}, "not of unit length"),
            ({"embedding": np.full((2, 192), np.nan, np.float32)}, "not of unit length"),
            ({"embedding": np.ones((2, 192))}, "wrong shape or type"),
            ({"embedding": made_up(3, 1)}, "wrong shape or type"),
            ({"embedding": made_up(2, 1)[:, :SPREAD]}, "vectors have length 14, those of the gallery 192"),
            ({"found": np.zeros(2, bool)}, "no usable face"),
            ({"found": np.zeros(3, bool)}, "wrong shape or type"),
            ({"path": np.array([{}, {}], object)}, "damaged, or not from"),
        ],
    )
    def test_vectors_that_cannot_be_used_are_told(self, tmp_path: Path, changes: dict[str, object], told: str) -> None:
        gallery = gallery_of(tmp_path / "g", made_up(20, 1))
        with pytest.raises(InputError, match=told):
            calibrate(gallery, tmp_path / "g2", 100, strangers_path=self.bad_npz(tmp_path / "s.npz", changes))

    def test_a_truncated_or_foreign_file_is_told(self, tmp_path: Path) -> None:
        gallery = gallery_of(tmp_path / "g", made_up(20, 1))
        content = stored(tmp_path / "s.npz", made_up(300, 1)).read_bytes()
        for end in range(0, len(content), len(content) // 16):
            (tmp_path / "cut.npz").write_bytes(content[:end])
            with pytest.raises(InputError, match="damaged, or not from"):
                calibrate(gallery, tmp_path / "g2", 100, strangers_path=tmp_path / "cut.npz")
        with pytest.raises(InputError, match="cannot be read"):
            calibrate(gallery, tmp_path / "g2", 100, strangers_path=tmp_path / "absent.npz")

    def test_empty_gallery_and_unknown_people_are_reported(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="the gallery is empty"):
            calibrate(gallery_of(tmp_path / "g", made_up(0, 1)), tmp_path / "g2", 100)
        genuine = stored(tmp_path / "own.npz", made_up(3, 1))
        with pytest.raises(InputError, match="no person in it is enrolled"):
            calibrate(gallery_of(tmp_path / "g", made_up(3, 1)), tmp_path / "g2", 100, genuine_path=genuine)

    @pytest.mark.parametrize("target", ["1", "0", "-5", "nan", "inf", "many"])
    def test_a_senseless_target_is_exit_code_2(self, target: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as left:
            main(["--gallery", "g", f"--one-stranger-in={target}", "--out", "h"])
        assert left.value.code == 2
        assert "--one-stranger-in" in capsys.readouterr().err


def test_the_tool_runs_as_a_script_on_photos_and_draws(tmp_path: Path, photo: Photo) -> None:
    """Strangers from vectors, genuine attempts from a folder of photos, and a page with plots."""
    people = two_people(tmp_path / "people", photo)
    tools = ROOT / "tools"

    def tool(*words: str | Path) -> str:
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    tool(tools / "enroll.py", people, "--out", "g")
    stored(tmp_path / "s.npz", made_up(400, 1))
    words = ["--gallery", "g", "--strangers", "s.npz", "--genuine", "people", "--one-stranger-in", "1000", "--out", "h"]
    assert "> " in tool(tools / "calibrate.py", *words)
    report = json.loads(tool(tools / "calibrate.py", *words, "--json", "--html", "p.html"))
    assert (report["enrolled"], report["strangers"], report["genuine_photos"]) == (2, 400, 3)
    assert set(report["thresholds_sq"]) == {"biden", "obama"}
    page = (tmp_path / "p.html").read_text()
    assert page.count('<svg class="chart"') == 3
    assert f"Threshold {report['threshold_sq']:.2f} is set: one stranger&#39;s photo in 1,000 gets in" in page
    assert (tmp_path / "p.html").stat().st_mode & 0o077 == 0


class TestTail:
    def test_an_exponential_tail_is_found_again(self) -> None:
        values: Reals = 2 - np.random.default_rng(0).exponential(0.1, 20_000)
        weights = np.full(len(values), 1 / len(values))
        tail = fit_tail(RankedScores(values), weights, len(values))
        assert tail.scale == pytest.approx(0.1, rel=0.1)
        for share in (1e-2, 1e-3, 1e-4):
            assert tail.value_at(share) == pytest.approx(2 + 0.1 * np.log(share), abs=0.05)

    def test_value_and_share_undo_each_other(self) -> None:
        rng = np.random.default_rng(1)
        for values in (rng.normal(1.3, 0.1, 3000), rng.uniform(0.5, 2, 3000), 2 - rng.pareto(3, 3000)):
            tail = fit_tail(RankedScores(values), np.full(3000, 1 / 3000), 3000)
            assert SHAPE_RANGE[0] <= tail.shape <= SHAPE_RANGE[1]
            for share in (tail.kept, 1e-2, 1e-5):
                assert tail.shares_below(tail.value_at(share)) == pytest.approx(share)

    def test_equal_values_do_not_break_it(self) -> None:
        values: Reals = np.concatenate([np.full(300, 1.0), [1.5], np.full(699, 2.0)])
        tail = fit_tail(RankedScores(values), np.full(1000, 1e-3), 1000)
        assert 0.3 <= tail.kept <= 0.301
        assert np.isfinite(tail.value_at(1e-3))
        same = fit_tail(RankedScores(np.full(200, 1.0)), np.full(200, 1 / 200), 200)
        assert np.isfinite(same.value_at(1e-3))

    def test_the_shape_stays_near_exponential(self) -> None:
        """Outside this range the shape depends on the sample; see SHAPE_RANGE."""
        rng = np.random.default_rng(1)
        even = np.full(3000, 1 / 3000)
        assert fit_tail(RankedScores(2 - rng.pareto(3, 3000)), even, 3000).shape == 0.05
        assert fit_tail(RankedScores(rng.uniform(0.5, 2, 3000)), even, 3000).shape == -0.05

    def test_a_nearest_value_before_equal_ones_can_be_fitted(self) -> None:
        """The tail is not longer than needed: one value below the cut can be fitted."""
        values: Reals = np.concatenate([[0.9], np.full(300, 1.0), np.full(699, 2.0)])
        assert fit_tail(RankedScores(values), np.full(1000, 1e-3), 1000).cut == 1.0
        last: Reals = np.concatenate([np.full(199, 1.0), [2.0]])
        assert fit_tail(RankedScores(last), np.full(200, 1 / 200), 200).cut == 2.0


class TestRates:
    def test_clopper_pearson_as_in_the_tables(self) -> None:
        rate = clopper_pearson(0.1, 10)
        assert (rate.low, rate.high) == pytest.approx((0.00253, 0.44502), abs=1e-5)
        assert clopper_pearson(0.0, 100).high == pytest.approx(0.0362, abs=1e-4)  # the rule of three, nearly
        assert clopper_pearson(1.0, 5).high == 1.0

    def test_three_kinds_of_false_rejection(self) -> None:
        tried = Attempts(
            nearest=np.array([0, 0, 0, 1]),
            distance_sq=np.array([0.3, 0.9, 0.3, 0.2]),
            runner_up_sq=np.array([1.5, 1.5, 0.35, 1.5]),
            people=np.array([0, 0, 1, 1]),
            weights=np.full(4, 0.25),
        )
        wrong = is_rejected(tried, np.zeros(4, np.intp), np.array([0.8, 0.8], np.float32), 0.1)
        assert list(wrong) == [False, True, True, True]
        assert rate_over_people(wrong, tried.people, 0).value == pytest.approx(0.75)

    def test_a_distance_at_the_threshold_is_accepted(self) -> None:
        at_limit = Attempts(
            nearest=np.array([0]),
            distance_sq=np.array([0.5]),
            runner_up_sq=np.array([1.5]),
            people=np.array([0]),
            weights=np.ones(1),
        )
        assert list(is_rejected(at_limit, np.zeros(1, np.intp), np.array([0.5], np.float32), 0.1)) == [False]

    @pytest.mark.parametrize("share", ["strictest", "at the cut"])
    def test_a_base_keeps_to_its_share_at_both_ends(self, share: str) -> None:
        """At the limit of the fitted tail, and for a base below 0."""
        centroids = made_up(20, 1)
        tried = attempts(labelled(made_up(400, 2)), centroids)
        opens = ImpostorModel(tried, limits(centroids, None))
        targeted = 1e-30 if share == "strictest" else opens.tail.kept
        assert opens.share(opens.rule_for_rate(targeted)) <= targeted
        assert (opens.rule_for_rate(targeted) < 0) == (share == "strictest")

    def test_limits_follow_who_comes_near(self) -> None:
        """Strangers are similar to the first person and not to the second."""
        centroids = np.stack([direction(0), direction(1), direction(2)])
        crowd = np.stack([towards(direction(0), direction(axis), 0.9) for axis in range(10, 60)])
        rules = limits(centroids, labelled(crowd))
        assert rules.offsets_sq[0] < rules.offsets_sq[1]
        assert rules.thresholds_sq(1.0)[0] < rules.thresholds_sq(1.0)[1]

    def test_an_interval_narrows_with_more_strangers(self) -> None:
        centroids = made_up(20, 1)
        widths = []
        for count in (200, 4000):
            tried = attempts(labelled(made_up(count, 2)), centroids)
            rate = (opens := ImpostorModel(tried, limits(centroids, None))).rate(opens.rule_for_rate(0.01))
            widths.append(rate.high - rate.low)
        assert widths[1] < widths[0] / 2


class TestTable:
    TABLE = (OperatingPoint(1e-2, 1.5), OperatingPoint(1e-4, 1.2), OperatingPoint(1e-6, 0.9))

    def test_rows_are_met_and_joined_in_the_logarithm(self) -> None:
        assert threshold_for_fmr(self.TABLE, 1e-4) == pytest.approx(1.2)
        assert threshold_for_fmr(self.TABLE, 1e-5) == pytest.approx(1.05)
        assert threshold_for_fmr(self.TABLE, 1e-9) == 0.9
        assert threshold_for_fmr(self.TABLE, 0.5) == 1.5

    def test_a_larger_gallery_needs_a_stricter_threshold(self) -> None:
        limits = [threshold_sq(self.TABLE, one_stranger_in=1000, people=people) for people in (1, 10, 100, 1000)]
        assert limits[0] == pytest.approx(1.2)  # never laxer than 1 in 10,000 for one comparison
        assert limits == sorted(limits, reverse=True)
        assert limits[3] == pytest.approx(0.9, abs=0.01)

    def test_share_and_distance_undo_each_other(self) -> None:
        for fmr in (1e-6, 3e-6, 1e-4, 7e-3):
            assert fmr_at(self.TABLE, threshold_for_fmr(self.TABLE, fmr)) == pytest.approx(fmr)
        assert (fmr_at(self.TABLE, 0.1), fmr_at(self.TABLE, 3.0)) == (1e-6, 1e-2)

    def test_a_threshold_ends_before_the_nearest_other_person(self) -> None:
        centroids = np.stack([direction(0), towards(direction(0), direction(1), 0.5), direction(2)])
        assert max_thresholds_sq(centroids) == pytest.approx([0.45, 0.45, 1.8])
        assert list(max_thresholds_sq(centroids[:1])) == [4.0]
