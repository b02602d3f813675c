#!/usr/bin/env python3
"""Make simulated presentation attacks from clips of real people, to measure liveness on before real ones are filmed.

    python tools/make_attack_clips.py DIR --out clips --count 20

DIR holds clips, or a folder of clips for each person; --photos other people's photos, to be shown once each. Into
--out go genuine/<person>/ (links to the clips) and simulated-<species>/<person>/: a photo held, held so near that it
fills the view, standing still, bent; a screen that shows a photo, and one that replays the clip. They are simulated:
no camera has seen them. `evaluate_pad.py` keeps them apart from real ones.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from threshold_tools.pad.attack_scenes import REPLAY, SPECIES, draw_scene, render_attack
from threshold_tools.pad.clip_evaluation import GENUINE, SIMULATED
from threshold_tools.photos import photos_in

from edge.core.cli_support import run_main
from edge.core.errors import InputError
from edge.core.files import make_private_file, make_private_folder
from edge.core.records import BgrImage
from edge.vision.camera import read_image
from edge.vision.camera_file import VideoFileCamera

_CLIPS = ("*.avi", "*.mp4", "*.mpg", "*.mkv", "*.gif")
_MOST_FRAMES = 150
LEAST_S, MOST_S = 0.1, 600.0  # of an attack: one frame at the lowest rate, and what memory holds


def make(
    source: Path,
    out: Path,
    *,
    count: int,
    species: Sequence[str],
    seed: int,
    seconds: float,
    photos: Sequence[Path] = (),
) -> int:
    """Write the clips; returns how many attacks.

    Raises:
        InputError: there is no clip to make them from, or `out` holds something already.
        CameraError: a clip cannot be read.
        ImageError: a photo cannot be read.
    """
    paths = sorted(path for pattern in _CLIPS for path in source.rglob(pattern))
    if not paths:
        raise InputError(f"{source}: no clip in it")
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out}: is not empty; name a new folder")
    rng = np.random.default_rng(seed)
    walls = []
    made = 0
    for path in paths:
        frames = _frames(path)
        walls.append(_wall(frames[0]))
        subject = path.parent.name if path.parent != source else path.stem
        _link(path, out / GENUINE / subject)
        for kind in species:
            for number in range(count):
                shown = frames if kind == REPLAY else [frames[int(rng.integers(len(frames)))]]
                _attack(
                    out / f"{SIMULATED}{kind}" / subject / f"{path.stem}-{number}.avi", kind, shown, walls, seconds, rng
                )
                made += 1
    for path in photos:
        for kind in species:
            if kind != REPLAY:
                folder = out / f"{SIMULATED}{kind}" / path.parent.name
                _attack(folder / f"{path.stem}.avi", kind, [read_image(path)], walls, seconds, rng)
                made += 1
    return made


def _attack(
    path: Path,
    kind: str,
    shown: Sequence[BgrImage],
    walls: Sequence[BgrImage],
    seconds: float,
    rng: np.random.Generator,
) -> None:
    """One clip of an attack in a random scene."""
    make_private_folder(path.parent)
    scene = draw_scene(kind, int(rng.integers(2**31)), shown[0], seconds)
    write_clip(path, list(render_attack(shown, walls[int(rng.integers(len(walls)))], scene)), scene.fps)


def draw_photos(folder: Path, people: int, seed: int) -> list[Path]:
    """One photo each of so many people, drawn; of all if there are fewer.

    Raises:
        InputError: no such folder, or no image in it.
    """
    first: dict[str, Path] = {}
    for path in photos_in(folder):
        first.setdefault(path.parent.name, path)
    names = sorted(first)
    chosen = np.random.default_rng(seed).permutation(len(names))[:people]
    return [first[names[place]] for place in sorted(chosen)]


def _frames(path: Path) -> list[BgrImage]:
    frames: list[BgrImage] = []
    with VideoFileCamera(path) as clip:
        for frame in clip:
            frames.append(frame.pixels.copy())
            if len(frames) == _MOST_FRAMES:
                break
    return frames


def _wall(frame: BgrImage) -> BgrImage:
    """The colours and the light of a scene, too blurred for a detector to find a face in it."""
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), frame.shape[1] / 5), np.uint8)


def _link(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / path.name).symlink_to(path.resolve())


def write_clip(path: Path, frames: Sequence[BgrImage], fps: float) -> None:
    """Frames of one size as motion JPEG, for their owner alone."""
    make_private_file(path)
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()


def main(words: Sequence[str] | None = None) -> None:
    """Parse the command line and make the clips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="DIR", help="clips of real people, or a folder of clips for each")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the clips")
    parser.add_argument("--count", type=int, default=4, help="attacks of each species on each clip (default: 4)")
    parser.add_argument("--species", nargs="+", choices=SPECIES, default=SPECIES, help="which (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: 0)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each attack (default: 4)")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="folder of photos for each person, to be shown, too")
    parser.add_argument("--people", type=int, default=100, help="of --photos, one photo each, drawn (default: 100)")
    given = parser.parse_args(words)
    if min(given.count, given.seed) < 0 or given.people < 1:
        parser.error("--count and --seed must not be negative, --people at least 1")
    if not LEAST_S <= given.seconds <= MOST_S:
        parser.error(f"--seconds must be {LEAST_S:g} to {MOST_S:g}")
    photos = draw_photos(given.photos, given.people, given.seed) if given.photos else []
    made = make(
        given.source,
        given.out,
        count=given.count,
        species=given.species,
        seed=given.seed,
        seconds=given.seconds,
        photos=photos,
    )
    sys.stdout.write(f"{made} simulated attacks in {given.out}\n")


if __name__ == "__main__":
    run_main(main)
