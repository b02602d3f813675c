"""A head on frozen vectors: its gradients against differences, its rates against slow ones, and honest verdicts."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from adapt import main
from msgspec.json import decode
from support.rendered_portraits import EMBEDDER
from threshold_tools.embeddings import LabelledEmbeddings, load_embeddings
from threshold_tools.evaluate import open_set_identification, verification
from threshold_tools.lab.metric_learning import significance
from threshold_tools.lab.metric_learning.collapse import WINDOW, Watch, spread_sq
from threshold_tools.lab.metric_learning.comparison import adapt, summarize
from threshold_tools.lab.metric_learning.head import VERSION, Head, Origin, apply_head, project, read_head, save_head
from threshold_tools.lab.metric_learning.losses import (
    ArcFace,
    Contrastive,
    Loss,
    People,
    Reals,
    Triplet,
    squared_distances,
)
from threshold_tools.lab.metric_learning.losses_registry import LOSSES, arcface
from threshold_tools.lab.metric_learning.mining import mine_triplets
from threshold_tools.lab.metric_learning.report import Gain, Report, show
from threshold_tools.lab.metric_learning.split import MOST, split_people
from threshold_tools.lab.metric_learning.training import Adam, Batches, Check, Course, descent, train

from edge.core.errors import InputError
from edge.demo.run_demo import FOLDER

SIZE = 12  # dimensions of made-up vectors
QUICK = Course(steps=150, check_every=25, rate=3e-3, pull=0.001)


def crowd(counts: Sequence[int], noise: Reals, seed: int = 1) -> LabelledEmbeddings:
    """People with so many photos each, and noise of a given deviation in each dimension."""
    rng = np.random.default_rng(seed)
    vectors = np.repeat(rng.normal(size=(len(counts), SIZE)), counts, axis=0)
    vectors += rng.normal(size=vectors.shape) * noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    paths = [f"p{who:03d}/{n:02d}.jpg" for who, count in enumerate(counts) for n in range(count)]
    return LabelledEmbeddings(vectors.astype(np.float32), np.ones(len(vectors), bool), paths, EMBEDDER)


def half_noise(people: int = 200) -> LabelledEmbeddings:
    """Half of the dimensions say more of the photo than of the person: a head that mutes them helps everybody."""
    return crowd([5] * people, np.repeat([0.2, 3.0], SIZE // 2))


def even_noise(people: int = 150) -> LabelledEmbeddings:
    """All dimensions alike: no head can help."""
    return crowd([4] * people, np.full(SIZE, 0.5))


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(significance, "RESAMPLES", 200)


def stored(path: Path, photos: LabelledEmbeddings) -> Path:
    """As threshold embed writes them."""
    np.savez(path, path=np.array(photos.paths), embedding=photos.vectors, found=photos.found, embedder_sha256=EMBEDDER)
    return path


def batch(seed: int = 3, people: int = 4, photos: int = 3) -> tuple[Reals, People]:
    """Unit vectors (M, D), and whose they are; the last person has one only."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(people * photos + 1, SIZE))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.append(np.repeat(range(people), photos), people)


def prototypes(seed: int = 5) -> tuple[Reals, People]:
    return np.random.default_rng(seed).normal(size=(4, SIZE)), np.array([2, 0, 3, 1, -1])


BEYOND = 1.6  # rad; some angles of the batch pass 180 degrees with it, others do not
WITH_A_MARGIN_THAT_BITES: dict[str, Loss] = {
    "contrastive": Contrastive(1.5),
    "triplet-random": Triplet("random", 1.0),
    "triplet-hard": Triplet("hard", 1.0),
    "triplet-semihard": Triplet("semihard", 1.0),
    "arcface": ArcFace(*prototypes(), margin=0.4, scale=8.0),
    "arcface-beyond-180-degrees": ArcFace(*prototypes(), margin=BEYOND, scale=8.0),
}


