"""Every way of naming people against slow references, on made-up vectors."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from threshold_tools.lab.classifiers import network, verification
from threshold_tools.lab.classifiers.classifier import UNKNOWN, Answers, People, threshold_for_fpir
from threshold_tools.lab.classifiers.nearest import KnnVote, NearestCentroid, NearestSample, nearest, unit_means
from threshold_tools.lab.classifiers.network import Network, Weights, loss_and_gradients, train
from threshold_tools.lab.classifiers.registry import KINDS, ClassifierSpec, time_classifier
from threshold_tools.lab.classifiers.verification import PairVerification

from edge.core.records import FloatArray

PEOPLE = (3, 5, 8, 13, 21)  # numbers that are no rows
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def crowd(each: int, noise: float, seed: int = 1, size: int = 6) -> tuple[FloatArray, People]:
    """So many unit vectors of each of five people, in mixed order; the people's centres are the same in every crowd."""
    centres = np.random.default_rng(99).normal(size=(len(PEOPLE), size))
    rng = np.random.default_rng(seed)
    own = rng.permutation(np.repeat(np.arange(len(PEOPLE)), each))
    vectors = centres[own] / np.linalg.norm(centres[own], axis=1, keepdims=True) + rng.normal(
        0, noise, (len(own), size)
    )
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), np.array(PEOPLE)[own]


def gaps_sq(probe: FloatArray, rows: FloatArray) -> list[float]:
    return [float(np.sum((probe.astype(np.float64) - row) ** 2)) for row in rows]


class TestEveryKind:
    @every_kind
    def test_people_who_are_apart_are_named(self, kind: ClassifierSpec) -> None:
        classifier = kind.learn(*crowd(9, 0.05))
        probes, own = crowd(4, 0.05, seed=2)
        assert classifier.name(probes).people.tolist() == own.tolist()

    @every_kind
    def test_whoever_is_nobody_known_scores_higher(self, kind: ClassifierSpec) -> None:
        """The limit that lets in all probes keeps out what looks like nobody."""
        classifier = kind.learn(*crowd(9, 0.05))
        limit = float(classifier.name(crowd(4, 0.05, seed=2)[0]).scores.max())
        nobody = -unit_means(crowd(9, 0.0)[0], np.array([45]))
        assert classifier.name(nobody).accepted_at(limit).tolist() == [UNKNOWN]

    @every_kind
    def test_somebody_added_is_named_like_somebody_learnt(self, kind: ClassifierSpec) -> None:
        vectors, people = crowd(9, 0.2)
        new = people == max(PEOPLE)
        probes = crowd(20, 0.2, seed=2)[0]
        added = kind.learn(vectors[~new], people[~new])
        added.add(vectors[new], max(PEOPLE))
        order = np.argsort(new, kind="stable")  # as it was added: last
        at_once = kind.learn(vectors[order], people[order])
        if isinstance(added, PairVerification) and isinstance(at_once, PairVerification):
            added.threshold_sq = at_once.threshold_sq  # it alone is not chosen anew
        answers, wanted = added.name(probes), at_once.name(probes)
        assert answers.people.tolist() == wanted.people.tolist()
        assert answers.scores == pytest.approx(wanted.scores, abs=1e-5)

    @every_kind
    def test_no_probes_get_no_answers(self, kind: ClassifierSpec) -> None:
        answers = kind.learn(*crowd(3, 0.1)).name(np.zeros((0, 6), np.float32))
        assert (len(answers.people), len(answers.scores)) == (0, 0)

    @every_kind
    def test_one_photo_of_each_is_enough(self, kind: ClassifierSpec) -> None:
        vectors, people = crowd(1, 0.0)
        assert kind.learn(vectors, people).name(vectors).people.tolist() == people.tolist()

    @every_kind
    def test_learning_again_gives_the_same_answers(self, kind: ClassifierSpec) -> None:
        probes = crowd(5, 0.3, seed=2)[0]
        first, second = (kind.learn(*crowd(9, 0.3)).name(probes) for _ in range(2))
        assert first.people.tolist() == second.people.tolist()
        assert first.scores.tolist() == second.scores.tolist()

    @every_kind
    def test_it_can_be_timed(self, kind: ClassifierSpec) -> None:
        times = time_classifier(kind, *crowd(3, 0.1), crowd(2, 0.1)[0])
        assert min(times.learn_ms, times.add_ms, times.probe_ms) > 0


