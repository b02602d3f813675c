"""Makes clips of simulated attacks from clips of real people and photos of others."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edge.core.errors import InputError
from edge.core.files import make_private_file, make_private_folder
from edge.core.records import BgrImage
from edge.vision.camera_file import VideoFileCamera
from edge.vision.images import read_image
from threshold_tools.pad.attack_scenes import REPLAY, draw_scene, render_attack
from threshold_tools.pad.clip_evaluation import CLIP_SUFFIXES, GENUINE, SIMULATED
from threshold_tools.photos import photos_in

_MAX_FRAMES = 150


def make_clips(
    source: Path,
    out: Path,
    *,
    count: int,
    species: Sequence[str],
    seed: int,
    seconds: float,
    photos: Sequence[Path] = (),
) -> int:
    """Write genuine/<person>/ (links to the clips) and simulated-<species>/<person>/ into a new folder.

    Args:
        source: clips of real people, or a folder of clips for each.
        out: the new folder.
        count: attacks of each species on each clip.
        species: of `attack_scenes.SPECIES`.
        seed: of everything random.
        seconds: length of each attack.
        photos: of other people, each shown once by each species but the replay; the person is its folder's name.

    Returns:
        The number of attacks.

    Raises:
        InputError: there is no clip to make them from, or `out` holds something already.
        CameraError: a clip cannot be read.
        ImageError: a photo cannot be read.
    """
    paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in CLIP_SUFFIXES)
    if not paths:
        raise InputError(f"{source}: no clip in it")
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out}: is not empty; name a new folder")
    rng = np.random.default_rng(seed)
    backgrounds: list[BgrImage] = []
    made = 0

    def attack(kind: str, person: str, stem: str, shown: Sequence[BgrImage]) -> None:
        nonlocal made
        path = out / f"{SIMULATED}{kind}" / person / f"{stem}.avi"
        make_private_folder(path.parent)
        scene = draw_scene(kind, int(rng.integers(2**31)), shown[0], seconds)
        background = backgrounds[int(rng.integers(len(backgrounds)))]
        write_clip(path, list(render_attack(shown, background, scene)), scene.fps)
        made += 1

    for path in paths:
        with VideoFileCamera(path) as clip:
            frames = [frame.pixels.copy() for frame in itertools.islice(clip, _MAX_FRAMES)]
        # The colours and the light of the scene, too blurred for a detector to find a face in it.
        blurred = cv2.GaussianBlur(frames[0], (0, 0), frames[0].shape[1] / 5)
        backgrounds.append(np.asarray(blurred, np.uint8))
        person = path.parent.name if path.parent != source else path.stem
        link = out / GENUINE / person / path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
        for kind in species:
            for number in range(count):
                shown = frames if kind == REPLAY else [frames[int(rng.integers(len(frames)))]]
                attack(kind, person, f"{path.stem}-{number}", shown)
    for path in photos:
        for kind in species:
            if kind != REPLAY:
                attack(kind, path.parent.name, path.stem, [read_image(path)])
    return made


def draw_photos(folder: Path, people: int, seed: int) -> list[Path]:
    """One photo each of this many random people; of all if there are fewer.

    Raises:
        InputError: no such folder, or no image in it.
    """
    first = {path.parent.name: path for path in reversed(photos_in(folder))}
    names = sorted(first)
    chosen = np.random.default_rng(seed).permutation(len(names))[:people]
    return [first[names[place]] for place in sorted(chosen)]


def write_clip(path: Path, frames: Sequence[BgrImage], fps: float) -> None:
    """Write frames of one size as motion JPEG, readable by their owner alone."""
    make_private_file(path)
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
