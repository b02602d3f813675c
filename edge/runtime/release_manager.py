"""Releases of a running door: loads one at the start, and activates new ones."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from edge.core.cli_support import counted
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
    """Releases of one door; the constructor loads the first bundle.

    Args:
        config: door configuration.
        release: the [release] table.
        on_status: called from the update thread when a release was applied or refused.
        timer: times the stages of the pipeline.
        clock: time source.

    Raises:
        ReleaseError: no root metadata is trusted yet.
        ModelError, GalleryError, ConfigError: there is no release yet, and door.toml cannot be loaded either.
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
        """Activate a new release if one is ready, by calling `use` with its bundle. Cheap; call it for every frame."""
        bundle = self.worker.staged
        if bundle is not None:
            use(bundle)
            self.bundle = bundle
            self.worker.confirm_activated()

    def _load_boot_bundle(self) -> RuntimeBundle:
        """Load the newest release that works, else the models, gallery and rules of door.toml."""
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
        """Wall clock; while it is not synchronised, at least the creation time of the current release."""
        now_s = self._clock.unix_ns() / 1e9
        current = self._store.current()
        if not self._clock.is_synced() and current is not None:
            now_s = max(now_s, self._store.made_at(current.folder).timestamp())
        return datetime.fromtimestamp(now_s, UTC)

    def _obsolete_gallery(self) -> tuple[Path, ...]:
        """The gallery of door.toml, which is deleted after the first release because it may contain removed people."""
        gallery, state = Path(self._config.gallery).resolve(), Path(self._config.state_folder).resolve()
        if state in gallery.parents:
            return (gallery,)
        if gallery.exists():
            log.warning("%s is not in %s, so it is kept: delete it when the first release has arrived", gallery, state)
        return ()


def _store(config: DoorConfig) -> ReleaseStore:
    """The release store of a door.

    Raises:
        ConfigError: the gallery key cannot be read, or no gallery is encrypted with it; a rollback would not help.
    """
    key = read_key(config.gallery_key)
    store = ReleaseStore(Path(config.state_folder), key)
    found = list(store.galleries())
    if found and not any(can_decrypt(path, key) for path in found):
        wrong = "is not encrypted with this key; restore the key, or run  edge gallery encrypt"
        raise ConfigError(f"gallery_key: {found[-1]} {wrong if key else 'is encrypted; set gallery_key'}")
    return store


def describe_status(config: DoorConfig, installed: VisionStages) -> tuple[str, str]:
    """Current release of a door, and a warning about its thresholds or "". Read-only, for `edge check`.

    Raises:
        ReleaseError: no root is trusted, no release has arrived, or the newest one was rolled back.
        ModelError, GalleryError, ConfigError: the release does not load.
    """
    store = _store(config)
    root = read_root(store.root())
    current = store.current()
    if current is None:
        raise ReleaseError(f"{store.folder}: no release has arrived yet; root version {root.version} is trusted")
    if current.failure:
        raise ReleaseError(current.failure)
    store.check(current.folder)
    bundle = load_release(config, store.release_dir(current.folder), installed)
    back = f"; release {current.previous_release} is kept for rollback" if current.previous else ""
    people = counted(bundle.gallery.info.people, "person", "people")
    detail = f"release {current.release}: {people}, applied {current.applied_at}{back}"
    return detail, lax_thresholds(bundle.gallery, bundle.vision.reader.embedder)


def load_active_bundle(config: DoorConfig, installed: VisionStages) -> tuple[RuntimeBundle, str]:
    """The bundle that a door uses, and the release that contains its rules or "". Read-only, for `edge check`.

    Raises:
        ModelError, GalleryError, ConfigError: the release or door.toml cannot be loaded.
    """
    store = _store(config)
    current = store.current() if config.release else None
    if current is None:
        return load_configured(config, installed=installed), ""
    folder = store.release_dir(current.folder)
    has_rules = (folder / POLICY).exists()
    return load_release(config, folder, installed), f"release {current.release}" if has_rules else ""


def all_gallery_files(config: DoorConfig) -> list[Path]:
    """All galleries of a door: of door.toml and of releases.

    Raises:
        InputError: there is none.
    """
    named = Path(config.gallery)
    found = [*([named] if named.exists() else []), *ReleaseStore(Path(config.state_folder)).galleries()]
    if not found:
        raise InputError(f"{named}: no such gallery, and no release in {config.state_folder}")
    return found


def release_expiry(config: DoorConfig) -> dict[str, datetime]:
    """Expiry of the trusted metadata by role, see `metadata_expiry`."""
    store = _store(config)
    return metadata_expiry(store.metadata, store.root())


def install_root(config: DoorConfig, path: Path) -> str:
    """Trust the root metadata in a file; returns a message for the installer.

    Raises:
        ReleaseError: the file cannot be read or is not root metadata.
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
    return message if config.release else f"{message}; add a table [release] to door.toml to receive releases"


def _match_owner(state: Path) -> None:
    """If root runs this, give the files in the state folder to the owner of the folder."""
    owner = state.stat()
    if os.getuid() == 0 and owner.st_uid != 0:
        for path in [state / "release", *(state / "release").rglob("*")]:
            os.chown(path, owner.st_uid, owner.st_gid)