class TestNearest:
    def test_the_nearest_and_the_next_are_what_going_through_all_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("threshold_tools.lab.classifiers.nearest._BLOCK", 7)
        rows, probes = crowd(4, 0.5)[0], crowd(6, 0.5, seed=2)[0]
        found = nearest(probes, rows)
        for probe, row, first_sq, second_sq in zip(
            probes, found.rows, found.distance_sq, found.runner_up_sq, strict=True
        ):
            gaps = gaps_sq(probe, rows)
            assert row == np.argmin(gaps)
            assert [first_sq, second_sq] == pytest.approx(sorted(gaps)[:2], abs=1e-6)

    def test_one_row_has_no_runner_up(self) -> None:
        rows = crowd(1, 0.1)[0][:1]
        assert nearest(rows, rows).runner_up_sq.tolist() == [4]

    def test_a_centroid_is_the_direction_of_the_mean(self) -> None:
        vectors, people = crowd(7, 0.3)
        classifier = NearestCentroid(vectors, people)
        for person, centroid in zip(classifier.people, classifier.centroids, strict=True):
            mean = vectors[people == person].mean(axis=0)
            assert centroid == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)

    def test_a_vector_of_zeros_adds_nothing_to_a_mean(self) -> None:
        vectors = np.array([[0.6, 0.8], [0, 0], [0, 0]], np.float32)
        assert unit_means(vectors, np.array([2, 1])) == pytest.approx(np.array([[0.6, 0.8], [0, 0]]))

    def test_the_nearest_sample_names_its_person(self) -> None:
        (vectors, people), probes = crowd(7, 0.5), crowd(7, 0.5, seed=2)[0]
        answers = NearestSample(vectors, people).name(probes)
        expected = [people[int(np.argmin(gaps_sq(probe, vectors)))] for probe in probes]
        assert answers.people.tolist() == expected


class TestNeighbours:
    @pytest.mark.parametrize("k", [1, 5, 10])
    def test_the_vote_is_what_counting_says(self, monkeypatch: pytest.MonkeyPatch, k: int) -> None:
        monkeypatch.setattr("threshold_tools.lab.classifiers.nearest._BLOCK", 7)
        (vectors, people), probes = crowd(8, 0.6), crowd(8, 0.6, seed=2)[0]
        answers = KnnVote(vectors, people, k=k).name(probes)
        ties = 0
        for probe, who, score in zip(probes, answers.people, answers.scores, strict=True):
            near = sorted(zip(gaps_sq(probe, vectors), people.tolist(), strict=True))[:k]
            votes = Counter(person for _, person in near)
            best = max(votes.values())
            ties += list(votes.values()).count(best) > 1
            chosen = next(person for _, person in near if votes[person] == best)  # of equals who is nearest
            assert who == chosen
            assert score == pytest.approx(np.mean([gap for gap, person in near if person == chosen]), abs=1e-6)
        assert k == 1 or ties

    def test_fewer_photos_than_votes_all_vote(self) -> None:
        vectors, people = crowd(1, 0.0)
        (who,) = KnnVote(np.repeat(vectors[:1], 2, axis=0), np.repeat(people[:1], 2), k=10).name(vectors[:1]).people
        assert who == people[0]


