"""Content of a report: a verdict in words, key figures and tables. The terminal and the HTML page show the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from threshold_tools.stats import Rate

Tone = Literal["good", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class ReportVerdict:
    """The result in one sentence, and what to do."""

    tone: Tone
    headline: str
    advice: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class TableColumn:
    """Heading of a column; `meaning` defines it for readers who do not know the term."""

    label: str
    meaning: str = ""
    text: bool = False  # left-aligned; numbers are right-aligned


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table with one string per cell."""

    title: str
    columns: Sequence[TableColumn]
    rows: Sequence[Sequence[str]]
    note: str = ""  # shown under the title
    marked: int | None = None  # number of the recommended row


@dataclass(frozen=True, slots=True)
class ReportDocument:
    """A whole report.

    Attributes:
        title: subject of the report.
        source: what was measured, and by which model.
        verdict: result and recommendation.
        facts: name and value of the key figures.
        tables: all other figures.
        notes: short comments, such as parts that could not be measured.
        sketch: drawing in text characters for a terminal; a page has plots instead.
    """

    title: str
    source: str
    verdict: ReportVerdict
    facts: Sequence[tuple[str, str]] = ()
    tables: Sequence[ReportTable] = ()
    notes: Sequence[str] = ()
    sketch: str = ""

    @property
    def terms(self) -> dict[str, str]:
        """Meaning of each defined column heading, in the order of the tables."""
        columns = [column for table in self.tables for column in table.columns]
        return {column.label: column.meaning for column in columns if column.meaning}


def listed(items: Sequence[str], most: int = 5) -> str:
    """The first few items of a list in one line: "a, b and 3 more"."""
    shown = ", ".join(items[:most])
    return shown if len(items) <= most else f"{shown} and {len(items) - most:,} more"


def percent(share: float | None, digits: int = 2) -> str:
    """A share 0..1 in percent; "-" if there is none."""
    return "-" if share is None or math.isnan(share) else f"{100 * share:.{digits}f} %"


def interval(rate: Rate, digits: int = 2) -> str:
    """A rate and its interval in percent."""
    return f"{percent(rate.value, digits)} ({100 * rate.low:.{digits}f} to {100 * rate.high:.{digits}f})"
