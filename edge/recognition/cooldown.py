"""One report per visit: visitors who stay or return within the cooldown are not reported again.

Known people are remembered by id and strangers by their fused embedding, in memory and only during the cooldown.
"""

from __future__ import annotations

from edge.core.config import RecognitionConfig
from edge.core.records import Identification, Verdict


class Cooldown:
    """Reported visitors and when they were last seen; pure, the time is an argument."""

    def __init__(self, config: RecognitionConfig) -> None:
        self._config = config
        self._recent: list[tuple[Verdict, int]] = []

    def should_announce(self, verdict: Verdict, t_ns: int) -> bool:
        """Whether to report this verdict: the same visitor was not seen within the cooldown."""
        horizon_ns = self._config.cooldown_s * 1e9
        self._recent = [(known, seen) for known, seen in self._recent if t_ns - seen < horizon_ns]
        return not any(self._same(verdict, known) for known, _ in self._recent)

    def mark_seen(self, verdict: Verdict, t_ns: int) -> None:
        """Record that the visitor of this verdict is present."""
        self.forget(verdict)
        self._recent.append((verdict, t_ns))

    def forget(self, verdict: Verdict) -> None:
        """End the cooldown of this visitor."""
        self._recent = [(known, seen) for known, seen in self._recent if not self._same(verdict, known)]

    def forget_strangers(self) -> None:
        """Forget strangers, who are remembered by embedding: those of another embedder cannot be compared."""
        self._recent = [(known, seen) for known, seen in self._recent if known.finding is Identification.RECOGNISED]

    def _same(self, one: Verdict, other: Verdict) -> bool:
        if one.finding is not other.finding:
            return False
        if one.finding is Identification.RECOGNISED:
            return one.match.person == other.match.person
        return float(2 - 2 * (one.embedding @ other.embedding)) <= self._config.same_stranger_sq