class TestPairVerification:
    def test_a_score_is_the_mean_over_pairs_of_which_the_refused_count_most(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(verification, "_BLOCK", 7)
        (vectors, people), probes = crowd(8, 0.5), crowd(8, 0.5, seed=2)[0]
        classifier = PairVerification(vectors, people)
        answers = classifier.name(probes)
        for probe, who, score in zip(probes, answers.people, answers.scores, strict=True):
            gaps = np.array(gaps_sq(probe, vectors))
            counted = np.where(gaps <= classifier.threshold_sq, gaps, 4)
            means = {person: float(counted[people == person].mean()) for person in PEOPLE}
            assert means[who] == min(means.values()) == pytest.approx(score, abs=1e-5)

    def test_the_threshold_tells_most_pairs_apart(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(verification, "_BLOCK", 7)
        vectors, people = crowd(8, 0.4)
        pairs = [(i, j) for i in range(40) for j in range(i)]
        gaps = np.array([gaps_sq(vectors[i], vectors[j : j + 1])[0] for i, j in pairs])
        same = np.array([people[i] == people[j] for i, j in pairs])

        def apart(limit: float) -> float:
            return float((gaps[same] <= limit).mean() - (gaps[~same] <= limit).mean())

        chosen = PairVerification(vectors, people).threshold_sq
        assert apart(chosen) == pytest.approx(max(apart(limit) for limit in np.arange(0.01, 4, 0.01)), abs=1e-9)


class TestNetwork:
    def test_the_gradients_are_the_slopes_of_the_loss(self) -> None:
        """Against central differences, in double precision, for every single weight."""
        rng = np.random.default_rng(3)
        shapes = ((6, 7), (7,), (7, 5), (5,))
        weights = Weights(*(rng.normal(size=shape) for shape in shapes))
        vectors, own = rng.normal(size=(9, 6)), rng.integers(5, size=9)
        gradients = loss_and_gradients(weights, vectors, own)[1]
        step = 1e-6
        for array, gradient in zip(weights.arrays, gradients.arrays, strict=True):
            assert gradient.shape == array.shape
            assert np.abs(gradient).max() > 1e-3
            for place in np.ndindex(array.shape):
                kept = array[place]
                array[place] = kept + step
                above = loss_and_gradients(weights, vectors, own)[0]
                array[place] = kept - step
                under = loss_and_gradients(weights, vectors, own)[0]
                array[place] = kept
                assert gradient[place] == pytest.approx((above - under) / (2 * step), abs=1e-7)

    def test_training_makes_the_loss_fall(self, monkeypatch: pytest.MonkeyPatch) -> None:
        vectors, people = crowd(9, 0.2)
        own = np.searchsorted(PEOPLE, people)
        losses = []
        for steps in (1, 300):
            monkeypatch.setattr(network, "STEPS", steps)
            losses.append(loss_and_gradients(train(vectors, own, 0), vectors, own)[0])
        assert losses[0] > 1.0
        assert losses[1] < 0.1

    def test_the_much_photographed_do_not_prevail(self) -> None:
        """Two people alike but for their number of photos: what lies between them is not the frequent one's alone."""
        rng = np.random.default_rng(5)
        own = np.repeat([0, 1], [400, 4])
        vectors = np.eye(6, dtype=np.float32)[own] + rng.normal(0, 0.02, (404, 6)).astype(np.float32)
        (between,) = np.exp(
            network.log_probabilities(train(vectors, own, 0), np.array([[0.7, 0.7, 0, 0, 0, 0]], np.float32))
        )
        assert between[1] == pytest.approx(0.5, abs=0.3)

    def test_the_score_is_minus_the_logarithm_of_the_best_chance(self) -> None:
        classifier = Network(*crowd(5, 0.2))
        probes = crowd(5, 0.4, seed=2)[0]
        answers = classifier.name(probes)
        chances = np.exp(network.log_probabilities(classifier.weights, probes))
        assert chances.sum(axis=1) == pytest.approx(np.ones(len(probes)), abs=1e-5)
        assert np.exp(-answers.scores) == pytest.approx(chances.max(axis=1), abs=1e-5)


class TestUnknown:
    def test_the_limit_is_the_largest_that_keeps_to_the_wish(self) -> None:
        strangers = np.random.default_rng(1).permutation(np.arange(200.0))
        limit = threshold_for_fpir(strangers, 0.01)
        assert (strangers <= limit).sum() == 2
        assert (strangers <= np.nextafter(limit, np.inf)).sum() == 3

    def test_equal_scores_do_not_slip_in_together(self) -> None:
        assert (np.zeros(100) <= threshold_for_fpir(np.zeros(100), 0.5)).sum() == 0

    def test_whoever_scores_above_the_limit_is_unknown(self) -> None:
        answers = Answers(np.array([4, 5, 6]), np.array([0.1, 0.2, 0.3]))
        assert answers.accepted_at(0.2).tolist() == [4, 5, UNKNOWN]
