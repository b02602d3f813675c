"""The results of an evaluation as tables for people."""

from __future__ import annotations

import math
from collections.abc import Sequence

from threshold_tools.evaluate.report import (
    ClosedSet,
    EvaluationReport,
    GroupReport,
    MeanWithSpread,
    OpenSet,
    TenFoldResult,
    VerificationResult,
)
from threshold_tools.stats import Rate

HOW_FAILURES_COUNT = (
    "A photo without a face is left out of the first figure and counts as an error in the one in brackets: as a wrong "
    "answer in the folds, a false non-match in all pairs, a miss in both identifications. It can be no false match and "
    "no false positive, so it never loosens a threshold: FMR and FPIR are of photos with a face."
)
MISIDENTIFIED = 12  # photos shown; --json has all
SCALE = (
    "Distances are squared Euclidean distances of unit vectors, 0 to 4: lower is nearer, a lower threshold stricter."
)


def format_report(report: EvaluationReport) -> str:
    """The report as tables for people."""
    acquired = report.acquisition
    lines = [
        f"{report.source}: {acquired.photos:,} photos of {acquired.people:,} people, embedder "
        f"{report.embedder_sha256[:12]}, seed {report.seed}",
        f"failure to acquire: {acquired.failures:,} of {acquired.photos:,} photos ({percent(acquired.rate)})"
        + (f", {acquired.people_without_a_face:,} people without any face" if acquired.people_without_a_face else ""),
        SCALE,
        HOW_FAILURES_COUNT,
    ]
    if report.ten_fold:
        lines += ["", *_folds(report.ten_fold)]
    if report.all_pairs:
        lines += ["", *_pairs(report.all_pairs)]
    if report.closed_set:
        lines += ["", *_closed(report.closed_set)]
    if report.open_set:
        lines += ["", *_open(report.open_set)]
    if report.groups:
        lines += ["", *_groups(report.groups)]
    if report.notes:
        lines += ["", *(f"note: {note}" for note in report.notes)]
    return "\n".join(lines)


