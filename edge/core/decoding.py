"""What comes of decoding JSON that others wrote."""

from __future__ import annotations

import msgspec

# Besides its own errors msgspec lets through what a string that is no UTF-8, and what nesting without end, bring about.
DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
