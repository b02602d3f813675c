"""Measure the value of the samples of a track on your own faces, to choose [quality] and [recognition] of door.toml.

Every photo is sampled unchanged and in degraded copies, with a seed: out of focus, motion blur, far away, dark, bright,
lit from one side, compressed; with a mask, a hand in front of it, or sunglasses. Two parts are measured:

    quality   share of samples that a door rejects, by kind of degradation, and distances of the others
    visits    recognition and its duration with the rule of a door, sample by sample, by min_samples

--config uses the settings of a door.toml.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge.core.cli_support import counted
from edge.core.config import DoorConfig, read_config
from edge.core.errors import InputError
from threshold_tools.lab.fusion.quality_power import KindResult, measure_kinds
from threshold_tools.lab.fusion.samples import collect_samples
from threshold_tools.lab.fusion.track_fusion import KINDS_OF_TRACKS, VisitResult, measure_visits
from threshold_tools.reports.document import ReportDocument, ReportTable, ReportVerdict, TableColumn, interval, percent
from threshold_tools.reports.terminal import show
from threshold_tools.thresholds import threshold_for_fmr, threshold_sq

FMR = 1e-4  # rate of the threshold beyond which a single sample is a false non-match
ONE_STRANGER_IN = 1000  # target for the threshold of visits, the default of enrolment


class TrackFusionReport(msgspec.Struct, frozen=True):
    """Record that --json prints; empty lists mean too few people or photos."""

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


def document(report: TrackFusionReport) -> ReportDocument:
    """The report for people."""
    tables = []
    if report.kinds:
        tables.append(_kinds_table(report))
    if report.visits:
        tables.append(_visits_table(report.visits))
    return ReportDocument(
        title=f"Samples of {Path(report.source).name}",
        source=f"{counted(report.samples, 'sample')} of {counted(report.people, 'person', 'people')}, "
        f"{counted(report.copies, 'degraded copy', 'degraded copies')} of each photo, embedder "
        f"{report.embedder_sha256[:12]}, seed {report.seed}",
        verdict=_verdict(report),
        tables=tables,
        notes=report.notes,
    )


def _verdict(report: TrackFusionReport) -> ReportVerdict:
    """The number of samples to require: the smallest whose false accepts are within the target, else the largest."""
    if not report.visits:
        return ReportVerdict("bad", "Too few people or photos to simulate visits.", ["The notes name what is missing."])
    tracks_of = report.visits[0].tracks_of
    rows = sorted((each for each in report.visits if each.tracks_of == tracks_of), key=lambda each: each.min_samples)
    best = next((each for each in rows if each.false_accepts.value <= 1 / ONE_STRANGER_IN), rows[-1])
    return ReportVerdict(
        "good" if best.false_accepts.value <= 1 / ONE_STRANGER_IN else "warn",
        f"Take min_samples = {best.min_samples}: {percent(best.recognised.value)} of visits are recognised, "
        f"{percent(best.false_accepts.value, 3)} of strangers are accepted.",
        [f"Visits are tracks of {tracks_of} with up to {best.samples} samples."],
    )


def _kinds_table(report: TrackFusionReport) -> ReportTable:
    heads = [
        TableColumn("Degradation", text=True),
        TableColumn("Samples"),
        TableColumn("No face"),
        TableColumn("Rejected", "share of the samples that the quality limits of a door reject"),
        TableColumn("Distance", "median squared distance to the person's other photos; lower is nearer"),
        TableColumn("FNMR", "false non-match rate: share of samples beyond the threshold"),
        TableColumn("FNMR of accepted", "the same for the samples that a door accepts"),
        TableColumn("Rejected as", text=True),
    ]
    rows = []
    for each in report.kinds:
        rejected = sum(each.refused.values()) / max(each.tried - each.no_face, 1)
        reasons = ", ".join(f"{reason} {number}" for reason, number in list(each.refused.items())[:3])
        distance = "-" if each.distance_sq is None else f"{each.distance_sq:.2f}"
        cells = [each.kind, f"{each.tried:,}", f"{each.no_face:,}", percent(rejected), distance]
        rows.append([*cells, percent(each.fnmr), percent(each.fnmr_accepted), reasons])
    note = f"Samples against the centroid of the person's other photos; threshold {report.threshold_sq:.2f}."
    return ReportTable("Quality of samples", heads, rows, note)


def _visits_table(visits: Sequence[VisitResult]) -> ReportTable:
    heads = [
        TableColumn("Tracks of", "mixed, photos: different photos of a person; copies: one photo, degraded", text=True),
        TableColumn("Samples", "largest number of samples in a visit"),
        TableColumn("min_samples", "number of samples that must agree, [recognition] min_samples"),
        TableColumn("Visits"),
        TableColumn("Recognised"),
        TableColumn("As another", "share of visits that are recognised as another person"),
        TableColumn("Samples taken", "mean number of samples until the decision"),
        TableColumn("Visits of strangers"),
        TableColumn("Strangers accepted"),
    ]
    rows = [
        [
            each.tracks_of,
            f"{each.samples}",
            f"{each.min_samples}",
            f"{each.visits:,}",
            interval(each.recognised),
            percent(each.misidentified, 3),
            f"{each.samples_taken:.1f}",
            f"{each.stranger_visits:,}",
            interval(each.false_accepts, 3),
        ]
        for each in visits
    ]
    note = "The rule of a door, sample by sample, with 95 % intervals over people."
    return ReportTable("Visits", heads, rows, note)


def measure(source: Path, config: DoorConfig, *, copies: int, most: int, seed: int) -> TrackFusionReport:
    """Sample everybody and measure.

    Raises:
        InputError: the folder contains no usable photo.
    """
    if not source.is_dir():
        raise InputError(f"{source}: no such folder")
    samples, sampler = collect_samples(source, config.quality, copies=copies, most=most, seed=seed)
    limit_sq = threshold_for_fmr(sampler.impostors, FMR)
    kinds = measure_kinds(samples, limit_sq)
    visits = [
        result
        for tracks_of in KINDS_OF_TRACKS
        for result in measure_visits(
            samples,
            tracks_of,
            lambda people: threshold_sq(sampler.impostors, one_stranger_in=ONE_STRANGER_IN, people=people),
            config.recognition,
            seed,
        )
    ]
    notes = [] if kinds else ["no quality: needs people with three photos"]
    if not visits:
        notes.append("no visits: needs 10 people with four photos or more, and 10 with fewer")
    return TrackFusionReport(
        source=str(source),
        embedder_sha256=sampler.embedder_sha256,
        seed=seed,
        copies=copies,
        people=len(samples.names),
        samples=len(samples),
        threshold_sq=limit_sq,
        kinds=kinds,
        visits=visits,
        notes=notes,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="FOLDER", help="folder with one folder of photos for each person")
    parser.add_argument("--copies", type=int, default=4, metavar="N", help="degraded copies of a photo (default: 4)")
    parser.add_argument("--most", type=int, default=10, metavar="N", help="photos of one person (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random draws (default: 0)")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="door.toml with [quality] and [recognition] (default: built-in settings)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    arguments = parser.parse_args(argv)
    if arguments.seed < 0 or arguments.copies < 0 or arguments.most < 1:
        parser.error("--seed and --copies must not be negative, and --most must be at least 1")
    config = read_config(arguments.config) if arguments.config else DoorConfig(site="any", door="any")
    report = measure(arguments.source, config, copies=arguments.copies, most=arguments.most, seed=arguments.seed)
    if arguments.json:
        print(msgspec.json.encode(report).decode())
    else:
        show(document(report))
