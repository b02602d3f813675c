"""Keys, galleries and commands for tests of encrypted galleries and private files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.cli.main import main
from edge.demo.run_demo import CLIP
from edge.recognition.encryption import GalleryKey
from edge.updates.sources import FolderSource
from edge.updates.store import ReleaseStore
from edge.updates.updater import Updater
from support.release_signer import ReleaseSigner

KEY = GalleryKey(bytes(range(32)))
OTHER = GalleryKey(bytes(32))
WHERE = Path("gallery.safetensors")
ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
Edge = Callable[..., tuple[int, str]]


def key_file(folder: Path, key: GalleryKey = KEY) -> Path:
    path = folder / "gallery.key"
    path.write_text(key.secret.hex() + "\n")
    path.chmod(0o600)
    return path


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def write_config(folder: Path, more: str = "") -> Path:
    path = folder / "door.toml"
    path.write_text(
        f'site = "home"\ndoor = "front"\nstate_folder = "{folder / "state"}"\n'
        f'gallery = "{folder / "gallery.safetensors"}"\ngallery_key = "{folder / "gallery.key"}"\n'
        f'[camera]\nsource = "{CLIP}"\n{more}'
    )
    return path


def encrypted_store(folder: Path, signer: ReleaseSigner) -> tuple[ReleaseStore, Updater]:
    store = ReleaseStore(folder / "state", KEY)
    store.trust(signer.root)
    return store, Updater(FolderSource(signer.folder), store, 1 << 26)


def edge_runner(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Edge:
    """A function that runs `edge` in this process and returns its exit code and standard error."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["edge", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        return int(left.value.code or 0), capfd.readouterr().err

    return run
