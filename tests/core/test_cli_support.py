"""The default door.toml, and text from the network on a terminal and in a log."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest

from edge.core.cli_support import MOST_TEXT, PrintableFormatter, escape_untrusted, find_config
from edge.core.errors import ConfigError


def test_default_configuration_files(tmp_path: Path) -> None:
    """The file named with --config, else the first one that exists."""
    system, local = tmp_path / "etc" / "door.toml", Path("door.toml")
    with pytest.raises(ConfigError) as error:
        find_config(None, (system, local))
    assert str(error.value) == (
        f"no configuration: {system} and ./door.toml do not exist; run edge setup, or name a file with --config"
    )
    other = tmp_path / "other.toml"
    other.touch()
    assert find_config(None, (system, other)) == other
    system.parent.mkdir()
    system.touch()
    assert find_config(None, (system, other)) == system
    assert find_config(local, (system, other)) == local


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Zoë 李 🚪", "Zoë 李 🚪"),
        ("a\x1b[2Jb\r\n\x00\x7f", "a\\u001b[2Jb\\u000d\\u000a\\u0000\\u007f"),
        ("\x9b1A", "\\u009b1A"),  # the one-character form of ESC [
        ("a\u202eb\u2066c\u200bd\u2028e", "a\\u202eb\\u2066c\\u200bd\\u2028e"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\udb40\\udc01"),
    ],
    ids=["plain", "control", "c1", "bidirectional", "surrogate", "tag"],
)
def test_characters_that_steer_a_terminal_are_escaped(text: str, shown: str) -> None:
    assert escape_untrusted(text) == shown


def test_long_text_is_cut() -> None:
    assert escape_untrusted("x" * MOST_TEXT) == "x" * MOST_TEXT
    assert escape_untrusted("x" * (MOST_TEXT + 1)) == "x" * (MOST_TEXT - 1) + "…"
    assert escape_untrusted("x" * 9000, None) == "x" * 9000


def test_log_lines_are_printable_and_tracebacks_stay_whole() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrintableFormatter("%(levelname)s %(message)s"))
    log = logging.Logger("test")
    log.addHandler(handler)
    try:
        raise ValueError("damaged")
    except ValueError:
        log.warning("a picture of %s was dropped", "front\nERROR forged\x1b[8m", exc_info=True)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "WARNING a picture of front\\u000aERROR forged\\u001b[8m was dropped"
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: damaged"
