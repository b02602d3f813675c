"""Text from the network on a terminal and in a log."""

from __future__ import annotations

import logging
import struct

MOST_TEXT = 500  # characters of one field; a longer one says nothing more to a person
_UNIT = struct.Struct(">H")


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
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{unit:04x}" for (unit,) in _UNIT.iter_unpack(units))
