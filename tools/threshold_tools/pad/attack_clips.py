"""Renders clips of simulated presentation attacks: a picture held in front of a camera. No clip is filmed.

The picture is a plane or a slightly bent sheet in front of a pinhole camera of about 60 degrees. A hand moves it by
slow sway, faster shake and tremor. The camera has a rolling shutter with an exposure time. Screens add the effects of
re-capture: a pixel grid (moire), gamma, flicker, and a bezel.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.errors import InputError
from edge.core.files import make_private_file, make_private_folder
from edge.core.records import BgrImage, FloatArray
from edge.vision.camera_file import VideoFileCamera
from edge.vision.images import read_image
from threshold_tools.pad.clip_evaluation import CLIP_SUFFIXES, GENUINE, SIMULATED
from threshold_tools.pad.rendering import jpeg_compressed
from threshold_tools.photos import photos_in

Reals = NDArray[np.float64]

REPLAY = "screen-replay"
SPECIES = ("photo-held", "photo-filling", "photo-still", "photo-bent", "screen-still", REPLAY)
FLAT_PHOTOS = ("photo-held", "photo-filling", "photo-still")
_FOCAL = 1.0 / (2 * math.tan(math.radians(30)))  # in widths of the picture: 60 degrees
_BANDS = 4  # bands of rows with a common exposure
_MAX_FRAMES = 150  # frames of a clip that is replayed


@dataclass(frozen=True, slots=True)
class AttackScene:
    """Parameters of one rendered attack."""

    species: str  # one of SPECIES
    fps: float
    seconds: float  # length of the clip
    width_px: int  # width of the frames
    height_px: int  # height of the frames
    scale: float  # of the picture, 1 shows it at its own size
    sway: float  # amplitude of the hand: 1 is about 2 % of the width of the view, and 4 degrees
    border_px: int  # white margin of a print or black bezel of a screen; 0: none
    noise: float  # standard deviation of the sensor noise, grey levels
    blur_px: float  # standard deviation of the lens blur
    jpeg: int  # JPEG quality of each frame, 1..100
    gain: float  # brightness of the picture
    drift: float  # change of the brightness during the clip, share
    exposure_s: float  # exposure time of a row
    readout_s: float  # from the first row to the last
    seed: int  # seed of all random values


def draw_scene(species: str, seed: int, picture: BgrImage, seconds: float) -> AttackScene:
    """A random scene of one species for a picture; the same seed gives the same scene."""
    rng = np.random.default_rng((seed, SPECIES.index(species)))
    height, width = picture.shape[:2]
    filling = species == "photo-filling"
    screen = species.startswith("screen")
    size = (width, height) if filling else (640, 480)
    fit = min(size[0] / width, size[1] / height)
    scale = rng.uniform(1.02, 1.4) if filling else float(np.clip(rng.uniform(0.5, 2.0), 0.4, 1.3 * fit))
    fps = float(rng.choice((10, 15, 20, 25, 30)))
    sway = 0.0 if species == "photo-still" else float(np.exp(rng.uniform(math.log(0.1), math.log(3.0))))
    border_px = 0
    if not filling:
        border_px = int(rng.integers(8, 30) if screen else rng.integers(0, 2) * rng.integers(4, 25))
    return AttackScene(
        species=species,
        fps=fps,
        seconds=seconds,
        width_px=size[0],
        height_px=size[1],
        scale=scale,
        sway=sway,
        border_px=border_px,
        noise=float(rng.uniform(0.5, 5.0)),
        blur_px=float(rng.uniform(0.3, 1.5)),
        jpeg=int(rng.integers(50, 96)),
        gain=float(rng.uniform(0.6, 1.15)),
        drift=float(rng.uniform(0.0, 0.1)),
        exposure_s=float(rng.uniform(0.002, 0.03)),
        readout_s=float(rng.uniform(0.01, 0.03)),
        seed=seed,
    )


def render_attack(pictures: Sequence[BgrImage], background: BgrImage | None, scene: AttackScene) -> Iterator[BgrImage]:
    """The frames of an attack.

    Args:
        pictures: shown pictures, (H, W, 3) uint8 BGR of one size: one photo, or the frames of a replayed clip at the
            rate of the scene; fewer frames are shown forwards and backwards.
        background: picture behind, any size; None: grey.
        scene: parameters.
    """
    rng = np.random.default_rng((scene.seed, 99))
    size = (scene.width_px, scene.height_px)
    behind = np.full((size[1], size[0], 3), 110, np.uint8) if background is None else cv2.resize(background, size)
    hand = _Hand(scene, rng)
    light = rng.uniform(0, 2 * math.pi)
    screen = scene.species.startswith("screen")
    shown = [_prepare(picture, scene, screen, rng.uniform(0.8, 1.25)) for picture in pictures]
    period = max(2 * len(shown) - 2, 1)
    for number in range(round(scene.seconds * scene.fps)):
        t_s = number / scene.fps
        place = number % period  # forwards and backwards
        picture = shown[min(place, period - place)]
        if scene.species == "photo-bent":
            picture = _bend(picture, 0.08 + 0.04 * math.sin(2 * math.pi * 0.4 * t_s))
        drawn, opaque = _exposed(picture, hand, scene, t_s)
        lit = drawn * (scene.gain * (1 + scene.drift * math.sin(2 * math.pi * 0.5 * t_s + light)))
        if screen:
            lit *= 1 + 0.04 * math.sin(2 * math.pi * 3.7 * t_s)
        seen = np.asarray(cv2.GaussianBlur(lit + behind * (1 - opaque), (0, 0), scene.blur_px), np.float32)
        seen += rng.standard_normal(seen.shape, np.float32) * np.float32(scene.noise)
        yield jpeg_compressed(np.clip(seen, 0, 255).astype(np.uint8), scene.jpeg)


def _exposed(picture: BgrImage, hand: _Hand, scene: AttackScene, t_s: float) -> tuple[FloatArray, FloatArray]:
    """The picture on black, (H, W, 3), and its coverage of each pixel, (H, W, 1), while the hand moves."""
    height, width = picture.shape[:2]
    framed = np.dstack([picture, np.full((height, width), 255, np.uint8)])
    rows = scene.height_px // _BANDS
    bands = []
    for band in range(_BANDS):
        up = np.array([[1, 0, 0], [0, 1, -band * rows], [0, 0, 1]])
        size = (scene.width_px, rows if band < _BANDS - 1 else scene.height_px - band * rows)
        begins_s = t_s + scene.readout_s * band / _BANDS
        first, last = (
            cv2.warpPerspective(framed, up @ hand.homography(moment, width, height), size, flags=cv2.INTER_LINEAR)
            for moment in (begins_s, begins_s + scene.exposure_s)
        )
        bands.append((first.astype(np.float32) + last.astype(np.float32)) / np.float32(2))
    seen = np.asarray(np.concatenate(bands), np.float32)
    return seen[..., :3], seen[..., 3:] / np.float32(255)


class _Hand:
    """Motion of the picture: six coordinates, each a sum of sway, shake and tremor."""

    def __init__(self, scene: AttackScene, rng: np.random.Generator) -> None:
        self._scene = scene
        slow, fast, tremor = rng.uniform(0.15, 0.5, 6), rng.uniform(0.6, 1.8, 6), rng.uniform(6, 10, 6)
        self._hertz = np.stack([slow, fast, tremor])
        self._phase = rng.uniform(0, 2 * math.pi, (3, 6))
        far = 0.02 * scene.width_px
        turn = math.radians(4)
        self._reach = scene.sway * np.array([far, far, 0.04, turn, turn, turn])
        self._parts = np.array([1.0, 0.4, 0.05])[:, None]
        room = 0.0 if scene.species == "photo-filling" else 0.04 * scene.width_px
        self._rest = np.array([rng.uniform(-room, room), rng.uniform(-room, room), 0, *rng.uniform(-0.08, 0.08, 3)])

    def homography(self, t_s: float, width: int, height: int) -> Reals:
        """Homography from pixels of the picture to pixels of the frame at one moment, (3, 3) float64."""
        waves = np.sin(2 * math.pi * self._hertz * t_s + self._phase)
        x, y, nearer, pitch, yaw, roll = self._rest + self._reach * (self._parts * waves).sum(0)
        about_x, about_y, about_z = (cv2.Rodrigues(axis)[0] for axis in np.diag([pitch, yaw, roll]))
        turn = about_x @ about_y @ about_z
        focal = _FOCAL * self._scene.width_px
        place = np.column_stack([turn[:, 0], turn[:, 1], [x, y, focal / (self._scene.scale * (1 + nearer))]])
        to_middle = np.array([[1, 0, -(width - 1) / 2], [0, 1, -(height - 1) / 2], [0, 0, 1]])
        middle_x, middle_y = (self._scene.width_px - 1) / 2, (self._scene.height_px - 1) / 2
        camera = np.array([[focal, 0, middle_x], [0, focal, middle_y], [0, 0, 1]])
        return np.asarray(camera @ place @ to_middle, np.float64)


def _prepare(picture: BgrImage, scene: AttackScene, screen: bool, gamma: float) -> BgrImage:
    """The picture on paper or on a screen, with its border."""
    if screen:
        shown = np.power(picture.astype(np.float32) / 255, gamma) * 255
        shown[::2] *= 0.93
        for colour in range(3):
            shown[:, colour::3, colour] *= 1.06
        picture = np.clip(shown, 0, 255).astype(np.uint8)
    if not scene.border_px:
        return picture
    sides = (scene.border_px,) * 4
    border = (12, 12, 12) if screen else (235, 238, 240)
    return np.asarray(cv2.copyMakeBorder(picture, *sides, cv2.BORDER_CONSTANT, value=border), np.uint8)


def _bend(picture: BgrImage, depth: float) -> BgrImage:
    """The sheet bent around a vertical axis: its sides are farther away and appear smaller."""
    height, width = picture.shape[:2]
    x, y = np.meshgrid(np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
    away = 1 + depth * x**2
    map_x, map_y = (x * away + 1) * (width - 1) / 2, (y * away + 1) * (height - 1) / 2
    bent = cv2.remap(picture, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(bent, np.uint8)


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
        source: folder of clips of real people, or with a folder of clips for each.
        out: the new folder.
        count: attacks of each species from each clip.
        species: elements of SPECIES.
        seed: seed of all random values.
        seconds: length of each attack.
        photos: photos of other people, each shown once by each species except the replay; the folder names the person.

    Returns:
        The number of attacks.

    Raises:
        InputError: there is no clip, or `out` is not empty.
        CameraError: a clip cannot be read.
        ImageError: a photo cannot be read.
    """
    paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in CLIP_SUFFIXES)
    if not paths:
        raise InputError(f"{source}: contains no clip")
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out}: this folder is not empty; name a new folder")
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
        # Colours and light of the scene, too blurred for a detector to find a face.
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
    """One photo of each of this many random people; of all people if there are fewer.

    Raises:
        InputError: no such folder, or it contains no image.
    """
    first = {path.parent.name: path for path in reversed(photos_in(folder))}
    names = sorted(first)
    chosen = np.random.default_rng(seed).permutation(len(names))[:people]
    return [first[names[place]] for place in sorted(chosen)]


def write_clip(path: Path, frames: Sequence[BgrImage], fps: float) -> None:
    """Write frames of one size as motion JPEG, readable only by the owner (0600)."""
    make_private_file(path)
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
