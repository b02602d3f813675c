"""Could a door ask for a blink? How far the mesh's eyes close in clips, frame by frame, beside photos waved about.

.venv/bin/python tools/evaluate_eyelids.py CLIP CLIP … --photos edge/demo/people

Openness is height by width of the eye's outline (Soukupova and Cech 2016), the mean of both eyes, in shares of the
median of its clip. Whether there is a blink in a clip, and where, a person has to see.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from threshold_tools.pad.actors import StaticPhoto
from threshold_tools.pad.trials import Model, ready
from threshold_tools.pad.turns import fit_portrait

from edge.core.cli_support import run_main
from edge.core.config import CameraConfig
from edge.core.errors import InputError
from edge.core.records import BgrImage, FloatArray, Frame
from edge.vision.camera import open_camera, read_image
from edge.vision.face_sampler import VisionStages

# Of the mesh of MediaPipe: outer corner, two points of the upper lid, inner corner, and the two of the lower lid below.
_EYES = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))
_PICTURES = frozenset({".jpg", ".jpeg", ".png"})
_WAVED_FRAMES, _FPS = 75, 25


def eye_openness(points: FloatArray) -> float:
    """Height by width of the eyes of a mesh, (468, 3) float32; the mean of both."""
    ratios = []
    for outer, upper, upper_too, inner, lower_too, lower in _EYES:
        heights = [points[upper] - points[lower], points[upper_too] - points[lower_too]]
        across = float(np.linalg.norm((points[outer] - points[inner])[:2]))
        ratios.append(sum(float(np.linalg.norm(height[:2])) for height in heights) / (2 * across))
    return sum(ratios) / len(ratios)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP", help="of one face each")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="portraits, to be waved about for comparison")
    given = parser.parse_args(arguments)
    vision = ready()
    print("lowest  at frame  next lowest  frames  clip; shares of the median openness of the clip")
    for path in given.clips:
        with open_camera(CameraConfig(source=str(path))) as camera:
            _tell(path.name, (frame.pixels for frame in camera), vision)
    for path in sorted(given.photos.rglob("*")) if given.photos else ():
        if path.suffix.lower() in _PICTURES and (model := Model.of(read_image(path), vision)) is not None:
            _tell(f"{path.name}, a photo waved about", _shaken_photo(model), vision)
    return 0


def _shaken_photo(model: Model) -> Iterator[BgrImage]:
    assert model.sample.landmarks is not None
    photo = StaticPhoto(
        fit_portrait(model.portrait, model.sample.landmarks, 45.0), np.random.default_rng(0), waved=True
    )
    return (photo.render(number / _FPS) for number in range(_WAVED_FRAMES))


def _tell(name: str, pictures: Iterable[BgrImage], vision: VisionStages) -> None:
    seen: dict[int, float] = {}
    for number, picture in enumerate(pictures):
        frame = Frame(picture, number, number * 1_000_000_000 // _FPS)
        for face in vision.detector.detect(frame)[:1]:
            landmarks = vision.reader.sample(frame, face).landmarks
            if landmarks is not None:
                seen[number] = eye_openness(landmarks.points_px)
    if not seen:
        raise InputError(f"{name}: no face large enough")
    usual = float(np.median(list(seen.values())))
    lowest = sorted(seen, key=lambda number: seen[number])[:2]
    shares = [seen[number] / usual for number in lowest]
    print(f"  {shares[0]:.2f}  {lowest[0]:8}  {shares[-1]:11.2f}  {len(seen):6}  {name}", flush=True)


if __name__ == "__main__":
    run_main(main)