class TestLosses:
    @pytest.mark.parametrize("name", WITH_A_MARGIN_THAT_BITES)
    def test_the_gradient_of_the_matrix_is_what_central_differences_say(self, name: str) -> None:
        """Of the loss, through the cut to unit length, with the pull to the identity."""
        loss = WITH_A_MARGIN_THAT_BITES[name]
        inputs, people = batch()
        matrix = np.eye(SIZE) + np.random.default_rng(7).normal(0, 0.2, (SIZE, SIZE))

        def value(at: Reals) -> float:
            return descent(at, inputs, people, loss, 0.05, np.random.default_rng(11)).value

        found = descent(matrix, inputs, people, loss, 0.05, np.random.default_rng(11))
        assert found.measured.active > 0
        assert found.gradient == pytest.approx(differences(value, matrix), abs=1e-7, rel=1e-5)

    @pytest.mark.parametrize("name", [name for name in WITH_A_MARGIN_THAT_BITES if "arcface" in name])
    def test_the_gradient_of_the_prototypes_is_what_central_differences_say(self, name: str) -> None:
        loss = WITH_A_MARGIN_THAT_BITES[name]
        assert isinstance(loss, ArcFace)
        vectors, people = batch()
        rng = np.random.default_rng()

        def value(at: Reals) -> float:
            return replace(loss, parameters=at).measure(vectors, people, rng).value

        found = loss.measure(vectors, people, rng).own
        assert found == pytest.approx(differences(value, loss.parameters), abs=1e-7, rel=1e-5)

    def test_the_test_of_arcface_reaches_both_sides_of_180_degrees(self) -> None:
        vectors, people = batch()
        rows, of = prototypes()
        known = of[people] >= 0
        own = rows[of[people[known]]] / np.linalg.norm(rows[of[people[known]]], axis=1, keepdims=True)
        beyond = np.arccos(np.sum(vectors[known] * own, axis=1)) + BEYOND > math.pi
        assert 0 < beyond.sum() < len(beyond)

    def test_contrastive_is_what_going_through_all_pairs_says(self) -> None:
        vectors, people = batch()
        same, other = [], []
        for one, two in itertools.combinations(range(len(vectors)), 2):
            distance = float(np.linalg.norm(vectors[one] - vectors[two]))
            if people[one] == people[two]:
                same.append(distance**2)
            else:
                other.append(max(0.0, 1.5 - distance) ** 2)
        found = Contrastive(1.5).measure(vectors, people, np.random.default_rng())
        assert found.value == pytest.approx(np.mean(same) + np.mean(other))
        assert found.active == pytest.approx(np.mean(np.array(other) > 0))

    def test_arcface_is_the_cross_entropy_of_widened_angles(self) -> None:
        vectors, people = batch()
        rows, of = prototypes()
        expected = []
        for vector, person in zip(vectors[:-1], people[:-1], strict=True):
            angles = [math.acos(float(vector @ row) / float(np.linalg.norm(row))) for row in rows]
            logits = [8 * math.cos(a + (0.1 if n == of[person] else 0)) for n, a in enumerate(angles)]
            expected.append(math.log(sum(math.exp(x) for x in logits)) - logits[of[person]])
        found = ArcFace(rows, of, margin=0.1, scale=8.0).measure(vectors, people, np.random.default_rng())
        assert found.value == pytest.approx(np.mean(expected))

    def test_hard_triplets_are_what_going_through_all_says(self) -> None:
        vectors, people = batch()
        distances = squared_distances(vectors)
        values = [
            max(0.0, distances[a, p] - min(distances[a, n] for n in range(len(people)) if people[n] != people[a]) + 0.7)
            for a, p in itertools.permutations(range(len(people)), 2)
            if people[a] == people[p]
        ]
        found = Triplet("hard", 0.7).measure(vectors, people, np.random.default_rng())
        assert found.value == pytest.approx(np.mean(values))

    @pytest.mark.parametrize("loss", [Contrastive(), Triplet("random"), Triplet("hard"), Triplet("semihard")])
    def test_the_value_in_collapse_is_the_value_when_all_are_alike(self, loss: Loss) -> None:
        vectors, people = batch()
        alike = vectors[:1] + 1e-5 * vectors  # exactly alike, semi-hard finds no triplet at all
        alike /= np.linalg.norm(alike, axis=1, keepdims=True)
        assert loss.measure(alike, people, np.random.default_rng(0)).value == pytest.approx(loss.collapsed, rel=1e-3)

    def test_the_value_in_collapse_of_arcface_has_all_prototypes_alike(self) -> None:
        vectors, people = batch()
        loss = ArcFace(np.repeat(vectors[:1], 4, axis=0), prototypes()[1])
        alike = np.repeat(vectors[:1], len(people), axis=0)
        assert loss.measure(alike, people, np.random.default_rng()).value == pytest.approx(loss.collapsed, rel=1e-3)

    def test_a_batch_with_nothing_to_learn_from_changes_nothing(self) -> None:
        """One photo of each person: no positive, and no prototype."""
        vectors, _ = batch()
        alone = np.arange(len(vectors))
        nobody = ArcFace(prototypes()[0], np.full(len(vectors), -1))
        for loss in (Triplet("random"), Triplet("hard"), Triplet("semihard"), nobody):
            found = loss.measure(vectors, alone, np.random.default_rng())
            assert found.value == 0
            assert not found.gradient.any()


