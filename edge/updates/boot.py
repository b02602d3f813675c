"""Selects the release at start, and keeps the previous release for a rollback.

A rollback must not give access back: after activation, people whom the new release removed are also deleted from the
rollback copy. Its gallery keeps only the rows that the new gallery has, too, and the new access rules replace its
rules. If that fails, the whole copy is deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from edge.core.errors import ReleaseError, ThresholdError
from edge.core.files import secure_delete
from edge.core.timestamps import format_datetime
from edge.updates.release_format import GALLERY, MODELS, POLICY, Release, ReleaseFile
from edge.updates.store import MAX_UNPROVEN_STARTS, ActiveRelease, ReleaseStore

log = logging.getLogger(__name__)

PROVEN_AFTER_S = 10.0  # a release that has run for this long is kept

# Given the bytes of an old gallery and the new one: the old one reduced to people whose entries are identical in the
# new one, or None if that cannot be done.
FilterGallery = Callable[[bytes, bytes], bytes | None]


def select_boot_release(store: ReleaseStore) -> ActiveRelease | None:
    """Select the release to run when the door starts; None: there is none.

    Deletes unfinished files of an interrupted run. Rolls back a damaged release, and a release whose new models did not
    run for `PROVEN_AFTER_S` in any of `MAX_UNPROVEN_STARTS` starts.
    """
    store.remove_stale()
    current = store.current()
    if current is None:
        return None
    try:
        store.check(current.folder)
    except ReleaseError as error:
        return roll_back(store, current, str(error))
    if current.proven:
        return current
    if current.starts >= MAX_UNPROVEN_STARTS and current.previous:
        trial = f"for {PROVEN_AFTER_S:.0f} s in any of {current.starts} starts"
        reason = f"release {current.release} did not run {trial}; rolled back"
        return roll_back(store, current, reason)
    current = msgspec.structs.replace(current, starts=current.starts + 1)
    store.activate(current)
    return current


def roll_back(store: ReleaseStore, current: ActiveRelease, reason: str) -> ActiveRelease | None:
    """Activate the previous release, if any, and return it; the current one is rejected from now on."""
    log.error("release rejected: release=%d reason=%s", current.release, reason)
    previous: ActiveRelease | None = None
    if current.previous:
        try:
            store.check(current.previous)
        except ReleaseError as error:
            log.error("previous release unusable: %s", error)
        else:
            previous = ActiveRelease(
                release=current.previous_release,
                folder=current.previous,
                digest="",
                applied_at=format_datetime(datetime.now(UTC)),
                proven=True,
                failed=current.digest,
                failure=reason,
            )
    if previous is not None:
        store.activate(previous)
    else:
        secure_delete(store.folder / "current.json")
    secure_delete(store.release_dir(current.folder))
    return previous


def needs_trial(store: ReleaseStore, before: ActiveRelease | None, release: Release) -> bool:
    """Whether a release is on trial: it has other models, which can crash the door; a tested gallery cannot.

    So repeated power cuts never undo the removal of a person.
    """
    if before is None:
        return False
    try:
        return _models(store.release(before.folder)) != _models(release)
    except ReleaseError:  # there is nothing to roll back to
        return False


def clean_up_previous(
    store: ReleaseStore, before: ActiveRelease | None, current: ActiveRelease, filter_gallery: FilterGallery
) -> None:
    """Delete all people whom the new release lacks from the previous release, and keep that for a rollback."""
    if before is None:
        return
    try:
        _filter_previous(store, before.folder, current.folder, filter_gallery)
    except (OSError, ThresholdError) as error:
        log.warning("no rollback copy, previous release deleted: release=%d reason=%s", before.release, error)
    else:
        store.activate(msgspec.structs.replace(current, previous=before.folder, previous_release=before.release))
    store.remove_stale()


def _filter_previous(store: ReleaseStore, previous: str, new: str, filter_gallery: FilterGallery) -> None:
    content = store.read(previous, GALLERY)
    filtered = filter_gallery(content, store.read(new, GALLERY))
    if filtered is None:
        raise ReleaseError("its gallery cannot be compared with the new one")
    if filtered != content:
        store.replace_with_filtered(previous, GALLERY, filtered)
    rules = store.policy(new)
    if rules != store.policy(previous):
        store.replace_with_filtered(previous, POLICY, rules)


def _models(release: Release) -> list[ReleaseFile]:
    return [entry for entry in release.files if entry.name.startswith(MODELS)]
