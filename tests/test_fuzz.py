"""Parsers of external input under damaged input: they raise only documented errors, quickly and in little memory.

This is a small share of the million inputs of `tests/fuzz/run.py`.
"""

from __future__ import annotations

import contextlib
import io
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import numpy as np
import pytest
from fuzz.formats import png_with_checksums, safetensors_with_length
from fuzz.mutate import mutated
from fuzz.run import run_target, shared_out, table
from fuzz.target import Parse, Target, accepts, any_input, nth_input, scratch_parent
from fuzz.targets import TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mqtt_brokers import an_event, announce
from support.release_signer import EMBEDDER, gallery_bytes
from threshold_tools.embeddings import LabelledEmbeddings, load_embeddings, save_embeddings
from threshold_tools.enroll.folder import read_profile
from threshold_tools.evaluate.cross_validation import read_pairs

from edge.cli.events import as_json
from edge.cli.message_lines import MessageFormatter
from edge.core.config import OutboxConfig, read_config
from edge.core.errors import ConfigError, InputError, ModelError, ReleaseError
from edge.core.terminal import Terminal
from edge.events.schema import EventKind, decode
from edge.events.topics import Channel
from edge.mqtt.paho_client import IncomingMessage
from edge.mqtt.subscriber import Message, decode_message
from edge.outbox.outbox import Outbox
from edge.recognition import gallery_chunks
from edge.recognition.gallery_file import load_gallery
from edge.replay.expected import read_expected
from edge.updates.release_format import decode_release
from edge.vision.manifest import read_manifest

FEW = {"outbox-db": 20, "clip": 15, "tuf-metadata": 15, "mqtt-packets": 20}
EXAMPLES = 60
EVENT = b'"kind":"denied","at":"2026-11-22T12:00:00.000Z","published_at":null,"person":null,"runner_up_sq":null'


@contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=scratch_parent()) as name:
        folder = Path(name) / "scratch"
        folder.mkdir()
        yield folder


@pytest.fixture(scope="module", params=sorted(TARGETS))
def fed(request: pytest.FixtureRequest) -> Iterator[tuple[Target, Parse, list[bytes]]]:
    """Return a target with its parser and valid inputs."""
    target = TARGETS[request.param]
    with scratch() as folder:
        yield target, target.make(folder), target.seeds()


def test_valid_inputs_are_accepted(fed: tuple[Target, Parse, list[bytes]]) -> None:
    """Otherwise mutations would test the first check only."""
    target, parse, seeds = fed
    assert all(accepts(target, parse, content) for content in seeds)


def test_damaged_inputs_are_accepted_or_refused(fed: tuple[Target, Parse, list[bytes]]) -> None:
    target, parse, seeds = fed

    @settings(max_examples=FEW.get(target.name, EXAMPLES), deadline=None, derandomize=True, database=None)
    @given(st.randoms(use_true_random=True))
    def feed(random: Random) -> None:
        accepts(target, parse, any_input(target, seeds, random))

    feed()


def test_same_inputs_for_the_same_seed() -> None:
    """A reported input can be reproduced by its index."""
    target = TARGETS["policy-toml"]
    seeds = target.seeds()
    first = [nth_input(target, seeds, 1, index) for index in range(50)]
    assert first == [nth_input(target, seeds, 1, index) for index in range(50)]
    assert first != [nth_input(target, seeds, 2, index) for index in range(50)]
    assert len(set(first)) == 50


def test_shares_of_a_million_inputs() -> None:
    shares = shared_out(list(TARGETS.values()), 1_000_000)
    assert shares.keys() == TARGETS.keys()
    assert abs(sum(shares.values()) - 1_000_000) < 100


def test_repairs_pass_the_outer_checks() -> None:
    """Checksum or length no longer reveal a changed byte in a PNG's rows or a longer safetensors header."""
    picture = next(content for content in TARGETS["image"].seeds() if content.startswith(b"\x89PNG"))
    changed = bytearray(picture)
    changed[picture.index(b"IDAT") + 8] ^= 1
    fixed = png_with_checksums(bytes(changed))
    assert fixed != bytes(changed)
    assert png_with_checksums(picture) == picture
    gallery = gallery_bytes([1])
    longer = gallery.replace(b'"F32"', b'"F32" ', 1)
    assert int.from_bytes(safetensors_with_length(longer)[:8], "little") == int.from_bytes(gallery[:8], "little") + 1
    assert safetensors_with_length(gallery) == gallery


WORKER = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
from fuzz.watch import measure
def feed(index):
    if index == 3:
        {what}
    return True
