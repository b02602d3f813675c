"""The threshold that an evaluation recommends, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge.core.cli_support import counted
from threshold_tools.evaluate.report import EvaluationReport, FnirAtFpir, OpenSet
from threshold_tools.reports.document import ReportVerdict

_ENROLLED = 3  # photos enrolled of each person, for the recommendation
_GOOD_FPIR = 1e-3  # a threshold for a laxer target is a warning
_GOOD_FNIR = 0.05  # upper end of the interval
_WIDE = 0.2  # an interval of FNIR wider than this supports no recommendation


def verdict(report: EvaluationReport) -> ReportVerdict:
    """The threshold to take, from the open set if there is one, else from all pairs."""
    measured = next((each for each in report.open_set if each.images == _ENROLLED), None)
    measured = measured or next(iter(report.open_set), None)
    rates = (measured.fused or measured.single) if measured else []
    if measured and rates:
        return _open_set_verdict(measured, rates)
    pairs = report.all_pairs
    if pairs and pairs.at:
        row = min(pairs.at, key=lambda each: each.fmr)
        return ReportVerdict(
            "warn",
            f"Threshold {row.threshold_sq:.2f}: one in {1 / row.fmr:,.0f} pairs of two people is taken for one person, "
            f"{short_percent(1 - row.tar)} of pairs of one person are not recognised.",
            ["This compares single photos. For the threshold of a door, measure the open set with more people."],
        )
    closed = report.closed_set
    if closed:
        door = closed.classifiers[0]
        return ReportVerdict(
            "warn",
            f"{short_percent(door.accuracy.mean)} of photos get the right name among {closed.people:,} people.",
            ["All people are enrolled here, so this gives no threshold against strangers."],
        )
    return ReportVerdict("bad", "Too few people or photos to measure error rates.", ["The notes name what is missing."])


def _open_set_verdict(measured: OpenSet, rates: Sequence[FnirAtFpir]) -> ReportVerdict:
    """The strictest threshold whose FNIR is known well enough, else the strictest one."""
    by_rate = sorted(rates, key=lambda row: row.fpir)
    best = next((row for row in by_rate if row.fnir.high - row.fnir.low <= _WIDE), by_rate[0])
    place = by_rate.index(best)
    visits = "visits" if measured.fused else "photos"
    headline = (
        f"Take threshold {best.threshold_sq:.2f}: one stranger in {1 / best.fpir:,.0f} gets in, "
        f"{_refused(best)} of the {visits} of enrolled people are refused."
    )
    basis = f"{counted(measured.images, 'photo')} enrolled of each of {counted(measured.enrolled, 'person', 'people')}"
    visit = "; a visit is 3 photos" if measured.fused else ""
    advice = [
        f"Measured with {basis} and {counted(measured.strangers, 'stranger')}{visit}. "
        f"Between {_span(best)} of {visits} are refused (95 % interval)."
    ]
    for row in by_rate[:place]:
        advice.append(
            f"One stranger in {1 / row.fpir:,.0f} is not measured well: threshold {row.threshold_sq:.2f} refuses "
            f"between {_span(row)}. Check the labels of the most similar photos of two people, or add strangers."
        )
    for row in by_rate[place + 1 : place + 2]:
        advice.append(
            f"With threshold {row.threshold_sq:.2f}, one stranger in {1 / row.fpir:,.0f} gets in and {_refused(row)} "
            "are refused."
        )
    needed, searches = round(1 / _GOOD_FPIR), measured.stranger_tracks if measured.fused else measured.stranger_searches
    if searches < needed:
        advice.append(f"To measure one in {needed:,}, give {needed:,} {visits} of strangers; here are {searches:,}.")
    advice.append(
        f"Set it for your gallery with `threshold calibrate --one-stranger-in {1 / best.fpir:.0f}`, which also finds a "
        "threshold for each person."
    )
    good = best.fpir <= _GOOD_FPIR * (1 + 1e-9) and best.fnir.high <= _GOOD_FNIR
    return ReportVerdict("good" if good else "warn", headline, advice)


def _refused(row: FnirAtFpir) -> str:
    return short_percent(row.fnir.value) if row.fnir.value else "none"


def _span(row: FnirAtFpir) -> str:
    return f"{100 * row.fnir.low:.2g} and {100 * row.fnir.high:.2g} %"


def short_percent(share: float) -> str:
    """A share in percent with two or three digits."""
    return "-" if math.isnan(share) else f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.3g} %"
