"""Every error that Threshold raises on purpose.

A `ThresholdError` ends a command with exit code 1: something failed that should have worked. An `InputError` ends it
with 2: what the user gave cannot be used.

A message says what was wrong, where, and what to do about it, in one line. Foreign exceptions are translated where they
enter, with ``from``.
"""

from __future__ import annotations

import msgspec

# What msgspec raises on bytes from outside: besides its own errors UnicodeDecodeError for invalid UTF-8, and
# RecursionError for deep nesting.
DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class ThresholdError(Exception):
    """The root: catch this to catch everything Threshold raises on purpose."""

    exit_code = 1


class BrokerError(ThresholdError, ConnectionError):
    """The MQTT broker cannot be reached or has gone."""


class BrokerRefusedError(BrokerError):
    """The broker answers and rejects us: login, rights or identity. Trying again soon is useless."""


class CameraLostError(ThresholdError, OSError):
    """A camera that worked has stopped giving frames."""


class ExpectationError(ThresholdError):
    """The events of a replay differ from the expected ones."""


class LockError(ThresholdError, OSError):
    """The relay of the lock cannot be claimed or switched."""


class OutboxError(ThresholdError, OSError):
    """The event store cannot be opened or written."""


class SourceError(ThresholdError, ConnectionError):
    """A repository of releases cannot be reached, is too slow, or gives something other than files."""


class InputError(ThresholdError, ValueError):
    """What the user gave cannot be used: a file, a setting, an argument."""

    exit_code = 2


class CameraError(InputError):
    """No such camera, clip or folder, or it cannot be opened."""


class ConfigError(InputError):
    """door.toml is missing, malformed or contradicts itself."""


class GalleryError(InputError):
    """A gallery is damaged, or was made by another embedder."""


class ImageError(InputError):
    """An image cannot be decoded."""


class ModelError(InputError):
    """A model is missing, damaged, or does not fit its manifest."""


class ReleaseError(InputError):
    """A release, its repository or its keys cannot be used; the door continues with its current one."""


class ReleaseExpiredError(ReleaseError):
    """The signed metadata of a repository has expired."""
