"""The result of clustering: the same as a record for programs, as a table for people, and as a sheet of pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import msgspec

from threshold_tools.html import render, thumbnail_uri

_LISTED = 20
_CLUSTERS = 200  # the largest are shown ...
_PHOTOS = 24  # ... with so many photos each, so that the page stays a size that opens
_ALONE = 60
_PHOTO_PX = 96

Picture = tuple[str, str, bool]  # path, data URI or "", whether it shows another person than most of its cluster


class ClusterScore(msgspec.Struct, frozen=True):
    """How well clusters agree with the people whom the folders name; shares 0..1."""

    people: int  # number of people on the photos
    purity: float  # share of the photos that show the most frequent person of their cluster; one alone always does
    purity_in_company: float | None  # the same of the photos in clusters of two or more; None without any
    precision: float  # share of the pairs in one cluster that show one person; 1 where there are none
    recall: float  # share of the pairs of one person that are in one cluster; 1 where there are none
    f: float  # harmonic mean of precision and recall


class ClusterReport(msgspec.Struct, frozen=True):
    """What --json prints; `near_sq` and `min_samples` belong to the density method, `k` to k-means, else None."""

    source: str
    embedder_sha256: str
    method: str
    seed: int
    near_sq: float | None
    min_samples: int | None
    k: int | None
    photos: int
    without_face: Sequence[str]
    clusters: Sequence[Sequence[str]]
    alone: Sequence[str]
    score: ClusterScore | None


def person_of(path: str) -> str:
    """The person on a photo: the first folder of its path; "" where it lies in none."""
    parts = PurePosixPath(path).parts
    return parts[0] if len(parts) > 1 else ""


def cluster_name(cluster: Sequence[str]) -> str:
    """The people in a cluster, the most frequent first; "" where no folders name them."""
    counts = Counter(person_of(path) for path in cluster)
    if not any(counts):
        return ""
    first = ", ".join(f"{name} {count}" for name, count in counts.most_common(3))
    return first + (f", {len(counts) - 3} more" if len(counts) > 3 else "")


def summary_of(report: ClusterReport) -> str:
    """The method with its settings, and the number of clusters, in one sentence."""
    if report.k is not None:
        method = f"k-means, k = {report.k:,}, seed {report.seed}"
    else:
        method = f"density, {report.min_samples} or more within squared distance {report.near_sq:.3f} (lower is nearer)"
    grouped = sum(len(cluster) for cluster in report.clusters)
    return f"{method}: {grouped:,} photos in {len(report.clusters):,} clusters, {len(report.alone):,} alone"


def format_report(report: ClusterReport) -> str:
    """The report as a table for people."""
    lines = [
        f"{report.source}: {report.photos:,} photos, {len(report.without_face):,} without a face, which are in no "
        f"cluster; embedder {report.embedder_sha256[:12]}",
        summary_of(report),
    ]
    if (score := report.score) is not None:
        company = "-" if score.purity_in_company is None else f"{100 * score.purity_in_company:.2f} %"
        lines += [
            f"against the {score.people:,} people whom the folders name: purity {100 * score.purity:.2f} %, in "
            f"clusters of two or more {company}",
            f"  pairs: precision {100 * score.precision:.2f} %, recall {100 * score.recall:.2f} %, "
            f"F {100 * score.f:.2f} %",
        ]
    lines += ["", "  cluster  photos  who" if report.score is not None else "  cluster  photos  first"]
    for number, cluster in enumerate(report.clusters[:_LISTED], 1):
        lines.append(f"  {number:>7}  {len(cluster):>6,}  {cluster_name(cluster) or cluster[0]}")
    if len(report.clusters) > _LISTED:
        lines.append(f"  and {len(report.clusters) - _LISTED:,} smaller ones; all are in --json")
    return "\n".join(lines)


def contact_sheet(report: ClusterReport, folder: Path | None) -> str:
    """The clusters as one HTML file that needs no other; without the folder of the photos they are named, not shown."""
    sections = [
        (f"cluster {number}: {len(cluster):,} photos", cluster_name(cluster), _pictures(cluster, folder))
        for number, cluster in enumerate(report.clusters[:_CLUSTERS], 1)
    ]
    if report.alone:
        shown = report.alone[:_ALONE]
        pictures = [(path, thumbnail_uri(folder / path, _PHOTO_PX) if folder else "", False) for path in shown]
        sections.append((f"alone: {len(report.alone):,} photos", f"the first {len(shown)}", pictures))
    return render(
        "cluster.html",
        title=f"Clusters of {Path(report.source).name}",
        report=report,
        summary=summary_of(report),
        sections=sections,
        hidden=len(report.clusters) - _CLUSTERS,
    )


def _pictures(cluster: Sequence[str], folder: Path | None) -> list[Picture]:
    """What is shown of a cluster: of people who do not belong there each first photo, then the others in order."""
    main = Counter(person_of(path) for path in cluster).most_common(1)[0][0]
    strangers: dict[str, str] = {}
    for path in cluster:
        if person_of(path) != main:
            strangers.setdefault(person_of(path), path)
    first = list(strangers.values())[: _PHOTOS // 2]
    shown = [*first, *(path for path in cluster if path not in first)][:_PHOTOS]
    return [
        (path, thumbnail_uri(folder / path, _PHOTO_PX) if folder else "", person_of(path) != main) for path in shown
    ]
