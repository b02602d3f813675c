"""What is kept of the release before: a copy to roll back to, without people whom the new release does not hold."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from edge.core.errors import ReleaseError, ThresholdError
from edge.updates.release_format import GALLERY, MODELS, POLICY, Release, ReleaseFile
from edge.updates.store import ActiveRelease, ReleaseStore

log = logging.getLogger(__name__)

Retain = Callable[[bytes, bytes], bytes | None]


def on_trial(store: ReleaseStore, before: ActiveRelease | None, release: Release) -> bool:
    """Whether a release must first prove itself: other models can bring a door down, a tested gallery cannot.

    So power cuts in a row never take back a removal.
    """
    if before is None:
        return False
    try:
        return _models(store.release(before.folder)) != _models(release)
    except ReleaseError:  # nothing that could be rolled back to
        return False


def keep_for_rollback(
    store: ReleaseStore, before: ActiveRelease | None, current: ActiveRelease, retain: Retain
) -> None:
    """Delete from the old release whom the new one does not hold, then record it as the one to roll back to.

    Where that cannot be done, the old release is purged.

    Args:
        store: disk of the door.
        before: the release that ran; None: this is the first.
        current: the release that runs now.
        retain: as in `UpdateWorker`.
    """
    if before is None:
        return
    try:
        _reduce(store, before.folder, current.folder, retain)
    except (OSError, ThresholdError) as error:
        log.warning("release %d: purged, not kept for a rollback: %s", before.release, error)
    else:
        store.activate(msgspec.structs.replace(current, previous=before.folder, previous_release=before.release))
    store.remove_stale()


def _reduce(store: ReleaseStore, old: str, new: str, retain: Retain) -> None:
    """Leave nothing in an old release's folder about people whom the new release does not hold.

    The new access rules replace the old ones: they may name a leaver, and a rollback must not give access back.

    Raises:
        OSError, ThresholdError: that failed.
    """
    was = store.read(old, GALLERY)
    kept = retain(was, store.read(new, GALLERY))
    if kept is None:
        raise ReleaseError("its gallery cannot be compared with the new one")
    if kept != was:
        store.replace_with_filtered(old, GALLERY, kept)
    rules = store.policy(new)
    if rules != store.policy(old):
        store.replace_with_filtered(old, POLICY, rules)


def _models(release: Release) -> list[ReleaseFile]:
    """The models of a release."""
    return [entry for entry in release.files if entry.name.startswith(MODELS)]
