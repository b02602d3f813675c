"""Openings that did not happen: when the person who still stands there is judged again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edge.core.records import Verdict

_REPORTED_S = 60.0  # a failure is reported this long after the opening has expired, at the latest


@dataclass(slots=True)
class _OpenAttempt:
    verdict: Verdict  # without its embedding: the name is enough
    failed: bool = False


class Retries:
    """Remembers the last opening of each person for a bounded time; pure, time comes with the verdicts.

    A failed opening is tried again once it would have expired, so that at most one opening of a person is under way,
    and a door that can open to nobody makes one try per `open_max_age_s`.
    """

    def __init__(self, open_max_age_s: float) -> None:
        self._age_ns = open_max_age_s * 1e9
        self._openings: dict[str, _OpenAttempt] = {}  # by person id

    def record_open(self, verdict: Verdict) -> None:
        """The door was told to open to the person of this verdict."""
        if verdict.match.person is not None:
            bare = replace(verdict, embedding=np.zeros(0, np.float32))
            self._openings[verdict.match.person.id] = _OpenAttempt(bare)

    def record_failure(self, person_id: str) -> None:
        """The last opening of this person did not happen."""
        opening = self._openings.get(person_id)
        if opening is not None:
            opening.failed = True

    def take_due(self, t_ns: int) -> list[Verdict]:
        """Take the verdicts whose openings have failed and would have expired by now."""
        due = []
        for person_id, opening in list(self._openings.items()):
            since_ns = t_ns - opening.verdict.decided_ns
            if opening.failed and since_ns >= self._age_ns:
                due.append(opening.verdict)
                del self._openings[person_id]
            elif since_ns >= self._age_ns + _REPORTED_S * 1e9:
                del self._openings[person_id]
        return due
