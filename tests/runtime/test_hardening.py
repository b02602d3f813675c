"""What is stored about people: for the door's user alone, sealed if so wished, and nowhere but in the gallery."""

from __future__ import annotations

import base64
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from support.mqtt_brokers import config_for, make_broker
from support.release_signer import EMBEDDER, NOW, ReleaseSigner, gallery_bytes, vector
from threshold_tools.embeddings import LabelledEmbeddings, save_embeddings

from edge.cli.main import main
from edge.core.config import CameraConfig, DoorConfig, MqttConfig, ReleaseConfig
from edge.core.errors import ConfigError, GalleryError
from edge.core.records import FloatArray
from edge.demo.run_demo import CLIP, GALLERY
from edge.diagnostics.check import check
from edge.diagnostics.report import State
from edge.events.topics import Channel, Topics
from edge.mqtt.subscriber import Message, Subscriber
from edge.recognition import encryption, gallery_chunks
from edge.recognition.encryption import EncryptingCodec, GalleryKey, decrypt, encrypt, is_encrypted, read_key
from edge.recognition.gallery_file import MMAP_MIN_BYTES, load_gallery, save_gallery
from edge.runtime.bundle import load_configured
from edge.runtime.daemon import Daemon
from edge.runtime.hardening import reencrypt, world_accessible_paths
from edge.runtime.release_manager import ReleaseManager, install_root
from edge.updates.release_format import GALLERY as GALLERY_FILE
from edge.updates.sources import FolderSource
from edge.updates.store import ActiveRelease, ReleaseStore
from edge.updates.updater import Updater
from edge.vision.embedder import Embedder
from edge.vision.face_sampler import VisionStages

KEY = GalleryKey(bytes(range(32)))
OTHER = GalleryKey(bytes(32))
WHERE = Path("gallery.safetensors")
ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d\d)?")
NUMBERS_IN_A_ROW = re.compile(r"(?:-?\d+(?:\.\d+)?(?:e[-+]?\d+)?[\s,;]+){5,}-?\d", re.IGNORECASE)
BYTES_AS_TEXT = re.compile(r"[0-9a-f]{65,}|(?:\\x[0-9a-f]{2}){4,}|[A-Za-z0-9+/]{100,}|array\(|ndarray", re.IGNORECASE)


def key_file(folder: Path, key: GalleryKey = KEY) -> Path:
    path = folder / "gallery.key"
    path.write_text(key.secret.hex() + "\n")
    path.chmod(0o600)
    return path


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A plain gallery of twenty people."""
    path = tmp_path / "gallery.safetensors"
    path.write_bytes(gallery_bytes(range(20)))
    return path


# A sealed gallery


def test_a_sealed_gallery_gives_the_same_answers_and_the_same_version(plain: Path) -> None:
    before = load_gallery(plain, EMBEDDER)
    assert reencrypt([plain], KEY) == [plain]
    after = load_gallery(plain, EMBEDDER, KEY)
    assert (after.info, list(after.people)) == (before.info, list(before.people))
    assert after.nearest(vector(7)) == before.nearest(vector(7))


def test_a_sealed_gallery_shows_no_name_no_vector_and_no_two_alike(plain: Path) -> None:
    content = plain.read_bytes()
    one, other = encrypt(content, KEY, WHERE), encrypt(content, KEY, WHERE)
    assert one != other
    for told in (b"p000007", b"Person Nr. 7", vector(7).tobytes()[:16], KEY.secret, b"centroids"):
        assert told not in one
    assert one[: len(one) - len(content)].startswith(b"threshold-sealed" + KEY.name)


def test_no_altered_bit_and_no_shorter_file_is_taken(plain: Path) -> None:
    sealed = encrypt(plain.read_bytes(), KEY, WHERE)
    for at in [*range(60), *range(60, len(sealed), 997), len(sealed) - 1]:
        altered = bytearray(sealed)
        altered[at] ^= 1
        plain.write_bytes(altered)
        with pytest.raises(GalleryError, match=r"gallery.safetensors: (not )?encrypted"):
            load_gallery(plain, EMBEDDER, KEY)
    for length in [*range(60), len(sealed) // 2, len(sealed) - 1]:
        plain.write_bytes(sealed[:length])
        with pytest.raises(GalleryError, match=r"gallery.safetensors: (not )?encrypted"):
            load_gallery(plain, EMBEDDER, KEY)


@pytest.mark.parametrize(
    ("sealed_with", "key", "told"),
    [
        (KEY, None, "encrypted, and no key is given; set gallery_key"),
        (KEY, OTHER, "encrypted with another key"),
        (None, KEY, "not encrypted, though gallery_key is set; run  edge gallery encrypt"),
    ],
)
def test_a_gallery_that_does_not_fit_the_key_is_refused_in_one_line(
    plain: Path, sealed_with: GalleryKey | None, key: GalleryKey | None, told: str
) -> None:
    """Also a plain one where there is a key: else whoever can write to the card could enrol himself."""
    if sealed_with:
        reencrypt([plain], sealed_with)
    with pytest.raises(GalleryError, match=told) as caught:
        load_gallery(plain, EMBEDDER, key)
    assert "\n" not in str(caught.value)


def test_a_gallery_too_large_for_memory_is_not_sealed(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And stays as it was."""
    content = plain.read_bytes()
    monkeypatch.setattr("edge.recognition.encryption.MAX_BYTES", len(content) - 1)
    with pytest.raises(GalleryError, match=r"memory-mapped and cannot be encrypted .* encrypt the disk instead"):
        reencrypt([plain], KEY)
    assert plain.read_bytes() == content