class TestMining:
    DISTANCES = np.array(
        [
            [0.0, 0.5, 0.3, 0.6, 0.65, 1.5],
            [0.5, 0.0, 1.9, 1.9, 1.9, 1.9],
            [0.3, 1.9, 0.0, 1.9, 1.9, 1.9],
            [0.6, 1.9, 1.9, 0.0, 1.9, 1.9],
            [0.65, 1.9, 1.9, 1.9, 0.0, 1.9],
            [1.5, 1.9, 1.9, 1.9, 1.9, 0.0],
        ]
    )
    PEOPLE = np.array([0, 0, 1, 2, 3, 4])

    def test_hard_takes_the_nearest_of_somebody_else(self) -> None:
        found = mine_triplets(self.DISTANCES, self.PEOPLE, 0.2, "hard", np.random.default_rng())
        assert list(zip(*(rows.tolist() for rows in found), strict=True)) == [(0, 1, 2), (1, 0, 2)]

    def test_semihard_takes_the_nearest_beyond_the_positive_and_none_beyond_the_margin(self) -> None:
        """For 0: not 2, which is nearer than the positive; 3 rather than 4. For 1 there is none within the margin."""
        found = mine_triplets(self.DISTANCES, self.PEOPLE, 0.2, "semihard", np.random.default_rng())
        assert list(zip(*(rows.tolist() for rows in found), strict=True)) == [(0, 1, 3)]

    def test_random_takes_anybody_else(self) -> None:
        rng = np.random.default_rng(0)
        seen = set()
        for _ in range(60):
            anchor, positive, negative = mine_triplets(self.DISTANCES, self.PEOPLE, 0.2, "random", rng)
            assert (anchor.tolist(), positive.tolist()) == ([0, 1], [1, 0])
            seen.update(negative.tolist())
        assert seen == {2, 3, 4, 5}


class TestSplit:
    def test_nobody_is_in_two_sets_and_all_sets_are_alike(self) -> None:
        photos = crowd([1] * 100 + [2] * 60 + [6] * 40, np.full(SIZE, 0.5))
        split = split_people(photos, 4)
        sets = (split.train, split.validation, split.held_out)
        assert sorted(name for each in sets for name in each.names) == photos.names
        assert [len(each.names) for each in sets] == [100, 40, 60]
        assert [int((np.bincount(each.people) > 1).sum()) for each in sets] == [50, 20, 30]
        assert split_people(photos, 4).held_out.paths == split.held_out.paths
        assert split_people(photos, 5).held_out.paths != split.held_out.paths

    def test_nobody_is_in_one_set_for_ever(self) -> None:
        """Not even who has the most photos."""
        photos = crowd([9] + [2] * 59, np.full(SIZE, 0.5))
        splits = [split_people(photos, seed) for seed in range(20)]
        assert any("p000" in split.train.names for split in splits)
        assert any("p000" in split.validation.names for split in splits)
        assert any("p000" in split.held_out.names for split in splits)

    def test_photos_without_a_face_and_more_than_enough_photos_are_left_out(self) -> None:
        photos = crowd([MOST + 9] * 3 + [3] * 47, np.full(SIZE, 0.5))
        found = np.ones(len(photos), bool)
        found[::7] = False
        split = split_people(replace(photos, found=found), 0)
        kept = {path for each in (split.train, split.validation, split.held_out) for path in each.paths}
        assert not kept & {path for path, good in zip(photos.paths, found, strict=True) if not good}
        assert sum(path.startswith("p000/") for path in kept) == MOST

    def test_too_few_people_are_refused(self) -> None:
        with pytest.raises(InputError, match="only 39 people have two photos"):
            split_people(crowd([2] * 39 + [1] * 50, np.full(SIZE, 0.5)), 0)


