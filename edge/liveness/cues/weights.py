"""Combines the cues of a track into one attack score, by a table of weights.

Score = 1 / (1 + exp(-sum of parts)); a part is weight x ln(value / middle). Cues with a negative weight are signs of
life; their absence indicates a picture. Cues with a positive weight are signs of a picture; their absence is not
evidence of life, so their part is clipped at 0. A cue without a value adds 0. docs/lab/liveness.md describes the fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

Values = Mapping[str, float | None]  # by cue; None: not measured


@dataclass(frozen=True, slots=True)
class Cue:
    """One measurement of a track."""

    name: str  # short and stable, such as "local-motion"
    value: float | None  # measured value, in the unit of `why`; None: not measured
    score: float | None  # 0 (genuine) to 1 (attack) by this cue alone; None without value or weight
    weight: float  # coefficient in the attack score; 0: for display only
    why: str  # meaning and unit of the value

    def __str__(self) -> str:
        told = "-" if self.score is None else f"{self.score:.2f}"
        value = "-" if self.value is None else f"{self.value:.4g}"
        return f"{self.name} {value} -> {told} (weight {self.weight:.3g}; {self.why})"


@dataclass(frozen=True, slots=True)
class LivenessEvidence:
    """Liveness evidence of a track so far."""

    score: float  # 0 (genuine) to 1 (attack); 0.5 without evidence
    cues: tuple[Cue, ...]  # cues of the score
    enough: bool  # watched long enough for a reliable score
    looks: int  # number of samples
    watched_s: float  # seconds from the first sample to the last

    @property
    def as_cues(self) -> tuple[tuple[str, float], ...]:
        """Measured values by name, without cues that have none."""
        return tuple((cue.name, cue.value) for cue in self.cues if cue.value is not None)

    def __str__(self) -> str:
        head = f"attack {self.score:.2f} after {self.looks} samples in {self.watched_s:.1f} s"
        return "; ".join([head if self.enough else f"{head} (not enough)", *map(str, self.cues)])


NO_EVIDENCE = LivenessEvidence(0.5, (), False, 0, 0.0)


@dataclass(frozen=True, slots=True)
class CueWeight:
    """Meaning and weight of one cue."""

    why: str  # meaning and unit of the value
    weight: float = 0.0  # weight of the logarithm in the exponent; 0: for display only
    middle: float = 1.0  # neutral value
    least: float = 1e-6  # smaller values count as this one

    def log_odds(self, value: float | None) -> float:
        """Part of a value in the exponent; above 0: more like an attack."""
        if value is None:
            return 0.0
        part = self.weight * math.log(max(value, self.least) / self.middle)
        return part if self.is_sign_of_life else max(part, 0.0)

    @property
    def is_sign_of_life(self) -> bool:
        """Whether the cue is a sign of life, not of a picture."""
        return self.weight < 0


CUE_WEIGHTS = {
    "local-motion": CueWeight("fastest part of the face, 1/20 of the eye distance", -1.70, 0.126, 0.02),
    "unexplained": CueWeight("contrast that no flat picture explains, share", -2.57, 0.0024, 1e-4),
    "surroundings": CueWeight("background: fit of moving along to standing still", 16.0, 1.0),
    "mouth": CueWeight("variation of the mouth height, share of the face"),
    "moire": CueWeight("highest peak of the face's spectrum, log power"),
    "flicker": CueWeight("brightness variation against the background, share"),
}


def life_score(values: Values) -> float:
    """Sum of the parts of the signs of life; lower is more alive."""
    return sum(rule.log_odds(values[name]) for name, rule in CUE_WEIGHTS.items() if rule.is_sign_of_life)


def combine(one: Values, other: Values | None) -> Values:
    """Combine two sets of values: signs of life of the set with more of them, and the larger value of other cues."""
    if other is None:
        return one
    livelier = min((one, other), key=life_score)
    return {
        name: livelier[name] if rule.is_sign_of_life else _max_or_missing(one[name], other[name])
        for name, rule in CUE_WEIGHTS.items()
    }


def attack_score(values: Values) -> tuple[float, tuple[Cue, ...]]:
    """Attack score of measured values, 0 (genuine) to 1 (attack), and the cues with their own scores."""
    total, cues = 0.0, []
    for name, rule in CUE_WEIGHTS.items():
        value, part = values[name], rule.log_odds(values[name])
        alone = None if value is None or not rule.weight else _logistic(part)
        cues.append(Cue(name, value, alone, rule.weight, rule.why))
        total += part
    return _logistic(total), tuple(cues)


def _max_or_missing(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return max(known, default=None)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-min(max(x, -700.0), 700.0)))
