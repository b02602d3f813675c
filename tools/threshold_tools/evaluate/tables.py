"""The evaluation for people: key figures and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from edge.core.cli_support import counted
from threshold_tools.evaluate.recommendation import short_percent, verdict
from threshold_tools.evaluate.report import (
    ClosedSet,
    EvaluationReport,
    GroupReport,
    MeanWithSpread,
    OpenSet,
    TenFoldResult,
    VerificationResult,
)
from threshold_tools.reports.document import ReportDocument, ReportTable, TableColumn, percent
from threshold_tools.stats import Rate

MISIDENTIFIED = 12  # photos shown; --json has all
_THRESHOLD = TableColumn("Threshold", "largest accepted squared distance, 0 to 4; lower is stricter")
_WITH_FAILURES = "counting photos in which no face was found as errors"


def document(report: EvaluationReport) -> ReportDocument:
    """The whole report for people."""
    acquired = report.acquisition
    failed = bool(acquired.failures)
    tables = _open_set_tables(report.open_set, failed)
    if report.all_pairs:
        tables.append(_pairs_table(report.all_pairs, failed))
    if report.ten_fold:
        tables.append(_folds_table(report.ten_fold))
    if report.closed_set:
        tables += _closed_set_tables(report.closed_set, failed)
    if report.groups:
        tables.append(_groups_table(report.groups))
    if failed:
        rows = [[path] for path in acquired.failed[:200]]
        tables.append(ReportTable("Photos without a face", [TableColumn("Photo", text=True)], rows))
    return ReportDocument(
        title=f"Evaluation of {Path(report.source).name}",
        source=f"{counted(acquired.photos, 'photo')} of {counted(acquired.people, 'person', 'people')}, embedder "
        f"{report.embedder_sha256[:12]}, seed {report.seed}",
        verdict=verdict(report),
        facts=_facts(report),
        tables=tables,
        notes=report.notes,
    )


def _facts(report: EvaluationReport) -> list[tuple[str, str]]:
    acquired = report.acquisition
    facts = [("people", f"{acquired.people:,}"), ("photos", f"{acquired.photos:,}")]
    facts.append(("photos without a face", f"{acquired.failures:,} ({short_percent(acquired.rate)})"))
    if acquired.people_without_a_face:
        facts.append(("people without a usable photo", f"{acquired.people_without_a_face:,}"))
    if report.closed_set:
        facts.append(("named correctly", percent(report.closed_set.classifiers[0].accuracy.mean)))
    if report.ten_fold:
        facts.append(("pairs judged correctly", percent(report.ten_fold.accuracy.mean)))
    if report.all_pairs:
        facts.append(("equal error rate", percent(report.all_pairs.eer, 3)))
    return facts


def _open_set_tables(sets: Sequence[OpenSet], failed: bool) -> list[ReportTable]:
    columns = [
        TableColumn("Enrolled photos", "number of photos enrolled of each person"),
        TableColumn("Search by", "single photos, or tracks: the mean of 3 photos, as a door fuses samples", text=True),
        TableColumn("People"),
        TableColumn("Strangers"),
        TableColumn("Searches", "searches by enrolled people; strangers search as well"),
        TableColumn("FPIR", "false-positive identification rate: share of strangers' searches that are accepted"),
        _THRESHOLD,
        TableColumn(
            "FNIR",
            "false-negative identification rate: share of enrolled people's searches that are rejected or misnamed",
        ),
        TableColumn("95 % interval", "range that contains the true rate with a probability of 95 %"),
    ]
    if failed:
        columns.append(TableColumn("FNIR with failures", f"FNIR {_WITH_FAILURES}"))
    rows = []
    for each in sets:
        for kind, searches, rates in (("photo", each.searches, each.single), ("track", each.tracks, each.fused)):
            for row in rates:
                cells = [f"{each.images}", kind, f"{each.enrolled:,}", f"{each.strangers:,}", f"{searches:,}"]
                cells += [_share(row.fpir), f"{row.threshold_sq:.3f}", percent(row.fnir.value), _interval(row.fnir)]
                rows.append(cells + [percent(row.fnir_with_failures.value)] * failed)
    if not rows:
        return []
    unusable = sets[0].failed_enrolments
    lost = (
        f" {counted(unusable, 'person has', 'people have')} no usable photo: all their searches fail."
        if unusable
        else ""
    )
    draws = counted(sets[0].draws, "draw")
    note = f"Some people are enrolled, others are strangers. Mean of {draws} of the enrolled photos."
    return [ReportTable("Open set: enrolled people and strangers", columns, rows, note + lost)]


def _pairs_table(pairs: VerificationResult, failed: bool) -> ReportTable:
    columns = [
        TableColumn("FMR", "false match rate: share of pairs of two people at or below the threshold"),
        _THRESHOLD,
        TableColumn("False matches", "pairs of two people at or below the threshold"),
        TableColumn("TAR", "true accept rate: share of pairs of one person at or below the threshold"),
        TableColumn("FNMR", "false non-match rate: share of pairs of one person above the threshold, 1 - TAR"),
    ]
    if failed:
        columns.append(TableColumn("TAR with failures", f"TAR {_WITH_FAILURES}"))
    rows = []
    for row in pairs.at:
        cells = [_share(row.fmr), f"{row.threshold_sq:.3f}", f"{row.false_matches:,}", percent(row.tar)]
        rows.append([*cells, percent(1 - row.tar)] + [percent(row.tar_with_failures)] * failed)
    note = (
        f"{pairs.mated:,} pairs of one person, {pairs.non_mated:,} of two people. "
        f"Equal error rate {percent(pairs.eer, 3)}"
        + (f", with failures {percent(pairs.eer_with_failures, 3)}" if failed else "")
        + "."
    )
    if pairs.unsupported_fmr:
        rates = ", ".join(_share(fmr) for fmr in pairs.unsupported_fmr)
        note += f" Too few pairs to measure FMR {rates}."
    return ReportTable("Verification: all pairs of photos", columns, rows, note)


def _folds_table(fold: TenFoldResult) -> ReportTable:
    columns = [TableColumn("Pairs", text=True), TableColumn("Accuracy"), TableColumn("Standard error")]
    rows = [["pairs in which both photos have a face", percent(fold.accuracy.mean), percent(fold.standard_error)]]
    if fold.failed_pairs:
        with_failures = [percent(fold.with_failures.mean), percent(fold.standard_error_with_failures)]
        rows.append([f"all pairs, {fold.failed_pairs:,} of them without a face", *with_failures])
    note = (
        f"{fold.pairs:,} pairs ({fold.source}) in {fold.folds} folds; mean threshold {fold.threshold_sq.mean:.3f}, "
        "chosen on the other folds."
    )
    return ReportTable("Verification in folds", columns, rows, note)


def _closed_set_tables(closed: ClosedSet, failed: bool) -> list[ReportTable]:
    timed = closed.classifiers[0].learn_ms is not None
    columns = [
        TableColumn("Classifier", "method that names a face; a door uses the first one", text=True),
        TableColumn("Named correctly", "share of photos of enrolled people that get the right name, mean ± deviation"),
        TableColumn("FNIR, closed", "share of their photos that are called unknown or misnamed"),
        TableColumn(
            "FPIR, others", "share of strangers' photos that get a name; the limit is chosen on other strangers"
        ),
        TableColumn("New person", "whether a new person can be added, or all people must be learned again", text=True),
    ]
    if failed:
        columns.append(TableColumn("Named correctly, with failures", f"the same, {_WITH_FAILURES}"))
    if timed:
        columns += [
            TableColumn("Learn all, ms"),
            TableColumn("Add a person, ms"),
            TableColumn("Name a photo, ms"),
        ]
    rows = []
    for each in closed.classifiers:
        cells = [each.name, spread(each.accuracy), spread(each.fnir), spread(each.fpir)]
        cells.append("learn all again" if each.retrains else "add")
        cells += [percent(each.accuracy_with_failures.mean)] * failed
        if timed:
            cells += [f"{each.learn_ms:,.1f}", f"{each.add_ms:,.2f}", f"{each.probe_ms:.3f}"]
        rows.append(cells)
    note = (
        f"{counted(closed.people, 'person', 'people')} with 10 photos or more ({closed.photos:,} photos), "
        f"{counted(closed.splits, 'random 80/20 split')}. The limit of unknown keeps half of {closed.strangers:,} "
        f"strangers, people with fewer photos, to FPIR {percent(closed.target_fpir, 0)}."
    )
    tables = [ReportTable("Closed set: every visitor is enrolled", columns, rows, note)]
    if closed.misnamed:
        shown = closed.misnamed[:MISIDENTIFIED]
        names = [TableColumn("Photo", text=True), TableColumn("Named", text=True), TableColumn("Times")]
        names += [TableColumn("Nearest photo of that person", text=True), TableColumn("Distance")]
        body = [
            [each.path, each.named, f"{each.wrong} of {each.tried}", each.nearest_path, f"{each.distance_sq:.2f}"]
            for each in shown
        ]
        left = len(closed.misnamed) - len(shown)
        more = f" {left:,} more are in --json." if left else ""
        total = f"{sum(each.wrong for each in closed.misnamed)} of {sum(each.tried for each in closed.misnamed)}"
        photos = counted(len(closed.misnamed), "photo")
        note = f"{photos} misnamed, {total} times they were tried. Check the labels first.{more}"
        tables.append(ReportTable(f"Misnamed by {closed.classifiers[0].name}", names, body, note))
    return tables


def _groups_table(groups: Sequence[GroupReport]) -> ReportTable:
    columns = [TableColumn("Group", text=True), TableColumn("People"), TableColumn("Photos"), TableColumn("No face")]
    for row in groups[0].at:
        columns += [TableColumn(f"FMR at {_share(row.overall_fmr)}"), TableColumn(f"FNMR at {_share(row.overall_fmr)}")]
    columns += [TableColumn("FPIR"), TableColumn("FNIR")]
    rows = []
    for each in groups:
        cells = [each.name, f"{each.people:,}", f"{each.photos:,}", percent(each.failure_rate)]
        for at in each.at:
            cells += ["-" if at.fmr is None else _share(at.fmr), percent(at.fnmr)]
        rows.append([*cells, percent(each.fpir), percent(each.fnir)])
    note = "Each group under the thresholds of all people: pairs within the group; 3 photos enrolled, FPIR 1 %."
    return ReportTable("Groups", columns, rows, note)


def spread(value: MeanWithSpread | None) -> str:
    """A mean and its standard deviation, in percent."""
    return "-" if value is None else f"{percent(value.mean)} ± {100 * value.spread:.2f}"


def _interval(rate: Rate) -> str:
    return "-" if math.isnan(rate.low) else f"{100 * rate.low:.2f} to {100 * rate.high:.2f} %"


def _share(rate: float) -> str:
    """A small rate in percent, without trailing zeros."""
    return f"{100 * rate:.4f}".rstrip("0").rstrip(".") + " %"
