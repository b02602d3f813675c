"""Exceptions of Threshold.

A `ThresholdError` ends a command with exit code 1: an operation failed. An `InputError` ends it with 2: a file, setting
or argument of the user cannot be used.

A message is one line: what is wrong, where, and what to do. Exceptions of libraries are translated where they are
raised, with ``from``.
"""

from __future__ import annotations

import msgspec

# Errors of msgspec on bytes from outside: its own, UnicodeDecodeError for invalid UTF-8, and RecursionError for deep
# nesting.
DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class ThresholdError(Exception):
    """Base class of all exceptions of Threshold."""

    exit_code = 1


class BrokerError(ThresholdError, ConnectionError):
    """The MQTT broker cannot be reached, or the connection is lost."""


class BrokerRefusedError(BrokerError):
    """The broker rejects the login, the rights or the identity of this client; retrying soon does not help."""


class CameraLostError(ThresholdError, OSError):
    """A camera that worked gives no more frames."""


class ExpectationError(ThresholdError):
    """The events of a replay differ from the expected ones."""


class LockError(ThresholdError, OSError):
    """The relay of the lock cannot be claimed or switched."""


class OutboxError(ThresholdError, OSError):
    """The event store cannot be opened or written."""


class SourceError(ThresholdError, ConnectionError):
    """A repository of releases cannot be reached, is too slow, or answers with something other than files."""


class InputError(ThresholdError, ValueError):
    """A file, setting or argument of the user cannot be used."""

    exit_code = 2


class CameraError(InputError):
    """A camera, clip or folder does not exist or cannot be opened."""


class ConfigError(InputError):
    """door.toml is missing, malformed or contradictory."""


class GalleryError(InputError):
    """A gallery is missing, damaged, or was made by another embedder."""


class ImageError(InputError):
    """An image cannot be decoded."""


class ModelError(InputError):
    """A model is missing, damaged, or does not match its manifest."""


class ReleaseError(InputError):
    """A release, its repository or its keys cannot be used; the door keeps its current release."""


class ReleaseExpiredError(ReleaseError):
    """The signed metadata of a repository has expired."""
