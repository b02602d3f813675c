"""Verifies a repository with TUF, from the root metadata given at installation; the only module that imports tuf.

`tuf.ngclient` writes verified metadata into a scratch folder, and changed files are then stored durably. So a power cut
never loses the highest versions so far, by which a replay is detected. The time is an argument. Metadata must also be
in canonical form, so that no byte can change without breaking a signature, such as the case of a hexadecimal digit.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata, Root
from tuf.api.serialization import DeserializationError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from edge.core.errors import ReleaseError, ReleaseExpiredError, ThresholdError
from edge.core.files import atomic_write
from edge.updates.release_format import FILE_BYTES, RELEASE_FILE

Fetch = Callable[[str], bytes | None]  # fetches a file by name; None: missing

_BASE = "repo:///"
_CONFIG = UpdaterConfig(
    root_max_length=FILE_BYTES,
    timestamp_max_length=FILE_BYTES,
    snapshot_max_length=FILE_BYTES,
    targets_max_length=FILE_BYTES,
)
_SCRATCH = ".verify-"
_TRUSTED_ROOT = "trusted root"
_ROLES = ("root", "timestamp", "snapshot", "targets")  # in the order in which they are verified


@dataclass(frozen=True, slots=True)
class TrustedRoot:
    """Facts of root metadata: version, expiry, and number of required signatures and of keys."""

    version: int
    expires: datetime
    threshold: int
    keys: int


def read_root(content: bytes) -> TrustedRoot:
    """Check root metadata from an operator, who vouches for it.

    Raises:
        ReleaseError: not root metadata, or not signed by its own keys.
    """
    try:
        root: Metadata[Root] = Metadata[Root].from_bytes(content)
        if root.signed.type != Root.type:
            raise ReleaseError(f"this is {root.signed.type} metadata, not root metadata; use REPO/root.json")
        root.signed.verify_delegate(Root.type, root.signed_bytes, root.signatures)
    except RepositoryError as error:
        raise ReleaseError(f"not root metadata ({_describe(error)}); use REPO/root.json of the desktop") from error
    role = root.signed.roles[Root.type]
    return TrustedRoot(root.signed.version, root.signed.expires, role.threshold, len(role.keyids))


def metadata_expiry(folder: Path, root: bytes) -> dict[str, datetime]:
    """Expiry of the newest known root and of the other verified metadata, by role.

    `folder` and `root` are as for `verify_release`.

    Raises:
        ReleaseError: a file in the folder is damaged.
    """
    known = sorted((folder / "root_history").glob("*.root.json"), key=lambda path: int(path.name.partition(".")[0]))
    files = {"root": known[-1]} if known else {}
    files |= {role: folder / f"{role}.json" for role in ("targets", "snapshot", "timestamp")}
    found = {"root": read_root(root).expires}
    for role, path in files.items():
        if path.exists():
            try:
                found[role] = Metadata[Any].from_bytes(path.read_bytes()).signed.expires
            except RepositoryError as error:
                raise ReleaseError(
                    f"{path}: damaged ({_describe(error)}); run  edge release trust-root  again"
                ) from error
    return found


def expired(ends: Mapping[str, datetime], now: datetime) -> str:
    """Message about the first expired metadata, as from `verify_release`; "": none. `now` is aware."""
    return next((_expired(role) for role in _ROLES if role in ends and ends[role] <= now), "")


def _expired(role: str) -> str:
    return f"{_TRUSTED_ROOT if role == 'root' else f'{role}.json'}: expired; publish again, or check the door's clock"


def next_root_name(folder: Path, root: bytes) -> str:
    """File name of the root metadata after the newest known one; `folder` as for `verify_release`."""
    known = [int(path.name.partition(".")[0]) for path in (folder / "root_history").glob("*.root.json")]
    return f"{max([read_root(root).version, *known]) + 1}.root.json"


def verify_release(folder: Path, fetch: Fetch, root: bytes, now: datetime) -> bytes:
    """Update the verified metadata in `folder`, and fetch the signed release list.

    Args:
        folder: folder of verified metadata, kept between calls.
        fetch: fetches a file of the repository; its exceptions are passed on.
        root: root metadata given at installation.
        now: aware time; expired metadata is rejected.

    Returns:
        The verified content of `release.json`.

    Raises:
        ReleaseExpiredError: metadata has expired.
        ReleaseError: a file is missing, damaged, older than a verified one, or wrongly signed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)
    fetcher = _Fetcher(fetch)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder.parent) as name:
        scratch = Path(name) / "metadata"
        shutil.copytree(folder, scratch)
        try:
            return _update(scratch, fetcher, root, now)
        except ThresholdError:
            raise
        except ExpiredMetadataError as error:  # perhaps of another file than the one fetched last
            role = next((role for role in _ROLES if role in str(error)), "targets")
            raise ReleaseExpiredError(_expired(role)) from error
        except (RepositoryError, DownloadError) as error:
            if fetcher.failure is not None:
                raise fetcher.failure from error
            raise ReleaseError(f"{fetcher.last or _TRUSTED_ROOT}: {_describe(error)}") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:  # hostile JSON
            raise ReleaseError(f"{fetcher.last}: damaged ({type(error).__name__})") from error
        finally:
            _persist_verified(scratch, folder)


