"""Every classifier against slow references, on made-up vectors."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from threshold_tools.classifiers import (
    CLASSIFIERS,
    UNKNOWN,
    ClassifierSpec,
    KnnVote,
    MlpClassifier,
    NearestCentroid,
    PairVerification,
    People,
    Predictions,
    nearest,
    time_classifier,
    unit_means,
)

from edge.core.records import FloatArray

PEOPLE = (3, 5, 8, 13, 21)  # numbers that are no rows
every_classifier = pytest.mark.parametrize("spec", CLASSIFIERS, ids=lambda spec: spec.name)


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


class TestEveryClassifier:
    @every_classifier
    def test_people_who_are_apart_are_named(self, spec: ClassifierSpec) -> None:
        classifier = spec.fit(*crowd(9, 0.05))
        probes, own = crowd(4, 0.05, seed=2)
        assert classifier.predict(probes).people.tolist() == own.tolist()

    @every_classifier
    def test_whoever_is_nobody_known_scores_higher(self, spec: ClassifierSpec) -> None:
        """The limit that lets in all probes keeps out what looks like nobody."""
        classifier = spec.fit(*crowd(9, 0.05))
        limit = float(classifier.predict(crowd(4, 0.05, seed=2)[0]).scores.max())
        nobody = -unit_means(crowd(9, 0.0)[0], np.array([45]))
        assert classifier.predict(nobody).accepted_at(limit).tolist() == [UNKNOWN]

    @every_classifier
    def test_added_person_is_named_like_a_learned_one(self, spec: ClassifierSpec) -> None:
        vectors, people = crowd(9, 0.2)
        new = people == max(PEOPLE)
        probes = crowd(20, 0.2, seed=2)[0]
        added = spec.fit(vectors[~new], people[~new])
        added.add(vectors[new], max(PEOPLE))
        order = np.argsort(new, kind="stable")  # as it was added: last
        together = spec.fit(vectors[order], people[order])
        if isinstance(added, PairVerification) and isinstance(together, PairVerification):
            added.threshold_sq = together.threshold_sq  # only the threshold is not chosen again
        answers, wanted = added.predict(probes), together.predict(probes)
        assert answers.people.tolist() == wanted.people.tolist()
        assert answers.scores == pytest.approx(wanted.scores, abs=1e-5)

    @every_classifier
    def test_no_probes_get_no_answers(self, spec: ClassifierSpec) -> None:
        answers = spec.fit(*crowd(3, 0.1)).predict(np.zeros((0, 6), np.float32))
        assert (len(answers.people), len(answers.scores)) == (0, 0)

    @every_classifier
    def test_one_photo_of_each_is_enough(self, spec: ClassifierSpec) -> None:
        vectors, people = crowd(1, 0.0)
        assert spec.fit(vectors, people).predict(vectors).people.tolist() == people.tolist()

    @every_classifier
    def test_learning_again_gives_the_same_answers(self, spec: ClassifierSpec) -> None:
        probes = crowd(5, 0.3, seed=2)[0]
        first, second = (spec.fit(*crowd(9, 0.3)).predict(probes) for _ in range(2))
        assert first.people.tolist() == second.people.tolist()
        assert first.scores.tolist() == second.scores.tolist()

    @every_classifier
    def test_it_can_be_timed(self, spec: ClassifierSpec) -> None:
        assert min(time_classifier(spec, *crowd(3, 0.1), crowd(2, 0.1)[0])) > 0


class TestNearest:
    def test_nearest_and_second_nearest_match_brute_force(self) -> None:
        """With more probes than one block."""
        rows, probes = crowd(4, 0.5)[0], crowd(220, 0.5, seed=2)[0]
        found = nearest(probes, rows)
        for probe, row, first_sq, second_sq in zip(probes, *found, strict=True):
            gaps = gaps_sq(probe, rows)
            assert row == np.argmin(gaps)
            assert [first_sq, second_sq] == pytest.approx(sorted(gaps)[:2], abs=1e-6)

    def test_one_row_has_no_runner_up(self) -> None:
        rows = crowd(1, 0.1)[0][:1]
        assert nearest(rows, rows)[2].tolist() == [4]

    def test_a_centroid_is_the_direction_of_the_mean(self) -> None:
        vectors, people = crowd(7, 0.3)
        classifier = NearestCentroid(vectors, people)
        for person, centroid in zip(classifier.people, classifier.centroids, strict=True):
            mean = vectors[people == person].mean(axis=0)
            assert centroid == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)

    def test_a_vector_of_zeros_adds_nothing_to_a_mean(self) -> None:
        vectors = np.array([[0.6, 0.8], [0, 0], [0, 0]], np.float32)
        assert unit_means(vectors, np.array([2, 1])) == pytest.approx(np.array([[0.6, 0.8], [0, 0]]))


class TestKnnVote:
    @pytest.mark.parametrize("k", [1, 5, 10])
    def test_the_vote_is_what_counting_says(self, k: int) -> None:
        (vectors, people), probes = crowd(8, 0.6), crowd(8, 0.6, seed=2)[0]
        answers = KnnVote(vectors, people, k=k).predict(probes)
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
        (who,) = KnnVote(np.repeat(vectors[:1], 2, axis=0), np.repeat(people[:1], 2), k=10).predict(vectors[:1]).people
        assert who == people[0]


class TestPairVerification:
    def test_score_is_the_mean_over_pairs(self) -> None:
        """With more probes than one block."""
        (vectors, people), probes = crowd(8, 0.5), crowd(60, 0.5, seed=2)[0]
        classifier = PairVerification(vectors, people)
        answers = classifier.predict(probes)
        for probe, who, score in zip(probes, answers.people, answers.scores, strict=True):
            gaps = np.array(gaps_sq(probe, vectors))
            counted = np.where(gaps <= classifier.threshold_sq, gaps, 4)
            means = {person: float(counted[people == person].mean()) for person in PEOPLE}
            assert means[who] == min(means.values()) == pytest.approx(score, abs=1e-5)

    def test_the_threshold_tells_most_pairs_apart(self) -> None:
        """With more photos than one block."""
        vectors, people = crowd(60, 0.4)
        first, second = np.triu_indices(300, 1)
        gaps = np.sum((vectors[first].astype(np.float64) - vectors[second]) ** 2, axis=1)
        same = people[first] == people[second]

        def apart(limit: float) -> float:
            return float((gaps[same] <= limit).mean() - (gaps[~same] <= limit).mean())

        chosen = PairVerification(vectors, people).threshold_sq
        assert apart(chosen) == pytest.approx(max(apart(limit) for limit in np.arange(0.01, 4, 0.01)), abs=1e-9)


class TestMlpClassifier:
    def test_people_with_many_photos_do_not_prevail(self) -> None:
        """Two people who differ in the number of photos: the boundary is not shifted to the rare one."""
        rng = np.random.default_rng(5)
        own = np.repeat([3, 5], [400, 4])
        vectors = np.repeat(np.eye(6, dtype=np.float32)[:2], [400, 4], axis=0)
        classifier = MlpClassifier(vectors + rng.normal(0, 0.02, (404, 6)).astype(np.float32), own)
        (between,) = np.exp(classifier.log_probabilities(np.array([[0.7, 0.7, 0, 0, 0, 0]], np.float32)))
        assert between[1] == pytest.approx(0.5, abs=0.3)

    def test_the_score_is_minus_the_logarithm_of_the_highest_probability(self) -> None:
        classifier = MlpClassifier(*crowd(5, 0.2))
        probes = crowd(5, 0.4, seed=2)[0]
        found = classifier.predict(probes)
        chances = np.exp(classifier.log_probabilities(probes))
        assert chances.sum(axis=1) == pytest.approx(np.ones(len(probes)), abs=1e-5)
        assert np.exp(-found.scores) == pytest.approx(chances.max(axis=1), abs=1e-5)

    def test_one_person_alone_is_named(self) -> None:
        vectors, people = crowd(5, 0.1)
        alone = people == PEOPLE[2]
        assert MlpClassifier(vectors[alone], people[alone]).predict(vectors).people.tolist() == [PEOPLE[2]] * 25


class TestPredictions:
    def test_score_above_the_limit_is_unknown(self) -> None:
        answers = Predictions(np.array([4, 5, 6]), np.array([0.1, 0.2, 0.3]))
        assert answers.accepted_at(0.2).tolist() == [4, 5, UNKNOWN]
