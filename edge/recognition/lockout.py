"""Repeated failures: a pause and stricter demands for the visitor who failed, and for nobody else.

Two kinds of failure are counted apart, because only one of them tells who failed.

A face that nobody is enrolled with fails with evidence enough for an `unknown`, reported or not. A visitor who stays
fails again with each `unknown_samples` looks that still name nobody, and a track whose evidence is reset fails again.
A visitor who leaves before the verdict has not tried. Recognition is a success, also where the access rules deny entry.
After `max_failures` in a row (5, as NIST SP 800-63B-4 asks of biometrics) nothing opens to this visitor for `lockout_s`
(30 s); then `extra_samples` and `threshold_factor` apply until a success, and each further failure brings the next
pause. An `unknown` within a pause is reported as usual; it neither counts nor prolongs the pause. A name within a pause
is withheld. The first pause of a visitor is reported whatever the cooldown is; the others are not.

The same visitor is the remembered one with the nearest fused embedding, within `same_stranger_sq`. Two rules keep a
stranger from locking out a person who resembles them: a track is never taken for a visitor whose own track is present
beside it, and a face within a person's threshold that is nearer to that person than to the visitor is the person's.

A presentation attack shows an enrolled person's face, so neither name nor embedding tells the attacker from that
person. A pause would lock the person out for as long as somebody shows photos of them. Attacks are counted by the name
that they pose as, and withhold no name: from `max_failures` in a row on, a visitor recognised by that name has to show
life twice (`edge.liveness.gate`) until a success, or until nobody has posed as them for `forget_after_s`.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum

from edge.core.config import LockoutConfig
from edge.core.records import FloatArray, Identification, Verdict


class Restriction(StrEnum):
    """What a visitor has to show."""

    USUAL = "usual"
    STRICT = "strict"
    PAUSED = "paused"  # nothing that they show will do


@dataclass(slots=True, eq=False)
class _VisitorRecord:
    embedding: FloatArray  # as it failed last
    track: int
    seen_ns: int
    failures: int = 0
    paused_until_ns: int = 0


@dataclass(slots=True)
class _ImpersonationRecord:
    """Presentation attacks that showed one person's face, in a row."""

    count: int
    last_ns: int


class Lockout:
    """Remembers who failed, in memory only, a bounded number for a bounded time; pure, time comes with the verdicts."""

    def __init__(self, config: LockoutConfig, same_stranger_sq: float) -> None:
        self._config = config
        self._same_visitor_sq = same_stranger_sq  # within this, two fused embeddings show one visitor
        self._visitors: list[_VisitorRecord] = []
        self._posed: dict[str, _ImpersonationRecord] = {}  # by the id of the person shown

    def __len__(self) -> int:
        return len(self._visitors) + len(self._posed)

    def restriction_for(self, verdict: Verdict, others: Set[int]) -> Restriction:
        """What a visitor has to show now; `others` are the ids of the other tracks present."""
        visitor = self._find(verdict, others)
        if visitor is None:
            return Restriction.USUAL
        visitor.seen_ns, visitor.track = verdict.decided_ns, verdict.track.id
        if visitor.failures < self._config.max_failures:
            return Restriction.USUAL
        return Restriction.PAUSED if verdict.decided_ns < visitor.paused_until_ns else Restriction.STRICT

    def record_failure(self, verdict: Verdict, others: Set[int]) -> bool:
        """Count an `unknown`, or a presentation attack under a name; returns whether a visitor's first pause begins."""
        if verdict.finding is Identification.RECOGNISED and verdict.match.person is not None:
            self._attacked(verdict.match.person.id, verdict.decided_ns)
            return False
        visitor = self._find(verdict, others)
        if visitor is None:
            if len(self._visitors) >= self._config.max_visitors:
                self._visitors.remove(min(self._visitors, key=lambda one: one.seen_ns))
            visitor = _VisitorRecord(verdict.embedding, verdict.track.id, verdict.decided_ns)
            self._visitors.append(visitor)
        visitor.embedding, visitor.track, visitor.seen_ns = verdict.embedding, verdict.track.id, verdict.decided_ns
        if verdict.decided_ns < visitor.paused_until_ns:
            return False
        visitor.failures += 1
        if visitor.failures >= self._config.max_failures:
            visitor.paused_until_ns = verdict.decided_ns + round(self._config.lockout_s * 1e9)
        return visitor.failures == self._config.max_failures

    def impersonated(self, person_id: str, t_ns: int) -> bool:
        """Whether attacks in a row have posed as this person, so that life has to be shown twice."""
        self._forget_posed(t_ns)
        posed = self._posed.get(person_id)
        return posed is not None and posed.count >= self._config.max_failures

    def record_success(self, verdict: Verdict, others: Set[int]) -> None:
        """Reset the failures of this visitor and the count of attacks on that name."""
        visitor = self._find(verdict, others)
        if visitor is not None:
            self._visitors.remove(visitor)
        if verdict.match.person is not None:
            self._posed.pop(verdict.match.person.id, None)

    def _find(self, verdict: Verdict, others: Set[int]) -> _VisitorRecord | None:
        """The visitor whom a track shows, among those remembered."""
        horizon_ns = self._config.forget_after_s * 1e9
        self._visitors = [one for one in self._visitors if verdict.decided_ns - one.seen_ns < horizon_ns]
        candidates = [one for one in self._visitors if one.track not in others]
        if not candidates:
            return None
        distances_sq = [float(2 - 2 * (one.embedding @ verdict.embedding)) for one in candidates]
        nearest_sq = min(distances_sq)
        match = verdict.match
        if nearest_sq > self._same_visitor_sq or match.distance_sq <= min(match.threshold_sq, nearest_sq):
            return None
        return candidates[distances_sq.index(nearest_sq)]

    def _attacked(self, person_id: str, t_ns: int) -> None:
        self._forget_posed(t_ns)
        posed = self._posed.pop(person_id, None)
        if posed is None and len(self._posed) >= self._config.max_visitors:
            del self._posed[next(iter(self._posed))]  # the one whose last attack is longest ago
        self._posed[person_id] = _ImpersonationRecord(1 if posed is None else posed.count + 1, t_ns)

    def _forget_posed(self, t_ns: int) -> None:
        horizon_ns = self._config.forget_after_s * 1e9
        self._posed = {person: one for person, one in self._posed.items() if t_ns - one.last_ns < horizon_ns}
