"""Timestamps as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def format_unix_ns(unix_ns: int) -> str:
    """UTC in RFC 3339 with milliseconds (cut, not rounded) and Z.

    Example: format_unix_ns(1_700_000_000_123_456_789) is "2023-11-14T22:13:20.123Z".
    """
    return format_datetime(_EPOCH + timedelta(milliseconds=unix_ns // 1_000_000))


def format_datetime(when: datetime) -> str:
    """UTC in RFC 3339 with milliseconds and Z; `when` is an aware datetime."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"
