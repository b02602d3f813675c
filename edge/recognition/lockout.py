"""Lockout after repeated failures: a pause and stricter limits for the visitor who failed, and only for them.

Two kinds of failure are counted separately, because only the first identifies who failed.

A face that is not enrolled fails with every verdict `unknown`, reported or not. A visitor who stays fails again after
each `unknown_samples` samples without recognition, and a track whose evidence is reset fails again. A visitor who
leaves before the verdict does not fail. Recognition is a success, also if the access rules deny entry. After
`max_failures` in a row (5, as in NIST SP 800-63B-4 for biometrics) the door does not open to this visitor for
`lockout_s` (30 s). Then `extra_samples` and `threshold_factor` apply until a success, and each further failure starts
the next pause. An `unknown` during a pause is reported as usual; it neither counts as a failure nor extends the pause.
A recognition during a pause is withheld. The first pause of a visitor is reported even during the cooldown; later ones
are not.

Two verdicts belong to the same visitor if the remembered visitor has the nearest fused embedding within
`same_stranger_sq`. Two rules prevent a stranger from locking out a similar person. A track is never assigned to a
visitor whose own track is present, too. A face within a person's threshold that is nearer to that person than to the
visitor is assigned to the person.

A presentation attack shows the face of an enrolled person, so name and embedding do not distinguish the attacker from
that person. A pause would lock the person out for as long as somebody shows photos of them. Attacks are therefore
counted by the person shown, and recognition is not withheld: after `max_failures` in a row, a visitor recognised as
that person must show liveness twice (`edge.liveness.gate`) until a success, or until there was no attack for
`forget_after_s`.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum

from edge.core.config import LockoutConfig
from edge.core.records import FloatArray, Identification, Verdict


class Restriction(StrEnum):
    """Restriction of a visitor."""

    USUAL = "usual"
    STRICT = "strict"
    PAUSED = "paused"  # not recognised for now


@dataclass(slots=True, eq=False)
class _VisitorRecord:
    embedding: FloatArray  # of the last failure
    track: int
    seen_ns: int
    failures: int = 0
    paused_until_ns: int = 0


@dataclass(slots=True)
class _ImpersonationRecord:
    """Presentation attacks in a row with the face of one person."""

    count: int
    last_ns: int


class Lockout:
    """Failures of visitors, in memory only, bounded in number and time; pure, the time comes with the verdicts."""

    def __init__(self, config: LockoutConfig, same_stranger_sq: float) -> None:
        self._config = config
        self._same_visitor_sq = same_stranger_sq  # largest squared distance of two fused embeddings of one visitor
        self._visitors: list[_VisitorRecord] = []
        self._posed: dict[str, _ImpersonationRecord] = {}  # by id of the person shown

    def __len__(self) -> int:
        return len(self._visitors) + len(self._posed)

    def restriction_for(self, verdict: Verdict, others: Set[int]) -> Restriction:
        """Present restriction of a visitor; `others`: ids of the other tracks present."""
        visitor = self._find(verdict, others)
        if visitor is None:
            return Restriction.USUAL
        visitor.seen_ns, visitor.track = verdict.decided_ns, verdict.track.id
        if visitor.failures < self._config.max_failures:
            return Restriction.USUAL
        return Restriction.PAUSED if verdict.decided_ns < visitor.paused_until_ns else Restriction.STRICT

    def record_failure(self, verdict: Verdict, others: Set[int]) -> bool:
        """Count an `unknown` or a presentation attack; returns whether the first pause of a visitor begins."""
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
        """Whether this person was attacked `max_failures` times in a row, so that liveness is required twice."""
        self._forget_posed(t_ns)
        posed = self._posed.get(person_id)
        return posed is not None and posed.count >= self._config.max_failures

    def record_success(self, verdict: Verdict, others: Set[int]) -> None:
        """Reset the failures of this visitor and the attacks on the recognised person."""
        visitor = self._find(verdict, others)
        if visitor is not None:
            self._visitors.remove(visitor)
        if verdict.match.person is not None:
            self._posed.pop(verdict.match.person.id, None)

    def _find(self, verdict: Verdict, others: Set[int]) -> _VisitorRecord | None:
        """The remembered visitor to whom a track belongs, or None."""
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
            del self._posed[next(iter(self._posed))]  # the person whose last attack is oldest
        self._posed[person_id] = _ImpersonationRecord(1 if posed is None else posed.count + 1, t_ns)

    def _forget_posed(self, t_ns: int) -> None:
        horizon_ns = self._config.forget_after_s * 1e9
        self._posed = {person: one for person, one in self._posed.items() if t_ns - one.last_ns < horizon_ns}
