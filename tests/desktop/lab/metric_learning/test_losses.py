"""Losses and triplet mining against slow references."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from support.made_up_people import SIZE, crowd
from threshold_tools.stats import Reals

pytest.importorskip("torch", reason="not installed: pip install -e '.[lab]'")

import torch
from threshold_tools.lab.metric_learning import losses

BEYOND = 1.6  # rad; some angles of the batch pass 180 degrees with it, others do not


def batch() -> tuple[Reals, list[int]]:
    """Unit vectors (13, SIZE), three of each of four people and one of a fifth."""
    vectors = np.random.default_rng(3).normal(size=(13, SIZE))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), [*np.repeat(range(4), 3).tolist(), 4]


def prototypes() -> Reals:
    return np.random.default_rng(5).normal(size=(4, SIZE))


PROTOTYPE_OF = [2, 0, 3, 1, -1]


def arcface(margin: float, rows: Reals | None = None) -> losses.ArcFace:
    rows = prototypes() if rows is None else rows
    return losses.ArcFace(torch.tensor(rows).requires_grad_(), torch.tensor(PROTOTYPE_OF), margin, scale=8.0)


def measure(loss: losses.Loss, vectors: Reals, people: list[int]) -> tuple[float, float]:
    """The value and the active share."""
    found = loss.measure(torch.tensor(vectors), torch.tensor(people), torch.Generator().manual_seed(0))
    return float(found.value.detach()), found.active


TRIPLETS = tuple(losses.Triplet(mining, 1.0) for mining in ("random", "hard", "semihard"))
PAIR_LOSSES: tuple[losses.Loss, ...] = (losses.Contrastive(1.5), *TRIPLETS)


class TestLosses:
    @pytest.mark.parametrize("loss", [*PAIR_LOSSES, arcface(0.4), arcface(BEYOND)])
    def test_derivatives_match_central_differences(self, loss: losses.Loss) -> None:
        """Of the loss by the vectors and by what the loss learns itself."""
        vectors, people = batch()
        inputs = torch.tensor(vectors).requires_grad_()
        numbers = torch.tensor(people)

        assert torch.autograd.gradcheck(
            lambda at, *_: loss.measure(at, numbers, torch.Generator().manual_seed(0)).value,
            (inputs, *loss.parameters),
            fast_mode=True,
        )

    def test_angles_of_arcface_reach_both_sides_of_180_degrees(self) -> None:
        vectors, people = batch()
        own = prototypes()[[PROTOTYPE_OF[person] for person in people[:-1]]]
        own /= np.linalg.norm(own, axis=1, keepdims=True)
        beyond = np.arccos(np.sum(vectors[:-1] * own, axis=1)) + BEYOND > math.pi
        assert 0 < beyond.sum() < len(beyond)

    def test_contrastive_is_the_mean_over_all_pairs(self) -> None:
        vectors, people = batch()
        same, other = [], []
        for one, two in itertools.combinations(range(len(vectors)), 2):
            distance = float(np.linalg.norm(vectors[one] - vectors[two]))
            if people[one] == people[two]:
                same.append(distance**2)
            else:
                other.append(max(0.0, 1.5 - distance) ** 2)
        value, active = measure(losses.Contrastive(1.5), vectors, people)
        assert value == pytest.approx(np.mean(same) + np.mean(other))
        assert active == pytest.approx(np.mean(np.array(other) > 0))

    def test_arcface_is_the_cross_entropy_of_widened_angles(self) -> None:
        vectors, people = batch()
        expected = []
        for vector, person in zip(vectors[:-1], people[:-1], strict=True):
            angles = [math.acos(float(vector @ row) / float(np.linalg.norm(row))) for row in prototypes()]
            logits = [8 * math.cos(a + (0.1 if n == PROTOTYPE_OF[person] else 0)) for n, a in enumerate(angles)]
            expected.append(math.log(sum(math.exp(x) for x in logits)) - logits[PROTOTYPE_OF[person]])
        assert measure(arcface(0.1), vectors, people)[0] == pytest.approx(np.mean(expected))

    def test_hard_triplets_take_the_nearest_impostor(self) -> None:
        vectors, people = batch()
        gaps_sq = np.sum((vectors[:, None] - vectors[None]) ** 2, axis=2)
        values = [
            max(0.0, gaps_sq[a, p] - min(gaps_sq[a, n] for n in range(len(people)) if people[n] != people[a]) + 0.7)
            for a, p in itertools.permutations(range(len(people)), 2)
            if people[a] == people[p]
        ]
        assert measure(losses.Triplet("hard", 0.7), vectors, people)[0] == pytest.approx(np.mean(values))

    @pytest.mark.parametrize("loss", PAIR_LOSSES)
    def test_value_in_collapse_is_the_value_of_equal_vectors(self, loss: losses.Loss) -> None:
        vectors, people = batch()
        alike = vectors[:1] + 1e-5 * vectors  # exactly alike, semi-hard finds no triplet at all
        alike /= np.linalg.norm(alike, axis=1, keepdims=True)
        assert measure(loss, alike, people)[0] == pytest.approx(loss.collapsed, rel=1e-3)

    def test_value_in_collapse_of_arcface_has_equal_prototypes(self) -> None:
        vectors, people = batch()
        loss = arcface(0.3, np.repeat(vectors[:1], 4, axis=0))
        assert measure(loss, np.repeat(vectors[:1], 13, axis=0), people)[0] == pytest.approx(loss.collapsed, rel=1e-3)

    def test_batch_with_nothing_to_learn_from_has_no_loss(self) -> None:
        """One photo of each person: no positive, and no prototype."""
        vectors, _ = batch()
        nobody = losses.ArcFace(torch.tensor(prototypes()), torch.full((13,), -1))
        unmoved: tuple[losses.Loss, ...] = (*TRIPLETS, nobody)
        for loss in unmoved:
            assert measure(loss, vectors, list(range(13))) == (0, 0)

    def test_arcface_prototypes_of_people_with_several_photos(self) -> None:
        photos = crowd([1, 3, 2, 1], np.full(SIZE, 0.5))
        loss = losses.make_loss("arcface", photos)
        assert isinstance(loss, losses.ArcFace)
        assert loss.prototype_of.tolist() == [-1, 0, 1, -1]
        mean = photos.vectors[photos.rows_of[2]].astype(np.float64).mean(axis=0)
        assert loss.prototypes[1].tolist() == pytest.approx(mean / np.linalg.norm(mean))


class TestMining:
    GAPS_SQ = (
        (0.0, 0.5, 0.3, 0.6, 0.65, 1.5),
        (0.5, 0.0, 1.9, 1.9, 1.9, 1.9),
        (0.3, 1.9, 0.0, 1.9, 1.9, 1.9),
        (0.6, 1.9, 1.9, 0.0, 1.9, 1.9),
        (0.65, 1.9, 1.9, 1.9, 0.0, 1.9),
        (1.5, 1.9, 1.9, 1.9, 1.9, 0.0),
    )

    def mine(self, mining: str, seed: int = 0) -> list[tuple[int, ...]]:
        """Anchor, positive and negative of each triplet."""
        rng = torch.Generator().manual_seed(seed)
        found = losses.mine_triplets(torch.tensor(self.GAPS_SQ), torch.tensor([0, 0, 1, 2, 3, 4]), 0.2, mining, rng)
        return list(zip(*(rows.tolist() for rows in found), strict=True))

    def test_hard_mining_takes_the_nearest_other_person(self) -> None:
        assert self.mine("hard") == [(0, 1, 2), (1, 0, 2)]

    def test_semihard_takes_the_nearest_between_positive_and_margin(self) -> None:
        """For 0: not 2, which is nearer than the positive; 3 rather than 4. For 1 there is none within the margin."""
        assert self.mine("semihard") == [(0, 1, 3)]

    def test_random_takes_anybody_else(self) -> None:
        seen: set[int] = set()
        for seed in range(60):
            first, second = self.mine("random", seed)
            assert (first[:2], second[:2]) == ((0, 1), (1, 0))
            seen.update((first[2], second[2]))
        assert seen == {2, 3, 4, 5}
