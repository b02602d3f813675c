"""Picture sheet: every cluster with its photos, as one HTML file that needs no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edge.core.errors import ImageError
from threshold_tools.cluster.report import ClusterReport, cluster_name, person_of, summary_of
from threshold_tools.html import render, thumbnail_uri

_CLUSTERS = 200  # the largest are shown ...
_PHOTOS = 24  # ... with so many photos each, so that the page stays a size that opens
_ALONE = 60
_PHOTO_PX = 96

Picture = tuple[str, str, bool]  # path, data URI or "", whether it shows another person than most of its cluster


def contact_sheet(report: ClusterReport, folder: Path | None) -> str:
    """The sheet, HTML; without the folder that the photos lie in they are named, not shown."""
    sections = [
        (f"cluster {number}: {len(cluster):,} photos", cluster_name(cluster), _pictures(cluster, folder))
        for number, cluster in enumerate(report.clusters[:_CLUSTERS], 1)
    ]
    if report.alone:
        shown = report.alone[:_ALONE]
        pictures = [(path, _uri(path, folder), False) for path in shown]
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
    return [(path, _uri(path, folder), person_of(path) != main) for path in shown]


def _uri(path: str, folder: Path | None) -> str:
    if folder is None:
        return ""
    try:
        return thumbnail_uri(folder / path, _PHOTO_PX)
    except ImageError:
        return ""
