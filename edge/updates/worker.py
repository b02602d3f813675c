"""Thread that keeps the release of a door up to date: fetches, verifies, loads, hands over and cleans up.

The door activates a loaded release, `staged`, between two frames. All slow work is in this thread.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from edge.core.cli_support import counted
from edge.core.errors import ReleaseExpiredError, ThresholdError
from edge.core.files import secure_delete
from edge.core.reasons import Reason
from edge.core.timestamps import format_datetime
from edge.updates.boot import PROVEN_AFTER_S, FilterGallery, clean_up_previous, needs_trial
from edge.updates.sources import RepositoryChanged, Source
from edge.updates.store import ActiveRelease, ReleaseStatus, ReleaseStore, StatusChange, status_of
from edge.updates.updater import StagedRelease, Updater

log = logging.getLogger(__name__)

BundleT = TypeVar("BundleT")

RETRY_S = 30.0  # time between checks after a refusal; missing files may still arrive
REFUSED_S = (0.1, 5.0)  # pause after each refusal, doubled each time, so that a flood does not load the board
RECHECK_S = 3600.0  # longest time between checks without news
CLOSE_S = 5.0  # longest wait of `close` for a source that cannot be interrupted, such as a network file system
BACKOFF_S = (1.0, 30.0)  # first and longest pause between attempts to reach the repository


@dataclass(kw_only=True, eq=False)
class UpdateWorker(Generic[BundleT]):
    """Keeps the release of one door up to date, between `start` and `close`."""

    store: ReleaseStore  # `select_boot_release` has been called
    source: Source
    updater: Updater
    # Loads and tests a release while another is in use; raises a ThresholdError for a release that must not run.
    load: Callable[[StagedRelease], BundleT]
    filter_previous_gallery: FilterGallery  # for the rollback copy
    on_status: Callable[[StatusChange], None]  # called from the worker thread with every status change
    now: Callable[[], datetime]  # current time, aware
    clock_set: Callable[[], bool]  # whether `now` is reliable; a change to True triggers a check
    obsolete_files: tuple[Path, ...] = ()  # files to delete once a release is in use
    interval_s: float = 30.0  # longest single wait for news
    close_s: float = CLOSE_S  # longest time of `close`

    def __post_init__(self) -> None:
        self.staged: BundleT | None = None  # loaded release that the door activates between two frames
        self.status = status_of(self.store.current())
        self._stop = threading.Event()
        self._activated = threading.Event()
        self._thread = threading.Thread(target=self._run, name="release", daemon=True)
        self._began_s = time.monotonic()
        self._rejected: tuple[str, str] = ("", "")  # digest of the last release that failed to load, and the message
        self._reported_refusals: set[str] = set()  # since the last success
        self._refused_in_row = 0
        self._check_at_s = 0.0  # time of the next check without news, monotonic
        self._clock_was_set = self.clock_set()
        self._expired = ""  # the expiry that was reported
        self._reachable = True

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def confirm_activated(self) -> None:
        """Confirm that the staged release is in use."""
        self.staged = None
        self._activated.set()

    def close(self) -> None:
        """Stop within `close_s`. The release in use counts as proven, because it was stopped and did not fail."""
        self._stop.set()
        self._activated.set()
        self.source.wake()
        if self._thread.is_alive():
            self._thread.join(self.close_s)
        if self._thread.is_alive():  # a daemon thread ends with the process
            log.warning("release source does not answer, stopping without it: waited_s=%g", self.close_s)
        else:
            self.source.close()
        self._mark_proven(at_once=True)

    def forgive_start(self) -> None:
        """Do not count this start against the release, because it ends for another reason."""
        current = self.store.current()
        if current is not None and not current.proven:
            self.store.activate(msgspec.structs.replace(current, starts=max(current.starts - 1, 0)))

    def _run(self) -> None:
        if self.store.current() is not None:
            self._delete_obsolete()
        self.on_status(StatusChange(self.status))
        pause_s, longest_s = BACKOFF_S
        while not self._stop.is_set():
            try:
                news = self.source.wait(self._wait_s(), self.updater.root_name())
                if self._stop.is_set():
                    return
                if self._clock_became_set() or news or time.monotonic() >= self._check_at_s:
                    self._check_once()
                self._mark_proven()
                pause_s = BACKOFF_S[0]
                self._log_reachable()
                self._report_expiry()
            except RepositoryChanged:
                self._check_at_s = 0.0
            except (ThresholdError, OSError) as error:
                self._log_reachable(error)
                self._report_expiry()
                self._stop.wait(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(pause_s * 2, longest_s)
                self._check_at_s = 0.0

    def _log_reachable(self, error: Exception | None = None) -> None:
        """Log when the repository becomes unreachable or reachable."""
        if error is not None:
            log.log(logging.WARNING if self._reachable else logging.DEBUG, "release source not reachable: %s", error)
        elif not self._reachable:
            log.info("release source reachable again")
        self._reachable = error is None

    def _report_expiry(self) -> None:
        """Report expired metadata, also while the repository cannot be reached."""
        expired, before = self.updater.expired(self.now()), self._expired
        if expired == before or self._stop.is_set():
            return
        self._expired = expired
        if expired:
            self._report(Reason.RELEASE_EXPIRED, expired)
        elif self.status.detail == before:  # the clock was corrected
            self._set_status(StatusChange(status_of(self.store.current())))

    def _wait_s(self) -> float:
        left = [self.interval_s, self._check_at_s - time.monotonic()]
        current = self.store.current()
        if current is not None and not current.proven:
            left.append(PROVEN_AFTER_S + self._began_s - time.monotonic())
        return max(min(left), 0.0)

    def _clock_became_set(self) -> bool:
        became_set = self.clock_set() and not self._clock_was_set
        self._clock_was_set = self._clock_was_set or became_set
        return became_set

    def _check_once(self) -> None:
        """Fetch a new release, and apply it."""
        self._check_at_s = time.monotonic() + RECHECK_S
        try:
            offer = self.updater.fetch_new_release(self.now())
            if offer is None:
                status = status_of(self.store.current())
                if not self.status.ok and self.status != status:  # the release in use is the offered one
                    self._reported_refusals.clear()
                    self._set_status(StatusChange(status))
            elif offer.digest == self._rejected[0]:
                secure_delete(offer.path)
                self._reject(Reason.RELEASE_NOT_USABLE, self._rejected[1])
            else:
                self._apply(offer)
        except ConnectionError:  # of the source, not of the release
            raise
        except ReleaseExpiredError as error:
            self._reject(Reason.RELEASE_EXPIRED, str(error))
        except ThresholdError as error:
            self._reject(Reason.RELEASE_NOT_VERIFIED, str(error))
        except OSError as error:
            self._reject(Reason.RELEASE_NOT_STORED, error.strerror or str(error))

    def _apply(self, offer: StagedRelease) -> None:
        number = offer.release.release
        try:
            bundle = self.load(offer)
        except ThresholdError as error:
            self._rejected = (offer.digest, f"release {number}: {error}")
            secure_delete(offer.path)
            self._reject(Reason.RELEASE_NOT_USABLE, self._rejected[1])
            return
        before = self.store.current()
        current = ActiveRelease(
            release=number,
            folder=offer.folder,
            digest=offer.digest,
            applied_at=format_datetime(self.now()),
            proven=not needs_trial(self.store, before, offer.release),
        )
        self.store.activate(current)
        self._began_s = time.monotonic()
        self._activated.clear()
        self.staged = bundle
        if not self._stop.is_set():  # `close` sets it before it sets `_activated`
            self._activated.wait()
        if self.staged is not None:  # stopped; the next start activates it
            return
        self._delete_obsolete()
        clean_up_previous(self.store, before, current, self.filter_previous_gallery)
        self._reported_refusals.clear()
        detail = f"release {number}: {counted(offer.release.people, 'person', 'people')}"
        status = ReleaseStatus(number, current.applied_at, True, Reason.RELEASE_APPLIED, detail)
        self._set_status(StatusChange(status, applied=True))

    def _delete_obsolete(self) -> None:
        for path in self.obsolete_files:
            secure_delete(path)

    def _reject(self, reason: Reason, detail: str) -> None:
        self._check_at_s = time.monotonic() + RETRY_S
        self._refused_in_row += 1
        log.debug("release refused: reason=%s %s", reason, detail)
        self._report(reason, detail)
        self._stop.wait(min(REFUSED_S[0] * 2 ** min(self._refused_in_row, 10), REFUSED_S[1]))

    def _report(self, reason: Reason, detail: str) -> None:
        """Report a refusal as status, and the first time also as an event."""
        first = detail not in self._reported_refusals
        self._reported_refusals.add(detail)
        status = replace(self.status, ok=False, reason=reason, detail=detail)
        if first or status != self.status:
            self._set_status(StatusChange(status, refused=first))

    def _set_status(self, change: StatusChange) -> None:
        self.status = change.status
        if change.status.ok:
            self._refused_in_row = 0
        self.on_status(change)

    def _mark_proven(self, at_once: bool = False) -> None:
        current = self.store.current()
        if current is None or current.proven or self.staged is not None:
            return
        if at_once or time.monotonic() - self._began_s >= PROVEN_AFTER_S:
            self.store.activate(msgspec.structs.replace(current, proven=True, starts=0))
