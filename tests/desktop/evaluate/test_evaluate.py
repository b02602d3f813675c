"""Error rates compared with slow references on made-up people, and one run on real photos."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.face_images import DIMENSION
from support.rendered_portraits import EMBEDDER, Photo, put, two_people
from support.tool_process import refusal_of
from threshold_tools.classifiers import CLASSIFIERS
from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.evaluate import cross_validation, open_set_identification, verification
from threshold_tools.evaluate.cli import evaluate, main
from threshold_tools.evaluate.closed_set_identification import closed_set
from threshold_tools.evaluate.page import page
from threshold_tools.evaluate.recommendation import verdict
from threshold_tools.evaluate.report import FnirAtFpir, MeanWithSpread
from threshold_tools.evaluate.tables import document
from threshold_tools.reports.terminal import to_text
from threshold_tools.stats import Rate

from edge.core.errors import InputError

FEW = 5  # splits: enough for a result, and fast
SPREAD = 6  # dimensions in which made-up people differ: few enough for confusions


def crowd(counts: list[int], noise: float, seed: int = 1, *, lost: float = 0.0) -> LabelledEmbeddings:
    """People with `counts` photos each, around a centre of their own; a share `lost` without a face."""
    rng = np.random.default_rng(seed)
    vectors = np.zeros((sum(counts), DIMENSION), np.float32)
    centres = rng.normal(size=(len(counts), SPREAD))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    vectors[:, :SPREAD] = np.repeat(centres, counts, axis=0) + rng.normal(0, noise, (sum(counts), SPREAD))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = rng.random(len(vectors)) >= lost
    vectors[~found] = 0
    paths = [f"p{who:03d}/p{who:03d}_{n + 1:04d}.jpg" for who, count in enumerate(counts) for n in range(count)]
    return LabelledEmbeddings(vectors, found, paths, EMBEDDER)


def rates_at(fpir: float, threshold_sq: float, fnir: Rate) -> FnirAtFpir:
    return FnirAtFpir(fpir, threshold_sq, 1.0, fnir, fnir, fnir.value)


def stored(path: Path, photos: LabelledEmbeddings) -> Path:
    """Write vectors in the format of threshold embed."""
    np.savez(path, path=np.array(photos.paths), embedding=photos.vectors, found=photos.found, embedder_sha256=EMBEDDER)
    return path


def every_pair(photos: LabelledEmbeddings) -> tuple[list[float], list[float], int]:
    """Genuine and impostor distances by single pairs, and the number of mated pairs with failures."""
    genuine: list[float] = []
    impostor: list[float] = []
    mated = 0
    for one, two in itertools.combinations(range(len(photos)), 2):
        same = photos.people[one] == photos.people[two]
        mated += int(same)
        if photos.found[one] and photos.found[two]:
            gap = photos.vectors[one].astype(np.float64) - photos.vectors[two]
            (genuine if same else impostor).append(float(gap @ gap))
    return sorted(genuine), sorted(impostor), mated


class TestAllPairs:
    @pytest.mark.parametrize("lost", [0.0, 0.2])
    def test_tar_matches_brute_force(self, lost: float) -> None:
        """At every target, the most genuine pairs of any threshold within the FMR."""
        photos = crowd([1, 4, 6, 2, 9, 3, 5], 0.2, lost=lost)
        genuine, impostor, mated = every_pair(photos)
        swept = verification.sweep(photos, laxest=0.5, block=7)  # many blocks, the last one not full
        assert swept is not None
        assert (len(swept.genuine_sq), swept.impostor_count, swept.mated) == (len(genuine), len(impostor), mated)
        assert (mated > len(genuine)) == (lost > 0)
        for fmr in (0.5, 0.1, 0.03, 0.01, 1 / len(impostor)):
            allowed = [limit for limit in [0.0, *genuine] if np.mean(np.array(impostor) <= limit) <= fmr]
            best = sum(distance <= allowed[-1] for distance in genuine)
            limit = swept.threshold_sq(fmr)
            assert swept.accepted(limit) == best
            assert swept.fmr_at(limit) <= fmr
            assert swept.fmr_at(limit) == pytest.approx(fmr, abs=1 / len(impostor))
        assert swept.has_enough_samples(1 / len(impostor))
        assert not swept.has_enough_samples(0.9 / len(impostor))

    def test_det_and_eer_match_brute_force(self) -> None:
        photos = crowd([4, 6, 2, 9, 3, 5], 0.35, lost=0.1)
        genuine, impostor, mated = (np.array(each) for each in every_pair(photos))
        swept = verification.sweep(photos)
        assert swept is not None
        for failures, total in ((False, len(genuine)), (True, int(mated))):
            fmr, fnmr = swept.det(failures=failures)
            near = 1e-6  # a distance equals itself whichever way it was computed
            assert fmr == pytest.approx(np.array([(impostor <= limit + near).mean() for limit in genuine]))
            assert fnmr == pytest.approx(np.array([1 - (genuine <= limit + near).sum() / total for limit in genuine]))
            limits = np.concatenate([genuine, impostor]) + near
            rates = [((impostor <= x).mean(), 1 - (genuine <= x).sum() / total) for x in limits]
            assert swept.eer(failures=failures) == pytest.approx(min(max(both) for both in rates))

    def test_the_histograms_hold_every_pair_once(self) -> None:
        photos = crowd([4, 6, 2, 9], 0.3)
        genuine, impostor, _ = every_pair(photos)
        swept = verification.sweep(photos)
        assert swept is not None
        assert swept.genuine_bins.tolist() == np.histogram(genuine, verification.BINS)[0].tolist()
        assert swept.impostor_bins.tolist() == np.histogram(impostor, verification.BINS)[0].tolist()

    def test_the_worst_errors_are_the_extreme_pairs(self) -> None:
        photos = crowd([4, 6, 2, 9], 0.3)
        genuine, impostor, _ = every_pair(photos)
        swept = verification.sweep(photos)
        assert swept is not None
        (distance_sq, one, two), *others = swept.false_matches
        assert distance_sq == pytest.approx(impostor[0], abs=1e-5)
        assert photos.people[one] != photos.people[two]
        assert len(others) == 5  # one for any two of four people
        assert swept.false_non_matches[0][0] == pytest.approx(genuine[-1], abs=1e-5)

    def test_people_who_are_all_apart_make_no_errors(self) -> None:
        vectors = np.repeat(np.eye(DIMENSION, dtype=np.float32)[:5], 3, axis=0)
        paths = [f"{who}/{n}.jpg" for who in range(5) for n in range(3)]
        swept = verification.sweep(LabelledEmbeddings(vectors, np.ones(15, bool), paths, EMBEDDER))
        assert swept is not None
        assert swept.eer() == 0
        assert swept.accepted(swept.threshold_sq(1e-2)) == 15

    def test_equal_vectors_leave_nothing_to_accept(self) -> None:
        """No threshold separates them: TAR is 0, and a tie adds no false match."""
        vectors = np.repeat(np.eye(DIMENSION, dtype=np.float32)[:1], 6, axis=0)
        swept = verification.sweep(
            LabelledEmbeddings(vectors, np.ones(6, bool), [f"{n // 2}/{n}.jpg" for n in range(6)], EMBEDDER)
        )
        assert swept is not None
        assert swept.accepted(swept.threshold_sq(1e-2)) == 0
        assert swept.eer() == 1

    def test_downsampled_curve_keeps_its_ends(self) -> None:
        fmr, fnmr = np.linspace(0, 1, 9001) ** 3, np.linspace(1, 0, 9001) ** 3
        points = verification.downsample_curve(fmr, fnmr)
        assert points[0] == (0, 1)
        assert points[-1] == (1, 0)
        assert 50 < len(points) <= 402


class TestFolds:
    def test_separable_people_are_judged_correctly(self) -> None:
        photos = crowd([3] * 40, 0.0)
        drawn = cross_validation.draw_pairs(photos, 0)
        assert drawn is not None
        result = cross_validation.judge(photos, drawn)
        assert result.accuracy.tolist() == [1.0] * 10

    def test_chance_is_judged_as_chance(self) -> None:
        photos = crowd([4] * 200, 50.0)
        drawn = cross_validation.draw_pairs(photos, 0)
        assert drawn is not None
        accuracy = cross_validation.judge(photos, drawn).accuracy
        assert accuracy.mean() == pytest.approx(0.5, abs=0.04)

    def test_the_threshold_of_a_fold_is_the_best_of_the_others(self) -> None:
        photos = crowd([4] * 30, 0.3)
        drawn = cross_validation.draw_pairs(photos, 3)
        assert drawn is not None
        gaps = np.sum((photos.vectors[drawn.first] - photos.vectors[drawn.second]) ** 2, axis=1)
        result = cross_validation.judge(photos, drawn)
        for fold in range(10):
            here = drawn.fold == fold
            others, same = gaps[~here], drawn.same[~here]
            limits = [0.0, *(others + 1e-5)]
            best = max(np.sum((others <= limit) == same) for limit in limits)
            assert np.sum((others <= result.thresholds_sq[fold]) == same) == best
            judged = (gaps[here] <= result.thresholds_sq[fold]) == drawn.same[here]
            assert result.accuracy[fold] == pytest.approx(judged.mean())

    def test_drawn_folds_share_no_person_and_hold_each_pair_once(self) -> None:
        photos = crowd([1] * 20 + [3] * 25, 0.3)
        drawn = cross_validation.draw_pairs(photos, 0)
        assert drawn is not None
        people = [set(photos.people[rows[drawn.fold == n]]) for n in range(10) for rows in (drawn.first, drawn.second)]
        for one, two in itertools.combinations(range(20), 2):
            assert one // 2 == two // 2 or not people[one] & people[two]
        ends = list(zip(drawn.first.tolist(), drawn.second.tolist(), strict=True))
        assert len(set(ends)) == len(ends)
        assert (photos.people[drawn.first] == photos.people[drawn.second]).tolist() == drawn.same.tolist()
        for fold in range(10):
            assert drawn.same[drawn.fold == fold].mean() == 0.5

    def test_pair_without_a_face_is_a_failure(self) -> None:
        photos = crowd([3] * 40, 0.0, lost=0.1)
        drawn = cross_validation.draw_pairs(photos, 0)
        assert drawn is not None
        result = cross_validation.judge(photos, drawn)
        lost = ~(photos.found[drawn.first] & photos.found[drawn.second])
        assert result.failed == lost.sum() > 0
        assert result.accuracy.tolist() == [1.0] * 10
        for fold in range(10):
            assert result.with_failures[fold] == pytest.approx(1 - lost[drawn.fold == fold].mean())

    def test_a_pairs_file_of_lfw_is_read(self, tmp_path: Path) -> None:
        photos = crowd([3, 2, 1], 0.1)
        same = ["p000\t1\t2", "p000\t1\t3"]
        others = ["p000\t3\tp002\t1", "p001\t1\tp002\t1"]
        (tmp_path / "pairs.txt").write_text("\n".join(["2\t2", *same, *others, *reversed(same), *reversed(others)]))
        read = cross_validation.read_pairs(tmp_path / "pairs.txt", photos)
        first, second = ([photos.paths[row][5:-4] for row in rows] for rows in (read.first, read.second))
        assert first == [
            "p000_0001",
            "p000_0001",
            "p000_0003",
            "p001_0001",
            *["p000_0001"] * 2,
            "p001_0001",
            "p000_0003",
        ]
        assert second[:4] == ["p000_0002", "p000_0003", "p002_0001", "p002_0001"]
        assert read.same.tolist() == [True, True, False, False] * 2
        assert read.fold.tolist() == [0] * 4 + [1] * 4

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("", "line 1: expected two numbers"),
            ("10\n", "line 1: expected two numbers"),
            ("2 1\np000 1 2\n", "need 4 lines, found 1"),
            ("2 1\np000 1 2\np000 1 2\np000 1 2\np000 1 2\n", 'line 3: expected "name n other m"'),
            ("2 1\np000 1 7\np000 1 p001 1\np000 1 2\np000 1 p001 1\n", "line 2: there is no photo p000/p000_0007"),
        ],
    )
    def test_malformed_pairs_file_is_reported_with_its_line(self, tmp_path: Path, text: str, told: str) -> None:
        (tmp_path / "pairs.txt").write_text(text)
        with pytest.raises(InputError, match=told):
            cross_validation.read_pairs(tmp_path / "pairs.txt", crowd([2, 2], 0.1))


class TestClosedSet:
    def test_closed_set_of_people_with_ten_photos(self) -> None:
        closed = closed_set(crowd([10, 9, 12, 30], 0.05), 0, splits=FEW)
        assert closed is not None
        assert (closed.people, closed.photos, closed.strangers) == (3, 52, 1)
        assert [each.accuracy for each in closed.classifiers] == [MeanWithSpread(1, 0)] * len(CLASSIFIERS)
        assert closed.misnamed == []
        assert all(each.fnir is None for each in closed.classifiers)  # one stranger sets no limit

    def test_two_people_with_faces_are_enough(self) -> None:
        photos = crowd([10, 10], 0.05)
        assert closed_set(photos, 0, splits=FEW) is not None
        photos.found[10:] = False
        assert closed_set(photos, 0, splits=FEW) is None

    def test_strangers_to_themselves_are_named_by_chance(self) -> None:
        closed = closed_set(crowd([20] * 5, 50.0), 0, splits=FEW)
        assert closed is not None
        for each in closed.classifiers:
            assert each.accuracy.mean == pytest.approx(0.2, abs=0.1)

    def test_probes_without_a_face_are_failures(self) -> None:
        photos = crowd([3] * 150 + [20] * 5, 0.01, lost=0.3)
        closed = closed_set(photos, 0, splits=FEW)
        assert closed is not None
        for each in closed.classifiers:
            assert each.accuracy.mean == 1
            assert each.accuracy_with_failures.mean == pytest.approx(photos.found.mean(), abs=0.07)
        once = closed_set(photos, 0, splits=1)
        assert once is not None
        for each in once.classifiers:
            lost = 1 - each.accuracy_with_failures.mean
            assert each.fnir is not None
            assert each.fnir_with_failures is not None
            assert each.fnir_with_failures.mean == pytest.approx(each.fnir.mean * (1 - lost) + lost)

    def test_classifiers_reject_unknown_strangers(self) -> None:
        """The limit is set on half of the strangers; about the same share of the others gets a name."""
        closed = closed_set(crowd([4] * 300 + [12] * 8, 0.2), 0, splits=FEW)
        assert closed is not None
        for each in closed.classifiers:
            assert each.fpir is not None
            assert each.fpir.mean == pytest.approx(0.01, abs=0.006)
            assert each.fpir.spread > 0
            assert each.fnir is not None
            assert 1 - each.accuracy.mean <= each.fnir.mean < 0.95

    def test_centroid_rates_match_brute_force(self) -> None:
        photos = crowd([2] * 120 + [10] * 6, 0.3)
        closed = closed_set(photos, 7, splits=1)
        assert closed is not None
        rng = np.random.default_rng([7, 0])  # the first split's
        enrolled: dict[int, list[int]] = {}
        probes = []
        for person in range(120, 126):
            mixed = rng.permutation(photos.rows_of[person]).tolist()
            probes += mixed[:2]
            enrolled[person] = mixed[2:]
        means = {person: photos.vectors[rows].mean(axis=0) for person, rows in enrolled.items()}

        def named(row: int) -> tuple[float, int]:
            gaps = {p: float(np.sum((photos.vectors[row] - m / np.linalg.norm(m)) ** 2)) for p, m in means.items()}
            return min((gap, person) for person, gap in gaps.items())

        dealt = rng.permutation(120).tolist()
        judged, limiting = ([named(row)[0] for who in dealt[n::2] for row in photos.rows_of[who]] for n in (0, 1))
        limit = sorted(limiting)[1]  # 1 % of 120 is one photo: the second must stay out
        answers = [named(row) for row in probes]
        own = photos.people[probes].tolist()
        right = [who == person for (_, who), person in zip(answers, own, strict=True)]
        opened = [good and gap < limit for (gap, _), good in zip(answers, right, strict=True)]
        centroid = closed.classifiers[0]
        assert centroid.accuracy.mean == pytest.approx(np.mean(right))
        assert centroid.fnir is not None
        assert centroid.fnir.mean == pytest.approx(1 - np.mean(opened))
        assert centroid.fpir is not None
        assert centroid.fpir.mean == pytest.approx(np.mean([gap < limit for gap in judged]))

    def test_mislabelled_photo_is_always_misnamed(self) -> None:
        photos = crowd([12] * 4, 0.02)
        photos.vectors[0] = photos.vectors[13]
        closed = closed_set(photos, 0, splits=FEW)
        assert closed is not None
        (wrong,) = closed.misnamed
        assert (wrong.path, wrong.named, wrong.nearest_path) == (photos.paths[0], "p001", photos.paths[13])
        assert wrong.wrong == wrong.tried > 0


class TestOpenSet:
    def test_fnir_matches_brute_force(self) -> None:
        tried = open_set_identification.open_set(crowd([2] * 60 + [8] * 20, 0.3), 3, 0)
        assert tried is not None
        for tracks in (False, True):
            for fpir, miss in zip(
                (0.1, 0.02), open_set_identification.fnir_curve(tried, (0.1, 0.02), 0, tracks=tracks), strict=True
            ):
                values = []
                for draw in tried.draws:
                    own = (draw.own_tracks if tracks else draw.own).critical_sq
                    strangers = (draw.stranger_tracks if tracks else draw.strangers).critical_sq
                    limits = [0.0, *own[own < 5]]
                    kept = [limit for limit in limits if np.mean(strangers <= limit) <= fpir]
                    values.append(min(np.mean(own > limit) for limit in kept))
                assert miss.fnir.value == pytest.approx(np.mean(values))
                assert miss.fnir.low <= miss.fnir.value <= miss.fnir.high

    def test_draw_matches_enrolling_and_searching_one_by_one(self) -> None:
        """Critical distances: to the nearest centroid for strangers; infinite if it is of another enrolled person."""
        photos = crowd([2] * 9 + [8] * 5, 0.3)
        rows_of = photos.rows_of
        tried = open_set_identification.open_set(photos, 3, 0)
        assert tried is not None
        assert (tried.enrolled.tolist(), tried.strangers.tolist()) == (list(range(9, 14)), list(range(9)))
        rng = np.random.default_rng([0, 3, 0])  # the first draw's
        centroids, probes = [], []
        for person in tried.enrolled:
            mixed = rng.permutation(rows_of[person])
            mean = photos.vectors[mixed[:3]].mean(axis=0)
            centroids.append(mean / np.linalg.norm(mean))
            probes += [(int(person), row) for row in mixed[3:]]
        expected = []
        for person, row in probes:
            gaps = [float(np.sum((photos.vectors[row] - centroid) ** 2)) for centroid in centroids]
            nearest = int(np.argmin(gaps))
            expected.append(gaps[nearest] if int(tried.enrolled[nearest]) == person else np.inf)
        draw = tried.draws[0]
        assert draw.own.critical_sq == pytest.approx(np.array(expected), abs=1e-5)
        assert draw.own.people.tolist() == [person for person, _ in probes]
        assert np.isfinite(draw.strangers.critical_sq).all()
        assert len(draw.strangers.people) == 18
        assert (len(draw.own_tracks.people), len(draw.stranger_tracks.people)) == (5, 9)  # of 5 photos each, of 2

    def test_strangers_have_whole_tracks(self) -> None:
        tried = open_set_identification.open_set(crowd([6] * 4 + [9] * 4, 0.1), 6, 0)
        assert tried is not None
        draw = tried.draws[0]
        assert (len(draw.stranger_tracks.people), len(draw.own_tracks.people)) == (4 * 2, 4)

    def test_a_stranger_at_the_threshold_is_let_in(self) -> None:
        """The threshold is the largest float32 below the first distance to reject, and may equal a distance."""
        first = np.float32(0.5)
        strangers = open_set_identification.SearchScores(
            np.array([first, np.nextafter(first, np.float32(4)), *np.linspace(1, 2, 8)], np.float64),
            np.ones(10, bool),
            np.arange(10, 20),
        )
        own = open_set_identification.SearchScores(np.array([0.2, 0.9]), np.ones(2, bool), np.arange(2))
        tried = open_set_identification.OpenSetRun(
            1,
            np.arange(2),
            np.arange(10, 20),
            0,
            [open_set_identification.EnrolmentDraw(own, strangers, own, strangers)],
        )
        (miss,) = open_set_identification.fnir_curve(tried, [0.1], 0, tracks=False)
        assert (miss.threshold_sq, miss.false_positives, miss.fnir.value) == (0.5, 1, 0.5)

    def test_search_without_a_face_is_a_failure(self) -> None:
        photos = crowd([2] * 60 + [8] * 20, 0.01, lost=0.15)
        tried = open_set_identification.open_set(photos, 3, 0)
        assert tried is not None
        (miss,) = open_set_identification.fnir_curve(tried, [0.1], 0, tracks=False)
        lost = float(np.mean([1 - draw.own.usable.mean() for draw in tried.draws]))
        assert lost > 0.1
        assert miss.fnir_with_failures.value == pytest.approx(miss.fnir.value * (1 - lost) + lost)
        assert all(draw.strangers.usable.all() for draw in tried.draws)
        assert all(photos.found[photos.people == stranger].any() for stranger in tried.strangers)

    def test_person_without_a_face_is_counted(self) -> None:
        """They cannot be enrolled: all their searches fail, and they are not strangers."""
        photos = crowd([2] * 60 + [8] * 20, 0.01)
        photos.found[-8:] = False
        photos.vectors[-8:] = 0
        tried = open_set_identification.open_set(photos, 3, 0)
        assert tried is not None
        assert (len(tried.enrolled), len(tried.strangers), tried.failed) == (20, 60, 1)
        (miss,) = open_set_identification.fnir_curve(tried, [0.1], 0, tracks=False)
        assert len(tried.draws[0].own.people) == 19 * 5 + 8
        assert miss.fnir_with_failures.value == pytest.approx((miss.fnir.value * 19 * 5 + 8) / (19 * 5 + 8))

    def test_half_of_all_people_are_strangers(self) -> None:
        tried = open_set_identification.open_set(crowd([8] * 20, 0.1), 3, 0)
        assert tried is not None
        assert (len(tried.enrolled), len(tried.strangers)) == (10, 10)
        assert not set(tried.enrolled) & set(tried.strangers)

    def test_the_interval_narrows_with_more_people(self) -> None:
        widths = []
        for people in (20, 320):
            tried = open_set_identification.open_set(crowd([2] * people + [6] * people, 0.45), 3, 0)
            assert tried is not None
            (miss,) = open_set_identification.fnir_curve(tried, [0.1], 0, tracks=False)
            widths.append(miss.fnir.high - miss.fnir.low)
        assert widths[1] < widths[0] / 2


class TestGroups:
    def test_group_is_measured_with_common_thresholds(self, tmp_path: Path) -> None:
        photos = crowd([2] * 30 + [6] * 20, 0.25, lost=0.05)
        source = stored(tmp_path / "x.npz", photos)
        rows = [f"{name},{'even' if int(name[1:]) % 2 == 0 else 'odd'}" for name in photos.names if name != "p001"]
        (tmp_path / "g.csv").write_text("person,group\n" + "\n".join(rows))
        report = evaluate(source, groups_file=tmp_path / "g.csv", protocols=["verification", "open-set"]).report
        assert [group.name for group in report.groups] == ["even", "odd"]
        assert "1 person is in no group" in report.notes
        own = photos.only(photos.people % 2 == 0)
        genuine, impostor, _ = every_pair(own)
        group = report.groups[0]
        assert (group.people, group.photos, group.failures) == (25, len(own), int((~own.found).sum()))
        for row in group.at:
            assert row.fnmr == pytest.approx(np.mean(np.array(genuine) > row.threshold_sq))
            assert row.fmr == pytest.approx(np.mean(np.array(impostor) <= row.threshold_sq))

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("p000", 'line 1: expected "person,group"'),
            ("p000,a\np000,b", "line 2: p000 is already in group a"),
            ("x,a", "contains none of the 2 people"),
        ],
    )
    def test_a_malformed_groups_file_is_told(self, tmp_path: Path, text: str, told: str) -> None:
        (tmp_path / "g.csv").write_text(text)
        with pytest.raises(InputError, match=told):
            evaluate(stored(tmp_path / "x.npz", crowd([2, 2], 0.1)), groups_file=tmp_path / "g.csv")


class TestWhole:
    def test_report_depends_only_on_the_seed(self, tmp_path: Path) -> None:
        source = stored(tmp_path / "x.npz", crowd([2] * 40 + [12] * 12, 0.3, lost=0.02))
        first, second, other = (evaluate(source, seed=seed, splits=2) for seed in (4, 4, 5))
        assert first.report == second.report
        assert first.report.ten_fold != other.report.ten_fold
        pages = [page(each.report, each.photos, each.swept, None) for each in (first, second)]
        assert pages[0] == pages[1]

    def test_report_contains_every_protocol_with_and_without_failures(self, tmp_path: Path) -> None:
        photos = crowd([2] * 40 + [12] * 12, 0.3, lost=0.02)
        report = evaluate(stored(tmp_path / "x.npz", photos), splits=2).report
        assert [each.images for each in report.open_set] == [1, 3, 5, 10]
        told = to_text(document(report))
        words = (
            "folds",
            "Equal error rate",
            "TAR",
            "FNMR",
            "Closed set",
            "Open set",
            "FPIR",
            "FNIR",
            "lower is stricter",
        )
        for word in (*words, "TAR with failures", "FNIR with failures", "Named correctly, with failures"):
            assert word in told
        assert all(kind.name in told for kind in CLASSIFIERS)
        assert re.search(rf"photos without a face +{int((~photos.found).sum())} \(", told)

    def test_recommended_threshold_comes_first(self, tmp_path: Path) -> None:
        """The strictest threshold that the strangers support, with its rates in words."""
        photos = crowd([2] * 40 + [12] * 12, 0.3)
        report = evaluate(stored(tmp_path / "x.npz", photos), protocols=["open-set"]).report
        (three,) = (each for each in report.open_set if each.images == 3)
        strict, lax = rates_at(1e-3, 0.8, Rate(0.006, 0.0, 0.02)), three.fused[0]
        known = msgspec.structs.replace(report, open_set=[msgspec.structs.replace(three, fused=[lax, strict])])
        expected = (
            "Take threshold 0.80: one stranger in 1,000 gets in, 0.6 % of the visits of enrolled people are refused."
        )
        assert to_text(document(known)).splitlines()[0] == expected

    def test_threshold_with_a_wide_interval_is_not_recommended(self, tmp_path: Path) -> None:
        """One photo under a wrong name makes the strictest threshold useless; its interval shows that."""
        report = evaluate(stored(tmp_path / "x.npz", crowd([2] * 40 + [12] * 12, 0.3)), protocols=["open-set"]).report
        (three,) = (each for each in report.open_set if each.images == 3)
        strict = rates_at(1e-3, 0.47, Rate(0.01, 0.0, 0.65))
        lax = rates_at(1e-2, 0.85, Rate(0.0, 0.0, 0.012))
        found = verdict(msgspec.structs.replace(report, open_set=[msgspec.structs.replace(three, fused=[lax, strict])]))
        assert (found.tone, found.headline[:20]) == ("warn", "Take threshold 0.85:")
        assert "threshold 0.47 refuses between 0 and 65 %" in found.advice[1]

    def test_without_failures_no_column_repeats_them(self, tmp_path: Path) -> None:
        report = evaluate(stored(tmp_path / "x.npz", crowd([2] * 40 + [12] * 12, 0.3)), splits=2).report
        assert report.acquisition.failures == 0
        assert "with failures" not in to_text(document(report))

    def test_times_are_shown_if_requested(self, tmp_path: Path) -> None:
        """Without times, the report is the same in every run."""
        source = stored(tmp_path / "x.npz", crowd([2] * 4 + [12] * 3, 0.3))
        timed = evaluate(source, protocols=["closed-set"], splits=1, times=True)
        plain = evaluate(source, protocols=["closed-set"], splits=1)
        assert "Add a person, ms" in to_text(document(timed.report))
        assert "Add a person, ms" not in to_text(document(plain.report))
        assert "Add a person, ms" in page(timed.report, timed.photos, None, None)
        assert timed.report.closed_set is not None
        assert all((each.learn_ms or 0) > 0 < (each.probe_ms or 0) for each in timed.report.closed_set.classifiers)

    def test_photos_go_in_and_a_page_comes_out(
        self, tmp_path: Path, photo: Photo, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Real faces: two people, three good photos, and one photo of a wall."""
        people = two_people(tmp_path / "people", photo)
        put(people / "biden" / "wall.png", np.full((100, 100, 3), 90, np.uint8))
        out, kept = tmp_path / "o.html", tmp_path / "kept.npz"
        main([str(people), "--json", "--html", str(out), "--out-vectors", str(kept)])
        report = json.loads(capsys.readouterr().out)
        assert (report["acquisition"]["photos"], report["acquisition"]["failed"]) == (4, ["biden/wall.png"])
        verification = report["all_pairs"]
        assert (verification["mated"], verification["mated_with_failures"], verification["non_mated"]) == (1, 2, 2)
        assert verification["eer"] == 0
        assert verification["eer_with_failures"] == 0.5  # FNMR is 1/2 where FMR is 0
        assert report["ten_fold"] is None
        assert out.stat().st_mode & 0o077 == 0
        text = out.read_text()
        assert text.count("data:image/jpeg") == 4  # the nearest two people, and the one mated pair
        assert "http://" not in text
        main([str(kept), "--json"])
        again = json.loads(capsys.readouterr().out)
        assert again["all_pairs"] == verification

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["nowhere"], "nowhere: cannot be read"),
            (["x.npz", "--html", "no/o.html"], "no such folder"),
            (["x.npz", "--pairs", "no.txt"], "no.txt: cannot be read"),
            (["x.npz", "--out-vectors", "y.npz"], "is not a folder of photos"),
            (["damaged.npz"], "damaged, or not from threshold embed"),
            (["none.npz"], "no usable face"),
            (["long.npz"], "not of unit length"),
        ],
    )
    def test_bad_input_is_one_line_and_code_two(self, tmp_path: Path, words: list[str], told: str) -> None:
        photos = crowd([2, 2], 0.1)
        stored(tmp_path / "x.npz", photos)
        stored(tmp_path / "none.npz", crowd([2, 2], 0.1, lost=1.0))
        stored(tmp_path / "long.npz", LabelledEmbeddings(2 * photos.vectors, photos.found, photos.paths, EMBEDDER))
        (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 and nothing more")
        assert told in refusal_of("evaluate.py", words, tmp_path)
