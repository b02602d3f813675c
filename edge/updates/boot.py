"""With which release a door starts: the newest, or the one before where that is damaged or never ran for long."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import msgspec

from edge.core.errors import ReleaseError
from edge.core.timestamps import format_datetime
from edge.updates.store import MAX_UNPROVEN_STARTS, ActiveRelease, ReleaseStore, secure_delete

log = logging.getLogger(__name__)

PROVEN_AFTER_S = 10.0  # a release that has run for so long is kept


def select_boot_release(store: ReleaseStore) -> tuple[ActiveRelease | None, str]:
    """At the start of the door: which release to run, and why not the newest, or "".

    Sweeps away what a sudden end has left, and rolls back a release that is damaged, or whose new models have never run
    for long enough in so many starts.
    """
    store.remove_stale()
    current = store.current()
    if current is None:
        return None, ""
    try:
        store.check(current.folder)
    except ReleaseError as error:
        return roll_back(store, current, str(error))
    if current.proven:
        return current, current.failure
    if current.starts >= MAX_UNPROVEN_STARTS and current.previous:
        why = f"release {current.release} never ran for {PROVEN_AFTER_S:.0f} s in {current.starts} starts; rolled back"
        return roll_back(store, current, why)
    current = msgspec.structs.replace(current, starts=current.starts + 1)
    store.activate(current)
    return current, current.failure


def roll_back(store: ReleaseStore, current: ActiveRelease, why: str) -> tuple[ActiveRelease | None, str]:
    """Go back to the release before, which is not tried again; without one, to none."""
    log.error("%s", why)
    back: ActiveRelease | None = None
    if current.previous:
        try:
            store.check(current.previous)
        except ReleaseError as error:
            log.error("%s", error)
        else:
            back = ActiveRelease(
                release=current.previous_release,
                folder=current.previous,
                digest="",
                applied_at=format_datetime(datetime.now(UTC)),
                proven=True,
                failed=current.digest,
                failure=why,
            )
    if back is not None:
        store.activate(back)
    else:
        secure_delete(store.folder / "current.json")
    secure_delete(store.release_dir(current.folder))
    return back, why
