"""Releases of a running door: the bundle to start with, and new ones as they arrive."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from edge.core.clock import SYSTEM_CLOCK, Clock
from edge.core.config import DoorConfig, ReleaseConfig
from edge.core.errors import ConfigError, InputError, ReleaseError, ThresholdError
from edge.recognition.encryption import can_decrypt, read_key
from edge.runtime.runtime_bundle import (
    RuntimeBundle,
    filter_to_still_enrolled,
    lax_thresholds,
    load_configured,
    load_release,
)
from edge.updates.boot import roll_back, select_boot_release
from edge.updates.release_format import POLICY
from edge.updates.store import ReleaseStore, StatusChange
from edge.updates.tuf_client import metadata_expiry, read_root
from edge.updates.updater import StagedRelease, Updater, open_source
from edge.updates.worker import UpdateWorker
from edge.vision.face_sampler import VisionStages
from edge.vision.stage_timing import StageTimer, no_timing

log = logging.getLogger(__name__)

_MIB = 1024 * 1024


class ReleaseManager:
    """The releases of one door; the constructor loads the bundle to start with.

    Args:
        release: its [release] table.
        on_status: called from the update thread when a release was applied or refused.
        timer: times the pipeline's stages.

    Raises:
        ReleaseError: no root metadata is trusted yet.
        ModelError, GalleryError, ConfigError: there is no release yet, and what door.toml names cannot be used either.
    """

    def __init__(
        self,
        config: DoorConfig,
        release: ReleaseConfig,
        on_status: Callable[[StatusChange], None],
        timer: StageTimer = no_timing,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._config = config
        self._clock = clock
        self._timer = timer
        self._store = _store(config)
        source = open_source(release.source, config.mqtt, config.site, f"threshold-{config.site}-{config.door}-repo")
        updater = Updater(source, self._store, release.max_mb * _MIB)
        self.bundle = self._load_boot_bundle()  # models, gallery and rules in use
        self.worker = UpdateWorker(
            store=self._store,
            source=source,
            updater=updater,
            load=self._load,
            filter_previous_gallery=filter_to_still_enrolled,
            on_status=on_status,
            now=self._now,
            clock_set=lambda: config.access.trust_clock or clock.is_synced(),
            obsolete_files=self._obsolete_gallery(),
            interval_s=release.check_every_s,
        )

    def activate_ready(self, use: Callable[[RuntimeBundle], None]) -> None:
        """Activate a new release if one is ready: `use` is called with its bundle. Cheap; call it with every frame."""
        bundle = self.worker.staged
        if bundle is not None:
            use(bundle)
            self.bundle = bundle
            self.worker.confirm_activated()

    def _load_boot_bundle(self) -> RuntimeBundle:
        """Load the newest release that works, else what door.toml names."""
        current = select_boot_release(self._store)
        while current is not None:
            try:
                return load_release(self._config, self._store.release_dir(current.folder), None, self._timer)
            except ThresholdError as error:
                current = roll_back(self._store, current, f"release {current.release}: {error}")
        return load_configured(self._config, self._timer)

    def _load(self, offer: StagedRelease) -> RuntimeBundle:
        installed = None if self.bundle.own_models else self.bundle.vision
        return load_release(self._config, offer.path, installed, self._timer)

    def _now(self) -> datetime:
        """Wall clock; while no time service has set it, at least the time when the current release was made."""
        now_s = self._clock.unix_ns() / 1e9
        current = self._store.current()
        if not self._clock.is_synced() and current is not None:
            now_s = max(now_s, self._store.made_at(current.folder).timestamp())
        return datetime.fromtimestamp(now_s, UTC)

    def _obsolete_gallery(self) -> tuple[Path, ...]:
        """The gallery that the door was installed with: after the first release it would only keep removed people."""
        gallery, state = Path(self._config.gallery).resolve(), Path(self._config.state_folder).resolve()
        if state in gallery.parents:
            return (gallery,)
        if gallery.exists():
            log.warning("%s lies outside %s and is kept: remove it once releases have arrived", gallery, state)
        return ()


def _store(config: DoorConfig) -> ReleaseStore:
    """The releases on this disk.

    Raises:
        ConfigError: the gallery key cannot be read, or no gallery was encrypted with it. Rolling back would not help.
    """
    key = read_key(config.gallery_key)
    store = ReleaseStore(Path(config.state_folder), key)
    found = list(store.galleries())
    if found and not any(can_decrypt(path, key) for path in found):
        wrong = "is not encrypted with this key; restore the key, or run  edge gallery encrypt"
        raise ConfigError(f"gallery_key: {found[-1]} {wrong if key else 'is encrypted; name its key'}")
    return store


def describe_status(config: DoorConfig, installed: VisionStages) -> tuple[str, str]:
    """The release that this door starts with, and a warning about its thresholds or "", for `edge check`.

    Changes nothing.

    Raises:
        ReleaseError: no root is trusted, no release has arrived, or the newest one was rolled back.
        ModelError, GalleryError, ConfigError: the release does not load.
    """
    store = _store(config)
    root = read_root(store.root())
    current = store.current()
    if current is None:
        raise ReleaseError(f"{store.folder}: no release has arrived yet; trusting root version {root.version}")
    if current.failure:
        raise ReleaseError(current.failure)
    store.check(current.folder)
    bundle = load_release(config, store.release_dir(current.folder), installed)
    back = f", back to {current.previous_release} if it fails" if current.previous else ""
    detail = f"release {current.release}: {bundle.gallery.info.people} people, applied {current.applied_at}{back}"
    return detail, lax_thresholds(bundle.gallery, bundle.vision.reader.embedder)


def load_active_bundle(config: DoorConfig, installed: VisionStages) -> tuple[RuntimeBundle, str]:
    """What this door runs, and the release that has its access rules or "", for `edge check`; changes nothing.

    Raises:
        ModelError, GalleryError, ConfigError: the release, or what door.toml names, does not load.
    """
    store = _store(config)
    current = store.current() if config.release else None
    if current is None:
        return load_configured(config, installed=installed), ""
    folder = store.release_dir(current.folder)
    has_rules = (folder / POLICY).exists()
    return load_release(config, folder, installed), f"release {current.release}" if has_rules else ""


def all_gallery_files(config: DoorConfig) -> list[Path]:
    """Every gallery on this door's disk: the one of door.toml and those of releases.

    Raises:
        InputError: there is none.
    """
    named = Path(config.gallery)
    found = [*([named] if named.exists() else []), *ReleaseStore(Path(config.state_folder)).galleries()]
    if not found:
        raise InputError(f"{named}: no gallery is there, nor in a release under {config.state_folder}")
    return found


def release_expiry(config: DoorConfig) -> dict[str, datetime]:
    """Expiry of the trusted metadata by role, see `metadata_expiry`; for `edge check`."""
    store = _store(config)
    return metadata_expiry(store.metadata, store.root())


def install_root(config: DoorConfig, path: Path) -> str:
    """Trust the root metadata in a file from now on; returns a message for the installer.

    Raises:
        ReleaseError: the file is no root metadata.
    """
    try:
        content = path.read_bytes()
        root = read_root(content)
    except OSError as error:
        raise ReleaseError(f"{path}: cannot be read ({error.strerror})") from error
    except ReleaseError as error:
        raise ReleaseError(f"{path}: {error}") from error
    state = Path(config.state_folder)
    ReleaseStore(state).trust(content)
    _match_owner(state)
    trusted = f"root version {root.version}, {root.threshold} of {root.keys} keys, until {root.expires:%Y-%m-%d}"
    message = f"trusted: {trusted}; restart the door if it runs"
    return message if config.release else f"{message}; the door takes releases once door.toml has a table [release]"


def _match_owner(state: Path) -> None:
    """Give the files in the state folder its owner, also if an installer ran this as root."""
    owner = state.stat()
    if os.getuid() == 0 and owner.st_uid != 0:
        for path in [state / "release", *(state / "release").rglob("*")]:
            os.chown(path, owner.st_uid, owner.st_gid)
