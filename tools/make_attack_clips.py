#!/usr/bin/env python3
"""Make simulated presentation attacks from clips of real people, to measure liveness on before real ones are filmed.

    python tools/make_attack_clips.py DIR --out clips --count 20

DIR holds clips, or a folder of clips for each person. Into --out go genuine/<person>/ (links to the clips) and
simulated-<species>/<person>/: a photo held, held so near that it fills the view, standing still, bent; a screen that
shows a photo, and one that replays the clip. They are simulated: no camera has seen them. `evaluate_pad.py` keeps
them apart from real ones.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from spoofing.simulate import SPECIES, draw_scene, shoot
from spoofing.watch import GENUINE, SIMULATED

from edge.errors import InputError
from edge.program import run
from edge.records import Pixels
from edge.vision.recorded import Clip

_CLIPS = ("*.avi", "*.mp4", "*.mpg", "*.mkv", "*.gif")
_MOST_FRAMES = 150


def make(source: Path, out: Path, *, count: int, species: Sequence[str], seed: int) -> int:
    """Write the clips; returns how many attacks.

    Raises:
        InputError: there is no clip to make them from, or `out` holds something already.
        CameraError: a clip cannot be read.
    """
    paths = sorted(path for pattern in _CLIPS for path in source.rglob(pattern))
    if not paths:
        raise InputError(f"{source}: no clip in it")
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out}: is not empty; name a new folder")
    rng = np.random.default_rng(seed)
    backgrounds = []
    made = 0
    for path in paths:
        frames = _frames(path)
        backgrounds.append(cv2.GaussianBlur(frames[0], (0, 0), 12).astype(np.uint8))
        subject = path.parent.name if path.parent != source else path.stem
        _link(path, out / GENUINE / subject)
        for kind in species:
            folder = out / f"{SIMULATED}{kind}" / subject
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                shown = frames if kind == "screen-replay" else [frames[int(rng.integers(len(frames)))]]
                scene = draw_scene(kind, int(rng.integers(2**31)), shown[0])
                behind = backgrounds[int(rng.integers(len(backgrounds)))]
                _write(folder / f"{path.stem}-{number}.avi", list(shoot(shown, behind, scene)), scene.fps)
                made += 1
    return made


def _frames(path: Path) -> list[Pixels]:
    frames: list[Pixels] = []
    with Clip(path) as clip:
        for frame in clip:
            frames.append(frame.pixels.copy())
            if len(frames) == _MOST_FRAMES:
                break
    return frames


def _link(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / path.name).symlink_to(path.resolve())


def _write(path: Path, frames: Sequence[Pixels], fps: float) -> None:
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
    given = parser.parse_args(words)
    made = make(given.source, given.out, count=given.count, species=given.species, seed=given.seed)
    sys.stdout.write(f"{made} simulated attacks in {given.out}\n")


if __name__ == "__main__":
    run(main)
