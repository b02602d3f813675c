"""How a door stands with its releases, and what is news of that."""

from __future__ import annotations

from dataclasses import dataclass

from edge.updates.store import ActiveRelease


@dataclass(frozen=True, slots=True)
class ReleaseStatus:
    """How this door stands with its releases.

    Attributes:
        release: number of the one that runs, or None before the first.
        applied_at: when it began to run, UTC, RFC 3339, or None.
        ok: whether the last one offered runs.
        reason: what runs, or why the last one offered was refused.
    """

    release: int | None
    applied_at: str | None
    ok: bool
    reason: str


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A standing, and whether it is worth an event: a release was applied, or refused for a reason not told yet."""

    standing: ReleaseStatus
    applied: bool = False
    refused: bool = False


def status_of(current: ActiveRelease | None) -> ReleaseStatus:
    """What the store's pointer says, before anything was offered."""
    if current is None:
        return ReleaseStatus(None, None, False, "no release yet")
    if current.failure:
        return ReleaseStatus(current.release, current.applied_at, False, current.failure)
    return ReleaseStatus(current.release, current.applied_at, True, f"release {current.release} runs")
