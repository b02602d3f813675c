"""A release on its way to a door: what is taken, what is refused and why, and what a door forgets."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.mqtt_brokers import wait_until
from support.releases import EMBEDDER, NOW, Desk, Door, Recording, gallery_bytes, holds, later, new_keys, vector
from threshold_tools.release.transport import export

from edge.core.errors import ReleaseError
from edge.core.files import secure_delete
from edge.core.records import Person
from edge.recognition import gallery_chunks
from edge.recognition.gallery import Gallery
from edge.recognition.gallery_file import save_gallery
from edge.updates.boot import PROVEN_AFTER_S, select_boot_release
from edge.updates.http_source import HttpSource
from edge.updates.release_format import CHUNK_BYTES, GALLERY, POLICY, decode_release, is_repo_name, sha256_of
from edge.updates.sources import FolderSource
from edge.updates.store import MAX_UNPROVEN_STARTS, ActiveRelease, ReleaseStore
from edge.updates.tuf_client import metadata_expiry, read_root, verify_release
from edge.updates.updater import StagedRelease, Updater

TESTS = Path(__file__).parents[1]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path / "desk")
    made.release(range(20))
    return made


def settled(door: Door, release: int) -> Door:
    wait_until(lambda: door.release == release, f"release {release} is applied, not {door.keeper.status}")
    return door


def at_release_1(tmp_path: Path, desk: Desk, name: str = "state") -> Path:
    """The state folder of a door that runs release 1."""
    state = tmp_path / name
    with Door(state, desk.root, FolderSource(desk.folder)) as door:
        settled(door, 1)
    return state


def check(state: Path, desk: Desk, now: datetime = NOW) -> None:
    """Look once at the repository, as a door that runs."""
    Door(state, desk.root, FolderSource(desk.folder)).updater.fetch_new_release(now)


def test_a_release_arrives_bit_for_bit(tmp_path: Path, desk: Desk) -> None:
    """The gallery on the door is the operator's file, so both know it by the same version."""
    with Door(tmp_path / "state", desk.root, FolderSource(desk.folder)) as door:
        settled(door, 1)
        assert door.gallery is not None
        assert door.gallery.info.version == sha256_of(gallery_bytes(range(20)))
        assert [news.applied for news in door.news] == [False, True]
        assert door.keeper.status.reason == "release 1: 20 people"


def test_the_next_release_takes_the_place_of_the_first(tmp_path: Path, desk: Desk) -> None:
    with Door(tmp_path / "state", desk.root, FolderSource(desk.folder)) as door:
        settled(door, 1)
        desk.release(range(21))
        settled(door, 2)
        assert door.gallery is not None
        assert len(door.gallery.people) == 21
    with Door(tmp_path / "state", desk.root, FolderSource(desk.folder)) as again:
        assert again.gallery is not None
        assert len(again.gallery.people) == 21


def test_renewed_signatures_change_nothing_at_the_door(tmp_path: Path, desk: Desk) -> None:
    state = at_release_1(tmp_path, desk)
    repository = desk.repository(later(80))
    newest = repository.newest()
    assert newest is not None
    repository.sign(newest)
    shutil.rmtree(desk.folder)
    export(desk.folder, repository.files())
    door = Door(state, desk.root, FolderSource(desk.folder))
    assert door.updater.fetch_new_release(later(100)) is None


