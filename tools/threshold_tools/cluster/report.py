"""What a grouping tells: the same as a record for programs and as a table for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import msgspec

from threshold_tools.cluster.score import Score

_LISTED = 20


class Report(msgspec.Struct, frozen=True):
    """All that --json prints; `near_sq` and `least` are of the density method, `k` of k-means, None of the other."""

    source: str
    embedder_sha256: str
    method: str
    seed: int
    near_sq: float | None
    least: int | None
    k: int | None
    photos: int
    without_face: Sequence[str]
    clusters: Sequence[Sequence[str]]
    alone: Sequence[str]
    score: Score | None


def person_of(path: str) -> str:
    """Who is on a photo, by the first folder of its path; "" where it lies in none."""
    parts = PurePosixPath(path).parts
    return parts[0] if len(parts) > 1 else ""


def told(cluster: Sequence[str]) -> str:
    """Who is in a cluster, where folders name them, the most frequent first."""
    counts = Counter(person_of(path) for path in cluster)
    if not any(counts):
        return ""
    first = ", ".join(f"{name} {count}" for name, count in counts.most_common(3))
    return first + (f", {len(counts) - 3} more" if len(counts) > 3 else "")


def method_of(report: Report) -> str:
    """The method and its settings."""
    if report.k is not None:
        return f"k-means, k = {report.k:,}, seed {report.seed}"
    return f"density, {report.least} or more within squared distance {report.near_sq:.3f} (lower is nearer)"


def show(report: Report) -> str:
    """The report as a table for people."""
    grouped = sum(len(cluster) for cluster in report.clusters)
    lines = [
        f"{report.source}: {report.photos:,} photos, {len(report.without_face):,} without a face, which are in no "
        f"cluster; embedder {report.embedder_sha256[:12]}",
        f"{method_of(report)}: {grouped:,} photos in {len(report.clusters):,} clusters, {len(report.alone):,} alone",
    ]
    if report.score is not None:
        lines += _score(report.score)
    lines += ["", "  cluster  photos  who" if report.score is not None else "  cluster  photos  first"]
    for number, cluster in enumerate(report.clusters[:_LISTED], 1):
        lines.append(f"  {number:>7}  {len(cluster):>6,}  {told(cluster) or cluster[0]}")
    if len(report.clusters) > _LISTED:
        lines.append(f"  and {len(report.clusters) - _LISTED:,} smaller ones; all are in --json")
    return "\n".join(lines)


def _score(score: Score) -> list[str]:
    company = "-" if score.purity_in_company is None else f"{100 * score.purity_in_company:.2f} %"
    return [
        f"against the {score.people:,} people whom the folders name: purity {100 * score.purity:.2f} %, in clusters of "
        f"two or more {company}",
        f"  pairs: precision {100 * score.precision:.2f} %, recall {100 * score.recall:.2f} %, F {100 * score.f:.2f} %",
    ]
