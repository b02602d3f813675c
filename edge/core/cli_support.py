"""Shared by all commands: exit codes, times, counts with nouns, and untrusted text on a terminal and in a log."""

from __future__ import annotations

import logging
import os
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import datetime

from edge.core.errors import ThresholdError

MOST_TEXT = 500  # characters of one field
_VALID_YEARS = (1971, 2200)  # of a time on the command line
EXIT_INTERRUPTED = 130  # the shell's convention for a program ended by Ctrl-C


def run_main(main: Callable[[], int | None]) -> None:
    """Run `main` and leave the process: 0 or what it returns, 2 for bad input, 1 for a failure, 130 for Ctrl-C."""
    try:
        code = main() or 0
        sys.stdout.flush()
    except ThresholdError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except MemoryError:
        print("error: out of memory: end other programs, or take a board with more", file=sys.stderr)
        code = 1
    except BrokenPipeError:
        # The reader of our output has gone; keep the interpreter from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        code = 1
    raise SystemExit(code)


def parse_time_ns(text: str) -> int:
    """Nanoseconds since 1970 UTC of an ISO 8601 time with an offset; may be the `type` of an argument.

    Raises:
        ArgumentTypeError: not such a time, or too far away.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"'{text}' is no time such as 2026-03-29T01:30+01:00") from error
    if moment.tzinfo is None or not _VALID_YEARS[0] <= moment.year < _VALID_YEARS[1]:
        raise ArgumentTypeError(f"'{text}' needs an offset such as +01:00 and a year from {_VALID_YEARS[0]} on")
    return round(moment.timestamp()) * 1_000_000_000


def counted(count: int, one: str, more: str = "") -> str:
    """A number with its noun: "1 error", "4 warnings"; `more` is the plural where it is not `one` with an "s"."""
    return f"{count} {one if count == 1 else more or f'{one}s'}"


def escape_untrusted(text: str, most: int | None = MOST_TEXT) -> str:
    r"""One line that a terminal only displays: control and bidirectional characters are escaped as \uXXXX.

    Args:
        text: anything that was received.
        most: longest text that is kept whole, in characters before escaping; a longer one ends in "…". None: no limit.
    """
    if most is not None and len(text) > most:
        text = text[: most - 1] + "…"
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


class PrintableFormatter(logging.Formatter):
    """Log lines whose message is `escape_untrusted`; a traceback after it keeps its line breaks."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return escape_untrusted(super().formatMessage(record), None)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex("-", 2)
    return "".join(f"\\u{unit}" for unit in units.split("-"))
