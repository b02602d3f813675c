"""One report per visit: visitors who stay or return within the cooldown are not reported again.

A known person is remembered by id, a stranger by the fused embedding, in memory only and for the cooldown only.
"""

from __future__ import annotations

from edge.core.config import RecognitionConfig
from edge.core.records import Identification, Verdict


class Cooldown:
    """Remembers who was announced and when they were last seen; pure, time comes with the verdicts."""

    def __init__(self, config: RecognitionConfig) -> None:
        self._config = config
        self._recent: list[tuple[Verdict, int]] = []

    def should_announce(self, verdict: Verdict, t_ns: int) -> bool:
        """Whether nobody like this was seen within the cooldown."""
        horizon_ns = self._config.cooldown_s * 1e9
        self._recent = [(known, seen) for known, seen in self._recent if t_ns - seen < horizon_ns]
        return not any(self._same(verdict, known) for known, _ in self._recent)

    def mark_seen(self, verdict: Verdict, t_ns: int) -> None:
        """The person of this verdict is still here."""
        self.forget(verdict)
        self._recent.append((verdict, t_ns))

    def forget(self, verdict: Verdict) -> None:
        """The next verdict about this person is news."""
        self._recent = [(known, seen) for known, seen in self._recent if not self._same(verdict, known)]

    def forget_strangers(self) -> None:
        """Forget everybody remembered by embedding alone: another embedder's cannot be compared."""
        self._recent = [(known, seen) for known, seen in self._recent if known.finding is Identification.RECOGNISED]

    def _same(self, one: Verdict, other: Verdict) -> bool:
        if one.finding is not other.finding:
            return False
        if one.finding is Identification.RECOGNISED:
            return one.match.person == other.match.person
        return float(2 - 2 * (one.embedding @ other.embedding)) <= self._config.same_stranger_sq