def test_what_may_be_sealed_is_what_is_not_mapped() -> None:
    assert encryption.MAX_BYTES == MMAP_MIN_BYTES


def test_sealing_twice_is_sealing_once_and_undo_gives_back_the_very_bytes(plain: Path) -> None:
    content = plain.read_bytes()
    reencrypt([plain], KEY)
    sealed = plain.read_bytes()
    assert reencrypt([plain], KEY) == []
    assert plain.read_bytes() == sealed
    with pytest.raises(GalleryError, match="another key"):
        reencrypt([plain], OTHER, undo=True)
    reencrypt([plain], KEY, undo=True)
    assert plain.read_bytes() == content


def test_the_plain_bytes_are_overwritten_where_they_lay(plain: Path, tmp_path: Path) -> None:
    os.link(plain, tmp_path / "where the blocks are")
    reencrypt([plain], KEY)
    assert not (tmp_path / "where the blocks are").read_bytes().strip(b"\0")
    assert mode(plain) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_gallery_that_root_seals_stays_the_door_s(plain: Path) -> None:
    os.chown(plain, 12345, 23456)
    reencrypt([plain], KEY)
    assert (plain.stat().st_uid, plain.stat().st_gid, mode(plain)) == (12345, 23456, 0o600)


@pytest.mark.parametrize("text", ["", "abc\n", "zz" * 32, "00" * 31, "00" * 33])
def test_a_key_that_is_none_is_a_clear_error_and_is_not_repeated(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    with pytest.raises(ConfigError, match="gallery_key: ") as caught:
        read_key(str(path))
    assert not text.strip() or text.strip() not in str(caught.value)


def test_a_key_comes_from_a_credential_and_never_shows_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key_file(tmp_path).rename(tmp_path / "gallery-key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    key = read_key("credential:gallery-key")
    assert key == KEY
    assert repr(key) == "GalleryKey()"
    assert read_key("") is None


def test_the_cipher_is_the_one_of_the_standard() -> None:
    """RFC 8439, 2.8.2, read back by its own parts: mark, name, nonce, then ChaCha20-Poly1305 over all of it."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    sealed = encrypt(b"content", KEY, WHERE)
    head, nonce, rest = sealed[:24], sealed[24:36], sealed[36:]
    assert ChaCha20Poly1305(KEY.secret).decrypt(nonce, rest, head) == b"content"
    assert decrypt(sealed, KEY, WHERE) == b"content"


# Commands


Edge = Callable[..., tuple[int, str]]


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Edge:
    """Run `edge` in this process; exit code and what it said."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["edge", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        return int(left.value.code or 0), capfd.readouterr().err

    return run


def write_config(folder: Path, more: str = "") -> Path:
    path = folder / "door.toml"
    path.write_text(
        f'site = "home"\ndoor = "front"\nstate_folder = "{folder / "state"}"\n'
        f'gallery = "{folder / "gallery.safetensors"}"\ngallery_key = "{folder / "gallery.key"}"\n'
        f'[camera]\nsource = "{CLIP}"\n{more}'
    )
    return path


def test_gallery_encrypt_and_decrypt_all_of_a_door(edge: Edge, plain: Path, tmp_path: Path) -> None:
    key_file(tmp_path)
    config = write_config(tmp_path)
    released = tmp_path / "state" / "release" / "releases" / "1-abc" / GALLERY_FILE
    released.parent.mkdir(parents=True)
    released.write_bytes(plain.read_bytes())
    code, told = edge("gallery", "encrypt", "--config", config)
    assert (code, told.count(": encrypted\n")) == (0, 2)
    assert is_encrypted(plain.read_bytes())
    assert is_encrypted(released.read_bytes())
    assert edge("gallery", "encrypt", "--config", config)[1].count("already encrypted") == 2
    assert edge("gallery", "decrypt", "--config", config)[0] == 0
    assert not is_encrypted(plain.read_bytes())


def test_gallery_encrypt_with_a_file_and_a_key(edge: Edge, plain: Path, tmp_path: Path) -> None:
    assert edge("gallery", "encrypt", plain, "--key", key_file(tmp_path))[0] == 0
    assert load_gallery(plain, EMBEDDER, KEY).info.people == 20


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["absent", "--key", "gallery.key"], "absent: cannot be read"),
        (["gallery.safetensors"], "no key: give --key FILE"),
        (["--key", "gallery.key"], "no gallery: name one"),
        (["gallery.safetensors", "--key", "gallery.safetensors"], "--key: gallery.safetensors"),
    ],
)
def test_gallery_encrypt_mistakes_are_one_line(
    edge: Edge, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    key_file(tmp_path)
    monkeypatch.chdir(tmp_path)
    code, said = edge("gallery", "encrypt", *words)
    assert code == 2
    assert said.startswith(f"error: {told}")
    assert said.count("\n") == 1


def test_replay_reads_a_sealed_gallery_with_the_key_of_its_config(edge: Edge, tmp_path: Path) -> None:
    key_file(tmp_path)
    config = write_config(tmp_path)
    gallery = tmp_path / "gallery.safetensors"
    gallery.write_bytes(encrypt(GALLERY.read_bytes(), KEY, WHERE))
    expected = CLIP.with_name("expected.jsonl")
    assert edge("replay", CLIP, "--gallery", gallery, "--config", config, "--expect", expected)[0] == 0
    assert edge("replay", CLIP, "--gallery", gallery)[0] == 2


# Releases under a key


def sealed_door(folder: Path, desk: ReleaseSigner) -> tuple[ReleaseStore, Updater]:
    store = ReleaseStore(folder / "state", EncryptingCodec(KEY))
    store.trust(desk.root)
    return store, Updater(FolderSource(desk.folder), store, gallery_chunks, 1 << 26)


def test_a_release_lies_sealed_on_the_disk_and_feeds_the_next_one(tmp_path: Path) -> None:
    desk = ReleaseSigner(tmp_path / "desk")
    store, updater = sealed_door(tmp_path, desk)
    desk.release(range(20))
    offer = updater.fetch_new_release(NOW)
    assert offer is not None
    written = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert not [path for path in written if b"Person Nr." in path.read_bytes()]
    assert is_encrypted((offer.path / GALLERY_FILE).read_bytes())
    assert load_gallery(offer.path / GALLERY_FILE, EMBEDDER, KEY).info.people == 20
    store.check(offer.folder)
    held = updater._local_chunks(offer.release, offer.folder)
    assert {piece.sha256 for entry in offer.release.files for piece in entry.pieces} <= held.keys()


def door_with_releases(folder: Path, desk: ReleaseSigner, key: GalleryKey | None = KEY) -> DoorConfig:
    """A door on the desk's folder that has trusted its root."""
    config = DoorConfig(
        site="home",
        door="front",
        state_folder=str(folder / "state"),
        gallery=str(folder / "state" / "gallery.safetensors"),
        gallery_key=str(key_file(folder, key)) if key else "",
        mqtt=MqttConfig(url="mqtt://127.0.0.1:9"),
        release=ReleaseConfig(source=str(desk.folder)),
    )
    (folder / "state").mkdir(exist_ok=True)
    (folder / "root.json").write_bytes(desk.root)
    install_root(config, folder / "root.json")
    return config


def test_a_door_with_a_key_takes_a_release_and_starts_with_it_again(tmp_path: Path, vision: VisionStages) -> None:
    embedder = vision.reader.embedder.sha256
    desk = ReleaseSigner(tmp_path / "desk")
    config = door_with_releases(tmp_path, desk)
    desk.release_files({GALLERY_FILE: GALLERY.read_bytes()}, 1, now=datetime.now(UTC), embedder=embedder)
    applied, taken = threading.Event(), threading.Event()
    assert config.release is not None
    first = ReleaseManager(config, config.release, lambda news: applied.set() if news.applied else None)
    first.start()
    try:
        while not applied.wait(0.01):
            first.activate_ready(lambda _kit: taken.set())
    finally:
        first.close()
    assert taken.is_set()
    again = ReleaseManager(config, config.release, lambda _news: None)
    assert again.bundle.gallery.info.people == 1
    person = again.bundle.gallery.centroids[0].tobytes()
    assert not [path for path in (tmp_path / "state").rglob("*") if path.is_file() and person in path.read_bytes()]


@pytest.mark.parametrize("wrong", [OTHER, None])
def test_a_wrong_key_stops_the_door_and_rolls_no_release_back(
    tmp_path: Path, vision: VisionStages, wrong: GalleryKey | None
) -> None:
    """Once the key is back, the release runs as before."""
    desk = ReleaseSigner(tmp_path / "desk")
    config = door_with_releases(tmp_path, desk)
    desk.release_files(
        {GALLERY_FILE: GALLERY.read_bytes()}, 1, now=datetime.now(UTC), embedder=vision.reader.embedder.sha256
    )
    store, updater = sealed_door(tmp_path, desk)
    offer = updater.fetch_new_release(datetime.now(UTC))
    assert offer is not None
    store.activate(ActiveRelease(1, offer.folder, offer.digest, "2026-11-22T12:00:00Z", proven=True))
    mistaken = msgspec.structs.replace(config, gallery_key=str(key_file(tmp_path, wrong)) if wrong else "")
    assert config.release is not None
    with pytest.raises(ConfigError, match=r"gallery_key: .* is (not )?encrypted"):
        ReleaseManager(mistaken, config.release, lambda _news: None)
    key_file(tmp_path)
    assert ReleaseManager(config, config.release, lambda _news: None).bundle.gallery.info.people == 1


# Who may read what


def test_galleries_and_vectors_are_for_their_owner_alone_from_the_first_byte(tmp_path: Path) -> None:
    with umask(0):
        save_gallery(tmp_path / "g", [], np.zeros((0, 192), np.float32), np.zeros(0, np.float32), EMBEDDER)
        nobody = np.zeros((0, 192), np.float32)
        save_embeddings(tmp_path / "v", LabelledEmbeddings(nobody, np.zeros(0, bool), [], EMBEDDER))
    assert (mode(tmp_path / "g"), mode(tmp_path / "v")) == (0o600, 0o600)


def test_releases_are_for_the_door_alone(tmp_path: Path) -> None:
    desk = ReleaseSigner(tmp_path / "desk")
    with umask(0):
        (tmp_path / "state").mkdir(mode=0o755)
        _, updater = sealed_door(tmp_path, desk)
        desk.release(range(3))
        assert updater.fetch_new_release(NOW) is not None
    folder = tmp_path / "state" / "release"
    assert mode(folder) == 0o700
    for path in (folder / "releases").rglob("*"):
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path


def run_door(folder: Path, config: Path, *words: str) -> str:
    """Run a door on the clip to its end, started as by hand under a careless umask; what it said."""
    command = [sys.executable, "-m", "edge", *words, "run", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, umask=0, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_door_started_by_hand_writes_for_itself_alone_and_warns_of_what_is_open(tmp_path: Path) -> None:
    """A careless umask is no excuse; what others have written stands in the log once, with the remedy."""
    gallery = tmp_path / "gallery.safetensors"
    gallery.write_bytes(encrypt(GALLERY.read_bytes(), KEY, WHERE))
    gallery.chmod(0o640)
    key_file(tmp_path)
    told = run_door(tmp_path, write_config(tmp_path, '[mqtt]\nurl = "mqtt://127.0.0.1:9"\n'))
    assert told.count(f"others may read or write {gallery}: chmod go= {gallery}\n") == 1
    state = tmp_path / "state"
    assert mode(state) == 0o700
    written = sorted(path for path in state.iterdir())
    assert state / "outbox.sqlite" in written
    assert [mode(path) for path in written] == [0o600] * len(written)


def test_what_others_may_read_is_told_by_check_with_the_remedy(edge: Edge, tmp_path: Path) -> None:
    gallery = tmp_path / "gallery.safetensors"
    gallery.write_bytes(encrypt(GALLERY.read_bytes(), KEY, WHERE))
    gallery.chmod(0o640)
    key = key_file(tmp_path)
    key.chmod(0o604)
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    state.chmod(0o755)
    config = write_config(tmp_path, '[mqtt]\nurl = "mqtt://127.0.0.1:9"\n')
    (found,) = [finding for finding in check(config) if finding.what == "privacy"]
    assert found.state is State.FAIL
    for path in (gallery, key, state):
        assert str(path) in found.detail
    subprocess.run(found.remedy.split(), check=True)
    (found,) = [finding for finding in check(config) if finding.what == "privacy"]
    assert found.state is State.OK


def test_what_lies_in_a_closed_folder_is_out_of_reach(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "gallery.safetensors").write_bytes(b"")
    (state / "gallery.safetensors").chmod(0o644)
    config = DoorConfig(site="home", door="front", state_folder=str(state), gallery=f"{state}/gallery.safetensors")
    assert world_accessible_paths(config) == []
    state.chmod(0o755)
    assert world_accessible_paths(config) == [state, state / "gallery.safetensors"]


def test_a_door_that_crashes_leaves_no_core(tmp_path: Path) -> None:
    """Though its user would have allowed one; the unit says so a second time."""
    code = (
        "import os, edge.runtime.hardening as p; p.harden_process(); "
        "print(open('/proc/self/limits').read(), flush=True); os.abort()"
    )
    words = ["sh", "-c", f'ulimit -c unlimited; exec "{sys.executable}" -c "{code}"']
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT, check=False)
    assert done.returncode == -signal.SIGABRT
    assert re.search(r"^Max core file size +0 +0 ", done.stdout, re.MULTILINE), done.stdout
    assert not list(tmp_path.iterdir())
    assert "LimitCORE=0\n" in (ROOT / "systemd" / "edge.service").read_text()


def test_no_other_program_of_the_same_user_reads_the_memory_of_a_door() -> None:
    """PR_GET_DUMPABLE, prctl(2): 0 forbids cores and ptrace by whoever is not root."""
    code = (
        "import ctypes, edge.runtime.hardening as p; p.harden_process(); print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"


# Nothing of a face in logs, events, health


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[FloatArray]:
    """Every vector that the embedder gives, as it is used."""
    vectors: list[FloatArray] = []
    embed = Embedder.embed

    def watched(self: Embedder) -> FloatArray:
        vectors.append(embed(self).copy())
        return vectors[-1]

    monkeypatch.setattr(Embedder, "embed", watched)
    return vectors


def traces(content: bytes, vectors: list[FloatArray]) -> list[str]:
    """Which of these vectors begin somewhere in the content: as bytes, in hex, in base64, or as numbers in a row."""
    found = []
    text = content.decode("latin-1")
    numbers = np.asarray([float(each) for each in NUMBER.findall(text)])
    windows = sliding_window_view(numbers, 4) if len(numbers) >= 4 else np.zeros((0, 4))
    for at, each in enumerate(vectors):
        start = each[:6].tobytes()
        forms = (start, start.hex().encode(), base64.b64encode(start), repr(start)[2:-1].encode())
        if any(form in content for form in forms) or np.any(np.all(np.abs(windows - each[:4]) < 2e-3, axis=1)):
            found.append(f"vector {at}")
    return found


def long_arrays(text: str) -> list[str]:
    return [match.group()[:80] for form in (NUMBERS_IN_A_ROW, BYTES_AS_TEXT) for match in form.finditer(text)]


def test_the_search_for_vectors_finds_them_in_every_form() -> None:
    one = vector(1)
    shown = (str(one.tolist()), str(one), repr(one), one.tobytes().hex(), repr(one.tobytes()))
    for content in (one.tobytes(), base64.b64encode(one.tobytes()), *(each.encode() for each in shown)):
        assert traces(b"log 0.5: " + content + b" end", [vector(2), one]) == ["vector 1"]
    for text in shown:
        assert long_arrays(text)


def test_nothing_of_a_face_is_in_logs_events_health_or_on_the_disk(
    tmp_path: Path, seen: list[FloatArray], caplog: pytest.LogCaptureFixture, vision: VisionStages
) -> None:
    """A door on the clip, with all that it and its libraries have to say, heard by a subscriber to everything."""
    caplog.set_level(logging.DEBUG)
    with make_broker("embedded", tmp_path) as broker:
        mqtt = msgspec.structs.replace(config_for(broker), health_every_s=0.2)
        config = DoorConfig(
            site="home",
            door="front",
            state_folder=str(tmp_path / "state"),
            gallery=str(GALLERY),
            camera=CameraConfig(source=str(CLIP)),
            mqtt=mqtt,
        )
        heard: list[Message] = []
        with Subscriber(mqtt, Topics("home", "front"), list(Channel)) as subscriber:
            Daemon(config).run(threading.Event())
            for message in subscriber.messages(20):
                heard.append(message)
                if b'"stopped"' in message.payload:
                    break
    assert {message.channel for message in heard} >= {Channel.EVENTS, Channel.OPEN, Channel.HEALTH}
    assert len(seen) > 10
    faces = [*seen, *load_gallery(GALLERY, vision.reader.embedder.sha256).centroids]
    stored = b"".join(path.read_bytes() for path in sorted((tmp_path / "state").rglob("*")) if path.is_file())
    for place, content in {
        "log": caplog.text.encode(),
        "messages": b"\n".join(message.payload for message in heard),
        "disk": stored,
    }.items():
        assert not traces(content, faces), place
    assert not long_arrays(caplog.text)
    assert not [found for message in heard for found in long_arrays(message.payload.decode())]


def test_replay_says_nothing_of_a_face(
    edge: Edge,
    seen: list[FloatArray],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    code, said = edge("--verbose", "replay", CLIP, "--gallery", GALLERY)
    assert code == 0
    assert len(seen) > 10
    text = caplog.text + said
    assert not traces(text.encode(), seen)
    assert not long_arrays(text)
    assert not list(tmp_path.iterdir())


def test_no_record_shows_a_vector_when_it_is_printed(vision: VisionStages) -> None:
    """A gallery or a kit in a traceback or a log line is a name, no numbers."""
    gallery = load_gallery(GALLERY, vision.reader.embedder.sha256)
    config = DoorConfig(site="home", door="front", gallery=str(GALLERY))
    for each in (gallery, load_configured(config)):
        assert not long_arrays(repr(each))
