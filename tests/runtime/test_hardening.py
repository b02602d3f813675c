"""Files and memory of a door are private."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from support.private_files import (
    ENVIRONMENT,
    KEY,
    ROOT,
    WHERE,
    Edge,
    edge_runner,
    encrypted_store,
    key_file,
    mode,
    write_config,
)
from support.release_signer import EMBEDDER, NOW, ReleaseSigner
from threshold_tools.embeddings import LabelledEmbeddings, save_embeddings

from edge.core.config import DoorConfig
from edge.demo.run_demo import GALLERY
from edge.diagnostics.check import check
from edge.diagnostics.report import State
from edge.recognition.encryption import encrypt
from edge.recognition.gallery_file import save_gallery
from edge.runtime.hardening import world_accessible_paths


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Edge:
    return edge_runner(monkeypatch, capfd)


def test_galleries_and_vectors_are_private_from_the_first_byte(tmp_path: Path) -> None:
    with umask(0):
        save_gallery(tmp_path / "g", [], np.zeros((0, 192), np.float32), np.zeros(0, np.float32), EMBEDDER)
        nobody = np.zeros((0, 192), np.float32)
        save_embeddings(tmp_path / "v", LabelledEmbeddings(nobody, np.zeros(0, bool), [], EMBEDDER))
    assert (mode(tmp_path / "g"), mode(tmp_path / "v")) == (0o600, 0o600)


def test_releases_are_private(tmp_path: Path) -> None:
    desk = ReleaseSigner(tmp_path / "desk")
    with umask(0):
        (tmp_path / "state").mkdir(mode=0o755)
        _, updater = encrypted_store(tmp_path, desk)
        desk.release(range(3))
        assert updater.fetch_new_release(NOW) is not None
    folder = tmp_path / "state" / "release"
    assert mode(folder) == 0o700
    for path in (folder / "releases").rglob("*"):
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path


def run_door(folder: Path, config: Path, *words: str) -> str:
    """Run a door on the clip to its end with umask 0; returns its log."""
    command = [sys.executable, "-m", "edge", *words, "run", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, umask=0, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_door_started_by_hand_writes_private_files_and_warns(tmp_path: Path) -> None:
    """Files are private although the umask is 0; accessible files are logged once with the remedy."""
    gallery = tmp_path / "gallery.safetensors"
    gallery.write_bytes(encrypt(GALLERY.read_bytes(), KEY, WHERE))
    gallery.chmod(0o640)
    key_file(tmp_path)
    told = run_door(tmp_path, write_config(tmp_path, '[mqtt]\nurl = "mqtt://127.0.0.1:9"\n'))
    assert told.count(f"other users can read or write {gallery}: run  chmod go= {gallery}\n") == 1
    state = tmp_path / "state"
    assert mode(state) == 0o700
    written = sorted(path for path in state.iterdir())
    assert state / "outbox.sqlite" in written
    assert [mode(path) for path in written] == [0o600] * len(written)


def test_check_names_world_accessible_paths(edge: Edge, tmp_path: Path) -> None:
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


def test_files_in_a_closed_folder_are_out_of_reach(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "gallery.safetensors").write_bytes(b"")
    (state / "gallery.safetensors").chmod(0o644)
    config = DoorConfig(site="home", door="front", state_folder=str(state), gallery=f"{state}/gallery.safetensors")
    assert world_accessible_paths(config) == []
    state.chmod(0o755)
    assert world_accessible_paths(config) == [state, state / "gallery.safetensors"]


def test_crash_leaves_no_core_dump(tmp_path: Path) -> None:
    """The limit of the user allows core dumps; the unit also forbids them."""
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


def test_process_memory_is_hidden() -> None:
    """PR_GET_DUMPABLE, prctl(2): 0 forbids core dumps, and ptrace by users other than root."""
    code = (
        "import ctypes, edge.runtime.hardening as p; p.harden_process(); print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
