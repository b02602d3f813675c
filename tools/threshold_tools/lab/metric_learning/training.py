"""Training of one head: batches of people, Adam, early stopping, and a watch for collapse."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.lab.metric_learning.collapse import Watch, spread_sq
from threshold_tools.lab.metric_learning.losses import Loss, Measured, People, Reals, through_length


@dataclass(frozen=True, slots=True)
class Course:
    """How a head is trained.

    Attributes:
        steps: at most so many batches.
        check_every: steps between two looks at the validation people.
        patience: so many looks without a better one, and training ends.
        rate: Adam's step size; the matrix begins with ones and zeros, and those that matter change by hundredths.
        pull: weight of the squared distance (Frobenius) between the matrix and the identity.
        people: with two photos or more, in a batch.
        photos: of each of those, at most.
        others: people with one photo in a batch, who are somebody else to everybody.
    """

    steps: int = 1000
    check_every: int = 25
    patience: int = 12
    rate: float = 1e-4
    pull: float = 0.03
    people: int = 48
    photos: int = 4
    others: int = 64


@dataclass(frozen=True, slots=True)
class Check:
    """One look while training.

    Attributes:
        step: batches so far; 0 is no head.
        loss, active, spread_sq: means over the batches since the last look; not a number at step 0.
        validation: of the validation people, higher is better.
    """

    step: int
    loss: float
    active: float
    spread_sq: float
    validation: float


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """The matrix with the best validation, the identity where none was better, and how training went.

    Attributes:
        matrix: (D, D).
        checks: all looks, the one at no head included.
        best: the step of `matrix`.
        ended: why training ended.
        lost: it ended by collapse or divergence, and `matrix` is not to be used.
    """

    matrix: Reals
    checks: list[Check]
    best: int
    ended: str
    lost: bool


class Adam:
    """Kingma and Ba 2015, "Adam", algorithm 1 with its default decay rates, changing one array in place."""

    def __init__(self, values: Reals, rate: float) -> None:
        self._values, self._rate = values, rate
        self._mean, self._square = np.zeros_like(values), np.zeros_like(values)
        self._steps = 0

    def step(self, gradient: Reals) -> None:
        """Go one step down."""
        self._steps += 1
        self._mean += (1 - 0.9) * (gradient - self._mean)
        self._square += (1 - 0.999) * (gradient**2 - self._square)
        mean, square = self._mean / (1 - 0.9**self._steps), self._square / (1 - 0.999**self._steps)
        self._values -= self._rate * mean / (np.sqrt(square) + 1e-8)


@dataclass(frozen=True, slots=True, eq=False)
class Descent:
    """One batch: the loss, the pull to the identity included; its (D, D) derivative by the matrix; the spread."""

    measured: Measured
    value: float
    gradient: Reals
    spread_sq: float


def descent(matrix: Reals, inputs: Reals, people: People, loss: Loss, pull: float, rng: np.random.Generator) -> Descent:
    """Loss and gradient of a batch (M, D) of unit vectors behind a matrix."""
    moved = inputs @ matrix.T
    lengths = np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)
    outputs = moved / lengths
    measured = loss.measure(outputs, people, rng)
    change = matrix - np.eye(len(matrix))
    gradient = through_length(measured.gradient, outputs, lengths).T @ inputs + 2 * pull * change
    return Descent(measured, measured.value + pull * float(np.sum(change**2)), gradient, spread_sq(outputs))


def train(
    photos: LabelledEmbeddings,
    loss: Loss,
    course: Course,
    seed: int,
    *,
    validate: Callable[[Reals], float],
    show: Callable[[Check], None],
) -> Trained:
    """Train a matrix that begins at the identity, where it does no harm.

    Args:
        photos: of the people to learn from; all with a face.
        loss: of batches of those people, by their numbers.
        course: how.
        seed: of the batches and of random mining.
        validate: how good a matrix is, higher is better.
        show: is told of every look.
    """
    rng = np.random.default_rng([seed, 2])
    draw = Batches(photos, course)
    inputs = photos.vectors.astype(np.float64)
    matrix = np.eye(inputs.shape[1])
    ours, theirs = Adam(matrix, course.rate), Adam(loss.parameters, course.rate)
    best, best_step, best_value = matrix.copy(), 0, validate(matrix)
    checks = [Check(0, math.nan, math.nan, math.nan, best_value)]
    show(checks[0])
    watch = Watch(loss.collapsed)
    since: list[tuple[float, float, float]] = []
    for step in range(1, course.steps + 1):
        rows = draw.rows(rng)
        down = descent(matrix, inputs[rows], photos.people[rows], loss, course.pull, rng)
        trouble = watch.update(down.measured.value, down.spread_sq)
        if trouble:
            return Trained(best, checks, best_step, f"{trouble} (step {step})", lost=True)
        ours.step(down.gradient)
        if loss.parameters.size:
            theirs.step(down.measured.own)
        since.append((down.measured.value, down.measured.active, down.spread_sq))
        if step % course.check_every and step < course.steps:
            continue
        value, active, spread = np.mean(since, axis=0).tolist()
        checks.append(Check(step, value, active, spread, validate(matrix)))
        show(checks[-1])
        since = []
        if checks[-1].validation > best_value:
            best, best_step, best_value = matrix.copy(), step, checks[-1].validation
        elif step - best_step >= course.patience * course.check_every:
            stopped = f"stopped at step {step}, no better on validation for {step - best_step} steps"
            return Trained(best, checks, best_step, stopped, lost=False)
    return Trained(best, checks, best_step, f"all {course.steps} steps done", lost=False)


class Batches:
    """Draws rows: some people with several photos, and some others with one."""

    def __init__(self, photos: LabelledEmbeddings, course: Course) -> None:
        """`photos` all with a face."""
        self._several = [rows for rows in photos.rows_of if len(rows) > 1]
        self._single = np.concatenate([np.zeros(0, np.intp), *(rows for rows in photos.rows_of if len(rows) == 1)])
        self._course = course

    def rows(self, rng: np.random.Generator) -> People:
        """Rows of one batch."""
        course = self._course
        people = rng.permutation(len(self._several))[: course.people]
        drawn = [rng.permutation(self._several[person])[: course.photos] for person in people.tolist()]
        return np.concatenate([*drawn, rng.permutation(self._single)[: course.others]])
