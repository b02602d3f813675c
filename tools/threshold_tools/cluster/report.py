"""Result of clustering: the record that --json prints, and the report and picture sheet for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import msgspec

from edge.core.cli_support import counted
from threshold_tools.reports.document import (
    ReportDocument,
    ReportTable,
    ReportVerdict,
    TableColumn,
    Tone,
    listed,
    percent,
)
from threshold_tools.reports.page import render, thumbnail_uri

_LARGEST = "Largest groups"
_LISTED = 20  # groups in the table
_CLUSTERS = 200  # largest groups on the page, which keeps its size within limits
_PHOTOS = 24  # of each group on the page
_LOW_RECALL = 0.9  # below this the verdict names the setting that joins more photos
_ALONE = 60
_PHOTO_PX = 96

Picture = tuple[str, str, bool]  # path, data URI or "", whether it shows another person than most of its cluster


class ClusterScore(msgspec.Struct, frozen=True):
    """Agreement of clusters with the people that the folders name; shares 0..1."""

    people: int  # number of people on the photos
    purity: float  # share of photos that show the most frequent person of their cluster; ungrouped ones always do
    purity_in_company: float | None  # the same for clusters of two or more; None if there is none
    precision: float  # share of the pairs in one cluster that show one person; 1 without pairs
    recall: float  # share of the pairs of one person that are in one cluster; 1 without pairs
    f: float  # harmonic mean of precision and recall


class ClusterReport(msgspec.Struct, frozen=True):
    """Record that --json prints; `near_sq` and `min_samples` are for the density method, `k` for k-means, else None."""

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
    """The person on a photo: the first folder of its path, or ""."""
    parts = PurePosixPath(path).parts
    return parts[0] if len(parts) > 1 else ""


def cluster_name(cluster: Sequence[str]) -> str:
    """The people in a cluster, most frequent first; "" if no folders name them."""
    counts = Counter(person_of(path) for path in cluster)
    if not any(counts):
        return ""
    first = ", ".join(f"{name} {count}" for name, count in counts.most_common(3))
    return first + (f", {len(counts) - 3} more" if len(counts) > 3 else "")


def verdict(report: ClusterReport) -> ReportVerdict:
    """Estimated number of people, and the groups to check first."""
    grouped = sum(len(cluster) for cluster in report.clusters)
    headline = f"{counted(grouped, 'photo')} of about {counted(len(report.clusters), 'person', 'people')}"
    headline += f", {counted(len(report.alone), 'photo')} ungrouped." if report.alone else "."
    advice = []
    tone: Tone = "good" if report.clusters else "warn"
    if not report.clusters:
        headline = (
            f"No two of {counted(report.photos - len(report.without_face), 'photo')} seem to show the same person."
        )
    if report.score is not None:
        mixed = [number for number, cluster in enumerate(report.clusters, 1) if len({*map(person_of, cluster)}) > 1]
        if mixed:
            tone = "warn"
            named = listed([str(number) for number in mixed])
            advice.append(f"{counted(len(mixed), 'group mixes', 'groups mix')} people: check {named}, then the labels.")
        else:
            advice.append("No group mixes people.")
        advice.append(
            f"{100 * report.score.recall:.1f} % of the pairs of photos of one person are in the same group; "
            f"{report.score.people:,} people are in the folders."
        )
        if report.score.recall < _LOW_RECALL and report.near_sq is not None:
            advice.append(
                f"To join more photos, raise `--near-sq` above {report.near_sq:.2f}; groups may then mix people."
            )
    elif report.clusters:
        advice.append("Check each group, then enrol people from their group with `threshold enroll add`.")
    if report.without_face:
        advice.append(f"{counted(len(report.without_face), 'photo has', 'photos have')} no face and are in no group.")
    return ReportVerdict(tone, headline, advice)


def document(report: ClusterReport) -> ReportDocument:
    """The clusters for people."""
    if report.k is not None:
        method = f"k-means with {counted(report.k, 'group')}, seed {report.seed}"
    else:
        method = (
            f"density: {report.min_samples} or more photos within squared distance {report.near_sq:.3f} "
            "(lower is nearer)"
        )
    facts = [("photos", f"{report.photos:,}"), ("groups", f"{len(report.clusters):,}")]
    facts += [("ungrouped", f"{len(report.alone):,}"), ("without a face", f"{len(report.without_face):,}")]
    score = report.score
    tables = [] if score is None else [_score_table(score)]
    return ReportDocument(
        title=f"Groups of {Path(report.source).name}",
        source=f"{method}; embedder {report.embedder_sha256[:12]}",
        verdict=verdict(report),
        facts=facts,
        tables=[*tables, _groups_table(report)],
    )


def _score_table(score: ClusterScore) -> ReportTable:
    columns = [
        TableColumn("People", "people that the folders name"),
        TableColumn("Purity", "share of photos that show the most frequent person of their group"),
        TableColumn("Purity, groups of 2 or more", "the same without ungrouped photos"),
        TableColumn("Precision", "share of the pairs in one group that show one person"),
        TableColumn("Recall", "share of the pairs of one person that are in one group"),
        TableColumn("F", "harmonic mean of precision and recall"),
    ]
    shares = (score.purity, score.purity_in_company, score.precision, score.recall, score.f)
    row = [f"{score.people:,}", *(percent(share) for share in shares)]
    return ReportTable("Agreement with the folders", columns, [row])


def _groups_table(report: ClusterReport) -> ReportTable:
    columns = [TableColumn("Group"), TableColumn("Photos")]
    columns.append(TableColumn("People" if report.score is not None else "First photo", text=True))
    rows = [
        [f"{number}", f"{len(cluster):,}", cluster_name(cluster) or cluster[0]]
        for number, cluster in enumerate(report.clusters[:_LISTED], 1)
    ]
    left = len(report.clusters) - len(rows)
    return ReportTable(
        _LARGEST, columns, rows, f"{counted(left, 'smaller group is', 'smaller groups are')} in --json." if left else ""
    )


@dataclass(frozen=True, slots=True)
class PictureGroup:
    """One group on the page."""

    heading: str
    details: str
    pictures: list[Picture]


def contact_sheet(report: ClusterReport, folder: Path | None) -> str:
    """The groups as one HTML file; without the folder of the photos, they are named and not shown."""
    groups = [
        PictureGroup(f"Group {number}", _details(cluster), _pictures(cluster, folder))
        for number, cluster in enumerate(report.clusters[:_CLUSTERS], 1)
    ]
    if report.alone:
        shown = report.alone[:_ALONE]
        pictures = [(path, thumbnail_uri(folder / path, _PHOTO_PX) if folder else "", False) for path in shown]
        details = counted(len(report.alone), "photo")
        details += f", the first {len(shown)} are shown" if len(shown) < len(report.alone) else ""
        groups.append(PictureGroup("Ungrouped", details, pictures))
    told = document(report)
    told = replace(told, tables=[table for table in told.tables if table.title != _LARGEST])  # the page shows them
    return render(
        "cluster.html",
        title=told.title,
        kind="groups of faces",
        document=told,
        charts=[],
        groups=groups,
        labelled=report.score is not None,
        hidden=len(report.clusters) - _CLUSTERS,
    )


def _details(cluster: Sequence[str]) -> str:
    name = cluster_name(cluster)
    return counted(len(cluster), "photo") + (f": {name}" if name else "")


def _pictures(cluster: Sequence[str], folder: Path | None) -> list[Picture]:
    """Pictures of a cluster: first one photo of each other person, then all photos in order."""
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