measure(Path(sys.argv[1]), 0, 6, 0.3, feed)
"""


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("while True: pass", "hang"),
        ("import time; s = time.process_time()\n        while time.process_time() - s < 0.4: pass", "slow"),
        ("import os; os.abort()", "crash (SIGABRT)"),
        ("raise KeyError('a bug')", "KeyError in"),
        ("import os; os._exit(7)", "exit code 7"),
    ],
)
def test_findings_of_a_monitored_process(tmp_path: Path, what: str, kind: str) -> None:
    from fuzz.watch import watched

    script = WORKER.format(path=sys.path, what=what)
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=output, stderr=output)
    if kind == "slow":
        process.wait(30)  # it ends before the monitor checks it
    part = watched(process, tmp_path, 0, 0.3)
    (found,) = part.findings
    assert found.kind.startswith(kind)
    assert found.index == 3
    assert part.inputs == (6 if kind.startswith(("slow", "KeyError")) else 4)


def test_memory_growth_of_a_monitored_process(tmp_path: Path) -> None:
    from fuzz.watch import watched

    script = WORKER.format(path=sys.path, what="bytearray(200 << 20)")
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=output, stderr=output)
    part = watched(process, tmp_path, 0, 5.0)
    assert part.growth_bytes > 150 << 20


def test_counts_of_the_runner(capfd: pytest.CaptureFixture[str]) -> None:
    """A few inputs of one target in a separate process, as in a full run."""
    tally = run_target(TARGETS["person-toml"], 50, seed=1)
    assert (tally.inputs, tally.accepted + tally.refused, tally.findings) == (50, 50, [])
    assert tally.accepted > 0
    assert tally.refused > 0
    assert "50 inputs" in table([tally])


# Bugs that fuzzing has found.


@pytest.mark.parametrize(
    "content",
    [
        b"a = " + b"[" * 5000,
        b"a = " + b"9" * 5000,
        b"[mqtt]\nopen_max_age_s = inf",
        b"[recognition]\nmargin_sq = 1e999",
        b"[lockout]\nlockout_s = inf",
    ],
    ids=["nested", "digits", "inf", "overflow", "pause"],
)
def test_one_line_error_for_unusable_toml(tmp_path: Path, content: bytes) -> None:
    """Very deep nesting, thousands of digits, and numbers that are not finite or out of range."""
    path = tmp_path / "door.toml"
    path.write_bytes(b'site = "a"\ndoor = "b"\n' + content)
    with pytest.raises(ConfigError) as refusal:
        read_config(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [b'{"a":' + b"[" * 100_000, b'{"kind":"\xff"}'], ids=["nested", "not UTF-8"])
def test_json_that_makes_msgspec_raise_other_errors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "expected.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError):
        read_expected(path)
    for channel in Channel:
        with pytest.raises(ValueError, match="not a version 1 message"):
            decode(channel, content)


def received(payload: bytes) -> Message:
    message = decode_message(IncomingMessage("threshold/home/front/events", payload, False))
    assert message is not None
    return message


def an_event_from(door: bytes, more: bytes) -> Message:
    return received(
        b'{"v":1,"id":"x","seq":1,"door":"'
        + door
        + b'",'
        + EVENT
        + b',"samples":1,"quality":1,"reason":"'
        + door
        + b'",'
        b'"rule":null,"track":1,"box":null,"clock_synced":true,"gallery":null,"models":{},' + more + b"}"
    )


def test_event_with_a_distance_but_no_threshold() -> None:
    """Either value may be null."""
    message = an_event_from(b"front", b'"distance_sq":0.5,"threshold_sq":null')
    assert message.problem == ""
    assert MessageFormatter(Terminal(io.StringIO())).lines(message)[0].endswith("front")


def test_hostile_message_is_one_printable_line() -> None:
    """Escape sequences in names, line breaks between keys, and damaged unknown keys."""
    message = an_event_from(b"\\u001b[2J\\n", b'"distance_sq":0.5,\n"threshold_sq":1,\n"more":[1]')
    for line in (*MessageFormatter(Terminal(io.StringIO())).lines(message), as_json(message)):
        assert line.isprintable()
        assert "u001b[2J" in line
    assert '"more":[1]' in as_json(message)
    damaged = an_event_from(b"front", b'"distance_sq":0.5,"threshold_sq":1,"more":"\xff"')
    assert "more" not in as_json(damaged)


def test_pair_with_a_number_of_thousands_of_digits(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text(f"2 1\nanna 1 {'9' * 5000}\nanna 1 bert 2\nbert 1 2\nanna 2 bert 1\n")
    photos = LabelledEmbeddings(np.zeros((1, 8), np.float32), np.ones(1, bool), ["anna/anna_0001.jpg"], "")
    with pytest.raises(InputError, match="there is no photo"):
        read_pairs(path, photos)


def test_vectors_with_an_unknown_compression_method(tmp_path: Path) -> None:
    """The zip entries name an unknown method."""
    path = tmp_path / "vectors.npz"
    save_embeddings(path, LabelledEmbeddings(np.ones((1, 1), np.float32), np.ones(1, bool), ["a/1.jpg"], EMBEDDER))
    content = path.read_bytes()
    at = content.index(b"PK\x01\x02")
    path.write_bytes(content[: at + 10] + b"\x63\x00" + content[at + 12 :])
    with pytest.raises(InputError, match="damaged"):
        load_embeddings(path)


def test_stored_vectors_with_an_entry_other_than_an_array(tmp_path: Path) -> None:
    """numpy returns such an entry as bytes."""
    path = tmp_path / "vectors.npz"
    save_embeddings(path, LabelledEmbeddings(np.ones((1, 1), np.float32), np.ones(1, bool), ["a/1.jpg"], EMBEDDER))
    with zipfile.ZipFile(path) as stored, zipfile.ZipFile(tmp_path / "other.npz", "w") as other:
        for name in stored.namelist():
            other.writestr(name, b"no array" if name == "embedding.npy" else stored.read(name))
    with pytest.raises(InputError, match="damaged"):
        load_embeddings(tmp_path / "other.npz")


def test_damaged_release_list_manifest_and_card(tmp_path: Path) -> None:
    """Invalid UTF-8, very long numbers and very deep nesting raise the documented errors."""
    with pytest.raises(ReleaseError):
        decode_release(b'{"v":1,"made_at":"\xff"}', 1000)
    (tmp_path / "manifest.json").write_bytes(b'{"version":1,"models":{"\xff":{}}}')
    with pytest.raises(ModelError):
        read_manifest(tmp_path)
    for content, reason in ((b"9" * 5000, "not valid TOML"), (b"[" * 5000, "nested too deeply")):
        (tmp_path / "person.toml").write_bytes(b"id = " + content)
        with pytest.raises(InputError, match=reason):
            read_profile(tmp_path)


def test_a_gallery_with_a_single_threshold_for_all_is_damaged(tmp_path: Path) -> None:
    """A tensor without a dimension has no length to compare."""
    shape, none = (b'"shape":%b,"data_offsets":[776,780]' % shape for shape in (b"[1]", b"[]"))
    path = tmp_path / "gallery"
    path.write_bytes(safetensors_with_length(gallery_bytes([1]).replace(shape, none)))
    with pytest.raises(InputError, match="damaged"):
        load_gallery(path, EMBEDDER)


@pytest.mark.parametrize(
    "damaged",
    [
        gallery_bytes([1, 2]).replace(b'"threshold-gallery":"', b'"threshold-gallery":5,"":"', 1),
        gallery_bytes([1, 2]).replace(b'"F32","shape":[2]', b'"F32","shape":[3]', 1),
        gallery_bytes([1, 2]).replace(b'"F32","shape":[2]', b'"Q32","shape":[2]', 1),
    ],
    ids=["metadata", "shape", "dtype"],
)
def test_damaged_gallery_as_the_old_one(damaged: bytes) -> None:
    """`keep_only_people_in` raises ValueError, whichever library detects the damage first."""
    with pytest.raises(ValueError, match=r"column|header"):
        gallery_chunks.keep_only_people_in(safetensors_with_length(damaged), gallery_bytes([2, 3]))


@pytest.mark.parametrize("person", [b"p000001Person", b"\tp000001Pers.", b"p000\xff01\tPers", b"p\xc3\tPerson N"])
def test_large_gallery_with_an_unreadable_person(tmp_path: Path, person: bytes) -> None:
    """The damage is detected on loading, not when the person comes to the door."""
    path = tmp_path / "gallery"
    content = gallery_bytes([1, 2])
    path.write_bytes(content)
    assert [one.id for one in load_gallery(path, EMBEDDER, mmap_min_bytes=0).people] == ["p000001", "p000002"]
    at = content.index(b"p000001")
    path.write_bytes(content[:at] + person + b"x" * (20 - len(person)) + content[at + 20 :])
    with pytest.raises(InputError, match="damaged"):
        load_gallery(path, EMBEDDER, mmap_min_bytes=0)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM door",
        "INSERT INTO door VALUES (3, 3)",
        "UPDATE door SET acknowledged = CAST(x'ff' AS TEXT)",
        "UPDATE door SET acknowledged = 1 << 60",
        "UPDATE door SET dropped = -5",
        "UPDATE event SET body = CAST(x'7bff' AS TEXT) WHERE seq = 3",
        "UPDATE event SET body = 5 WHERE seq = 3",
        "UPDATE sqlite_sequence SET seq = 9223372036854775807",
        "UPDATE sqlite_sequence SET seq = 'seven'",
    ],
)
def test_event_store_with_impossible_values(sql: str) -> None:
    """SQLite accepts such a file, but events could not be sent: it is replaced, and valid events are kept."""
    config = OutboxConfig()
    with scratch() as folder:
        path = folder / "outbox.db"
        with Outbox(path, config, announce=announce) as outbox:
            seqs = [outbox.append(an_event()) for _ in range(6)]
            outbox.acknowledge(1)
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute(sql)
            db.commit()
        with Outbox(path, config, announce=announce) as outbox:
            assert EventKind.STORE_REPLACED in [notice.kind for notice in outbox.drain_notices()]
            later = outbox.append(an_event())
            assert later > max(seqs)
            assert {2, 4, 5, 6, later} <= {event.seq for event in outbox.pending()}


def test_size_limit_of_mutations() -> None:
    random = Random(1)
    assert max(len(mutated([b"x" * 900_000], random)) for _ in range(50)) <= 1 << 20
