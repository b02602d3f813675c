"""Selection of the release at start, and the rollback copy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.mqtt_brokers import wait_until
from support.release_signer import (
    Door,
    ReleaseSigner,
    at_release_1,
    check_once,
    gallery_bytes,
    holds,
    runs,
    settled,
    vector,
    with_vector,
)

from edge.core.errors import ReleaseError
from edge.recognition import gallery_chunks
from edge.updates.boot import PROVEN_AFTER_S
from edge.updates.release_format import GALLERY, POLICY
from edge.updates.sources import FolderSource
from edge.updates.store import MAX_UNPROVEN_STARTS, ActiveRelease, ReleaseStore

TESTS = Path(__file__).parents[1]


def test_removed_person_is_deleted_from_the_disk(tmp_path: Path, signer: ReleaseSigner) -> None:
    """From the new release, the rollback copy, and the gallery before the first release."""
    state = tmp_path / "state"
    installed = state / "gallery.safetensors"
    state.mkdir()
    installed.write_bytes(gallery_bytes(range(20)))
    gone = vector(7).tobytes()
    with Door(state, signer.root, FolderSource(signer.folder), obsolete_files=(installed,)) as door:
        settled(door, 1)
        assert [path.name for path in holds(state, gone)] == ["gallery.safetensors"]
        signer.release([person for person in range(20) if person != 7])
        settled(door, 2)
        assert holds(state, gone) == []
        current = door.store.current()
        assert current is not None
        assert current.previous_release == 1
        assert len(holds(state, vector(8).tobytes())) == 2  # other people stay in the rollback copy


def test_rollback_copy_after_a_replaced_vector(tmp_path: Path, signer: ReleaseSigner) -> None:
    """A person who is enrolled again keeps the id; the old vector is deleted from the whole disk of the door."""
    old = gallery_bytes([1, 2, 3])
    kept = gallery_chunks.keep_only_people_in(old, with_vector([1, 2, 3], of=2, seed=99))
    assert gallery_chunks.person_ids(kept) == {"p000001", "p000003"}
    assert vector(2).tobytes() not in kept
    state = tmp_path / "state"
    with Door(state, signer.root, FolderSource(signer.folder)) as door:
        settled(door, 1)
        assert holds(state, vector(7).tobytes())
        signer.release_files({GALLERY: with_vector(range(20), of=7, seed=99)}, 20)
        settled(door, 2)
        assert not holds(state, vector(7).tobytes())
        assert len(holds(state, vector(8).tobytes())) == 2


def policy_of(*people: str) -> bytes:
    """Access rules that name these people."""
    return f"[doors.front]\nallow = [{{ people = {list(people)} }}]\n".encode()


def test_rules_in_the_rollback_copy(tmp_path: Path, signer: ReleaseSigner) -> None:
    """No id of a removed person stays in the old rules, and a rollback uses the new rules."""
    state = tmp_path / "state"
    signer.release(range(20), extra={POLICY: policy_of("p000007", "p000008")})
    with Door(state, signer.root, FolderSource(signer.folder)) as door:
        settled(door, 2)
        assert holds(state, b"p000007")
        signer.release([*range(7), *range(8, 20)], extra={POLICY: policy_of("p000008")})
        settled(door, 3)
        assert not holds(state, b"p000007")
        current = door.store.current()
    assert current is not None
    damage(state, current)
    assert runs(state) == 2
    assert (ReleaseStore(state).release_dir(current.previous) / POLICY).read_bytes() == policy_of("p000008")


def damage(state: Path, current: ActiveRelease) -> None:
    """Cut the gallery of the release in use, so that the door rolls back at its next start."""
    path = ReleaseStore(state).release_dir(current.folder) / GALLERY
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(("first", "second"), [(policy_of("p000001"), None), (None, policy_of("p000001"))])
def test_rules_of_a_rollback_are_the_newest(
    tmp_path: Path, signer: ReleaseSigner, first: bytes | None, second: bytes | None
) -> None:
    """Also rules that a release adds or removes; damaged rules are detected."""
    state = tmp_path / "state"
    signer.release(range(20), extra={POLICY: first} if first else {})
    with Door(state, signer.root, FolderSource(signer.folder)) as door:
        wait_until(lambda: door.worker.status.ok, "the first release runs")
        signer.release(range(21), extra={POLICY: second} if second else {})
        wait_until(lambda: door.gallery is not None and len(door.gallery.people) == 21, "the second release runs")
    store = ReleaseStore(state)
    current = store.current()
    assert current is not None
    kept = store.release_dir(current.previous) / POLICY
    assert (kept.read_bytes() if kept.exists() else None) == second
    store.check(current.previous)
    if second:
        kept.write_bytes(b"")
        with pytest.raises(ReleaseError, match=r"policy.toml is damaged"):
            store.check(current.previous)


def test_release_that_keeps_crashing_is_rolled_back(tmp_path: Path, signer: ReleaseSigner) -> None:
    """A door that crashes within seconds of a new release several times rolls back and rejects it from then on."""
    state = at_release_1(tmp_path, signer)
    signer.release(range(21))
    with Door(state, signer.root, FolderSource(signer.folder)) as door:
        settled(door, 2)
    store = ReleaseStore(state)
    current = store.current()
    assert current is not None
    store.activate(msgspec.structs.replace(current, proven=False))  # as after a crash
    for _ in range(MAX_UNPROVEN_STARTS):
        assert runs(state) == 2
    assert runs(state) == 1
    with pytest.raises(ReleaseError, match=f"did not run for {PROVEN_AFTER_S:.0f} s"):
        check_once(state, signer)
    signer.release(range(22))
    with Door(state, signer.root, FolderSource(signer.folder)) as door:
        settled(door, 3)


def test_damaged_release_is_rolled_back(tmp_path: Path, signer: ReleaseSigner) -> None:
    state = at_release_1(tmp_path, signer)
    signer.release(range(21))
    with Door(state, signer.root, FolderSource(signer.folder)) as door:
        settled(door, 2)
        current = door.store.current()
    assert current is not None
    damage(state, current)
    assert runs(state) == 1


def test_damaged_current_json_is_replaced(tmp_path: Path, signer: ReleaseSigner) -> None:
    state = at_release_1(tmp_path, signer)
    (state / "release" / "current.json").write_bytes(b"\0\0\0")
    with Door(state, signer.root, FolderSource(signer.folder)) as door:
        settled(door, 1)


def killed(tmp_path: Path, times: int, seed: int) -> int:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent / "tools"), *sys.path])}
    done = subprocess.run(
        [sys.executable, str(TESTS / "support/release_signer.py"), str(tmp_path), str(times), str(seed)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout)


def test_killed_door_starts_with_a_whole_release(tmp_path: Path) -> None:
    """SIGKILL at 30 random moments of updates."""
    assert 0 < killed(tmp_path, 30, seed=1) < 30


@pytest.mark.slow
def test_killed_door_starts_with_a_whole_release_200_times(tmp_path: Path) -> None:
    assert 0 < killed(tmp_path, 200, seed=2) < 200


def test_scan_finds_a_vector(tmp_path: Path) -> None:
    """The scan of these tests finds a vector that is there."""
    (tmp_path / "g").write_bytes(gallery_bytes([1, 2]))
    assert holds(tmp_path, vector(2).tobytes()) == [tmp_path / "g"]
    assert not holds(tmp_path, vector(3).tobytes())
    assert np.frombuffer(vector(2).tobytes(), np.float32).shape == (192,)


def test_gallery_only_release_skips_trial(tmp_path: Path, signer: ReleaseSigner) -> None:
    """Repeated power cuts never undo a removal, because a tested gallery cannot crash the door."""

    def proven(door: Door, number: int) -> bool:
        current = settled(door, number).store.current()
        assert current is not None
        return current.proven

    with Door(tmp_path / "state", signer.root, FolderSource(signer.folder)) as door:
        assert proven(door, 1)
        signer.release(range(1, 20))
        assert proven(door, 2)
        signer.release(range(1, 20), extra={"models/embedder.tflite": b"model"})
        assert not proven(door, 3)
        signer.release(range(2, 20), extra={"models/embedder.tflite": b"model"})
        assert proven(door, 4)
