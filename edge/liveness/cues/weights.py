"""What a track has shown of being alive: its cues, and the rule that makes one score of them, in one table.

Score = 1 / (1 + exp(-sum of parts)), and a part is weight x ln(value / middle). Cues of negative weight are signs of
life: little of them speaks for a picture. Cues of positive weight are signs of a picture: the want of them speaks for
nobody, so their part is never negative. A cue without a value adds 0. docs/lab/liveness.md describes the fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

Values = Mapping[str, float | None]  # by cue; None: it has nothing to say


@dataclass(frozen=True, slots=True)
class Cue:
    """One measurement of a track."""

    name: str  # short and stable, such as "local-motion"
    value: float | None  # as measured, in the unit that `why` names; None: it has nothing to say, or nothing yet
    score: float | None  # 0 (genuine) to 1 (attack) by this cue alone; None where there is no value, or no weight
    weight: float  # its coefficient in the fused score; 0: it is shown only
    why: str  # what the value is, and its unit, in a few words

    def __str__(self) -> str:
        told = "-" if self.score is None else f"{self.score:.2f}"
        value = "-" if self.value is None else f"{self.value:.4g}"
        return f"{self.name} {value} -> {told} (weight {self.weight:.3g}; {self.why})"


@dataclass(frozen=True, slots=True)
class LivenessEvidence:
    """All that is known of a track's liveness so far."""

    score: float  # 0 (genuine) to 1 (attack): higher is more like an attack; 0.5 while nothing is known
    cues: tuple[Cue, ...]  # what the score was made of
    enough: bool  # it has been watched long enough for the score to mean something
    looks: int  # how many looks it rests on
    watched_s: float  # seconds from the first look to the last

    @property
    def as_cues(self) -> tuple[tuple[str, float], ...]:
        """What was measured by name, without the cues that have nothing to say."""
        return tuple((cue.name, cue.value) for cue in self.cues if cue.value is not None)

    def __str__(self) -> str:
        head = f"attack {self.score:.2f} after {self.looks} looks in {self.watched_s:.1f} s"
        return "; ".join([head if self.enough else f"{head} (not enough)", *map(str, self.cues)])


NO_EVIDENCE = LivenessEvidence(0.5, (), False, 0, 0.0)


@dataclass(frozen=True, slots=True)
class CueWeight:
    """What one cue is worth."""

    why: str  # what the value is, and its unit, in a few words
    weight: float = 0.0  # of its logarithm in the exponent; 0: it is shown only
    middle: float = 1.0  # the value that speaks for neither
    least: float = 1e-6  # what is smaller counts as this

    def log_odds(self, value: float | None) -> float:
        """What a value adds to the exponent; above 0: more like an attack."""
        if value is None:
            return 0.0
        part = self.weight * math.log(max(value, self.least) / self.middle)
        return part if self.is_sign_of_life else max(part, 0.0)

    @property
    def is_sign_of_life(self) -> bool:
        """Whether it is a sign of life, not of a picture."""
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
    """The parts of the signs of life together; lower is livelier."""
    return sum(rule.log_odds(values[name]) for name, rule in CUE_WEIGHTS.items() if rule.is_sign_of_life)


def combine(one: Values, other: Values | None) -> Values:
    """Of two sets of measurements the livelier one's signs of life, and of every other cue the larger."""
    if other is None:
        return one
    livelier = min((one, other), key=life_score)
    return {
        name: livelier[name] if rule.is_sign_of_life else _max_or_missing(one[name], other[name])
        for name, rule in CUE_WEIGHTS.items()
    }


def attack_score(values: Values) -> tuple[float, tuple[Cue, ...]]:
    """The score of measurements, 0 (genuine) to 1 (attack), and each as a cue with what it says by itself."""
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
