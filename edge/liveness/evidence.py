"""What one track has shown of being alive: cues that can be looked at one by one, and the score made of them."""

from __future__ import annotations

from dataclasses import dataclass


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
