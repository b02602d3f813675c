"""The picture sheet: every cluster with its photos, as one HTML file that needs no other."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edge.core.errors import ImageError
from threshold_tools import pages
from threshold_tools.cluster.report import ClusterReport, cluster_name, person_of, summary_of

_CLUSTERS = 200  # the largest are shown ...
_PHOTOS = 24  # ... with so many photos each, so that the page stays a size that opens
_ALONE = 60
_PHOTO_PX = 96
_STYLE = """
:root { color-scheme: light dark; --bad: #b3452c; --soft: #8886; }
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem; max-width: 90rem; }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; overflow-wrap: anywhere; } p { margin: .2rem 0 .6rem; max-width: 60rem; }
section { border-top: 1px solid var(--soft); padding: .5rem 0; content-visibility: auto;
  contain-intrinsic-size: auto 9rem; }
h2 { font-size: 1rem; margin: 0 0 .4rem; overflow-wrap: anywhere; } h2 small { font-weight: normal; opacity: .75; }
ul { list-style: none; display: flex; flex-wrap: wrap; gap: .4rem; padding: 0; margin: 0; }
li { border: 3px solid transparent; border-radius: 4px; min-width: 3rem; min-height: 3rem; overflow-wrap: anywhere; }
li img { display: block; } li.other { border-color: var(--bad); }
"""


def contact_sheet(report: ClusterReport, folder: Path | None) -> str:
    """The sheet, HTML; without the folder that the photos lie in they are named, not shown."""
    title = f"Clusters of {Path(report.source).name}"
    parts = [
        pages.HEAD,
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{html.escape(summary_of(report))}, {len(report.without_face):,} without a face.</p>",
    ]
    if report.score is not None:
        parts.append(
            f"<p>Against the {report.score.people:,} people whom the folders name: purity "
            f"{100 * report.score.purity:.2f} %; pairs: precision {100 * report.score.precision:.2f} %, recall "
            f"{100 * report.score.recall:.2f} %, F {100 * report.score.f:.2f} %. A photo of somebody else than its "
            "cluster's most frequent person has a red frame; look at the labels before you blame the cluster.</p>"
        )
    for number, cluster in enumerate(report.clusters[:_CLUSTERS], 1):
        heading = f"cluster {number}: {len(cluster):,} photos <small>{html.escape(cluster_name(cluster))}</small>"
        parts.append(_section(heading, _foremost(cluster), cluster, folder))
    if len(report.clusters) > _CLUSTERS:
        parts.append(f"<p>{len(report.clusters) - _CLUSTERS:,} smaller clusters are not shown.</p>")
    if report.alone:
        heading = f"alone: {len(report.alone):,} photos <small>the first {min(len(report.alone), _ALONE)}</small>"
        parts.append(_section(heading, report.alone[:_ALONE], (), folder))
    return "\n".join(parts) + "\n</body></html>\n"


def _foremost(cluster: Sequence[str]) -> Sequence[str]:
    """What is shown of a cluster: of people who do not belong there each first photo, then the others in order."""
    main = _main(cluster)
    strangers: dict[str, str] = {}
    for path in cluster:
        if person_of(path) != main:
            strangers.setdefault(person_of(path), path)
    first = list(strangers.values())[: _PHOTOS // 2]
    return [*first, *(path for path in cluster if path not in first)][:_PHOTOS]


def _main(cluster: Sequence[str]) -> str:
    return Counter(person_of(path) for path in cluster).most_common(1)[0][0]


def _section(heading: str, shown: Sequence[str], cluster: Sequence[str], folder: Path | None) -> str:
    main = _main(cluster) if cluster else None
    items = []
    for path in shown:
        kind = ' class="other"' if main is not None and person_of(path) != main else ""
        items.append(f'<li{kind} title="{html.escape(path, quote=True)}">{_picture(path, folder)}</li>')
    return f"<section><h2>{heading}</h2><ul>{''.join(items)}</ul></section>"


def _picture(path: str, folder: Path | None) -> str:
    if folder is not None:
        try:
            return pages.thumbnail_uri(folder / path, _PHOTO_PX)
        except ImageError:
            pass
    return html.escape(path)
