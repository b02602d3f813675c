"""Loading and self-test of models, gallery and rules."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge.core.config import AccessConfig, DoorConfig, ReleaseConfig
from edge.core.errors import GalleryError
from edge.core.records import Person
from edge.demo.run_demo import GALLERY
from edge.recognition.gallery_file import load_gallery, save_gallery
from edge.runtime.runtime_bundle import filter_to_still_enrolled, lax_thresholds, load_configured, load_release
from edge.updates.release_format import GALLERY as GALLERY_FILE
from edge.updates.release_format import POLICY
from edge.vision.face_sampler import VisionStages


def config_of(folder: Path) -> DoorConfig:
    return DoorConfig(site="home", door="front", state_folder=str(folder), gallery=str(GALLERY))


def write_gallery(path: Path, vision: VisionStages, people: dict[str, int], threshold_sq: float = 0.9) -> bytes:
    """Gallery of artificial people; `people` maps ids to seeds of vectors."""
    drawn = np.stack([np.random.default_rng(seed).normal(size=192) for seed in people.values()])
    vectors = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    limits = np.full(len(people), threshold_sq, np.float32)
    save_gallery(path, [Person(name, name.title()) for name in people], vectors, limits, vision.reader.embedder.sha256)
    return path.read_bytes()


def test_configured_bundle(tmp_path: Path, vision: VisionStages) -> None:
    config = msgspec.structs.replace(config_of(tmp_path), access=AccessConfig(allow=("barack-obama",)))
    bundle = load_configured(config, installed=vision)
    assert (bundle.vision, bundle.gallery.info.people, bundle.own_models) == (vision, 1, False)
    assert [rule.people for rule in bundle.rules.door("front").allow] == [("barack-obama",)]
    assert [len(sha256) for _, sha256 in bundle.models] == [12] * len(vision.models)


def test_missing_gallery_is_an_error_unless_a_release_is_awaited(tmp_path: Path, vision: VisionStages) -> None:
    config = msgspec.structs.replace(config_of(tmp_path), gallery=str(tmp_path / "absent"))
    with pytest.raises(GalleryError):
        load_configured(config, installed=vision)
    waiting = msgspec.structs.replace(config, release=ReleaseConfig(source=str(tmp_path)))
    assert load_configured(waiting, installed=vision).gallery.info.people == 0


def test_release_with_its_own_rules(tmp_path: Path, vision: VisionStages) -> None:
    """A release without models uses the installed ones; without rules, those of door.toml."""
    write_gallery(tmp_path / GALLERY_FILE, vision, {"ada": 1, "bert": 2})
    plain = load_release(config_of(tmp_path), tmp_path, vision)
    assert (plain.vision, plain.gallery.info.people, plain.own_models) == (vision, 2, False)
    (tmp_path / POLICY).write_text('[doors.front]\nallow = [{ people = ["ada"] }]\n')
    assert load_release(config_of(tmp_path), tmp_path, vision).rules != plain.rules


def test_damaged_release_does_not_load(tmp_path: Path, vision: VisionStages) -> None:
    content = write_gallery(tmp_path / GALLERY_FILE, vision, {"ada": 1})
    (tmp_path / GALLERY_FILE).write_bytes(content[:-7])
    with pytest.raises(GalleryError):
        load_release(config_of(tmp_path), tmp_path, vision)


@pytest.mark.parametrize(("threshold_sq", "warned"), [(0.9, False), (2.0, True)])
def test_thresholds_that_accept_nearly_anybody(
    tmp_path: Path, vision: VisionStages, threshold_sq: float, warned: bool
) -> None:
    write_gallery(tmp_path / "g", vision, {"ada": 1, "bert": 2}, threshold_sq)
    gallery = load_gallery(tmp_path / "g", vision.reader.embedder.sha256)
    assert lax_thresholds(gallery, vision.reader.embedder).startswith("2 of 2 people") is warned


def test_old_gallery_is_reduced_to_people_still_enrolled(tmp_path: Path, vision: VisionStages) -> None:
    """Removed people and people with changed entries are left out."""
    old = write_gallery(tmp_path / "old", vision, {"ada": 1, "bert": 2, "carl": 3})
    new = write_gallery(tmp_path / "new", vision, {"ada": 1, "bert": 9, "dora": 4})
    kept = filter_to_still_enrolled(old, new)
    assert kept is not None
    (tmp_path / "kept").write_bytes(kept)
    people = load_gallery(tmp_path / "kept", vision.reader.embedder.sha256).people
    assert [person.id for person in people] == ["ada"]
    assert filter_to_still_enrolled(old[:20], new) is None
