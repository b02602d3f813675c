"""The rule that makes one score of all cues, in one table.

Score = 1 / (1 + exp(-sum of parts)), and a part is weight x ln(value / middle). Cues of negative weight are signs of
life: little of them speaks for a picture. Cues of positive weight are signs of a picture: the want of them speaks for
nobody, so their part is never negative. What a cue cannot tell counts as nothing. docs/liveness.md tells how the table
was fitted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edge.liveness.evidence import Cue

Values = Mapping[str, float | None]  # by cue; None: it has nothing to say


@dataclass(frozen=True, slots=True)
class Rule:
    """What one cue is worth.

    Attributes:
        why: what the value is, and its unit, in a few words.
        weight: of its logarithm in the exponent; 0: it is shown only.
        middle: the value that speaks for neither.
        least: what is smaller counts as this.
    """

    why: str
    weight: float = 0.0
    middle: float = 1.0
    least: float = 1e-6

    def part(self, value: float | None) -> float:
        """What a value adds to the exponent; above 0: more like an attack."""
        if value is None:
            return 0.0
        part = self.weight * math.log(max(value, self.least) / self.middle)
        return part if self.of_life else max(part, 0.0)

    @property
    def of_life(self) -> bool:
        """Whether it is a sign of life, not of a picture."""
        return self.weight < 0


TABLE = {
    "local-motion": Rule("of the face's liveliest place, 1/20 of the eyes' distance", -1.70, 0.126, 0.02),
    "unexplained": Rule("share of the contrast that no flat picture explains, median look", -2.57, 0.0024, 1e-4),
    "surroundings": Rule("times better explained as moving along than as standing still", 16.0, 1.0),
    "mouth": Rule("how much its height varies, share of the face's height"),
    "moire": Rule("highest peak of the face's spectrum, logarithm of the power"),
    "flicker": Rule("unsteadiness of the face's light against its surroundings', share"),
}


def life(values: Values) -> float:
    """The parts of the signs of life together; lower is livelier."""
    return sum(rule.part(values[name]) for name, rule in TABLE.items() if rule.of_life)


def merge(one: Values, other: Values | None) -> Values:
    """Of two sets of measurements the livelier one's signs of life, and of every other cue the larger."""
    if other is None:
        return one
    livelier = min((one, other), key=life)
    return {name: livelier[name] if rule.of_life else _larger(one[name], other[name]) for name, rule in TABLE.items()}


def fuse(values: Values) -> tuple[float, tuple[Cue, ...]]:
    """The score of measurements, 0 (genuine) to 1 (attack), and each as a cue with what it says by itself."""
    total, cues = 0.0, []
    for name, rule in TABLE.items():
        value, part = values[name], rule.part(values[name])
        alone = None if value is None or not rule.weight else _logistic(part)
        cues.append(Cue(name, value, alone, rule.weight, rule.why))
        total += part
    return _logistic(total), tuple(cues)


def _larger(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return max(known, default=None)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-min(max(x, -700.0), 700.0)))