def test_what_is_cut_anywhere_is_refused(tmp_path: Path, desk: Desk) -> None:
    """Every file that a door asks for, truncated at every sixteenth."""
    state = at_release_1(tmp_path, desk)
    desk.rotate("snapshot")
    desk.release([*range(5), *range(6, 20), 77])
    asked = asked_for(tmp_path, state, desk)
    assert {name.split(".")[-2] for name in asked if name.endswith(".json")} == {
        "root",
        "timestamp",
        "snapshot",
        "targets",
        "release",
    }
    for name in asked:
        whole = (desk.folder / name).read_bytes()
        for sixteenth in range(16):
            (desk.folder / name).write_bytes(whole[: len(whole) * sixteenth // 16])
            with pytest.raises(ReleaseError, match=r"damaged|not there|sha256|signed"):
                check(copied(state), desk)
        (desk.folder / name).write_bytes(whole)
    assert runs(state) == 1
    check(state, desk)


def asked_for(tmp_path: Path, state: Path, desk: Desk) -> list[str]:
    """The files that a door in this state needs for the next release."""
    copy = tmp_path / "asking"
    shutil.copytree(state, copy)
    source = Recording(desk.folder)
    Door(copy, desk.root, source).updater.fetch_new_release(NOW)
    shutil.rmtree(copy)
    return list(dict.fromkeys(source.asked))


def copied(state: Path) -> Path:
    """The same door once more: what a look has verified, the next one need not fetch."""
    copy = state.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    return Path(shutil.copytree(state, copy))


def runs(state: Path) -> int | None:
    """The release that a door in this state starts with, which must be whole."""
    current = select_boot_release(ReleaseStore(state))
    return current.release if current else None


def test_one_byte_flipped_anywhere_is_refused(tmp_path: Path, desk: Desk) -> None:
    """Every file that a door asks for, at eight places from the first byte to the last."""
    state = at_release_1(tmp_path, desk)
    desk.rotate("timestamp")
    desk.release([*range(5), *range(6, 20), 77])
    for name in asked_for(tmp_path, state, desk):
        whole = (desk.folder / name).read_bytes()
        for eighth in range(8):
            (desk.folder / name).write_bytes(flipped(whole, (len(whole) - 1) * eighth // 7, 1 << eighth))
            with pytest.raises(ReleaseError):
                check(copied(state), desk)
        (desk.folder / name).write_bytes(whole)
    assert runs(state) == 1
    check(state, desk)


def flipped(content: bytes, at: int, mask: int) -> bytes:
    altered = bytearray(content)
    altered[at] ^= mask
    return bytes(altered)


@pytest.mark.parametrize("part", ["signatures", pytest.param("all", marks=pytest.mark.slow)])
def test_letters_of_metadata_turned_into_capitals(tmp_path: Path, desk: Desk, part: str) -> None:
    """None is taken. A signature's own check does not notice a capital among its hexadecimal digits.

    Root and timestamp are what nothing else vouches for; they name the others by their sha256.
    """
    desk.rotate("timestamp")
    desk.release(range(21))
    files = desk.files()
    for role in ("root", "timestamp") if part == "signatures" else ("root", "timestamp", "snapshot", "targets"):
        (name,) = [name for name in files if name.endswith(f"{role}.json") and not name.startswith("1.")]
        content = files[name]
        end = content.index(b'"signed"') if part == "signatures" else len(content)
        letters = [at for at, byte in enumerate(content[:end]) if chr(byte).isalpha()]
        assert len(letters) > 50
        for at in letters:
            with pytest.raises(ReleaseError):  # noqa: PT012
                verify_release(tmp_path / "metadata", {**files, name: flipped(content, at, 0x20)}.get, desk.root, NOW)
                print(f"taken: {name}, letter {at}")
    verify_release(tmp_path / "metadata", files.get, desk.root, NOW)


@pytest.mark.parametrize("name", ["2.root.json", "timestamp.json"])
def test_metadata_written_differently(tmp_path: Path, desk: Desk, name: str) -> None:
    """The same JSON with other spaces or in another order has good signatures, and is refused all the same."""
    desk.rotate("timestamp")
    desk.release(range(21))
    files = desk.files()
    outer = json.loads(files[name])
    for content in (
        files[name] + b"\n",
        json.dumps(outer).encode(),
        json.dumps(dict(reversed(outer.items())), separators=(",", ":")).encode(),
    ):
        assert content != files[name]
        with pytest.raises(ReleaseError, match=f"{name}: damaged, not in canonical form"):
            verify_release(tmp_path / "metadata", {**files, name: content}.get, desk.root, NOW)


def _another_key(desk: Desk, tmp_path: Path) -> None:
    foreign = Desk(tmp_path / "foreign")
    foreign.release(range(30))
    foreign.release(range(31))
    shutil.copytree(foreign.folder, desk.folder, dirs_exist_ok=True)


def _revoked_key(desk: Desk, tmp_path: Path) -> None:
    stolen = desk.keys["timestamp"][0]
    desk.rotate("timestamp")
    desk.release(range(21))
    genuine = desk.files()
    thief = Desk(tmp_path / "thief", {**desk.keys, "timestamp": [stolen]})
    thief.release(range(20))
    thief.release(range(21))
    thief.release(range(22))
    (desk.folder / "timestamp.json").write_bytes(thief.files()["timestamp.json"])
    assert genuine["timestamp.json"] != (desk.folder / "timestamp.json").read_bytes()


def _older(desk: Desk, tmp_path: Path) -> None:
    first = desk.files()
    desk.release(range(21))
    with Door(tmp_path / "state", desk.root, FolderSource(desk.folder)) as door:
        settled(door, 2)
    for name, content in first.items():
        (desk.folder / name).write_bytes(content)


def _mixed(desk: Desk, tmp_path: Path) -> None:
    first = desk.files()
    desk.release(range(21))
    (desk.folder / "2.snapshot.json").write_bytes(first["1.snapshot.json"])


def _mixed_targets(desk: Desk, tmp_path: Path) -> None:
    first = desk.files()
    desk.release(range(21))
    (desk.folder / "2.targets.json").write_bytes(first["1.targets.json"])


def _swapped_list(desk: Desk, tmp_path: Path) -> None:
    (first,) = [content for name, content in desk.files().items() if name.endswith(".release.json")]
    desk.release(range(21))
    (path,) = desk.folder.glob("*.release.json")
    path.write_bytes(first)


def _swapped_piece(desk: Desk, tmp_path: Path) -> None:
    before = desk.files().keys()
    desk.release(range(21))
    new = [name for name in desk.files() if name.endswith(".piece") and name not in before]
    old = next(name for name in before if name.endswith(".piece") and (desk.folder / name).exists())
    (desk.folder / new[0]).write_bytes((desk.folder / old).read_bytes())


def _missing_piece(desk: Desk, tmp_path: Path) -> None:
    before = desk.files().keys()
    desk.release(range(21))
    new = [name for name in desk.files() if name.endswith(".piece") and name not in before]
    (desk.folder / new[0]).unlink()


def _huge(desk: Desk, tmp_path: Path) -> None:
    with (desk.folder / "timestamp.json").open("wb") as file:
        file.truncate(300 * 1024 * 1024)


REFUSALS: list[tuple[Callable[[Desk, Path], None], str]] = [
    (_another_key, "not signed by the keys that this door trusts"),
    (_revoked_key, "not signed by the keys that this door trusts"),
    (_older, r"timestamp.json: older than"),
    (_mixed, "2.snapshot.json: damaged, or of another release"),
    (_mixed_targets, "2.targets.json: damaged, or of another release"),
    (_swapped_list, "release.json: damaged, or of another release"),
    (_swapped_piece, "damaged, its sha256 is another"),
    (_missing_piece, r"not there \(1 of \d+ pieces missing\)"),
    (_huge, "timestamp.json: larger than the 131072 bytes"),
]


@pytest.mark.parametrize(("spoil", "reason"), REFUSALS, ids=lambda value: getattr(value, "__name__", ""))
def test_it_is_refused_and_the_door_goes_on(
    tmp_path: Path, desk: Desk, spoil: Callable[[Desk, Path], None], reason: str
) -> None:
    state = at_release_1(tmp_path, desk)
    spoil(desk, tmp_path)
    before = runs(state)
    with pytest.raises(ReleaseError, match=reason):
        check(state, desk)
    assert runs(state) == before


def test_expired_metadata_is_refused(tmp_path: Path, desk: Desk) -> None:
    state = at_release_1(tmp_path, desk)
    desk.release(range(21), valid_days=10)
    with pytest.raises(ReleaseError, match="expired"):
        check(state, desk, later(11))
    check(state, desk, later(9))


def test_a_door_says_a_refusal_once_and_its_end(tmp_path: Path, desk: Desk) -> None:
    """Not again with every retry; and the standing is good again when the cause is gone."""
    with Door(tmp_path / "state", desk.root, FolderSource(desk.folder)) as door:
        settled(door, 1)
        good = (desk.folder / "timestamp.json").read_bytes()
        for _ in range(3):
            (desk.folder / "timestamp.json").write_bytes(b"{}")
            wait_until(lambda: not door.keeper.status.ok, "refused")
            (desk.folder / "timestamp.json").write_bytes(good + b" ")
            (desk.folder / "timestamp.json").write_bytes(b"{}")
        assert door.keeper.status.release == 1
        (desk.folder / "timestamp.json").write_bytes(good)
        wait_until(lambda: door.keeper.status.ok, "good again")
    refusals = [news.status.reason for news in door.news if news.refused]
    assert len(refusals) == len(set(refusals))
    assert refusals[0].startswith("timestamp.json: damaged")


def test_a_door_whose_clock_is_not_set_goes_on_and_looks_again_when_it_is(tmp_path: Path, desk: Desk) -> None:
    clock = {"set": False, "now": later(100)}  # by which the signatures have expired
    with Door(
        tmp_path / "state",
        desk.root,
        FolderSource(desk.folder),
        now=lambda: clock["now"],  # type: ignore[arg-type, return-value]
        clock_set=lambda: bool(clock["set"]),
    ) as door:
        wait_until(lambda: "expired" in door.keeper.status.reason, "refused as expired")
        clock.update(set=True, now=NOW)
        settled(door, 1)


def test_a_release_that_fails_its_test_is_not_run(tmp_path: Path, desk: Desk) -> None:
    """One for another embedder loads nowhere; the door keeps what it has, says why, and takes the next one."""
    with Door(tmp_path / "state", desk.root, FolderSource(desk.folder)) as door:
        settled(door, 1)
        desk.release(range(21), embedder="f" * 64)
        wait_until(lambda: not door.keeper.status.ok, "refused")
        assert "made by another embedder" in door.keeper.status.reason
        assert door.release == 1
        desk.release(range(22))
        settled(door, 3)


def test_after_a_removal_nothing_on_the_door_holds_the_vector(tmp_path: Path, desk: Desk) -> None:
    """Neither the new release nor the one kept to roll back to, nor the gallery from before the first release."""
    state = tmp_path / "state"
    installed = state / "gallery.safetensors"
    state.mkdir()
    installed.write_bytes(gallery_bytes(range(20)))
    gone = vector(7).tobytes()
    with Door(state, desk.root, FolderSource(desk.folder), superseded=(installed,)) as door:
        settled(door, 1)
        assert [path.name for path in holds(state, gone)] == ["gallery.safetensors"]
        desk.release([person for person in range(20) if person != 7])
        settled(door, 2)
        assert holds(state, gone) == []
        current = door.store.current()
        assert current is not None
        assert current.previous_release == 1
        assert len(holds(state, vector(8).tobytes())) == 2  # the rest can still be rolled back to


def with_vector(people: Sequence[int], of: int, seed: int, embedder: str = EMBEDDER) -> bytes:
    """A gallery in which one person has another vector than `gallery_bytes` gives them."""
    vectors = np.stack([vector(seed if person == of else person) for person in people])
    names = [Person(f"p{person:06d}", f"Person Nr. {person}") for person in people]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "g"
        save_gallery(path, names, vectors, np.ones(len(people), np.float32), embedder)
        return path.read_bytes()


def test_rollback_copy_after_a_leaver(tmp_path: Path) -> None:
    old = gallery_bytes([1, 2, 3])
    kept = gallery_chunks.keep_only_people_in(old, gallery_bytes([1, 3, 4]))
    assert gallery_chunks.person_ids(kept) == {"p000001", "p000003"}
    assert vector(2).tobytes() not in kept


def test_rollback_copy_after_a_replaced_vector(tmp_path: Path, desk: Desk) -> None:
    """A person who was enrolled again keeps the id; the old vector is gone from the whole disk of the door."""
    old = gallery_bytes([1, 2, 3])
    kept = gallery_chunks.keep_only_people_in(old, with_vector([1, 2, 3], of=2, seed=99))
    assert gallery_chunks.person_ids(kept) == {"p000001", "p000003"}
    assert vector(2).tobytes() not in kept
    state = tmp_path / "state"
    with Door(state, desk.root, FolderSource(desk.folder)) as door:
        settled(door, 1)
        assert holds(state, vector(7).tobytes())
        desk.release_files({GALLERY: with_vector(range(20), of=7, seed=99)}, 20)
        settled(door, 2)
        assert not holds(state, vector(7).tobytes())
        assert len(holds(state, vector(8).tobytes())) == 2


def test_rollback_copy_of_another_embedder(tmp_path: Path) -> None:
    """Vectors cannot be compared then: those who stay are kept by their ids, and leavers are not."""
    old = gallery_bytes([1, 2, 3])
    kept = gallery_chunks.keep_only_people_in(old, with_vector([1, 3, 4], of=3, seed=99, embedder="f" * 64))
    assert gallery_chunks.person_ids(kept) == {"p000001", "p000003"}
    assert vector(2).tobytes() not in kept
    assert vector(3).tobytes() in kept


def policy_of(*people: str) -> bytes:
    """Access rules that name these people."""
    return f"[doors.front]\nallow = [{{ people = {list(people)} }}]\n".encode()


def test_rules_in_the_rollback_copy(tmp_path: Path, desk: Desk) -> None:
    """No id of a leaver stays in the old rules, and a rollback gives nobody access back: the new rules hold."""
    state = tmp_path / "state"
    desk.release(range(20), extra={POLICY: policy_of("p000007", "p000008")})
    with Door(state, desk.root, FolderSource(desk.folder)) as door:
        settled(door, 2)
        assert holds(state, b"p000007")
        desk.release([*range(7), *range(8, 20)], extra={POLICY: policy_of("p000008")})
        settled(door, 3)
        assert not holds(state, b"p000007")
        current = door.store.current()
    assert current is not None
    damage(state, current)
    assert runs(state) == 2
    assert (ReleaseStore(state).release_dir(current.previous) / POLICY).read_bytes() == policy_of("p000008")


def damage(state: Path, current: ActiveRelease) -> None:
    """Cut the gallery of the release that runs, so that the door rolls back at its next start."""
    path = ReleaseStore(state).release_dir(current.folder) / GALLERY
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(("first", "second"), [(policy_of("p000001"), None), (None, policy_of("p000001"))])
def test_rules_of_a_rollback_are_the_newest(
    tmp_path: Path, desk: Desk, first: bytes | None, second: bytes | None
) -> None:
    """Rules that a release brings or takes away hold after a rollback, too; damaged ones are noticed."""
    state = tmp_path / "state"
    desk.release(range(20), extra={POLICY: first} if first else {})
    with Door(state, desk.root, FolderSource(desk.folder)) as door:
        wait_until(lambda: door.keeper.status.ok, "the first release runs")
        desk.release(range(21), extra={POLICY: second} if second else {})
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


def test_a_release_that_never_runs_for_long_is_rolled_back(tmp_path: Path, desk: Desk) -> None:
    """A door that dies again and again within seconds of a new release goes back, and does not take it again."""
    state = at_release_1(tmp_path, desk)
    desk.release(range(21))
    with Door(state, desk.root, FolderSource(desk.folder)) as door:
        settled(door, 2)
    store = ReleaseStore(state)
    current = store.current()
    assert current is not None
    store.activate(msgspec.structs.replace(current, proven=False))  # as a door leaves it that dies
    for _ in range(MAX_UNPROVEN_STARTS):
        assert runs(state) == 2
    assert runs(state) == 1
    with pytest.raises(ReleaseError, match=f"never ran for {PROVEN_AFTER_S:.0f} s"):
        check(state, desk)
    desk.release(range(22))
    with Door(state, desk.root, FolderSource(desk.folder)) as door:
        settled(door, 3)


def test_a_release_damaged_on_the_disk_is_rolled_back(tmp_path: Path, desk: Desk) -> None:
    state = at_release_1(tmp_path, desk)
    desk.release(range(21))
    with Door(state, desk.root, FolderSource(desk.folder)) as door:
        settled(door, 2)
        current = door.store.current()
    assert current is not None
    damage(state, current)
    assert runs(state) == 1


def test_thresholds_of_several_signers(tmp_path: Path) -> None:
    """Two of three must sign; one alone convinces no tool and no door."""
    keys = new_keys(3)
    desk = Desk(tmp_path / "desk", keys, threshold=2)
    desk.keys["targets"] = keys["targets"][1:]
    desk.release(range(5))
    at_release_1(tmp_path, desk)
    desk.keys["targets"] = keys["targets"][:1]
    with pytest.raises(ReleaseError, match="targets wants 2 of its 3 keys to sign, 1 are here"):
        desk.release(range(6))


def test_keys_can_be_replaced_many_times(tmp_path: Path, desk: Desk) -> None:
    """A door that was away meanwhile follows from root to root."""
    state = at_release_1(tmp_path, desk)
    for role in ("root", "targets", "snapshot", "timestamp", "root"):
        desk.rotate(role)
        desk.keys[role] = desk.keys[role][1:]
    desk.release(range(21))
    with Door(state, desk.root, FolderSource(desk.folder)) as door:
        settled(door, 2)


def test_a_usb_stick_may_come_and_go(tmp_path: Path, desk: Desk) -> None:
    stick = tmp_path / "stick"
    with Door(tmp_path / "state", desk.root, FolderSource(stick)) as door:
        wait_until(lambda: bool(door.news), "the door runs")
        shutil.copytree(desk.folder, stick)
        settled(door, 1)
        shutil.rmtree(stick)
        desk.release(range(21))
        shutil.copytree(desk.folder, stick)
        settled(door, 2)


def test_over_http(tmp_path: Path, desk: Desk) -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

    handler = functools.partial(Quiet, directory=str(desk.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = HttpSource(f"http://127.0.0.1:{server.server_address[1]}/")
        with Door(tmp_path / "state", desk.root, source) as door:
            settled(door, 1)
        server.shutdown()


def test_without_a_trusted_root_there_is_nothing_to_begin_with(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="run  edge release trust-root"):
        ReleaseStore(tmp_path).root()


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b'{"signed":{"_type":"root"},"signatures":[]}'])
def test_what_is_no_root_is_not_trusted(content: bytes) -> None:
    with pytest.raises(ReleaseError):
        read_root(content)


def test_a_root_that_was_altered_is_not_trusted(desk: Desk) -> None:
    with pytest.raises(ReleaseError):
        read_root(desk.root.replace(b'"version":1', b'"version":2'))
    assert read_root(desk.root).keys == 1


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../timestamp.json", "a/../b", "timestamp.json\n", "timestamp.json\0", "\x1b[2J", "x" * 300),
        *("0.root.json", "1.root.json/", "TIMESTAMP.JSON", "1.timestamp.json", "é.piece", "٣.root.json"),
        "g" * 64 + ".piece",
    ],
)
def test_hostile_names_are_junk(name: str) -> None:
    assert not is_repo_name(name)


@pytest.mark.parametrize("name", ["../x", "models/../../x", "models/.x", "/etc/passwd", "gallery.safetensors\n", "x"])
def test_a_signed_list_cannot_name_a_path_outside(name: str) -> None:
    """Keys can be stolen."""
    entry = {"name": name, "sha256": "0" * 64, "length": 0, "pieces": []}
    content = {"v": 1, "release": 1, "made_at": "", "embedder_sha256": "0" * 64, "people": 0, "files": [entry]}
    with pytest.raises(ReleaseError):
        decode_release(msgspec.json.encode(content), 1000)


def test_a_signed_list_is_held_to_the_limits(desk: Desk) -> None:
    (content,) = [content for name, content in desk.files().items() if name.endswith(".release.json")]
    decode_release(content, 100_000)
    with pytest.raises(ReleaseError, match="max_mb"):
        decode_release(content, 10_000)


def test_one_new_hire_costs_one_piece_even_if_every_threshold_moves() -> None:
    """At 10,000 people: what is fetched, list and metadata included, is far below 256 KiB."""
    before, after = (
        gallery_chunks.split(gallery_bytes(people, threshold_sq), gallery_chunks.rows_per_chunk(10_000), CHUNK_BYTES)
        for people, threshold_sq in ((range(10_000), 1.0), ([*range(5000), 99_999, *range(5000, 10_000)], 0.99))
    )
    known = set(before)
    cost = sum(len(piece) for piece in after if piece not in known) + 75 * len(after)
    assert cost < 150 * 1024
    assert max(map(len, after)) < CHUNK_BYTES + 1024


def many(count: int) -> bytes:
    """A gallery whose vectors are short, because only the number of people counts."""
    people = [Person(f"p{row:06d}", "") for row in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "g"
        save_gallery(path, people, np.ones((count, 1), np.float32), np.ones(count, np.float32), EMBEDDER)
        return path.read_bytes()


def test_growth_of_a_pilot_site(desk: Desk) -> None:
    """A site that began with twenty people grows beyond 7,000: when the list is too long, the gallery is cut again."""
    repository, grown = desk.repository(), many(7_500)
    release = repository.add({GALLERY: grown}, EMBEDDER, 7_500)
    (entry,) = release.files
    assert entry.rows == gallery_chunks.rows_per_chunk(7_500) > gallery_chunks.rows_per_chunk(20)
    assert repository.content(entry) == grown


def test_release_of_too_many_people(desk: Desk) -> None:
    """One error with the limit, and nothing is left in the repository: neither a piece nor a release."""
    before = sorted(path.name for path in desk.path.rglob("*"))
    with pytest.raises(ReleaseError, match=r"^120000 people make \d+ pieces, too many .* about 105,000 people: divide"):
        desk.release_files({GALLERY: many(120_000)}, 120_000)
    assert sorted(path.name for path in desk.path.rglob("*")) == before


@pytest.mark.parametrize("count", [0, 1, 2, 300])
def test_a_gallery_cut_and_joined_is_the_same(count: int) -> None:
    content = gallery_bytes(range(count))
    for rows in (1, 4, 128):
        assert gallery_chunks.assemble(gallery_chunks.split(content, rows, CHUNK_BYTES), len(content)) == content


def test_pieces_that_do_not_fit_are_refused() -> None:
    content = gallery_bytes(range(30))
    pieces = gallery_chunks.split(content, 4, CHUNK_BYTES)
    chance = random.Random(3)
    for _ in range(300):
        spoiled = list(pieces)
        at = chance.randrange(len(spoiled))
        piece = bytearray(spoiled[at])
        piece[chance.randrange(min(len(piece), 40))] ^= 1 << chance.randrange(8)
        spoiled[at] = bytes(piece)
        with contextlib.suppress(ValueError):
            assert len(gallery_chunks.assemble(spoiled, len(content))) == len(content)
    for spoiled in (pieces[:-1], pieces[1:], [*pieces, pieces[-1]], [pieces[0]], []):
        with pytest.raises(ValueError, match=r"header|complete|rows|short|kind"):
            gallery_chunks.assemble(spoiled, len(content))


def test_no_gallery_is_cut() -> None:
    for content in (b"", b"\xff" * 100, gallery_bytes(range(3))[:50]):
        with pytest.raises(ValueError, match="header"):
            gallery_chunks.split(content, 4, CHUNK_BYTES)


def test_the_policy_travels_with_the_gallery(tmp_path: Path, desk: Desk) -> None:
    policy = b"# rules\n"
    desk.release(range(20), extra={POLICY: policy})
    with Door(tmp_path / "state", desk.root, FolderSource(desk.folder)) as door:
        settled(door, 2)
        current = door.store.current()
        assert current is not None
        assert (door.store.release_dir(current.folder) / POLICY).read_bytes() == policy


def test_another_root_begins_anew(tmp_path: Path, desk: Desk) -> None:
    """`edge release trust-root` with the root of another repository forgets the versions of the former."""
    state = at_release_1(tmp_path, desk)
    other = Desk(tmp_path / "other")
    other.release(range(3))
    ReleaseStore(state).trust(other.root)
    door = Door(state, other.root, FolderSource(other.folder))
    assert door.updater.fetch_new_release(NOW) is not None


def test_metadata_of_the_former_root(tmp_path: Path, desk: Desk) -> None:
    """Nothing verified under one root is left once another one is trusted; the same one again keeps it."""
    store = ReleaseStore(at_release_1(tmp_path, desk))
    store.trust(desk.root)
    assert (store.metadata / "timestamp.json").exists()
    store.trust(Desk(tmp_path / "other").root)
    assert [path for path in store.metadata.rglob("*") if path.is_file()] == []


def test_purged_file_overwritten_first(tmp_path: Path) -> None:
    """Its bytes are gone where they lay, not only its name."""
    folder, kept = tmp_path / "release", tmp_path / "where the blocks are"
    folder.mkdir()
    (folder / "gallery").write_bytes(gallery_bytes(range(200)))
    os.link(folder / "gallery", kept)
    secure_delete(folder)
    assert not folder.exists()
    assert len(kept.read_bytes()) > 150_000
    assert not kept.read_bytes().strip(b"\0")


class Disk:
    """Records what becomes durable, in order: new names, and the folders and files that are synced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[tuple[str, Path]] = []
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self.fsync)
        for name in ("rename", "replace"):
            monkeypatch.setattr(os, name, functools.partial(self.rename, getattr(os, name)))

    def fsync(self, descriptor: int) -> None:
        self.steps.append(("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}"))))
        self._fsync(descriptor)

    def rename(self, genuine: Callable[[Path, Path], None], old: Path, new: Path) -> None:
        self.steps.append(("name", Path(new)))
        genuine(old, new)

    def named(self, folder: Path) -> list[str]:
        """What got its name below a folder, in order."""
        return [str(path.relative_to(folder)) for step, path in self.steps if step == "name" and folder in path.parents]


def test_release_durable_before_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder has its name on the disk when `write` returns, so a power cut leaves no pointer to nothing."""
    store = ReleaseStore(tmp_path)
    disk = Disk(monkeypatch)
    name = store.write(1, b"{}", {GALLERY: b"gallery"})
    assert disk.steps[-2:] == [("name", store.release_dir(name)), ("sync", store.release_dir(name).parent)]
    draft = f".draft-{name}"
    assert disk.named(store.release_dir(name).parent) == [f"{draft}/{GALLERY}", f"{draft}/release.json", name]


def test_roots_durable_before_what_they_sign(tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut between them never leaves metadata whose keys are not known."""
    state = at_release_1(tmp_path, desk)
    desk.rotate("timestamp")
    desk.release(range(21))
    disk = Disk(monkeypatch)
    metadata = ReleaseStore(state).metadata
    verify_release(metadata, desk.files().get, desk.root, NOW)
    named = disk.named(metadata)
    assert named == ["root_history/2.root.json", "timestamp.json", "snapshot.json", "targets.json"]


def test_time_of_the_door_counts(tmp_path: Path, desk: Desk) -> None:
    """Signatures are held against the time that is handed in; by the clock of this machine these have expired."""
    state = at_release_1(tmp_path, desk)
    desk.release(range(21), valid_days=1)
    check(state, desk, later(0.5))


def test_ends_of_trusted_metadata(tmp_path: Path, desk: Desk) -> None:
    """Of every role, for `edge check`; before the first look the root's alone."""
    state = tmp_path / "state"
    store = ReleaseStore(state)
    store.trust(desk.root)
    assert metadata_expiry(store.metadata, desk.root) == {"root": later(1825)}
    check(state, desk)
    ends = {"root": 1825, "targets": 365, "snapshot": 90, "timestamp": 90}
    assert metadata_expiry(store.metadata, desk.root) == {role: later(days) for role, days in ends.items()}


def test_nothing_there_and_nothing_any_more(tmp_path: Path, desk: Desk) -> None:
    """An empty repository is no fault of a new door's; one that ran a release misses it."""
    empty = FolderSource(tmp_path / "empty")
    new = ReleaseStore(tmp_path / "new")
    new.trust(desk.root)
    assert Updater(empty, new, gallery_chunks, 1_000_000).fetch_new_release(NOW) is None
    with pytest.raises(ReleaseError, match=r"timestamp.json: not there"):
        Door(at_release_1(tmp_path, desk), desk.root, empty).updater.fetch_new_release(NOW)


def test_older_release_signed_as_newest(tmp_path: Path, desk: Desk) -> None:
    """The keys suffice for newer metadata, not to bring back an older release under it."""
    desk.release(range(21))
    state = tmp_path / "state"
    with Door(state, desk.root, FolderSource(desk.folder)) as door:
        settled(door, 2)
    thief = Desk(tmp_path / "thief", desk.keys)
    release = thief.release(range(20))
    for _ in range(3):
        thief.repository().sign(release)
    export(thief.folder, thief.repository().files())
    with pytest.raises(ReleaseError, match="release 1 is older than 2, which runs here"):
        check(state, thief)


def test_list_that_contradicts_its_pieces(tmp_path: Path, desk: Desk) -> None:
    """Pieces that are all right do not make the file that was signed: it is refused."""
    repository = desk.repository()
    release = repository.add({GALLERY: gallery_bytes(range(21))}, EMBEDDER, 21)
    (entry,) = release.files
    wrong = msgspec.structs.replace(release, files=(msgspec.structs.replace(entry, sha256="0" * 64),))
    (desk.path / "releases" / "2.json").write_bytes(msgspec.json.encode(wrong))
    repository.sign(wrong)
    export(desk.folder, repository.files())
    with pytest.raises(ReleaseError, match=r"gallery.safetensors: its sha256 is not the signed one"):
        check(tmp_path / "state", desk)


def test_stick_pulled_is_no_news(tmp_path: Path, desk: Desk) -> None:
    """A release that appears is news, a folder that goes away is not."""
    source = FolderSource(desk.folder)
    assert source.wait(0, "2.root.json")
    shutil.rmtree(desk.folder)
    assert not source.wait(0, "2.root.json")


def unproven(state: Path, desk: Desk) -> None:
    """Leave a release on trial, as a door does that has just taken new models."""
    store = ReleaseStore(at_release_1(state.parent, desk, state.name))
    current = store.current()
    assert current is not None
    store.activate(msgspec.structs.replace(current, proven=False))


def started(door: Door) -> tuple[bool, int]:
    """Whether the release is proven, and how many starts count against it."""
    current = door.store.current()
    assert current is not None
    return current.proven, current.starts


def test_stop_proves_a_release_on_trial(tmp_path: Path, desk: Desk) -> None:
    """A door that is stopped did not fail: that start does not count against its release."""
    unproven(tmp_path / "state", desk)
    door = Door(tmp_path / "state", desk.root, FolderSource(desk.folder))
    assert started(door) == (False, 1)
    with door:
        pass
    assert started(door) == (True, 0)


def test_excused_start_of_a_release_on_trial(tmp_path: Path, desk: Desk) -> None:
    """A door that ends because its camera is absent does not count that start against its release."""
    unproven(tmp_path / "state", desk)
    door = Door(tmp_path / "state", desk.root, FolderSource(desk.folder))
    door.keeper.forgive_start()
    assert started(door) == (False, 0)
    door.keeper.forgive_start()
    assert started(door) == (False, 0)


class Waiting(FolderSource):
    """A folder that records how long it was asked to wait, and waits for nothing."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked_s: list[float] = []

    def wait(self, timeout_s: float, root_name: str) -> bool:
        self.asked_s.append(timeout_s)
        return super().wait(min(timeout_s, 0.01), root_name)


@pytest.mark.parametrize("proven", [True, False])
def test_wait_for_news(tmp_path: Path, desk: Desk, proven: bool) -> None:
    """As long as asked; shorter only while a release is on trial, to see when it has run long enough."""
    unproven(tmp_path / "state", desk)
    if proven:
        with Door(tmp_path / "state", desk.root, FolderSource(desk.folder)):
            pass
    source = Waiting(desk.folder)
    with Door(tmp_path / "state", desk.root, source, interval_s=100.0):
        wait_until(lambda: len(source.asked_s) > 3, "the door waits for news")
    assert source.asked_s[0] == 0.0
    for asked_s in source.asked_s[1:]:
        assert asked_s == 100.0 if proven else 0.0 < asked_s <= PROVEN_AFTER_S


class Loading(Door):
    """A door that counts how often it loads a release."""

    loads = 0

    def _load(self, offer: StagedRelease) -> Gallery:
        self.loads += 1
        return super()._load(offer)


def test_release_that_failed_its_test_loaded_once(tmp_path: Path, desk: Desk) -> None:
    """Renewed signatures do not make it better: it is not loaded again, and refused for the same reason."""
    desk.release(range(21), embedder="f" * 64)
    source = Waiting(desk.folder)
    door = Loading(tmp_path / "state", desk.root, source)
    with door:
        wait_until(lambda: "another embedder" in door.keeper.status.reason, "refused")
        reason = door.keeper.status.reason
        repository = desk.repository()
        newest = repository.newest()
        assert newest is not None
        repository.sign(newest)
        export(desk.folder, repository.files())
        timestamp = (desk.folder / "timestamp.json").read_bytes()
        verified = door.store.metadata / "timestamp.json"
        wait_until(lambda: verified.read_bytes() == timestamp, "the renewed signatures are verified")
        waits = len(source.asked_s)
        wait_until(lambda: len(source.asked_s) > waits, "that look has ended")
    assert door.loads == 1
    assert door.keeper.status.reason == reason


def test_damaged_records_of_a_door_begin_anew(tmp_path: Path, desk: Desk) -> None:
    state = at_release_1(tmp_path, desk)
    (state / "release" / "current.json").write_bytes(b"\0\0\0")
    with Door(state, desk.root, FolderSource(desk.folder)) as door:
        settled(door, 1)


def killed(tmp_path: Path, times: int, seed: int) -> int:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent / "tools"), *sys.path])}
    done = subprocess.run(
        [sys.executable, str(TESTS / "support/releases.py"), str(tmp_path), str(times), str(seed)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout)


def test_a_killed_door_starts_with_a_whole_release(tmp_path: Path) -> None:
    """SIGKILL at 30 random moments of updates."""
    assert 0 < killed(tmp_path, 30, seed=1) < 30


@pytest.mark.slow
def test_a_killed_door_starts_with_a_whole_release_two_hundred_times(tmp_path: Path) -> None:
    assert 0 < killed(tmp_path, 200, seed=2) < 200


def test_vectors_are_what_the_proof_looks_for(tmp_path: Path) -> None:
    """The scan finds a vector where there is one."""
    (tmp_path / "g").write_bytes(gallery_bytes([1, 2]))
    assert holds(tmp_path, vector(2).tobytes()) == [tmp_path / "g"]
    assert not holds(tmp_path, vector(3).tobytes())
    assert np.frombuffer(vector(2).tobytes(), np.float32).shape == (192,)


def test_current_is_readable_by_the_next_version() -> None:
    """A field added later has a default here, so an update of the software keeps the release."""
    record = ActiveRelease(release=1, folder="1-a", digest="d", applied_at="t")
    assert (
        msgspec.json.decode(msgspec.json.encode({**msgspec.to_builtins(record), "later": 1}), type=ActiveRelease)
        == record
    )


def test_only_new_models_are_on_trial(tmp_path: Path, desk: Desk) -> None:
    """Power cuts in a row never take back a removal: a gallery that has passed its test brings no door down."""

    def proven(door: Door, number: int) -> bool:
        current = settled(door, number).store.current()
        assert current is not None
        return current.proven

    with Door(tmp_path / "state", desk.root, FolderSource(desk.folder)) as door:
        assert proven(door, 1)
        desk.release(range(1, 20))
        assert proven(door, 2)
        desk.release(range(1, 20), extra={"models/embedder.tflite": b"model"})
        assert not proven(door, 3)
        desk.release(range(2, 20), extra={"models/embedder.tflite": b"model"})
        assert proven(door, 4)
