"""Galleries from a hundred people to a million: one probe against everybody."""

from __future__ import annotations

from edge.bench.figures import Figure
from edge.bench_search import COUNTS, bench_search
from edge.stopwatch import Timing

_QUICK = 10_000  # people at most


def measure(quick: bool) -> list[Figure]:
    """Searches, their quotients with numpy's bare product, and what preparing takes.

    Args:
        quick: no galleries beyond ten thousand people, and those but briefly.
    """
    counts = [count for count in COUNTS if not quick or count <= _QUICK]
    figures: list[Figure] = []
    for each in bench_search(counts, budget_s=0.3 if quick else 2.0):
        people = f"{each.people:,} people"
        figures += [
            _time(people, each.nearest),
            Figure("search", f"{people} / numpy's product", "x", each.ratio, each.ratio, each.ratio, None, 1),
            Figure("search", f"{people}, preparing", "ms", each.load_ms, each.load_ms, each.load_ms, None, 1),
        ]
    return figures


def _time(name: str, timing: Timing) -> Figure:
    low, high = timing.median_ms, timing.median_ms
    return Figure("search", name, "us", timing.median_ms * 1e3, low * 1e3, high * 1e3, timing.p95_ms * 1e3, timing.runs)
