"""Numbers with their nouns, for messages."""

from __future__ import annotations


def counted(count: int, one: str, more: str = "") -> str:
    """A number with its noun: "1 error", "4 warnings".

    Args:
        count: how many.
        one: the noun for one.
        more: for any other number; by default with an "s".
    """
    return f"{count} {one if count == 1 else more or f'{one}s'}"
