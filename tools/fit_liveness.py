#!/usr/bin/env python3
"""Fit the weights of the liveness cues, to compare with the table in edge/liveness/cues.py.

    python tools/fit_liveness.py DIR DIR

Each DIR as for evaluate_pad.py. Cases are windows of 1.5 s; genuine clips are also taken disturbed, in light, noise,
compression, size, focus and frame rate. Two steps of logistic regression, both classes and every kind of attack of one
weight. First the signs of life, against flat photos. Then each sign of a picture, its middle given, against what shows
life: screens that replay a clip. Each genuine clip, and the attacks made of it, is left out in turn to see how far the
weights depend on it.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from threshold_tools.pad.disturbances import DISTURBANCES, UNDISTURBED
from threshold_tools.pad.simulate import FLAT_PHOTOS, REPLAY
from threshold_tools.pad.watch import GENUINE, SIMULATED, Case, read_cases, ready, watch

from edge.core.cli_support import run_main
from edge.core.config import LivenessConfig
from edge.core.errors import InputError
from edge.liveness.cues import CUE_WEIGHTS, Values
from edge.vision.face_sampler import VisionStages

Reals = NDArray[np.float64]

_CLASS = 200.0  # windows that each class counts for, whatever there is of it
_RIDGE = 1.0  # of the regression: half of it times the squared weights is added to the loss


@dataclass(frozen=True, slots=True)
class Window:
    """What one window of a clip of `subject`, disturbed or not, showed."""

    species: str
    subject: str
    values: Values


@dataclass(frozen=True, slots=True)
class Fit:
    """Weights by cue, and the constant of the exponent."""

    weights: dict[str, float]
    constant: float

    def exponent(self, values: Values) -> float:
        """What it makes of a window's signs of life."""
        return self.constant + sum(weight * _log(name, values[name]) for name, weight in self.weights.items())


def collect_windows(cases: Sequence[Case], vision: VisionStages) -> list[Window]:
    """All windows of clips; of genuine ones under every disturbance."""
    windows = []
    for case in cases:
        for disturbance in DISTURBANCES if case.species == GENUINE else (UNDISTURBED,):
            seen = watch(case, vision, LivenessConfig().attack_score, disturbance).windows
            values = [{cue.name: cue.value for cue in evidence.cues} for evidence in seen]
            windows += [Window(case.species, case.subject, each) for each in values]
    return windows


def fit_life(windows: Sequence[Window], names: Sequence[str]) -> Fit:
    """Signs of life against flat photos."""
    some = _of(windows, [SIMULATED + kind for kind in FLAT_PHOTOS])
    columns = np.array([[*(_log(name, each.values[name]) for name in names), 1.0] for each in some])
    found = _logistic(columns, some, np.zeros(len(some)), np.array([_RIDGE] * len(names) + [0.0]))
    return Fit(dict(zip(names, found[:-1].tolist(), strict=True)), float(found[-1]))


def fit_sign(windows: Sequence[Window], name: str, life: Fit) -> float:
    """The weight of a sign of a picture against replayed clips, the signs of life given."""
    some = _of(windows, [SIMULATED + REPLAY])
    column = np.array([[max(_log(name, each.values[name]) - math.log(CUE_WEIGHTS[name].middle), 0.0)] for each in some])
    given = np.array([life.exponent(each.values) for each in some])
    return float(_logistic(column, some, given, np.array([_RIDGE]))[0])


def current_weights() -> Fit:
    """The signs of life as the table has them."""
    rules = {name: rule for name, rule in CUE_WEIGHTS.items() if rule.is_sign_of_life}
    constant = -sum(rule.weight * math.log(rule.middle) for rule in rules.values())
    return Fit({name: rule.weight for name, rule in rules.items()}, constant)


def _log(name: str, value: float | None) -> float:
    """Its logarithm; of what a cue cannot tell, that of its middle."""
    rule = CUE_WEIGHTS[name]
    return math.log(rule.middle if value is None else max(value, rule.least))


def _of(windows: Sequence[Window], attacks: Sequence[str]) -> list[Window]:
    some = [each for each in windows if each.species == GENUINE or each.species in attacks]
    if len({each.species for each in some}) < 2 or all(each.species != GENUINE for each in some):
        raise InputError(f"no windows of genuine clips, or none of {', '.join(attacks)}")
    return some


def _logistic(columns: Reals, windows: Sequence[Window], given: Reals, ridge: Reals) -> Reals:
    """The weights of the columns that explain best what is an attack; `given` is added to the exponent."""
    counts = Counter(each.species for each in windows)
    attack = np.array([each.species != GENUINE for each in windows])
    share = np.array([_CLASS / counts[each.species] for each in windows])
    share[attack] /= len(counts) - 1

    def loss(weights: Reals) -> tuple[float, Reals]:
        exponent = given + columns @ weights
        cost = share @ np.logaddexp(0, np.where(attack, -exponent, exponent))
        slope = columns.T @ (share * (expit(exponent) - attack))
        return float(cost + ridge @ weights**2 / 2), slope + ridge * weights

    return np.asarray(minimize(loss, np.zeros(columns.shape[1]), jac=True).x, np.float64)


def print_report(windows: Sequence[Window], names: Sequence[str]) -> list[str]:
    """The fits, with their spread over the people left out in turn, beside the table."""
    clips = sorted({each.subject for each in windows if each.species == GENUINE})
    without = {clip: [each for each in windows if each.subject != clip] for clip in clips}
    fits = {clip: fit_life(some, names) for clip, some in without.items()}
    whole = fit_life(windows, names)
    genuine = sum(each.species == GENUINE for each in windows)
    lines = [f"{len(windows)} windows, {genuine} genuine of {len(clips)} people; weights"]
    lines.append(f"{'':16s}{'fitted':>8s}  each one left out  in the table")
    for name in names:
        some = [fit.weights[name] for fit in fits.values()]
        lines.append(_row(name, whole.weights[name], some, CUE_WEIGHTS[name].weight))
    lines.append(_row("constant", whole.constant, [fit.constant for fit in fits.values()], current_weights().constant))
    for name in (name for name, rule in CUE_WEIGHTS.items() if rule.weight > 0):
        some = [fit_sign(rest, name, current_weights()) for rest in without.values()]
        lines.append(_row(name, fit_sign(windows, name, current_weights()), some, CUE_WEIGHTS[name].weight))
        known = [value for each in windows if each.species == GENUINE and (value := each.values[name]) is not None]
        most = f", at most {max(known):.2f}" if known else ""
        lines.append(
            f"  it speaks in {len(known)} of the genuine windows{most}; its middle is {CUE_WEIGHTS[name].middle:g}"
        )
    return lines


def _row(name: str, whole: float, without: Sequence[float], table: float) -> str:
    spread = f"{min(without):.2f} to {max(without):.2f}"
    return f"{name:16s}{whole:8.2f}  {spread:>18s}  {table:12.2f}"


def main(words: Sequence[str] | None = None) -> None:
    """Parse the command line and fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path, nargs="+", metavar="DIR", help="genuine/ and simulated-<kind>/ folders")
    parser.add_argument(
        "--life",
        nargs="+",
        choices=CUE_WEIGHTS,
        default=list(current_weights().weights),
        help="signs of life (default: the table's)",
    )
    given = parser.parse_args(words)
    cases = {case.path.resolve(): case for source in given.sources for case in read_cases(source) if case.moving}
    windows = collect_windows(list(cases.values()), ready())
    sys.stdout.write("\n".join(print_report(windows, given.life)) + "\n")


if __name__ == "__main__":
    run_main(main)
