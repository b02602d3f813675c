"""Shared by all commands: exit codes, the default door.toml, times, counts with nouns, and untrusted text."""

from __future__ import annotations

import logging
import os
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from edge.core.errors import ConfigError, ThresholdError
from edge.core.terminal import Style, Terminal

DEFAULT_CONFIGS = (Path("/etc/threshold/door.toml"), Path("door.toml"))  # the first that exists is used
MOST_TEXT = 500  # characters of one field
_VALID_YEARS = (1971, 2200)  # of a time on the command line
EXIT_INTERRUPTED = 130  # the shell's convention for a program ended by Ctrl-C


def run_main(main: Callable[[], int | None]) -> None:
    """Run `main` and leave the process: 0 or what it returns, 2 for bad input, 1 for a failure, 130 for Ctrl-C."""
    try:
        code = main() or 0
        sys.stdout.flush()
    except ThresholdError as error:
        _print_error(str(error))
        code = error.exit_code
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except MemoryError:
        _print_error("out of memory: end other programs, or use a board with more memory")
        code = 1
    except BrokenPipeError:
        # The reader of our output has gone; without this the interpreter reports it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _print_error(f"{where}{error.strerror or error}")
        code = 1
    raise SystemExit(code)


def find_default_config(candidates: Sequence[Path] = DEFAULT_CONFIGS) -> Path | None:
    """The first configuration file that exists, or None."""
    return next((path for path in candidates if path.exists()), None)


def find_config(named: Path | None, candidates: Sequence[Path] = DEFAULT_CONFIGS) -> Path:
    """The configuration file of a command: the one named with --config, else the first candidate that exists.

    Raises:
        ConfigError: none is named, and no candidate exists.
    """
    found = named or find_default_config(candidates)
    if found is None:
        listed = " and ".join(str(path) if path.is_absolute() else f"./{path}" for path in candidates)
        raise ConfigError(f"no configuration: {listed} do not exist; run edge setup, or name a file with --config")
    return found


def parse_time_ns(text: str) -> int:
    """Nanoseconds since 1970 UTC of an ISO 8601 time with an offset; can be the `type` of an argument.

    Raises:
        ArgumentTypeError: not such a time, or its year is out of range.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"'{text}' is not a time; write one such as 2026-03-29T01:30+01:00") from error
    if moment.tzinfo is None or not _VALID_YEARS[0] <= moment.year < _VALID_YEARS[1]:
        raise ArgumentTypeError(f"'{text}' needs an offset such as +01:00 and a year from {_VALID_YEARS[0]} on")
    return round(moment.timestamp()) * 1_000_000_000


def counted(count: int, one: str, more: str = "") -> str:
    """A number with its noun, such as "1 error" or "4,000 events"; `more` is an irregular plural."""
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"


def escape_untrusted(text: str, most: int | None = MOST_TEXT) -> str:
    r"""Text as one line without control and bidirectional characters, which are escaped as \uXXXX.

    Args:
        text: text from outside.
        most: limit in characters before escaping; longer text is cut and ends in "…". None: no limit.
    """
    if most is not None and len(text) > most:
        text = text[: most - 1] + "…"
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


class PrintableFormatter(logging.Formatter):
    """Formats log lines with `escape_untrusted`; a traceback keeps its line breaks."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return escape_untrusted(super().formatMessage(record), None)


def _print_error(message: str) -> None:
    print(f"{Terminal(sys.stderr).styled('error:', Style.ERROR)} {message}", file=sys.stderr)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex("-", 2)
    return "".join(f"\\u{unit}" for unit in units.split("-"))
