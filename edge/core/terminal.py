"""Colours, symbols and columns on a terminal; plain text in a pipe or a file."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from enum import Enum
from typing import TextIO

MIN_WIDTH = 40  # columns; a narrower terminal wraps lines
PIPE_WIDTH = 80  # columns of wrapped text that is not shown on a terminal
_RESET = "\x1b[0m"
_WIDE = ("W", "F")  # East Asian width: two columns
_NO_COLUMN = ("Mn", "Me", "Cf")  # Unicode categories: combining marks and format characters


class Style(Enum):
    """Text style, as parameters of the ANSI sequence SGR."""

    GOOD = "32"  # green
    WARNING = "33"  # yellow
    ERROR = "1;31"  # bold red
    BOLD = "1"
    DIM = "2"
    PLAIN = ""


_SYMBOLS = {Style.GOOD: ("✓", "+"), Style.WARNING: ("!", "!"), Style.ERROR: ("✗", "x"), Style.PLAIN: ("·", "-")}


class Terminal:
    """Output stream and what it can show.

    Args:
        stream: where the text is written.
        environ: environment. NO_COLOR (no-color.org) and TERM=dumb turn colours off.
    """

    def __init__(self, stream: TextIO, environ: Mapping[str, str] = os.environ) -> None:
        self.stream = stream
        self.interactive = stream.isatty() and environ.get("TERM") != "dumb"
        self.coloured = self.interactive and not environ.get("NO_COLOR")
        self._unicode = _can_encode(stream)

    @property
    def width(self) -> int:
        """Columns of the terminal now, at least 40; 80 if the stream is not a terminal."""
        if not self.interactive:
            return PIPE_WIDTH
        try:
            columns = os.get_terminal_size(self.stream.fileno()).columns
        except OSError:
            columns = 0
        return max(columns or PIPE_WIDTH, MIN_WIDTH)

    def print(self, text: str = "", end: str = "\n") -> None:
        """Write a line immediately; characters that the stream cannot encode become "?"."""
        encoding = self.stream.encoding or "utf-8"
        self.stream.write((text + end).encode(encoding, "replace").decode(encoding))
        self.stream.flush()

    def styled(self, text: str, style: Style) -> str:
        """The text in a style; unchanged where there are no colours."""
        if not self.coloured or style is Style.PLAIN or not text:
            return text
        return f"\x1b[{style.value}m{text}{_RESET}"

    def symbol(self, style: Style) -> str:
        """A coloured symbol of one column: ✓ good, ! warning, ✗ error, · other; ASCII if the stream needs it."""
        return self.styled(_SYMBOLS[style][0 if self._unicode else 1], style)

    def arrow(self) -> str:
        """An arrow of one column that introduces what to do."""
        return "→" if self._unicode else ">"


def text_width(text: str) -> int:
    """Columns that a text without control characters takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_character_width(each) for each in text)


def fit(text: str, width: int) -> str:
    """The text in exactly `width` columns: padded with spaces, or cut with "…" at the end."""
    shown = cut(text, width)
    return shown + " " * (width - text_width(shown))


def cut(text: str, width: int) -> str:
    """The text in at most `width` columns, cut with "…" at the end."""
    if text_width(text) <= width:
        return text
    room, kept = width - 1, []
    for each in text:
        room -= _character_width(each)
        if room < 0:
            break
        kept.append(each)
    return "".join(kept) + "…"


def _character_width(character: str) -> int:
    if unicodedata.category(character) in _NO_COLUMN:
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1


def _can_encode(stream: TextIO) -> bool:
    try:
        "✓✗→·".encode(stream.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True
