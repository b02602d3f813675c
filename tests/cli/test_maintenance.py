"""`edge gallery encrypt` and `decrypt`."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.private_files import (
    KEY,
    WHERE,
    Edge,
    edge_runner,
    key_file,
    write_config,
)
from support.release_signer import EMBEDDER, gallery_bytes

from edge.demo.run_demo import CLIP, GALLERY
from edge.recognition.encryption import encrypt, is_encrypted
from edge.recognition.gallery_file import load_gallery
from edge.updates.release_format import GALLERY as GALLERY_FILE


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Unencrypted gallery of twenty people."""
    path = tmp_path / "gallery.safetensors"
    path.write_bytes(gallery_bytes(range(20)))
    return path


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Edge:
    return edge_runner(monkeypatch, capfd)


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
        (["gallery.safetensors"], "no key: add --key FILE"),
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


def test_replay_with_an_encrypted_gallery(edge: Edge, tmp_path: Path) -> None:
    key_file(tmp_path)
    config = write_config(tmp_path)
    gallery = tmp_path / "gallery.safetensors"
    gallery.write_bytes(encrypt(GALLERY.read_bytes(), KEY, WHERE))
    expected = CLIP.with_name("expected.jsonl")
    assert edge("replay", CLIP, "--gallery", gallery, "--config", config, "--expect", expected)[0] == 0
    assert edge("replay", CLIP, "--gallery", gallery)[0] == 2