def percent(value: float | None, digits: int = 2) -> str:
    """A share in percent."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.{digits}f} %"


def _folds(fold: TenFoldResult) -> list[str]:
    return [
        f"VERIFICATION in {fold.folds} folds, {fold.pairs:,} pairs ({fold.source}), {fold.failed_pairs} without a face",
        f"  accuracy {percent(fold.accuracy.mean)} ± {percent(fold.standard_error)} standard error   "
        f"[{percent(fold.with_failures.mean)} ± {percent(fold.standard_error_with_failures)}]   "
        f"threshold_sq {fold.threshold_sq.mean:.3f}",
    ]


def _pairs(pairs: VerificationResult) -> list[str]:
    lines = [
        f"VERIFICATION over all pairs: {pairs.mated:,} of one person [{pairs.mated_with_failures:,}], "
        f"{pairs.non_mated:,} of two",
        f"  EER {percent(pairs.eer, 3)} [{percent(pairs.eer_with_failures, 3)}]",
        "       FMR  threshold_sq  false matches        TAR   [with failures]       FNMR",
    ]
    lines += [
        f"  {row.fmr:>8.0e}  {row.threshold_sq:>12.3f}  {row.false_matches:>13,}  {percent(row.tar):>9}   "
        f"[{percent(row.tar_with_failures)}]".ljust(70)
        + f"{percent(1 - row.tar)}"
        for row in pairs.at
    ]
    lines += [f"  {fmr:>8.0e}  not supported by so few pairs" for fmr in pairs.unsupported_fmr]
    return lines


def _closed(closed: ClosedSet) -> list[str]:
    lines = [
        f"CLOSED SET: {closed.people:,} people with 10 photos or more, {closed.photos:,} photos, "
        f"{closed.splits} random 80/20 splits, mean ± standard deviation;",
        f'  FNIR where "unknown" keeps half of the {closed.strangers:,} strangers, people with fewer photos, to FPIR '
        f"{percent(closed.target_fpir, 0)}; FPIR of the others",
        "  classifier          named rightly      [with failures]    FNIR             [with failures]    FPIR, others",
    ]
    lines += [
        f"  {each.name:<18}  {spread(each.accuracy):<17}  [{percent(each.accuracy_with_failures.mean)}]".ljust(58)
        + f"{spread(each.fnir):<17}"
        + (f"[{percent(each.fnir_with_failures.mean)}]" if each.fnir_with_failures else "-").ljust(19)
        + spread(each.fpir)
        for each in closed.classifiers
    ]
    if closed.classifiers[0].learn_ms is not None:
        lines.append("  times in ms         learn everybody  add a person  name a photo")
        lines += [
            f"  {each.name:<18}  {each.learn_ms:>15,.1f}  {each.add_ms:>12,.2f}  {each.probe_ms:>12.3f}"
            + ("   everybody is learnt again" if each.retrains else "")
            for each in closed.classifiers
        ]
    if closed.misnamed:
        wrong, tried = sum(each.wrong for each in closed.misnamed), sum(each.tried for each in closed.misnamed)
        door = closed.classifiers[0].name
        lines.append(f"  {door} misnamed {len(closed.misnamed)} photos, {wrong} of {tried} times they were tried:")
        lines += [
            f"    {each.path} as {each.named} ({each.wrong} of {each.tried}; {each.distance_sq:.2f} to "
            f"{each.nearest_path})"
            for each in closed.misnamed[:MISIDENTIFIED]
        ]
        if len(closed.misnamed) > MISIDENTIFIED:
            lines.append(f"    and {len(closed.misnamed) - MISIDENTIFIED} more, in --json")
    return lines


def spread(value: MeanWithSpread | None) -> str:
    """A mean and its standard deviation, in percent."""
    return "-" if value is None else f"{percent(value.mean)} ± {100 * value.spread:.2f}"


def _open(open_sets: Sequence[OpenSet]) -> list[str]:
    lines = [
        f"OPEN SET: nearest centroid, mean of {open_sets[0].draws} draws of the enrolled photos, 95 % interval over "
        "people;",
        "  a track is the mean of 3 photos; a stranger with fewer gives those",
        "  enrolled   people  strangers  searches     FPIR  threshold_sq    FNIR, 95 % interval"
        "          [with failures]",
    ]
    for each in open_sets:
        for kind, searches, rows in (("", each.searches, each.single), (" track", each.tracks, each.fused)):
            name = f"{each.images}{kind}"
            lines += [
                f"  {name:<8}  {each.enrolled:>7,}  {each.strangers:>9,}  {searches:>8,}  {row.fpir:>7.0e}  "
                f"{row.threshold_sq:>12.3f}    {interval(row.fnir):<29}  [{percent(row.fnir_with_failures.value)}]"
                for row in rows
            ]
    failed = open_sets[0].failed_enrolments
    if failed:
        lines.append(f"  {failed:,} of those to be enrolled have no photo with a face: all their searches fail")
    return lines


def interval(rate: Rate) -> str:
    """A rate and its interval."""
    return f"{percent(rate.value)} ({100 * rate.low:.2f} to {100 * rate.high:.2f})"


def _groups(groups: Sequence[GroupReport]) -> list[str]:
    lines = [
        "GROUPS under everybody's thresholds: pairs within the group; searches with 3 photos enrolled at FPIR 1 %",
        "  group               people   photos  no face  "
        + "".join(f"FMR, FNMR at {row.overall_fmr:.0e}   " for row in groups[0].at)
        + "   FPIR     FNIR",
    ]
    for each in groups:
        cells = "".join(f"{_small(row.fmr):>9}, {percent(row.fnmr):<12}" for row in each.at)
        lines.append(
            f"  {each.name:<18}  {each.people:>6,}  {each.photos:>7,}  {percent(each.failure_rate):>7}  {cells}"
            f"{percent(each.fpir):>7}  {percent(each.fnir):>7}"
        )
    return lines


def _small(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"
