"""What all commands of Threshold share: they end in one clear line and an exit code, and read times alike."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from datetime import datetime

from edge.core.errors import ThresholdError

_VALID_YEARS = (1971, 2200)  # of a moment on the command line
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
        # Whoever read our output has gone; keep the interpreter from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        code = 1
    raise SystemExit(code)


def parse_time_ns(text: str) -> int:
    """A moment on the command line, for argparse's `type`; see `parse_time`."""
    try:
        return parse_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def parse_time(text: str) -> int:
    """Nanoseconds since 1970 UTC of an ISO 8601 time with an offset.

    Raises:
        ValueError: it is none, or too far away.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"'{text}' is no time such as 2026-03-29T01:30+01:00") from error
    if moment.tzinfo is None or not _VALID_YEARS[0] <= moment.year < _VALID_YEARS[1]:
        raise ValueError(f"'{text}' needs an offset such as +01:00 and a year from {_VALID_YEARS[0]} on")
    return round(moment.timestamp()) * 1_000_000_000