class TestTraining:
    def test_adam_is_what_the_paper_writes(self) -> None:
        values, mean, square = np.array([1.0, -2.0]), np.zeros(2), np.zeros(2)
        ours = values.copy()
        adam = Adam(ours, 0.1)
        for step, gradient in enumerate(np.array([[1.0, -3.0], [0.5, 2.0], [-4.0, 0.1]]), 1):
            adam.step(gradient)
            mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
            values = values - 0.1 * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
            assert ours == pytest.approx(values)

    def test_a_batch_has_pairs_and_others(self) -> None:
        photos = crowd([1] * 30 + [6] * 20, np.full(SIZE, 0.5))
        rows = Batches(photos, Course(people=5, photos=3, others=7)).rows(np.random.default_rng(0))
        counts = np.bincount(photos.people[rows], minlength=50)
        assert len(set(rows.tolist())) == len(rows) == 5 * 3 + 7
        assert counts[:30].sum() == 7
        assert sorted(counts[30:])[-5:] == [3] * 5

    def test_what_is_kept_is_the_best_on_validation(self) -> None:
        """Told that the third look was best, training returns that matrix, and ends after its patience."""
        seen: list[Reals] = []

        def validate(matrix: Reals) -> float:
            seen.append(matrix.copy())
            return 1.0 if len(seen) == 4 else 0.0

        course = Course(steps=500, check_every=10, patience=3)
        done = train(even_noise(), Contrastive(), course, 0, validate=validate, show=lambda _: None)
        assert (done.best, done.checks[-1].step, done.lost) == (30, 60, False)
        assert np.array_equal(done.matrix, seen[3])
        assert "no better on validation" in done.ended

    def test_without_anything_better_the_head_is_no_head(self) -> None:
        shown: list[Check] = []
        course = Course(steps=60, check_every=20)
        done = train(even_noise(), Contrastive(), course, 0, validate=lambda _: 0.5, show=shown.append)
        assert np.array_equal(done.matrix, np.eye(SIZE))
        assert [check.step for check in shown] == [0, 20, 40, 60]

    def test_prototypes_learn_too(self) -> None:
        loss = arcface(half_noise(60))
        before = loss.parameters.copy()
        train(half_noise(60), loss, Course(steps=3), 0, validate=lambda _: 0.0, show=lambda _: None)
        assert (loss.parameters != before).any(axis=1).all()

    def test_a_hard_pull_holds_the_matrix_at_the_identity(self) -> None:
        moved = []
        for pull in (0.0, 100.0):
            matrices: list[Reals] = []

            def validate(matrix: Reals, kept: list[Reals] = matrices) -> float:
                kept.append(matrix.copy())
                return 0.0

            course = Course(steps=100, check_every=100, pull=pull, rate=1e-3)
            train(half_noise(), Contrastive(), course, 0, validate=validate, show=lambda _: None)
            moved.append(float(np.linalg.norm(matrices[-1] - np.eye(SIZE))))
        assert moved[1] < 0.2 * moved[0]


def one_side(people: int = 60) -> LabelledEmbeddings:
    """Vectors with a common direction whose people mean nothing: hard triplets are best off with all alike."""
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(people * 4, SIZE))
    vectors[:, 0] = np.abs(vectors[:, 0]) + 2
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    paths = [f"p{row // 4:03d}/{row % 4}.jpg" for row in range(len(vectors))]
    return LabelledEmbeddings(vectors.astype(np.float32), np.ones(len(vectors), bool), paths, EMBEDDER)