def _update(scratch: Path, fetcher: _Fetcher, root: bytes, now: datetime) -> bytes:
    targets = scratch.parent / "targets"
    updater = Updater(str(scratch), _BASE, str(targets), _BASE, fetcher=fetcher, config=_CONFIG, bootstrap=root)
    updater._trusted_set.reference_time = now  # ngclient has no argument for the time
    updater.refresh()
    info = updater.get_targetinfo(RELEASE_FILE)
    if info is None:
        raise ReleaseError(f"the signed metadata names no {RELEASE_FILE}; is this a repository made by threshold sync?")
    return Path(updater.download_target(info)).read_bytes()


def _persist_verified(scratch: Path, folder: Path) -> None:
    """Store verified files durably: roots first, because their keys sign the others."""
    history = folder / "root_history"
    history.mkdir(exist_ok=True)
    names = [f"root_history/{path.name}" for path in sorted((scratch / "root_history").glob("*.json"))]
    for name in [*names, "timestamp.json", "snapshot.json", "targets.json"]:
        verified, kept = scratch / name, folder / name
        if verified.is_file() and (not kept.is_file() or kept.read_bytes() != verified.read_bytes()):
            atomic_write(kept, verified.read_bytes())


class _Fetcher(FetcherInterface):
    """Fetches files for ngclient."""

    def __init__(self, fetch: Fetch) -> None:
        self._get = fetch
        self.last = ""
        self.failure: Exception | None = None  # exception of `fetch`, which ngclient wraps

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            return iter([self._read(url.removeprefix(_BASE))])
        except DownloadHTTPError:
            raise
        except Exception as error:
            self.failure = error
            raise

    def _read(self, name: str) -> bytes:
        content = self._get(name)
        if content is None:
            if not name.endswith(".root.json"):
                self.last = name
            raise DownloadHTTPError(f"{name}: not there", 404)
        self.last = name
        if len(content) > FILE_BYTES:
            raise ReleaseError(f"{name}: larger than {FILE_BYTES} bytes, the limit of a repository file")
        if not name.endswith(RELEASE_FILE):
            _check_canonical(name, content)
        return content


class _Envelope(msgspec.Struct):
    signatures: list[dict[str, str]]
    signed: msgspec.Raw


def _check_canonical(name: str, content: bytes) -> None:
    """Raise ReleaseError for metadata that is not in the form that the tools write."""
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(content)
        outer = msgspec.json.decode(content, type=_Envelope)
    except (RepositoryError, msgspec.MsgspecError) as error:
        raise ReleaseError(f"{name}: damaged, no metadata") from error
    signatures = [each.get("sig", "") for each in outer.signatures]
    if metadata.to_bytes() != content or any(sig != sig.lower() for sig in signatures):
        raise ReleaseError(f"{name}: damaged, not in canonical form")


def _describe(error: Exception) -> str:
    """The error in words of an operator."""
    if isinstance(error, DownloadHTTPError):
        return "not there"
    for kind, reason in _ERROR_TEXT:
        if isinstance(error, kind):
            return f"{reason} ({error})" if str(error) else reason
    return str(error) or type(error).__name__


_ERROR_TEXT: tuple[tuple[type[Exception], str], ...] = (
    (DeserializationError, "damaged, no metadata"),
    (UnsignedMetadataError, "not signed by the keys that this door trusts"),
    (LengthOrHashMismatchError, "damaged, or of another release"),
    (DownloadLengthMismatchError, "longer than was signed"),
    (BadVersionNumberError, "older than the verified metadata of this door, or of another release"),
)
