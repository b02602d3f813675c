"""The thread that keeps a door's release up to date: look, verify, prepare beside the running one, hand over, tidy up.

The door takes what is prepared between two frames, when it is `staged`. Everything slow happens here.

Removal comes before rollback. After activation, people removed by the new release are also deleted from the copy of the
old one that is kept for a rollback: only those rows of its gallery stay that the new one has too, and the new access
rules replace the old ones. If that cannot be done, the whole copy is purged.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from edge.core.errors import ReleaseError, ThresholdError
from edge.core.timestamps import format_datetime
from edge.updates.boot import PROVEN_AFTER_S
from edge.updates.cleanup import keep_for_rollback, on_trial
from edge.updates.fetch import StagedRelease, Updater
from edge.updates.sources import RepositoryChanged, Source
from edge.updates.status import ReleaseStatus, StatusChange, status_of
from edge.updates.store import ActiveRelease, ReleaseStore, secure_delete, secure_delete_all

log = logging.getLogger(__name__)

K = TypeVar("K")

RETRY_S = 30.0  # after a refusal: the rest may still be on its way
REFUSED_S = (0.1, 5.0)  # a pause after each refusal, doubled each time: a flood must not keep the board busy
RECHECK_S = 3600.0  # the longest time between looks, also without news
CLOSE_S = 5.0  # how long `close` waits for a source that cannot be interrupted, such as a network file system
BACKOFF_S = (1.0, 30.0)  # between attempts to reach the repository


class UpdateWorker(Generic[K]):
    """Keeps one door up to date; `start` and `close`.

    Args:
        store: the door's disk; `begin` has been called.
        source: the repository.
        updater: looks at it.
        load: reads a release's files and tests them beside what runs; raises a ThresholdError for what must not run.
        retain: given the bytes of an old gallery and the new one, those of the old one without anybody who is not
            unchanged in the new one, or None if that cannot be done.
        tell: told of every change; called from this thread.
        now: the time to hold against expiry.
        clock_set: whether that time is to be relied on; when it becomes so, everything is looked at again.
        superseded: files to purge once a release runs.
        interval_s: how long to wait for news at a time.
        close_s: the longest time that `close` takes.
    """

    def __init__(
        self,
        *,
        store: ReleaseStore,
        source: Source,
        updater: Updater,
        load: Callable[[StagedRelease], K],
        filter_previous_gallery: Callable[[bytes, bytes], bytes | None],
        on_status: Callable[[StatusChange], None],
        now: Callable[[], datetime],
        clock_set: Callable[[], bool],
        obsolete_files: tuple[Path, ...] = (),
        interval_s: float = 30.0,
        close_s: float = CLOSE_S,
    ) -> None:
        self._store = store
        self._source = source
        self._updater = updater
        self._load = load
        self._retain = filter_previous_gallery
        self._tell = on_status
        self._now = now
        self._clock_set = clock_set
        self._superseded = obsolete_files
        self._interval_s = interval_s
        self._close_s = close_s
        self._stop = threading.Event()
        self._taken = threading.Event()
        self._ready: K | None = None
        self._thread = threading.Thread(target=self._run, name="release", daemon=True)
        current = store.current()
        self._standing = status_of(current)
        self._began_s = time.monotonic()
        self._rejected: tuple[str, str] = ("", "")  # digest and reason of what failed here
        self._refusals: set[str] = set()  # told since the last success
        self._refused_in_row = 0
        self._look_s = 0.0  # monotonic: look again then, news or not
        self._was_set = clock_set()
        self._expired = ""  # the expiry that was reported
        self._reachable = True

    @property
    def status(self) -> ReleaseStatus:
        """How the door stands just now."""
        return self._standing

    def start(self) -> None:
        """Start looking; returns at once."""
        self._thread.start()

    @property
    def staged(self) -> K | None:
        """What is to run as soon as possible, if anything; for the door to look at between two frames."""
        return self._ready

    def confirm_activated(self) -> None:
        """What was ready runs now."""
        self._ready = None
        self._taken.set()

    def close(self) -> None:
        """Stop, within `close_s`. The release that runs counts as proven: it was stopped, it did not fail."""
        self._stop.set()
        self._taken.set()
        self._source.wake()
        if self._thread.is_alive():
            self._thread.join(self._close_s)
        if self._thread.is_alive():  # a daemon thread, it ends with the process
            log.warning("stopping without the release source, which has not answered for %g s", self._close_s)
        else:
            self._source.close()
        self._mark_proven(at_once=True)

    def _run(self) -> None:
        if self._store.current() is not None:
            secure_delete_all(self._superseded)
        self._tell(StatusChange(self._standing))
        pause_s, longest_s = BACKOFF_S
        while not self._stop.is_set():
            try:
                news = self._source.wait(self._wait_s(), self._updater.root_name())
                if self._stop.is_set():
                    return
                if news or self._due():
                    self._check_once()
                self._mark_proven()
                pause_s = BACKOFF_S[0]
                self._reached()
                self._watch_expiry()
            except RepositoryChanged:
                self._look_s = 0.0
            except (ThresholdError, OSError) as error:
                self._reached(error)
                self._watch_expiry()
                self._stop.wait(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(pause_s * 2, longest_s)
                self._look_s = 0.0

    def _reached(self, error: Exception | None = None) -> None:
        """Log that the repository cannot be reached, or can be again: changes, not repeats."""
        if error is not None:
            log.log(logging.WARNING if self._reachable else logging.DEBUG, "release source not reachable: %s", error)
        elif not self._reachable:
            log.info("release source reachable again")
        self._reachable = error is None

    def _watch_expiry(self) -> None:
        """Metadata expires by the clock: a repository that cannot be reached must not hide that."""
        expired, before = self._updater.expired(self._now()), self._expired
        if expired == before or self._stop.is_set():
            return
        self._expired = expired
        if expired:
            self._report(expired)
        elif self._standing.reason == before:  # the clock was wrong
            self._set_status(StatusChange(status_of(self._store.current())))

    def _wait_s(self) -> float:
        left = [self._interval_s, self._look_s - time.monotonic()]
        current = self._store.current()
        if current is not None and not current.proven:
            left.append(PROVEN_AFTER_S + self._began_s - time.monotonic())
        return max(min(left), 0.0)

    def _due(self) -> bool:
        became_set = self._clock_set() and not self._was_set
        self._was_set = self._was_set or became_set
        return became_set or time.monotonic() >= self._look_s

    def _check_once(self) -> None:
        """Look once at what the repository offers, and apply it."""
        self._look_s = time.monotonic() + RECHECK_S
        try:
            offer = self._updater.fetch_new_release(self._now())
            if offer is None:
                self._report_up_to_date()
            elif offer.digest == self._rejected[0]:
                secure_delete(offer.path)
                raise ReleaseError(self._rejected[1])
            else:
                self._apply(offer)
        except ConnectionError:  # of the source; says nothing about the release
            raise
        except ThresholdError as error:
            self._reject(str(error))
        except OSError as error:
            self._reject(f"the release cannot be stored ({error.strerror or error})")

    def _apply(self, offer: StagedRelease) -> None:
        number = offer.release.release
        try:
            kit = self._load(offer)
        except ThresholdError as error:
            self._rejected = (offer.digest, f"release {number}: {error}")
            secure_delete(offer.path)
            self._reject(self._rejected[1])
            return
        before = self._store.current()
        current = ActiveRelease(
            release=number,
            folder=offer.folder,
            digest=offer.digest,
            applied_at=format_datetime(self._now()),
            proven=not on_trial(self._store, before, offer.release),
        )
        self._store.activate(current)
        self._began_s = time.monotonic()
        self._taken.clear()
        self._ready = kit
        if not self._stop.is_set():  # `close` sets it before it sets `_taken`
            self._taken.wait()
        if self._ready is not None:  # stopped: the next start runs it
            return
        secure_delete_all(self._superseded)
        keep_for_rollback(self._store, before, current, self._retain)
        self._refusals.clear()
        standing = ReleaseStatus(number, current.applied_at, True, f"release {number}: {offer.release.people} people")
        self._set_status(StatusChange(standing, applied=True))

    def _report_up_to_date(self) -> None:
        """The repository offers what runs already."""
        standing = status_of(self._store.current())
        if not self._standing.ok and self._standing != standing:
            self._refusals.clear()
            self._set_status(StatusChange(standing))

    def _reject(self, reason: str) -> None:
        self._look_s = time.monotonic() + RETRY_S
        self._refused_in_row += 1
        log.debug("release refused: %s", reason)
        self._report(reason)
        self._stop.wait(min(REFUSED_S[0] * 2 ** min(self._refused_in_row, 10), REFUSED_S[1]))

    def _report(self, reason: str) -> None:
        """Report what is wrong, and as an event the first time."""
        first = reason not in self._refusals
        self._refusals.add(reason)
        standing = replace(self._standing, ok=False, reason=reason)
        if first or standing != self._standing:
            self._set_status(StatusChange(standing, refused=first))

    def forgive_start(self) -> None:
        """This start ends for a reason that is not the release's, so it does not count against it."""
        current = self._store.current()
        if current is not None and not current.proven:
            self._store.activate(msgspec.structs.replace(current, starts=max(current.starts - 1, 0)))

    def _set_status(self, news: StatusChange) -> None:
        self._standing = news.standing
        if news.standing.ok:
            self._refused_in_row = 0
        self._tell(news)

    def _mark_proven(self, at_once: bool = False) -> None:
        current = self._store.current()
        if current is None or current.proven or self._ready is not None:
            return
        if at_once or time.monotonic() - self._began_s >= PROVEN_AFTER_S:
            self._store.activate(msgspec.structs.replace(current, proven=True, starts=0))
