"""Make the files of `edge demo`: a door clip, photos for enrolment, and photos for tests.

    python docs/generators/demo_clip.py
    python docs/generators/demo_clip.py --out /tmp/demo --tests /tmp/data

Portraits from PyPI packages, works of the US federal government, are downloaded with a pinned sha256, cut out, and
moved to a drawn door. The same OpenCV on the same kind of machine gives the same bytes in every run; another version
may encode differently.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from pathlib import Path

import cv2
import numpy as np
from demo_media.drawing import SEED, SIZE_PX, cut_out, draw_scene, paste
from demo_media.sources import STILLS, VISITS, Archive, Picture, StillSpec
from numpy.typing import NDArray

from edge.core.errors import ThresholdError

ROOT = Path(__file__).resolve().parents[2]
FPS = 15.0
NOISE = 1.5  # standard deviation of the drawn sensor noise, grey levels
LENGTH_S = 9.0


def write_clip(path: Path, archive: Archive) -> None:
    """Draw the clip and encode it as MPEG-4 part 2 in MP4, which the wheels of OpenCV can write and read.

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
    """Write a square around the head as a JPEG, cut at the edges of the original."""
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
    """Download the portraits and write all files.

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
    """List every file with its source and its licence."""
    lines = ["# Where these pictures come from", "", "Made by `python docs/generators/demo_clip.py`; do not edit.", ""]
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
