"""Training of one head: batches of people, Adam, early stopping, and detection of collapse."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.lab.metric_learning.losses import Loss
from threshold_tools.lab.metric_learning.report import TrainingCheck, TrainingConfig
from threshold_tools.stats import Reals

STUCK_SHARE = 0.02  # relative difference to the collapsed value; a loss within it is stuck
WINDOW = 40  # batches; a working loss varies more over this many
COLLAPSED_SHARE = 0.1  # share of the first spread; below it training has collapsed
_ADVICE = "train with a smaller --rate, a larger --pull or semi-hard triplets"


@dataclass(frozen=True, slots=True, eq=False)
class TrainedHead:
    """The matrix with the best validation, or the identity, and the course of the training."""

    matrix: Reals  # (D, D)
    checks: list[TrainingCheck]  # all measurements; the first one is without a head
    best: int  # step of `matrix`
    ended: str  # reason for the end of training
    lost: bool  # training collapsed or diverged; do not use `matrix`


def train(
    photos: LabelledEmbeddings,
    loss: Loss,
    config: TrainingConfig,
    seed: int,
    *,
    validate: Callable[[Reals], float],
    on_check: Callable[[TrainingCheck], None],
) -> TrainedHead:
    """Train a (D, D) matrix that begins as the identity; all photos must show a face.

    Args:
        photos: training people.
        loss: loss to minimise.
        config: settings.
        seed: seed of batches and mining.
        validate: quality of a matrix, higher is better.
        on_check: called with every measurement.
    """
    torch.set_num_threads(1)  # these batches are too small for a second thread
    rng, mining_rng = np.random.default_rng([seed, 2]), torch.Generator().manual_seed(seed)
    sampler = BatchSampler(photos, config)
    inputs, people = torch.from_numpy(photos.vectors).double(), torch.from_numpy(photos.people)
    identity = torch.eye(inputs.shape[1], dtype=torch.float64)
    matrix = identity.clone().requires_grad_()
    adam = torch.optim.Adam([matrix, *loss.parameters], lr=config.rate)

    def current() -> Reals:
        return np.array(matrix.detach().numpy())

    best, best_step, best_value = current(), 0, validate(current())
    checks = [TrainingCheck(0, None, None, None, best_value)]
    on_check(checks[0])
    detector = CollapseDetector(loss.collapsed)
    since: list[tuple[float, float, float]] = []
    for step in range(1, config.steps + 1):
        rows = torch.from_numpy(sampler.rows(rng))
        outputs = functional.normalize(inputs[rows] @ matrix.T)
        measured = loss.measure(outputs, people[rows], mining_rng)
        value, spread_sq = float(measured.value.detach()), float(2 - 2 * outputs.detach().mean(dim=0).square().sum())
        trouble = detector.update(value, spread_sq)
        if trouble:
            return TrainedHead(best, checks, best_step, f"{trouble} (step {step})", lost=True)
        adam.zero_grad()
        torch.autograd.backward(measured.value + config.pull * (matrix - identity).square().sum())
        adam.step()
        since.append((value, measured.active, spread_sq))
        if step % config.check_every and step < config.steps:
            continue
        value, active, spread_sq = np.mean(since, axis=0).tolist()
        checks.append(TrainingCheck(step, value, active, spread_sq, validate(current())))
        on_check(checks[-1])
        since = []
        if checks[-1].validation > best_value:
            best, best_step, best_value = current(), step, checks[-1].validation
        elif step - best_step >= config.patience * config.check_every:
            stopped = f"stopped at step {step}, no improvement on validation for {step - best_step} steps"
            return TrainedHead(best, checks, best_step, stopped, lost=False)
    return TrainedHead(best, checks, best_step, f"all {config.steps} steps done", lost=False)


class BatchSampler:
    """Draws batches: some people with several photos, and some others with one."""

    def __init__(self, photos: LabelledEmbeddings, config: TrainingConfig) -> None:
        self._several = [rows for rows in photos.rows_of if len(rows) > 1]
        self._single = np.concatenate([np.zeros(0, np.intp), *(rows for rows in photos.rows_of if len(rows) == 1)])
        self._config = config

    def rows(self, rng: np.random.Generator) -> NDArray[np.intp]:
        """Rows of one batch."""
        config = self._config
        people = rng.permutation(len(self._several))[: config.people]
        drawn = [rng.permutation(self._several[person])[: config.photos] for person in people.tolist()]
        return np.concatenate([*drawn, rng.permutation(self._single)[: config.others]])


class CollapseDetector:
    """Detects divergence and collapse from the loss and the spread of every batch.

    Collapse has two signs. The mean distance of two photos falls to a tenth of its first value, or the loss stays at
    its value for equal vectors, which is the margin for triplets.
    """

    def __init__(self, collapsed: float) -> None:
        """`collapsed` is the value of the loss when all vectors are equal."""
        self._collapsed = collapsed
        self._first_sq: float | None = None
        self._losses: deque[float] = deque(maxlen=WINDOW)

    def update(self, loss: float, spread_sq: float) -> str:
        """Add the loss without regularisation, and the mean squared distance of a batch; return the problem, or ""."""
        if not (math.isfinite(loss) and math.isfinite(spread_sq)):
            return "diverged: the loss is not a finite number; train with a smaller --rate"
        self._first_sq = spread_sq if self._first_sq is None else self._first_sq
        self._losses.append(loss)
        if spread_sq < COLLAPSED_SHARE * self._first_sq:
            return f"collapsed: all vectors alike, {spread_sq:.3f} apart, at first {self._first_sq:.3f}; {_ADVICE}"
        near = all(abs(each - self._collapsed) <= STUCK_SHARE * self._collapsed for each in self._losses)
        if near and len(self._losses) == WINDOW:
            return f"collapsed: the loss stays at {self._collapsed:.3f}, its value for equal vectors; {_ADVICE}"
        return ""
