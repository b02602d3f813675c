"""Encrypted gallery files: equal matches, no readable content, no undetected change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.private_files import (
    KEY,
    OTHER,
    WHERE,
    key_file,
    mode,
)
from support.release_signer import EMBEDDER, gallery_bytes, vector

from edge.core.errors import ConfigError, GalleryError
from edge.recognition import encryption
from edge.recognition.encryption import GalleryKey, decrypt, encrypt, read_key, reencrypt
from edge.recognition.gallery_file import MMAP_MIN_BYTES, load_gallery


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A plain gallery of twenty people."""
    path = tmp_path / "gallery.safetensors"
    path.write_bytes(gallery_bytes(range(20)))
    return path


def test_encrypted_gallery_gives_the_same_matches(plain: Path) -> None:
    before = load_gallery(plain, EMBEDDER)
    assert reencrypt([plain], KEY) == [plain]
    after = load_gallery(plain, EMBEDDER, KEY)
    assert (after.info, list(after.people)) == (before.info, list(before.people))
    assert after.nearest(vector(7)) == before.nearest(vector(7))


def test_encrypted_gallery_shows_no_name_and_no_vector(plain: Path) -> None:
    content = plain.read_bytes()
    one, other = encrypt(content, KEY, WHERE), encrypt(content, KEY, WHERE)
    assert one != other
    for told in (b"p000007", b"Person Nr. 7", vector(7).tobytes()[:16], KEY.secret, b"centroids"):
        assert told not in one
    assert one[: len(one) - len(content)].startswith(b"threshold-sealed" + KEY.name)


def test_altered_or_truncated_file_is_rejected(plain: Path) -> None:
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
        (None, KEY, "not encrypted, although gallery_key is set; run  edge gallery encrypt"),
    ],
)
def test_gallery_without_its_key_is_rejected(
    plain: Path, sealed_with: GalleryKey | None, key: GalleryKey | None, told: str
) -> None:
    """With a key, a plain gallery is rejected, too: otherwise write access to the card would allow enrolment."""
    if sealed_with:
        reencrypt([plain], sealed_with)
    with pytest.raises(GalleryError, match=told) as caught:
        load_gallery(plain, EMBEDDER, key)
    assert "\n" not in str(caught.value)


def test_size_limit_is_that_of_memory_mapping() -> None:
    assert encryption.MAX_BYTES == MMAP_MIN_BYTES


@pytest.mark.parametrize("text", ["", "abc\n", "zz" * 32, "00" * 31, "00" * 33])
def test_invalid_key_is_an_error_that_hides_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    with pytest.raises(ConfigError, match="gallery_key: ") as caught:
        read_key(str(path))
    assert not text.strip() or text.strip() not in str(caught.value)


def test_key_from_a_credential_is_never_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key_file(tmp_path).rename(tmp_path / "gallery-key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    key = read_key("credential:gallery-key")
    assert key == KEY
    assert repr(key) == "GalleryKey()"
    assert read_key("") is None


def test_cipher_is_the_standard_one() -> None:
    """RFC 8439, 2.8.2: magic number, key digest and nonce, then ChaCha20-Poly1305 that authenticates all."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    sealed = encrypt(b"content", KEY, WHERE)
    head, nonce, rest = sealed[:24], sealed[24:36], sealed[36:]
    assert ChaCha20Poly1305(KEY.secret).decrypt(nonce, rest, head) == b"content"
    assert decrypt(sealed, KEY, WHERE) == b"content"


def test_encrypting_twice_and_decrypting(plain: Path) -> None:
    content = plain.read_bytes()
    reencrypt([plain], KEY)
    sealed = plain.read_bytes()
    assert reencrypt([plain], KEY) == []
    assert plain.read_bytes() == sealed
    with pytest.raises(GalleryError, match="another key"):
        reencrypt([plain], OTHER, undo=True)
    reencrypt([plain], KEY, undo=True)
    assert plain.read_bytes() == content


def test_plain_bytes_are_overwritten_in_place(plain: Path, tmp_path: Path) -> None:
    os.link(plain, tmp_path / "where the blocks are")
    reencrypt([plain], KEY)
    assert not (tmp_path / "where the blocks are").read_bytes().strip(b"\0")
    assert mode(plain) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner_is_kept_when_root_encrypts(plain: Path) -> None:
    os.chown(plain, 12345, 23456)
    reencrypt([plain], KEY)
    assert (plain.stat().st_uid, plain.stat().st_gid, mode(plain)) == (12345, 23456, 0o600)


def test_memory_mapped_gallery_is_not_encrypted(plain: Path) -> None:
    content = plain.read_bytes()
    encryption.encrypt(content, KEY, plain, max_bytes=len(content))
    with pytest.raises(GalleryError, match=r"memory-mapped and cannot be encrypted .* encrypt the disk instead"):
        encryption.encrypt(content, KEY, plain, max_bytes=len(content) - 1)