class TestCollapse:
    def test_training_that_collapses_is_stopped_and_says_so(self) -> None:
        course = Course(steps=3000, check_every=50, patience=100, rate=0.01, pull=0.0)
        done = train(one_side(), Triplet("hard"), course, 0, validate=lambda _: 0.0, show=lambda _: None)
        assert done.lost
        assert done.ended.startswith("collapsed: ")
        assert done.checks[-1].step < 3000

    def test_vectors_that_come_together_are_noticed(self) -> None:
        watch = Watch(0.2)
        assert not watch.update(0.05, 1.9)
        assert not watch.update(0.05, 0.2)
        assert watch.update(0.05, 0.18).startswith("collapsed: all vectors alike, 0.180 apart, at first 1.900; ")

    def test_a_loss_that_is_stuck_at_the_margin_is_noticed(self) -> None:
        watch = Watch(0.2)
        answers = [watch.update(0.2 + 0.003 * (-1) ** step, 1.9) for step in range(WINDOW)]
        assert not any(answers[:-1])
        assert answers[-1].startswith("collapsed: the loss is stuck at 0.200")

    def test_a_loss_that_only_passes_the_margin_is_none_of_its_business(self) -> None:
        watch = Watch(0.2)
        assert not any(watch.update(0.25 - 0.001 * step, 1.9) for step in range(3 * WINDOW))

    def test_a_loss_that_is_no_number_is_noticed(self) -> None:
        assert Watch(0.2).update(math.nan, 1.9).startswith("diverged: ")

    def test_the_spread_is_the_mean_squared_distance(self) -> None:
        vectors, _ = batch()
        assert spread_sq(vectors) == pytest.approx(squared_distances(vectors).mean())

    def test_a_collapsed_head_is_never_chosen(self, capsys: pytest.CaptureFixture[str]) -> None:
        course = Course(steps=3000, check_every=50, patience=100, rate=0.01, pull=0.0)
        done = adapt(one_side(200), "made up", losses=["triplet-hard"], course=course)
        assert done.head is None
        assert [one.verdict for one in done.report.splits[0].tried] == ["collapsed"]
        assert "collapsed: " in capsys.readouterr().err
        assert "collapsed: " in show(done.report)


