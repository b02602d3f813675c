"""Failed openings: decides when a person who is still present is judged again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edge.core.records import Verdict

_REPORTED_S = 60.0  # longest time from the expiry of an opening to the report of its failure


@dataclass(slots=True)
class _OpenAttempt:
    verdict: Verdict  # without its embedding, which is not needed
    failed: bool = False


class Retries:
    """Last opening of each person, kept for a bounded time; pure, the time comes with the verdicts.

    A failed opening is repeated after it would have expired, so that at most one opening per person is in progress, and
    a door whose openings fail tries once per `open_max_age_s`.
    """

    def __init__(self, open_max_age_s: float) -> None:
        self._age_ns = open_max_age_s * 1e9
        self._openings: dict[str, _OpenAttempt] = {}  # by person id

    def record_open(self, verdict: Verdict) -> None:
        """Record that the door was commanded to open for the person of this verdict."""
        if verdict.match.person is not None:
            bare = replace(verdict, embedding=np.zeros(0, np.float32))
            self._openings[verdict.match.person.id] = _OpenAttempt(bare)

    def record_failure(self, person_id: str) -> None:
        """Record that the last opening of this person failed."""
        opening = self._openings.get(person_id)
        if opening is not None:
            opening.failed = True

    def take_due(self, t_ns: int) -> list[Verdict]:
        """Remove and return the verdicts whose openings failed and would have expired by now."""
        due = []
        for person_id, opening in list(self._openings.items()):
            since_ns = t_ns - opening.verdict.decided_ns
            if opening.failed and since_ns >= self._age_ns:
                due.append(opening.verdict)
                del self._openings[person_id]
            elif since_ns >= self._age_ns + _REPORTED_S * 1e9:
                del self._openings[person_id]
        return due
