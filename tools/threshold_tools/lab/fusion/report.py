"""The result of a fusion study: the same numbers as a record for programs and as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from threshold_tools.stats import Rate


class KindResult(msgspec.Struct, frozen=True):
    """One kind of degradation: samples refused by reason; FNMR of all with a face, and of those that a door accepts."""

    kind: str
    tried: int
    no_face: int
    refused: dict[str, int]
    distance_sq: float | None
    fnmr: float | None
    fnmr_accepted: float | None


class VisitResult(msgspec.Struct, frozen=True):
    """The door's own rule on tracks of up to `samples` samples, at one `min_samples`.

    `recognised` and `misidentified` are shares of enrolled people's visits, `false_accepts` of strangers';
    `samples_taken` is the mean number of samples until somebody was recognised.
    """

    tracks_of: str
    samples: int
    min_samples: int
    visits: int
    stranger_visits: int
    recognised: Rate
    misidentified: float
    false_accepts: Rate
    samples_taken: float


class TrackFusionReport(msgspec.Struct, frozen=True):
    """What --json prints; empty where there are too few people or photos."""

    source: str
    embedder_sha256: str
    seed: int
    copies: int
    people: int
    samples: int
    threshold_sq: float
    kinds: Sequence[KindResult]
    visits: Sequence[VisitResult]
    notes: Sequence[str]


def format_report(report: TrackFusionReport) -> str:
    """The report as tables for people."""
    lines = [
        f"{report.source}: {report.samples:,} samples of {report.people:,} people, {report.copies} degraded copies of "
        f"each photo, embedder {report.embedder_sha256[:12]}, seed {report.seed}"
    ]
    if report.kinds:
        lines += ["", *_format_kinds(report)]
    if report.visits:
        lines += ["", *_format_visits(report.visits)]
    return "\n".join([*lines, *(["", *(f"note: {note}" for note in report.notes)] if report.notes else [])])


def _format_kinds(report: TrackFusionReport) -> list[str]:
    lines = [
        "QUALITY: samples against the centroid of the person's other photos, FNMR at threshold_sq "
        f"{report.threshold_sq:.2f}",
        "  kind       samples  no face  refused   distance     FNMR   of the accepted   refused as",
    ]
    for each in report.kinds:
        refused = sum(each.refused.values()) / max(each.tried - each.no_face, 1)
        distance = "-" if each.distance_sq is None else f"{each.distance_sq:.2f}"
        lines.append(
            f"  {each.kind:<11} {each.tried:>6,}  {each.no_face:>7,}  {_percent(refused):>7}   {distance:>8}  "
            f"{_percent(each.fnmr):>7}   {_percent(each.fnmr_accepted):>15}   "
            + ", ".join(f"{reason} {count}" for reason, count in list(each.refused.items())[:3])
        )
    return lines


def _format_visits(visits: Sequence[VisitResult]) -> list[str]:
    return [
        "VISITS: the door's own rule, sample by sample; 95 % interval over people. Tracks of photos are different "
        "photos,",
        "  more independent than frames ever are; tracks of copies are one photo degraded in different ways.",
        "  tracks of  samples  min_samples  visits   recognised                  as another  samples taken  "
        "strangers'  false accepts",
        *(
            f"  {each.tracks_of:<9}  {each.samples:>7}  {each.min_samples:>11}  {each.visits:>6,}   "
            f"{_format_rate(each.recognised):<26}  {_percent(each.misidentified, 3):>10}  {each.samples_taken:>13.1f}  "
            f"{each.stranger_visits:>10,}  {_format_rate(each.false_accepts, 3)}"
            for each in visits
        ),
    ]


def _percent(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def _format_rate(rate: Rate, digits: int = 2) -> str:
    return f"{_percent(rate.value, digits)} ({100 * rate.low:.{digits}f} to {100 * rate.high:.{digits}f})"
