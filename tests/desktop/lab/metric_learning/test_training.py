"""Training of a head: batches, early stopping, the pull to the identity, and collapse."""

from __future__ import annotations

import numpy as np
import pytest
from support.made_up_people import SIZE, crowd, even_noise, half_noise, one_side
from threshold_tools.lab.metric_learning.report import TrainingCheck, TrainingConfig
from threshold_tools.stats import Reals

pytest.importorskip("torch", reason="not installed: pip install -e '.[lab]'")

from threshold_tools.lab.metric_learning import losses
from threshold_tools.lab.metric_learning.training import BatchSampler, train


class TestTraining:
    def test_a_batch_has_pairs_and_others(self) -> None:
        photos = crowd([1] * 30 + [6] * 20, np.full(SIZE, 0.5))
        rows = BatchSampler(photos, TrainingConfig(people=5, photos=3, others=7)).rows(np.random.default_rng(0))
        counts = np.bincount(photos.people[rows], minlength=50)
        assert len(set(rows.tolist())) == len(rows) == 5 * 3 + 7
        assert counts[:30].sum() == 7
        assert sorted(counts[30:])[-5:] == [3] * 5

    def test_what_is_kept_is_the_best_on_validation(self) -> None:
        """If the third measurement is the best, training returns that matrix, and ends after its patience."""
        seen: list[Reals] = []

        def validate(matrix: Reals) -> float:
            seen.append(matrix.copy())
            return 1.0 if len(seen) == 4 else 0.0

        config = TrainingConfig(steps=500, check_every=10, patience=3)
        done = train(even_noise(), losses.Contrastive(), config, 0, validate=validate, on_check=lambda _: None)
        assert (done.best, done.checks[-1].step, done.lost) == (30, 60, False)
        assert np.array_equal(done.matrix, seen[3])
        assert "no improvement on validation" in done.ended

    def test_identity_is_kept_without_improvement(self) -> None:
        shown: list[TrainingCheck] = []
        config = TrainingConfig(steps=60, check_every=20)
        done = train(even_noise(), losses.Contrastive(), config, 0, validate=lambda _: 0.5, on_check=shown.append)
        assert np.array_equal(done.matrix, np.eye(SIZE))
        assert [check.step for check in shown] == [0, 20, 40, 60]

    def test_prototypes_learn_too(self) -> None:
        loss = losses.make_loss("arcface", half_noise(60))
        (before,) = (parameter.detach().clone() for parameter in loss.parameters)
        train(half_noise(60), loss, TrainingConfig(steps=3), 0, validate=lambda _: 0.0, on_check=lambda _: None)
        assert (loss.parameters[0] != before).any(dim=1).all()

    def test_a_hard_pull_holds_the_matrix_at_the_identity(self) -> None:
        moved = []
        for pull in (0.0, 100.0):
            matrices: list[Reals] = []

            def validate(matrix: Reals, kept: list[Reals] = matrices) -> float:
                kept.append(matrix.copy())
                return 0.0

            config = TrainingConfig(steps=100, check_every=100, pull=pull, rate=1e-3)
            train(half_noise(), losses.Contrastive(), config, 0, validate=validate, on_check=lambda _: None)
            moved.append(float(np.linalg.norm(matrices[-1] - np.eye(SIZE))))
        assert moved[1] < 0.2 * moved[0]

    def test_collapsed_training_is_stopped(self) -> None:
        config = TrainingConfig(steps=3000, check_every=50, patience=100, rate=0.01, pull=0.0)
        done = train(one_side(), losses.Triplet("hard"), config, 0, validate=lambda _: 0.0, on_check=lambda _: None)
        assert done.lost
        assert done.ended.startswith("collapsed: ")
        assert done.checks[-1].step < 3000
