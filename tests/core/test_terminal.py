"""Colours, symbols and columns on a terminal, and plain text elsewhere."""

from __future__ import annotations

import io

import pytest
from support.pty_stream import PtyStream

from edge.core.terminal import PIPE_WIDTH, Style, Terminal, cut, fit, text_width


def test_colours_on_a_terminal_only() -> None:
    with PtyStream(columns=100) as stream:
        terminal = Terminal(stream, {"TERM": "xterm"})
        assert terminal.styled("open", Style.GOOD) == "\x1b[32mopen\x1b[0m"
        assert terminal.symbol(Style.ERROR) == "\x1b[1;31m✗\x1b[0m"
        assert terminal.width == 100
    assert Terminal(io.StringIO(), {"TERM": "xterm"}).styled("open", Style.GOOD) == "open"
    assert Terminal(io.StringIO(), {}).width == PIPE_WIDTH


@pytest.mark.parametrize("environ", [{"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["no-color", "dumb"])
def test_colours_turned_off_by_the_environment(environ: dict[str, str]) -> None:
    with PtyStream(columns=80) as stream:
        terminal = Terminal(stream, environ)
        assert terminal.styled("open", Style.GOOD) == "open"
        assert terminal.symbol(Style.GOOD) == "✓"


def test_ascii_symbols_where_the_encoding_needs_them() -> None:
    terminal = Terminal(io.TextIOWrapper(io.BytesIO(), "ascii"), {})
    assert [terminal.symbol(style) for style in (Style.GOOD, Style.WARNING, Style.ERROR)] == ["+", "!", "x"]
    assert terminal.arrow() == ">"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ada", "ada  "),
        ("lovelace", "love…"),
        ("李小龙", "李小…"),
        ("a李小龙", "a李… "),  # half a character does not fit
        ("Zoe\u0308", "Zoe\u0308  "),
    ],
    ids=["short", "long", "wide", "wide-odd", "combining"],
)
def test_text_fitted_to_columns(text: str, shown: str) -> None:
    assert fit(text, 5) == shown
    assert text_width(shown) == 5
    assert cut(text, 5) == shown.rstrip()
