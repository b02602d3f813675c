"""Repeated failures of one visitor: a pause, and stricter demands afterwards, for this visitor and nobody else.

What counts as a failure: evidence enough for an `unknown`, announced or not. A visitor who stays fails again with each
`unknown_samples` looks that still name nobody, and a track whose evidence starts anew fails anew. Whoever left too
early for a verdict has not tried, and whoever is recognised has succeeded, also where the access rules deny the way.
After `failures` in a row (5, as NIST SP 800-63B-4 asks of biometrics) nothing opens to this visitor for `pause_s`
(30 s); then `extra_samples` and `threshold_factor` apply until a success, and each further failure brings the next
pause. Within a pause an `unknown` is told as ever, and neither counts nor prolongs it; a name is withheld. The first
pause of a visitor is news, whatever the cooldown says; the others are not.

Who is the same visitor: the one remembered who is nearest by fused embedding, within `same_visitor_sq`. Two things keep
a stranger from locking out a person who resembles him: a track is never taken for somebody whose own track is present
beside it, and a face within a person's threshold that is nearer to that person than to the visitor is the person's.
Who showed a picture of a person counts as the same visitor whenever that person's face is shown: the two cannot be told
apart, so five pictures in a row keep the person waiting as well, for one pause.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum

from edge.config import LockoutConfig
from edge.records import Finding, Floats, Verdict


class Demand(StrEnum):
    """What a visitor has to show."""

    USUAL = "usual"
    STRICT = "strict"
    PAUSED = "paused"  # nothing that they show will do


@dataclass(slots=True, eq=False)
class _Visitor:
    embedding: Floats  # as it failed last
    track: int
    seen_ns: int
    failures: int = 0
    paused_until_ns: int = 0
    posed_as: str = ""  # id of the person whose picture was shown


class Lockout:
    """Remembers who failed, in memory only, a bounded number for a bounded time; pure, time comes with the verdicts."""

    def __init__(self, config: LockoutConfig, same_visitor_sq: float) -> None:
        """
        Args:
            config: numbers and times.
            same_visitor_sq: squared distance within which two fused embeddings show one visitor.
        """
        self._config = config
        self._same_visitor_sq = same_visitor_sq
        self._visitors: list[_Visitor] = []

    def __len__(self) -> int:
        return len(self._visitors)

    def demand(self, verdict: Verdict, others: Set[int]) -> Demand:
        """What this visitor has to show now.

        Args:
            verdict: as it would fall under the usual demands.
            others: ids of the other tracks present.
        """
        visitor = self._find(verdict, others)
        if visitor is None:
            return Demand.USUAL
        visitor.seen_ns, visitor.track = verdict.t_ns, verdict.track.id
        if visitor.failures < self._config.failures:
            return Demand.USUAL
        return Demand.PAUSED if verdict.t_ns < visitor.paused_until_ns else Demand.STRICT

    def failed(self, verdict: Verdict, others: Set[int]) -> bool:
        """Count an `unknown`, or a name that was only a picture.

        Returns:
            Whether it is the one that begins this visitor's first pause.
        """
        visitor = self._find(verdict, others)
        if visitor is None:
            visitor = _Visitor(verdict.embedding, verdict.track.id, verdict.t_ns)
            self._add(visitor)
        visitor.embedding, visitor.track, visitor.seen_ns = verdict.embedding, verdict.track.id, verdict.t_ns
        if verdict.finding is Finding.RECOGNISED and verdict.match.person is not None:
            visitor.posed_as = verdict.match.person.id
        if verdict.t_ns < visitor.paused_until_ns:
            return False
        visitor.failures += 1
        if visitor.failures >= self._config.failures:
            visitor.paused_until_ns = verdict.t_ns + round(self._config.pause_s * 1e9)
        return visitor.failures == self._config.failures

    def succeeded(self, verdict: Verdict, others: Set[int]) -> None:
        """Whoever is recognised starts afresh."""
        visitor = self._find(verdict, others)
        if visitor is not None:
            self._visitors.remove(visitor)

    def _find(self, verdict: Verdict, others: Set[int]) -> _Visitor | None:
        """The visitor whom a track shows, among those remembered."""
        horizon_ns = self._config.forget_s * 1e9
        self._visitors = [one for one in self._visitors if verdict.t_ns - one.seen_ns < horizon_ns]
        candidates = [one for one in self._visitors if one.track not in others]
        if not candidates:
            return None
        distances_sq = [float(2 - 2 * (one.embedding @ verdict.embedding)) for one in candidates]
        nearest_sq = min(distances_sq)
        match = verdict.match
        if verdict.finding is Finding.RECOGNISED and match.person is not None:
            for one in candidates:
                if one.posed_as == match.person.id:
                    return one
        if nearest_sq > self._same_visitor_sq or match.distance_sq <= min(match.threshold_sq, nearest_sq):
            return None
        return candidates[distances_sq.index(nearest_sq)]

    def _add(self, visitor: _Visitor) -> None:
        if len(self._visitors) >= self._config.max_visitors:
            self._visitors.remove(min(self._visitors, key=lambda one: one.seen_ns))
        self._visitors.append(visitor)
