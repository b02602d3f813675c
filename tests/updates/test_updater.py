"""Accepted and rejected releases of a repository."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from support.release_signer import (
    EMBEDDER,
    NOW,
    Door,
    Recording,
    ReleaseSigner,
    at_release_1,
    check_once,
    flipped,
    gallery_bytes,
    later,
    runs,
    settled,
)
from threshold_tools.release.transport import export

from edge.core.config import MqttConfig
from edge.core.errors import ConfigError, ReleaseError, SourceError
from edge.updates.release_format import GALLERY
from edge.updates.sources import FolderSource
from edge.updates.store import ReleaseStore
from edge.updates.updater import Updater, open_source


def test_renewed_signatures_are_no_new_release(tmp_path: Path, signer: ReleaseSigner) -> None:
    state = at_release_1(tmp_path, signer)
    repository = signer.repository(later(80))
    newest = repository.newest()
    assert newest is not None
    repository.sign(newest)
    shutil.rmtree(signer.folder)
    export(signer.folder, repository.files())
    door = Door(state, signer.root, FolderSource(signer.folder))
    assert door.updater.fetch_new_release(later(100)) is None


def test_truncated_repository_file_is_rejected(tmp_path: Path, signer: ReleaseSigner) -> None:
    """Every file that a door requests, truncated at every sixteenth byte."""
    state = at_release_1(tmp_path, signer)
    signer.rotate("snapshot")
    signer.release([*range(5), *range(6, 20), 77])
    asked = asked_for(tmp_path, state, signer)
    assert {name.split(".")[-2] for name in asked if name.endswith(".json")} == {
        "root",
        "timestamp",
        "snapshot",
        "targets",
        "release",
    }
    for name in asked:
        whole = (signer.folder / name).read_bytes()
        for sixteenth in range(16):
            (signer.folder / name).write_bytes(whole[: len(whole) * sixteenth // 16])
            with pytest.raises(ReleaseError, match=r"damaged|not there|sha256|signed"):
                check_once(copied(state), signer)
        (signer.folder / name).write_bytes(whole)
    assert runs(state) == 1
    check_once(state, signer)


def asked_for(tmp_path: Path, state: Path, signer: ReleaseSigner) -> list[str]:
    """Files that a door in this state needs for the next release."""
    copy = tmp_path / "asking"
    shutil.copytree(state, copy)
    source = Recording(signer.folder)
    Door(copy, signer.root, source).updater.fetch_new_release(NOW)
    shutil.rmtree(copy)
    return list(dict.fromkeys(source.asked))


def copied(state: Path) -> Path:
    """A copy of the state of the door, because verified files are not fetched again."""
    copy = state.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    return Path(shutil.copytree(state, copy))


def test_flipped_byte_of_a_repository_file_is_rejected(tmp_path: Path, signer: ReleaseSigner) -> None:
    """Every file that a door requests, at eight places from the first byte to the last."""
    state = at_release_1(tmp_path, signer)
    signer.rotate("timestamp")
    signer.release([*range(5), *range(6, 20), 77])
    for name in asked_for(tmp_path, state, signer):
        whole = (signer.folder / name).read_bytes()
        for eighth in range(8):
            (signer.folder / name).write_bytes(flipped(whole, (len(whole) - 1) * eighth // 7, 1 << eighth))
            with pytest.raises(ReleaseError):
                check_once(copied(state), signer)
        (signer.folder / name).write_bytes(whole)
    assert runs(state) == 1
    check_once(state, signer)


def _another_key(signer: ReleaseSigner, tmp_path: Path) -> None:
    foreign = ReleaseSigner(tmp_path / "foreign")
    foreign.release(range(30))
    foreign.release(range(31))
    shutil.copytree(foreign.folder, signer.folder, dirs_exist_ok=True)


def _revoked_key(signer: ReleaseSigner, tmp_path: Path) -> None:
    stolen = signer.keys["timestamp"][0]
    signer.rotate("timestamp")
    signer.release(range(21))
    genuine = signer.files()
    thief = ReleaseSigner(tmp_path / "thief", {**signer.keys, "timestamp": [stolen]})
    thief.release(range(20))
    thief.release(range(21))
    thief.release(range(22))
    (signer.folder / "timestamp.json").write_bytes(thief.files()["timestamp.json"])
    assert genuine["timestamp.json"] != (signer.folder / "timestamp.json").read_bytes()


def _older(signer: ReleaseSigner, tmp_path: Path) -> None:
    first = signer.files()
    signer.release(range(21))
    with Door(tmp_path / "state", signer.root, FolderSource(signer.folder)) as door:
        settled(door, 2)
    for name, content in first.items():
        (signer.folder / name).write_bytes(content)


def _mixed(signer: ReleaseSigner, tmp_path: Path) -> None:
    first = signer.files()
    signer.release(range(21))
    (signer.folder / "2.snapshot.json").write_bytes(first["1.snapshot.json"])


def _mixed_targets(signer: ReleaseSigner, tmp_path: Path) -> None:
    first = signer.files()
    signer.release(range(21))
    (signer.folder / "2.targets.json").write_bytes(first["1.targets.json"])


def _swapped_list(signer: ReleaseSigner, tmp_path: Path) -> None:
    (first,) = [content for name, content in signer.files().items() if name.endswith(".release.json")]
    signer.release(range(21))
    (path,) = signer.folder.glob("*.release.json")
    path.write_bytes(first)


def _swapped_piece(signer: ReleaseSigner, tmp_path: Path) -> None:
    before = signer.files().keys()
    signer.release(range(21))
    new = [name for name in signer.files() if name.endswith(".piece") and name not in before]
    old = next(name for name in before if name.endswith(".piece") and (signer.folder / name).exists())
    (signer.folder / new[0]).write_bytes((signer.folder / old).read_bytes())


def _missing_piece(signer: ReleaseSigner, tmp_path: Path) -> None:
    before = signer.files().keys()
    signer.release(range(21))
    new = [name for name in signer.files() if name.endswith(".piece") and name not in before]
    (signer.folder / new[0]).unlink()


def _huge(signer: ReleaseSigner, tmp_path: Path) -> None:
    with (signer.folder / "timestamp.json").open("wb") as file:
        file.truncate(300 * 1024 * 1024)


REFUSALS: list[tuple[Callable[[ReleaseSigner, Path], None], str]] = [
    (_another_key, "not signed by the keys that this door trusts"),
    (_revoked_key, "not signed by the keys that this door trusts"),
    (_older, r"timestamp.json: older than"),
    (_mixed, "2.snapshot.json: damaged, or of another release"),
    (_mixed_targets, "2.targets.json: damaged, or of another release"),
    (_swapped_list, "release.json: damaged, or of another release"),
    (_swapped_piece, "damaged, its SHA-256 differs"),
    (_missing_piece, r"missing \(1 of \d+ pieces missing\)"),
    (_huge, "timestamp.json: larger than 131072 bytes"),
]


@pytest.mark.parametrize(("spoil", "reason"), REFUSALS, ids=lambda value: getattr(value, "__name__", ""))
def test_forged_repository_is_rejected(
    tmp_path: Path, signer: ReleaseSigner, spoil: Callable[[ReleaseSigner, Path], None], reason: str
) -> None:
    state = at_release_1(tmp_path, signer)
    spoil(signer, tmp_path)
    before = runs(state)
    with pytest.raises(ReleaseError, match=reason):
        check_once(state, signer)
    assert runs(state) == before


def test_expired_metadata_is_rejected(tmp_path: Path, signer: ReleaseSigner) -> None:
    state = at_release_1(tmp_path, signer)
    signer.release(range(21), valid_days=10)
    with pytest.raises(ReleaseError, match="expired"):
        check_once(state, signer, later(11))
    check_once(state, signer, later(9))


def test_other_root_resets_versions(tmp_path: Path, signer: ReleaseSigner) -> None:
    """`edge release trust-root` with the root of another repository deletes the versions of the former one."""
    state = at_release_1(tmp_path, signer)
    other = ReleaseSigner(tmp_path / "other")
    other.release(range(3))
    ReleaseStore(state).trust(other.root)
    door = Door(state, other.root, FolderSource(other.folder))
    assert door.updater.fetch_new_release(NOW) is not None


def test_time_of_the_door_counts(tmp_path: Path, signer: ReleaseSigner) -> None:
    """Expiry is compared with the time argument; by the clock of this machine these signatures have expired."""
    state = at_release_1(tmp_path, signer)
    signer.release(range(21), valid_days=1)
    check_once(state, signer, later(0.5))


def test_empty_repository_before_and_after_a_release(tmp_path: Path, signer: ReleaseSigner) -> None:
    """It is no fault before the first release, but afterwards."""
    empty = FolderSource(tmp_path / "empty")
    new = ReleaseStore(tmp_path / "new")
    new.trust(signer.root)
    assert Updater(empty, new, 1_000_000).fetch_new_release(NOW) is None
    with pytest.raises(ReleaseError, match=r"timestamp.json: not there"):
        Door(at_release_1(tmp_path, signer), signer.root, empty).updater.fetch_new_release(NOW)


def test_older_release_signed_as_newest(tmp_path: Path, signer: ReleaseSigner) -> None:
    """The keys can sign newer metadata, but not an older release in it."""
    signer.release(range(21))
    state = tmp_path / "state"
    with Door(state, signer.root, FolderSource(signer.folder)) as door:
        settled(door, 2)
    thief = ReleaseSigner(tmp_path / "thief", signer.keys)
    release = thief.release(range(20))
    for _ in range(3):
        thief.repository().sign(release)
    export(thief.folder, thief.repository().files())
    with pytest.raises(ReleaseError, match="release 1 is older than 2, which is in use here"):
        check_once(state, thief)


def test_list_that_contradicts_its_pieces(tmp_path: Path, signer: ReleaseSigner) -> None:
    """Correct pieces that do not make the signed file are rejected."""
    repository = signer.repository()
    release = repository.add({GALLERY: gallery_bytes(range(21))}, EMBEDDER, 21)
    (entry,) = release.files
    wrong = msgspec.structs.replace(release, files=(msgspec.structs.replace(entry, sha256="0" * 64),))
    (signer.path / "releases" / "2.json").write_bytes(msgspec.json.encode(wrong))
    repository.sign(wrong)
    export(signer.folder, repository.files())
    with pytest.raises(ReleaseError, match=r"gallery.safetensors: its SHA-256 is not the signed one"):
        check_once(tmp_path / "state", signer)


def test_slow_repository_counts_as_unreachable(expiring_signer: ReleaseSigner, state: Path) -> None:
    """A check that takes too long ends as if the source could not be reached."""
    door = Door(state, expiring_signer.root, FolderSource(expiring_signer.folder))
    updater = Updater(FolderSource(expiring_signer.folder), door.store, 1_000_000, timeout_s=-1.0)
    with pytest.raises(SourceError, match="too slow"):
        updater.fetch_new_release(NOW)


@pytest.mark.parametrize(
    "address", ["https://ada:secret@host/repo", "http://host/repo?token=secret", "http://host/#secret"]
)
def test_repository_address_with_a_login(address: str) -> None:
    """It is rejected without showing it, because addresses are logged and reported."""
    with pytest.raises(ConfigError, match=r"\[release\] source: the address contains a login") as refused:
        open_source(address, MqttConfig(), "home", "client")
    assert "secret" not in str(refused.value)
