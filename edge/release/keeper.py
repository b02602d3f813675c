"""The thread that keeps a door's release up to date: look, verify, prepare beside the running one, hand over, tidy up.

The door takes what is prepared between two frames, when it is `ready`. Everything slow happens here.

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

from edge.errors import ReleaseError, ThresholdError
from edge.instants import instant_of
from edge.release.layout import GALLERY, MODELS, POLICY, Entry, Release
from edge.release.mirror import Changed, Source
from edge.release.standing import News, Standing, standing_of
from edge.release.starting import PROVEN_S
from edge.release.store import Current, Store, purge, purge_all
from edge.release.updater import Offer, Updater

log = logging.getLogger(__name__)

K = TypeVar("K")

RETRY_S = 30.0  # after a refusal: the rest may still be on its way
REFUSED_S = (0.1, 5.0)  # a pause after each refusal, doubled each time: a flood must not keep the board busy
RECHECK_S = 3600.0  # also without news, so that expired metadata is noticed
BACKOFF_S = (1.0, 30.0)  # between attempts to reach the repository


class Keeper(Generic[K]):
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
    """

    def __init__(
        self,
        *,
        store: Store,
        source: Source,
        updater: Updater,
        load: Callable[[Offer], K],
        retain: Callable[[bytes, bytes], bytes | None],
        tell: Callable[[News], None],
        now: Callable[[], datetime],
        clock_set: Callable[[], bool],
        superseded: tuple[Path, ...] = (),
        interval_s: float = 30.0,
    ) -> None:
        self._store = store
        self._source = source
        self._updater = updater
        self._load = load
        self._retain = retain
        self._tell = tell
        self._now = now
        self._clock_set = clock_set
        self._superseded = superseded
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._taken = threading.Event()
        self._ready: K | None = None
        self._thread = threading.Thread(target=self._run, name="release", daemon=True)
        current = store.current()
        self._standing = standing_of(current)
        self._began_s = time.monotonic()
        self._rejected: tuple[str, str] = ("", "")  # digest and reason of what failed here
        self._refusals: set[str] = set()  # told since the last success
        self._refused_in_row = 0
        self._look_s = 0.0  # monotonic: look again then, news or not
        self._was_set = clock_set()

    @property
    def standing(self) -> Standing:
        """How the door stands just now."""
        return self._standing

    def start(self) -> None:
        """Start looking; returns at once."""
        self._thread.start()

    @property
    def ready(self) -> K | None:
        """What is to run as soon as possible, if anything; for the door to look at between two frames."""
        return self._ready

    def taken(self) -> None:
        """What was ready runs now."""
        self._ready = None
        self._taken.set()

    def close(self) -> None:
        """Stop. Whatever runs until now counts as proven: it was stopped, it did not fail."""
        self._stop.set()
        self._taken.set()
        self._source.wake()
        if self._thread.is_alive():
            self._thread.join()
        self._source.close()
        self._prove(at_once=True)

    def _run(self) -> None:
        if self._store.current() is not None:
            purge_all(self._superseded)
        self._tell(News(self._standing))
        pause_s, longest_s = BACKOFF_S
        while not self._stop.is_set():
            try:
                news = self._source.wait(self._nap_s(), self._updater.root_name())
                if self._stop.is_set():
                    return
                if news or self._due():
                    self._look()
                self._prove()
                pause_s = BACKOFF_S[0]
            except Changed:
                self._look_s = 0.0
            except (ThresholdError, OSError) as error:
                log.debug("release: %s", error)
                self._stop.wait(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(pause_s * 2, longest_s)
                self._look_s = 0.0

    def _nap_s(self) -> float:
        left = [self._interval_s, self._look_s - time.monotonic()]
        current = self._store.current()
        if current is not None and not current.proven:
            left.append(PROVEN_S + self._began_s - time.monotonic())
        return max(min(left), 0.0)

    def _due(self) -> bool:
        became_set = self._clock_set() and not self._was_set
        self._was_set = self._was_set or became_set
        return became_set or time.monotonic() >= self._look_s

    def _look(self) -> None:
        """Look once at what the repository offers, and apply it."""
        self._look_s = time.monotonic() + RECHECK_S
        try:
            offer = self._updater.check(self._now())
            if offer is None:
                self._settled()
            elif offer.digest == self._rejected[0]:
                purge(offer.path)
                raise ReleaseError(self._rejected[1])
            else:
                self._apply(offer)
        except ReleaseError as error:
            self._refuse(str(error))
        except OSError as error:
            self._refuse(f"the release cannot be stored ({error.strerror or error})")

    def _apply(self, offer: Offer) -> None:
        number = offer.release.release
        try:
            kit = self._load(offer)
        except ThresholdError as error:
            self._rejected = (offer.digest, f"release {number}: {error}")
            purge(offer.path)
            self._refuse(self._rejected[1])
            return
        before = self._store.current()
        current = Current(
            release=number,
            folder=offer.folder,
            digest=offer.digest,
            applied_at=instant_of(self._now()),
            proven=not self._on_trial(before, offer.release),
        )
        self._store.point(current)
        self._began_s = time.monotonic()
        self._taken.clear()
        self._ready = kit
        self._taken.wait()
        if self._ready is not None:  # stopped: the next start runs it
            return
        self._tidy(before, current)
        self._refusals.clear()
        standing = Standing(number, current.applied_at, True, f"release {number}: {offer.release.people} people")
        self._become(News(standing, applied=True))

    def _on_trial(self, before: Current | None, release: Release) -> bool:
        """Whether a release must first prove itself: other models can bring a door down, a tested gallery cannot.

        So power cuts in a row never take back a removal.
        """
        if before is None:
            return False
        try:
            return _models(self._store.release(before.folder)) != _models(release)
        except ReleaseError:  # nothing that could be rolled back to
            return False

    def _tidy(self, before: Current | None, current: Current) -> None:
        """Purge whom the new release does not hold, then say what may be rolled back to."""
        purge_all(self._superseded)
        if before is None:
            return
        try:
            self._reduce(before.folder, current.folder)
        except (OSError, ThresholdError) as error:
            log.warning("release %d: purged, not kept for a rollback: %s", before.release, error)
            self._store.sweep()
            return
        self._store.point(
            msgspec.structs.replace(current, previous=before.folder, previous_release=before.release)
        )  # fmt: skip
        self._store.sweep()

    def _reduce(self, old: str, new: str) -> None:
        """Leave nothing in an old release's folder about people whom the new release does not hold.

        The new access rules replace the old ones: they may name a leaver, and a rollback must not give access back.

        Raises:
            OSError, ThresholdError: that failed.
        """
        was = self._store.read(old, GALLERY)
        kept = self._retain(was, self._store.read(new, GALLERY))
        if kept is None:
            raise ReleaseError("its gallery cannot be compared with the new one")
        if kept != was:
            self._store.amend(old, GALLERY, kept)
        rules = self._store.policy(new)
        if rules != self._store.policy(old):
            self._store.amend(old, POLICY, rules)

    def _settled(self) -> None:
        """The repository offers what runs already."""
        standing = standing_of(self._store.current())
        if not self._standing.ok and self._standing != standing:
            self._refusals.clear()
            self._become(News(standing))

    def _refuse(self, reason: str) -> None:
        self._look_s = time.monotonic() + RETRY_S
        self._refused_in_row += 1
        first = reason not in self._refusals
        self._refusals.add(reason)
        log.debug("release refused: %s", reason)
        standing = replace(self._standing, ok=False, reason=reason)
        if first or standing != self._standing:
            self._become(News(standing, refused=first))
        self._stop.wait(min(REFUSED_S[0] * 2 ** min(self._refused_in_row, 10), REFUSED_S[1]))

    def excuse(self) -> None:
        """This start ends for a reason that is not the release's, so it does not count against it."""
        current = self._store.current()
        if current is not None and not current.proven:
            self._store.point(msgspec.structs.replace(current, starts=max(current.starts - 1, 0)))

    def _become(self, news: News) -> None:
        self._standing = news.standing
        if news.standing.ok:
            self._refused_in_row = 0
        self._tell(news)

    def _prove(self, at_once: bool = False) -> None:
        current = self._store.current()
        if current is None or current.proven or self._ready is not None:
            return
        if at_once or time.monotonic() - self._began_s >= PROVEN_S:
            self._store.point(msgspec.structs.replace(current, proven=True, starts=0))


def _models(release: Release) -> list[Entry]:
    """The models of a release."""
    return [entry for entry in release.files if entry.name.startswith(MODELS)]
