"""Models, gallery and access rules that a door uses, loaded and tested together."""

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
_MAX_SELF_DISTANCE_SQ = 1e-3  # distance of a vector to itself in the gallery, from rounding


@dataclass(frozen=True, slots=True)
class RuntimeBundle:
    """Models, gallery and access rules that a door uses together."""

    vision: VisionStages
    gallery: Gallery
    rules: AccessRules
    own_models: bool  # whether the models are from the release

    @property
    def models(self) -> tuple[tuple[str, str], ...]:
        """Name of each model, and the first digits of its sha256."""
        return tuple((Path(model.contract.file).stem, model.contract.sha256[:12]) for model in self.vision.models)


def load_configured(
    config: DoorConfig, timer: StageTimer = no_timing, installed: VisionStages | None = None
) -> RuntimeBundle:
    """Load the models, gallery and rules of door.toml.

    Without a gallery, a door with [release] recognises nobody until its first release arrives.

    Args:
        config: door configuration.
        timer: times the stages of models that are loaded here.
        installed: models that are loaded already.

    Raises:
        ModelError, GalleryError, ConfigError: a part is missing or damaged.
    """
    vision = installed or load_vision(config.models, config.detector, config.quality, timer)
    embedder = vision.reader.embedder
    key = read_key(config.gallery_key)
    try:
        gallery = load_gallery(Path(config.gallery), embedder.sha256, key, dimension=embedder.dimension)
    except GalleryError as error:
        if config.release is None:
            raise
        log.warning("%s; the door recognises nobody until a release arrives", error)
        gallery = empty_gallery(embedder.dimension, embedder.sha256)
    _warn_of_thresholds(gallery, vision, config.gallery)
    return RuntimeBundle(vision, gallery, load_configured_rules(config.access), own_models=False)


def load_release(
    config: DoorConfig, folder: Path, installed: VisionStages | None, timer: StageTimer = no_timing
) -> RuntimeBundle:
    """Load and test the release in `folder`; other arguments as of `load_configured`.

    Raises:
        ModelError, GalleryError, ConfigError: a part is damaged, does not match, or fails its self-test.
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
    """Warning about thresholds that accept many strangers, one line; "" if there are none.

    Such a threshold is above the largest distance of the embedder's table, at which 1 in 100 strangers is accepted.
    """
    if not embedder.impostors:
        return ""
    worst = max(embedder.impostors, key=lambda row: row.distance_sq)
    lax = int(np.count_nonzero(gallery.thresholds_sq > worst.distance_sq))
    if not lax:
        return ""
    return (
        f"{lax} of {len(gallery.people)} people have a threshold above {worst.distance_sq:g}: "
        f"more than 1 in {1 / worst.fmr:.0f} strangers is accepted as each of them"
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
    """Run the embedder twice and check that it returns the same unit vector."""
    embedder = vision.reader.embedder
    embedder.pixels[:] = np.random.default_rng(0).integers(0, 255, embedder.pixels.shape, np.uint8)
    first, again = embedder.embed(), embedder.embed()
    if not abs(float(np.linalg.norm(first)) - 1) < _UNIT_TOLERANCE or not np.array_equal(first, again):
        raise ModelError("self-test failed: the embedder does not return the same unit vector twice")


def _test_gallery(gallery: Gallery, folder: Path) -> None:
    """Check that the first, middle and last person are found by their own vectors."""
    count = len(gallery.people)
    for row in {0, count // 2, count - 1} if count else set():
        if gallery.nearest(gallery.centroids[row]).distance_sq > _MAX_SELF_DISTANCE_SQ:
            raise GalleryError(
                f"{folder}: self-test failed: the vector of {gallery.people[row].id} does not match that person"
            )
