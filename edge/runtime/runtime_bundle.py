"""Models, gallery and access rules of a running door, loaded and tested together; a release can replace them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from edge.access.model import AccessRules
from edge.access.policy_file import load_configured_rules, parse_policy
from edge.core.config import DoorConfig
from edge.core.errors import GalleryError, ModelError
from edge.recognition.encryption import read_key
from edge.recognition.gallery import Gallery, empty_gallery
from edge.recognition.gallery_chunks import keep_only_people_in
from edge.recognition.gallery_file import load_gallery
from edge.updates.release_format import GALLERY, MODELS, POLICY
from edge.vision.embedder import Embedder
from edge.vision.face_sampler import VisionStages, load_vision
from edge.vision.stage_timing import StageTimer, no_timing

log = logging.getLogger(__name__)

_UNIT_TOLERANCE = 1e-3
_MAX_SELF_DISTANCE_SQ = 1e-3  # a person's own vector is within this of its own row, whatever the rounding


@dataclass(frozen=True, slots=True)
class RuntimeBundle:
    """Models, gallery and rules that belong together; `models` is name to the first digits of the model's sha256."""

    vision: VisionStages
    gallery: Gallery
    rules: AccessRules
    own_models: bool

    @property
    def models(self) -> tuple[tuple[str, str], ...]:
        return tuple((Path(model.contract.file).stem, model.contract.sha256[:12]) for model in self.vision.models)


def load_configured(
    config: DoorConfig, timer: StageTimer = no_timing, installed: VisionStages | None = None
) -> RuntimeBundle:
    """Load what door.toml names; a door that waits for its first release may have no gallery, and recognises nobody.

    `timer` times the stages of models that are loaded here; `installed` are models that are loaded already.

    Raises:
        ModelError, GalleryError, ConfigError: something is missing or damaged.
    """
    vision = installed or load_vision(config.models, config.detector, config.quality, timer)
    embedder = vision.reader.embedder
    key = read_key(config.gallery_key)
    try:
        gallery = load_gallery(Path(config.gallery), embedder.sha256, key, dimension=embedder.dimension)
    except GalleryError as error:
        if config.release is None:
            raise
        log.warning("%s; this door recognises nobody until a release arrives", error)
        gallery = empty_gallery(embedder.dimension, embedder.sha256)
    _warn_of_thresholds(gallery, vision, config.gallery)
    return RuntimeBundle(vision, gallery, load_configured_rules(config.access), own_models=False)


def load_release(
    config: DoorConfig, folder: Path, installed: VisionStages | None, timer: StageTimer = no_timing
) -> RuntimeBundle:
    """Load and test the release in a folder; other arguments as of `load_configured`.

    Raises:
        ModelError, GalleryError, ConfigError: something is damaged, does not fit, or fails its test.
    """
    own_models = (folder / MODELS).is_dir()
    if own_models:
        models = msgspec.structs.replace(config.models, folder=str(folder / MODELS))
        vision = load_vision(models, config.detector, config.quality, timer)
        _test_models(vision)
    else:
        vision = installed or load_vision(config.models, config.detector, config.quality, timer)
    embedder, key = vision.reader.embedder, read_key(config.gallery_key)
    gallery = load_gallery(folder / GALLERY, embedder.sha256, key, dimension=embedder.dimension)
    _test_gallery(gallery, folder)
    _warn_of_thresholds(gallery, vision, folder / GALLERY)
    policy = folder / POLICY
    rules = parse_policy(policy) if policy.exists() else load_configured_rules(config.access)
    return RuntimeBundle(vision, gallery, rules, own_models)


def lax_thresholds(gallery: Gallery, embedder: Embedder) -> str:
    """Warning about a gallery whose thresholds accept nearly anybody, one line; "" if none does.

    Such a threshold is beyond the largest one of the embedder's table, which one stranger in a hundred passes.
    """
    if not embedder.impostors:
        return ""
    worst = max(embedder.impostors, key=lambda row: row.distance_sq)
    lax = int(np.count_nonzero(gallery.thresholds_sq > worst.distance_sq))
    if not lax:
        return ""
    return (
        f"{lax} of {len(gallery.people)} people have a threshold above {worst.distance_sq:g}: "
        f"more than one stranger in {1 / worst.fmr:.0f} passes as each of them"
    )


def filter_to_still_enrolled(old: bytes, new: bytes) -> bytes | None:
    """The old gallery reduced to people whose entries are identical in the new one; None if it cannot be read."""
    try:
        return keep_only_people_in(old, new)
    except ValueError:
        return None


def _warn_of_thresholds(gallery: Gallery, vision: VisionStages, where: str | Path) -> None:
    lax = lax_thresholds(gallery, vision.reader.embedder)
    if lax:
        log.warning("%s: %s", where, lax)


def _test_models(vision: VisionStages) -> None:
    """Warm up, and check that the embedder returns the same unit vector twice."""
    embedder = vision.reader.embedder
    embedder.pixels[:] = np.random.default_rng(0).integers(0, 255, embedder.pixels.shape, np.uint8)
    first, again = embedder.embed(), embedder.embed()
    if not abs(float(np.linalg.norm(first)) - 1) < _UNIT_TOLERANCE or not np.array_equal(first, again):
        raise ModelError("self-test failed: the embedder returns no steady unit vector")


def _test_gallery(gallery: Gallery, folder: Path) -> None:
    """Check that the first, the middle and the last person are found by their own vectors."""
    count = len(gallery.people)
    for row in {0, count // 2, count - 1} if count else set():
        if gallery.nearest(gallery.centroids[row]).distance_sq > _MAX_SELF_DISTANCE_SQ:
            raise GalleryError(f"{folder}: self-test failed: {gallery.people[row].id} is not found by their own vector")
