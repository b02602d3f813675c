"""Reports and progress bars on a terminal, in colour; plain text in a pipe.

Rich belongs to the desktop extra and is imported when needed: a gallery can be made without it, and without bars.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from edge.core.terminal import Terminal
from threshold_tools.reports.document import ReportDocument, ReportTable, Tone

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress

_T = TypeVar("_T")
_PIPE_WIDTH = 10_000  # characters; a pipe has no width to wrap at
_STYLES: dict[Tone, str] = {"good": "bold green", "warn": "bold yellow", "bad": "bold red"}
_SYMBOLS: dict[Tone, str] = {"good": "✓", "warn": "!", "bad": "✗"}


class ProgressBar(Protocol):
    """Receives the number of finished steps."""

    def __call__(self, steps: int = 1) -> None: ...


def show(document: ReportDocument) -> None:
    """Print a report to standard output."""
    if not Terminal(sys.stdout).interactive:
        print(to_text(document))
        return
    from rich.console import Console

    _print(document, Console(highlight=False, emoji=False, markup=False), symbols=True)


def to_text(document: ReportDocument) -> str:
    """The report as plain text without a final line break."""
    from rich.console import Console

    buffer = io.StringIO()
    console = Console(
        file=buffer, width=_PIPE_WIDTH, highlight=False, emoji=False, markup=False, no_color=True, force_terminal=False
    )
    _print(document, console, symbols=False)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()).rstrip()


@contextmanager
def progress(total: int | None, text: str) -> Iterator[ProgressBar]:
    """A progress bar on standard error while the block runs; yields the function that advances it.

    A `total` of None shows activity for work of unknown length. Lines printed in the meantime appear above the bar.
    """
    bar = _bar()
    if bar is None:
        yield lambda steps=1: None
        return
    with bar:
        task = bar.add_task(text, total=total)
        yield lambda steps=1: bar.advance(task, steps)


def track(items: Iterable[_T], text: str, total: int | None = None) -> Iterator[_T]:
    """The items, with a progress bar on standard error while they are used.

    Args:
        items: what to iterate over.
        text: name of the work.
        total: number of items, for an iterable without a length.
    """
    count = total if total is not None else len(items)  # type: ignore[arg-type]
    with progress(count, text) as advance:
        for item in items:
            yield item
            advance()


def _bar() -> Progress | None:
    """A progress bar on a terminal; None in a pipe or without rich."""
    if not Terminal(sys.stderr).interactive:
        return None
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ModuleNotFoundError:
        return None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    return Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)


def _print(document: ReportDocument, console: Console, *, symbols: bool) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    verdict = document.verdict
    headline = f"{_SYMBOLS[verdict.tone]} {verdict.headline}" if symbols else verdict.headline
    parts: list[RenderableType] = [Text(headline, _STYLES[verdict.tone])]
    parts += [Padding(Text(sentence), (0, 0, 0, 2)) for sentence in verdict.advice]
    if document.sketch:
        parts += [Text(), Text(document.sketch)]
    parts += [Text(), Text(document.title, "bold"), Text(document.source, "dim")]
    if document.facts:
        grid = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for name, value in document.facts:
            grid.add_row(Text(f"  {name}", "dim"), Text(value))
        parts.append(grid)
    for table in document.tables:
        parts += _table(table, symbols)
    if document.notes:
        parts.append(Text())
        parts += [Text(f"note: {note}", "yellow") for note in document.notes]
    if document.terms:
        grid = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        for name, meaning in document.terms.items():
            grid.add_row(Text(f"  {name}", "dim"), Text(meaning, "dim"))
        parts += [Text(), Text("Terms", "bold"), grid]
    for part in parts:
        console.print(part)


def _table(table: ReportTable, symbols: bool) -> list[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    grid.add_column("", width=1)
    for column in table.columns:
        grid.add_column(Text(column.label), justify="left" if column.text else "right", overflow="fold")
    for number, row in enumerate(table.rows):
        marked = number == table.marked
        sign = ("▸" if symbols else ">") if marked else ""
        grid.add_row(sign, *(Text(cell) for cell in row), style="bold green" if marked else "")
    title: list[RenderableType] = [Text(), Text(table.title, "bold")]
    return [*title, *([Text(table.note, "dim")] if table.note else []), grid]