class TestJudgement:
    def test_the_rates_are_those_of_the_evaluation(self) -> None:
        photos = half_noise()
        found = significance.rates(photos, 6)
        swept, tried = verification.sweep(photos), open_set_identification.open_set(photos, significance.IMAGES, 6)
        assert found is not None
        assert swept is not None
        assert tried is not None
        expected = [swept.accepted(swept.threshold_sq(fmr)) / len(swept.genuine_sq) for fmr in significance.FMRS]
        expected += [
            swept.eer(),
            open_set_identification.fnir_curve(tried, [significance.FPIR], 6, tracks=False)[0].fnir.value,
        ]
        assert list(found.names) == ["TAR at FMR 1e-03", "TAR at FMR 1e-04", "EER", "FNIR at FPIR 1e-02"]
        assert found.values == pytest.approx(np.array(expected))
        assert 0 < found.values[0] < 1
        assert np.nanmean(found.drawn, axis=0) == pytest.approx(found.values, abs=0.05)

    def test_few_people_have_fewer_rates(self) -> None:
        """Nobody has photos enough to be enrolled, and the pairs are too few for the rarer FMR."""
        found = significance.rates(crowd([3] * 40, np.full(SIZE, 0.5)), 0)
        assert found is not None
        assert list(found.names) == ["TAR at FMR 1e-03", "EER"]
        assert significance.rates(crowd([1] * 40, np.full(SIZE, 0.5)), 0) is None
        few = significance.rates(crowd([5] * 18, np.full(SIZE, 0.5)), 0)
        assert few is not None
        assert "FNIR at FPIR 1e-02" not in few.names

    def test_a_bootstrap_sample_is_what_its_people_drawn_several_times_say(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """TAR and EER, all pairs of the sample gone through; two copies of one person are no impostors."""
        monkeypatch.setattr(significance, "_BLOCK", 4)  # many blocks, the last one not full
        photos = crowd([3, 2, 4, 1, 3, 2, 1, 5], np.full(SIZE, 0.9))
        votes = np.array([2, 0, 1, 3, 1, 1, 0, 2])
        copies = [(who, row) for who in range(8) for row in photos.rows_of[who] for _ in range(votes[who])]
        genuine = [
            (verification.squared(photos.vectors[one] @ photos.vectors[two]), votes[who])
            for who in range(8)
            for one, two in itertools.combinations(photos.rows_of[who], 2)
        ]
        own = np.repeat([d for d, _ in genuine], [v for _, v in genuine])
        other = np.array(
            [
                verification.squared(photos.vectors[one] @ photos.vectors[two])
                for (who, one), (whom, two) in itertools.combinations(copies, 2)
                if who != whom
            ]
        )
        near = 1e-6
        limits = [limit for limit in np.sort(own) if (other <= limit + near).mean() <= 0.05]
        tar = (own <= limits[-1] + near).mean()
        eer = min(max((other <= x + near).mean(), 1 - (own <= x + near).mean()) for x in own)
        found = significance._Pairs(photos, 1.0).rates([0.05], votes)
        assert found == pytest.approx([tar, eer])

    def test_searches_of_people_drawn_several_times_count_as_often(self) -> None:
        tried = open_set_identification.open_set(crowd([9] * 60, np.full(SIZE, 0.7)), significance.IMAGES, 0)
        assert tried is not None
        rng = np.random.default_rng(1)
        for draw in tried.draws:
            votes = rng.integers(0, 5, 60)
            own = np.repeat(draw.own.critical_sq, votes[draw.own.people])
            strangers = np.sort(np.repeat(draw.strangers.critical_sq, votes[draw.strangers.people]))
            refused = strangers[math.floor(significance.FPIR * len(strangers))]
            searches = significance._Searches(draw)
            assert searches.fnir(votes) == pytest.approx((own >= refused).mean())
            assert searches.fnir(votes) != pytest.approx(searches.fnir(None))
            assert searches.fnir(np.ones(60, np.int64)) == searches.fnir(None)

    def test_all_drawn_once_is_the_value_itself(self) -> None:
        """Also where only the nearest impostors are kept."""
        photos = half_noise(60)
        once = np.ones(60, np.int64)
        swept = verification.sweep(photos)
        assert swept is not None
        expected = [swept.accepted(swept.threshold_sq(1e-3)) / len(swept.genuine_sq), swept.eer()]
        assert significance._Pairs(photos, 3 * swept.eer()).rates([1e-3], once) == pytest.approx(expected)

    def test_no_head_makes_no_difference(self) -> None:
        photos = even_noise(60)
        without = significance.rates(photos, 0)
        behind_none = significance.rates(apply_head(np.eye(SIZE), photos), 0)
        assert without is not None
        assert behind_none is not None
        found = significance.rate_differences(without, behind_none)
        assert all(abs(gain.value) < 1e-3 for gain in found)
        assert significance.summarize_significance(found) == "no difference"

    def test_a_positive_gain_is_a_better_rate_whichever_way_the_rate_goes(self) -> None:
        photos = half_noise(100)
        mute = np.diag(np.repeat([1.0, 0.1], SIZE // 2))
        without, muted = significance.rates(photos, 0), significance.rates(apply_head(mute, photos), 0)
        assert without is not None
        assert muted is not None
        found = significance.rate_differences(without, muted)
        assert all(gain.low > 0 for gain in found)
        assert significance.summarize_significance(found) == "helps"
        assert significance.summarize_significance(significance.rate_differences(muted, without)) == "hurts"

    def test_one_worse_rate_outweighs_a_better_one(self) -> None:
        better, worse = Gain("a", 0.9, 0.01, 0.001, 0.02), Gain("b", 0.9, -0.01, -0.02, -0.001)
        unsure = Gain("c", 0.9, 0.01, -0.01, 0.03)
        assert significance.summarize_significance([unsure]) == "no difference"
        assert significance.summarize_significance([unsure, better]) == "helps"
        assert significance.summarize_significance([unsure, better, worse]) == "hurts"


class TestHead:
    HEAD = Head(np.eye(SIZE, dtype=np.float32) * 2, Origin(VERSION, EMBEDDER, "arcface", 3, 50))

    def test_a_head_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        save_head(tmp_path / "h", self.HEAD)
        found = read_head(tmp_path / "h")
        assert np.array_equal(found.matrix, self.HEAD.matrix)
        assert found.origin == self.HEAD.origin

    def test_behind_a_head_vectors_are_units_and_none_stays_none(self) -> None:
        vectors = np.vstack([batch()[0], np.zeros((1, SIZE))]).astype(np.float32)
        moved = project(np.diag(np.arange(1.0, SIZE + 1)), vectors)
        assert np.linalg.norm(moved[:-1], axis=1) == pytest.approx(np.ones(len(moved) - 1), abs=1e-6)
        assert not moved[-1].any()

    def test_what_is_no_head_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "h").write_bytes(b"no head")
        with pytest.raises(InputError, match="damaged, or no head"):
            read_head(tmp_path / "h")
        with pytest.raises(InputError, match="cannot be read"):
            read_head(tmp_path / "nowhere")
        save_head(tmp_path / "h", replace(self.HEAD, matrix=np.full((SIZE, SIZE), np.nan, np.float32)))
        with pytest.raises(InputError, match="no square matrix"):
            read_head(tmp_path / "h")
        save_head(tmp_path / "h", replace(self.HEAD, matrix=np.ones((SIZE, 3), np.float32)))
        with pytest.raises(InputError, match="no square matrix"):
            read_head(tmp_path / "h")
        save_head(tmp_path / "h", replace(self.HEAD, origin=Origin(2, EMBEDDER, "arcface", 3, 50)))
        with pytest.raises(InputError, match="version 2"):
            read_head(tmp_path / "h")

    def test_stored_vectors_are_put_behind_it_under_a_name_of_their_own(self, tmp_path: Path) -> None:
        """Neither the embedder's vectors nor another head's can be mistaken for them."""
        photos = even_noise(3)
        source = stored(tmp_path / "x.npz", photos)
        names = []
        for number, matrix in enumerate((np.eye(SIZE), np.diag(np.arange(1.0, SIZE + 1)))):
            save_head(tmp_path / "h", replace(self.HEAD, matrix=matrix.astype(np.float32)))
            out = tmp_path / f"{number}.npz"
            assert main([str(source), "--apply", str(tmp_path / "h"), "--out", str(out)]) == 0
            found = load_embeddings(out)
            assert found.vectors == pytest.approx(project(matrix, photos.vectors))
            assert found.paths == photos.paths
            names.append(found.embedder_sha256)
        other = replace(self.HEAD, origin=Origin(VERSION, "0" * 64, "arcface", 3, 50))
        assert len({*names, EMBEDDER, self.HEAD.vectors_sha256, other.vectors_sha256}) == 5

    def test_vectors_of_another_embedder_are_refused(self, tmp_path: Path) -> None:
        source = stored(tmp_path / "x.npz", even_noise(3))
        save_head(tmp_path / "h", replace(self.HEAD, origin=Origin(VERSION, "0" * 64, "arcface", 3, 50)))
        with pytest.raises(InputError, match="learnt on 000000000000"):
            main([str(source), "--apply", str(tmp_path / "h"), "--out", str(tmp_path / "y.npz")])
        assert not (tmp_path / "y.npz").exists()


class TestTool:
    QUICK_WORDS = ("--rate", "0.003", "--pull", "0.001", "--steps", "150")

    @pytest.mark.parametrize("name", [name for name in LOSSES if name != "triplet-random"])
    def test_every_loss_learns_what_can_be_learnt(self, name: str) -> None:
        done = adapt(half_noise(), "made up", losses=[name], course=QUICK)
        (tried,) = done.report.splits[0].tried
        losses = [look.loss for look in tried.course if look.loss is not None]
        assert tried.verdict == "helps", show(done.report)
        assert all(gain.value > 0 for gain in tried.gains)
        if name != "triplet-semihard":  # its triplets are chosen anew to be as hard as before
            assert losses[-1] < losses[0]

    def test_a_head_that_helps_is_written_and_helps_in_the_evaluation(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        photos = half_noise()
        source, out, plot = stored(tmp_path / "x.npz", photos), tmp_path / "h", tmp_path / "p.png"
        words = [str(source), "--loss", "contrastive", "--out", str(out), "--plot", str(plot), "--json"]
        assert main([*words, *self.QUICK_WORDS]) == 0
        report = decode(capsys.readouterr().out, type=Report)
        assert (report.helps, report.chosen, report.written) == (True, "contrastive", str(out))
        head = read_head(out)
        assert (head.origin.embedder_sha256, head.origin.people) == (EMBEDDER, 100)
        assert plot.read_bytes().startswith(b"\x89PNG")
        before = verification.sweep(split_people(photos, 0).held_out)
        after = verification.sweep(apply_head(head.matrix, split_people(photos, 0).held_out))
        assert before is not None
        assert after is not None
        assert after.eer() < before.eer()

    def test_a_head_that_does_not_help_is_not_written(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        source, out = stored(tmp_path / "x.npz", even_noise()), tmp_path / "h"
        assert main([str(source), "--out", str(out), *self.QUICK_WORDS]) == 1
        told = capsys.readouterr()
        assert "No head: " in told.out
        assert "not written, because no head helps" in told.err
        assert not out.exists()
        assert all(name in told.out for name in LOSSES)
        assert "loss 0." in told.err

    def test_the_same_seed_gives_the_same_report(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        source = stored(tmp_path / "x.npz", even_noise(80))
        answers = []
        for seed in ("5", "5", "6"):
            words = ("--loss", "triplet-random", "--splits", "2", "--steps", "30", "--json", "--seed", seed)
            assert main([str(source), *words]) == 0
            answers.append(json.loads(capsys.readouterr().out))
        assert answers[0] == answers[1] != answers[2]
        assert [part["seed"] for part in answers[0]["splits"]] == [5, 6]

    def test_a_head_must_help_on_every_split(self) -> None:
        assert summarize("arcface", ["helps", "helps"]) == (
            True,
            "The head chosen on validation, arcface, helps on the held-out people of 2 splits.",
        )
        for other in ("no difference", "hurts", "no better on validation"):
            assert not summarize("arcface", ["helps", other])[0]
        assert not summarize(None, [])[0]

    def test_two_splits_of_people_who_profit_make_a_head(self) -> None:
        done = adapt(half_noise(), "made up", losses=["contrastive"], course=QUICK, splits=2)
        assert done.report.helps
        assert "MEAN GAIN over 2 splits" in show(done.report)
        assert done.head is not None
        assert done.head.origin.seed == 0

    def test_a_folder_of_too_few_people_is_refused(self) -> None:
        with pytest.raises(InputError, match="people have two photos"):
            main([str(FOLDER / "people")])

    def test_a_missing_folder_for_the_head_is_told_before_any_training(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such folder"):
            main(["x.npz", "--out", str(tmp_path / "nowhere" / "h")])


def test_arcface_has_a_prototype_for_everybody_with_several_photos() -> None:
    photos = crowd([1, 3, 2, 1], np.full(SIZE, 0.5))
    loss = arcface(photos)
    assert loss.prototype_of.tolist() == [-1, 0, 1, -1]
    mean = photos.vectors[photos.rows_of[2]].astype(np.float64).mean(axis=0)
    assert loss.parameters[1] == pytest.approx(mean / np.linalg.norm(mean))


def differences(value: Callable[[Reals], float], at: Reals) -> Reals:
    """The gradient by central differences."""
    gradient = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        step = np.zeros_like(at)
        step[place] = 1e-6
        gradient[place] = (value(at + step) - value(at - step)) / 2e-6
    return gradient
