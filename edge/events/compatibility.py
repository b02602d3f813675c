"""Reads messages of doors of another version: a reason that this version does not list becomes the detail."""

from __future__ import annotations

from typing import Any

import msgspec

from edge.core.reasons import Reason

_CODES = frozenset(code.value for code in Reason)
# Up to 0.1.0 the reasons of system events, status and release reports were free text; this one is of last wills.
_FORMER_REASONS = {"the connection was lost": Reason.CONNECTION_LOST}


def replace_unlisted_reason(payload: bytes) -> dict[str, Any] | None:
    """The fields of a message with an unlisted reason: `reason` is a listed code, and `detail` holds the text.

    Returns:
        None: the message has no reason, or a listed one.

    Raises:
        MsgspecError, UnicodeDecodeError, RecursionError: not a JSON object.
    """
    fields = msgspec.json.decode(payload, type=dict[str, Any])
    text = fields.get("reason")
    if not isinstance(text, str) or text in _CODES:
        return None
    return fields | {"reason": _FORMER_REASONS.get(text, Reason.OTHER), "detail": fields.get("detail") or text}
