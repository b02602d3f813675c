"""Changes of a people folder: add photos or frames to a person, replace or remove them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec

from edge.core.errors import InputError
from edge.core.files import make_private_folder
from edge.core.records import BgrImage, Box
from edge.vision.camera_file import VideoFileCamera
from edge.vision.images import read_image
from threshold_tools.enroll.cache import FILE, PhotoCache, photo_key
from threshold_tools.enroll.folder import (
    PROFILE_FILE,
    PersonProfile,
    check_person_id,
    delete_folder,
    find_person,
    new_photo,
    read_people,
    read_profile,
    write_profile,
)
from threshold_tools.enroll.photo_quality import assess_photo, crop, rejection_reason
from threshold_tools.photos import PhotoSampler

_MARGIN = 0.6  # around a face cut from footage, in its longer side: the detector needs the whole head
_EARLY_NS = 1_000_000  # a time given in milliseconds may be rounded up past its frame


@dataclass(frozen=True, slots=True)
class Picture:
    """A photo to enrol: name and content of the file, and its pixels, (H, W, 3) uint8 BGR."""

    name: str
    content: bytes
    pixels: BgrImage


def read_pictures(paths: Sequence[Path]) -> list[Picture]:
    """Read photos from anywhere.

    Raises:
        ImageError: one cannot be read.
    """
    return [Picture(path.name, path.read_bytes(), read_image(path)) for path in paths]


def cut_frame(clip: Path, at_s: float, box: Box | None, reader: PhotoSampler) -> Picture:
    """Cut the face in a box, or the only face, from the frame shown at `at_s` (seconds) of recorded footage.

    Raises:
        CameraError: the clip cannot be opened.
        InputError: it ends earlier, the box is outside the frame, or the frame does not show exactly one face.
    """
    pixels = _frame(clip, at_s)
    where = f"{clip} at {at_s:g} s"
    if box is None:
        box = _only_face(pixels, reader, where)
    height, width = pixels.shape[:2]
    if box.right <= 0 or box.bottom <= 0 or box.left >= width or box.top >= height:
        raise InputError(f"{where}: --box is outside the picture of {width}x{height} px")
    cut = crop(pixels, box, _MARGIN)
    return Picture(f"{clip.stem}-{at_s:.3f}s.png", cv2.imencode(".png", cut)[1].tobytes(), cut)


def add(
    folder: Path,
    person_id: str,
    pictures: Sequence[Picture],
    changes: PersonProfile,
    reader: PhotoSampler,
    *,
    replace: bool,
) -> tuple[list[Path], list[str]]:
    """Store usable pictures in the person's folder, created if missing; return the stored photos and the refusals.

    Empty fields of `changes` keep their value. `replace` deletes the photos that the folder contained before.

    Raises:
        InputError: no picture is usable (nothing is changed then), or the id cannot name a folder.
    """
    usable, refused = [], []
    for picture in pictures:
        reason = assess_photo(reader, picture.pixels).rejection_reason
        if reason:
            refused.append(f"{picture.name}: {reason}")
        else:
            usable.append(picture)
    if pictures and not usable:
        raise InputError(f"{person_id}: nothing was changed; " + "; ".join(refused))
    home, former = _home(folder, person_id)
    present = read_profile(home)
    changed = {key: value for key, value in msgspec.structs.asdict(changes).items() if value}
    profile = msgspec.structs.replace(present, **changed)
    if profile.valid_from and profile.valid_until and profile.valid_until < profile.valid_from:
        raise InputError(
            f"{home / PROFILE_FILE}: valid_until ({profile.valid_until}) would be before "
            f"valid_from ({profile.valid_from})"
        )
    make_private_folder(home)
    if profile != present:
        write_profile(home, profile)
    stored = [new_photo(home, picture.name, picture.content) for picture in usable]
    if replace:
        for photo in former:
            photo.unlink()
    return stored, refused


def remove(folder: Path, person_id: str, names: Sequence[str]) -> list[Path]:
    """Delete a person, or the photos with these names, and their cached assessments; return the deleted photos.

    Raises:
        InputError: no person has this id, or there is no such photo.
    """
    person = find_person(folder, person_id)
    by_name = {photo.relative_to(person.folder).as_posix(): photo for photo in person.photos}
    for name in names:
        if name not in by_name:
            raise InputError(f"{person.folder}: no photo called '{name}'")
    gone = [by_name[name] for name in names] or list(person.photos)
    keys = {photo_key(photo.read_bytes()) for photo in gone}
    if (folder / FILE).is_file():
        with PhotoCache(folder / FILE, "") as cache:
            cache.delete(keys)
    if names:
        for photo in gone:
            photo.unlink()
    else:
        delete_folder(person.folder)
    return gone


def _frame(clip: Path, at_s: float) -> BgrImage:
    """A copy of the first frame not before `at_s`."""
    last_ns = 0
    with VideoFileCamera(clip) as frames:
        for frame in frames:
            last_ns = frame.captured_ns
            if frame.captured_ns + _EARLY_NS >= at_s * 1e9:
                return frame.pixels.copy()
    raise InputError(f"{clip}: ends at {last_ns / 1e9:.2f} s, before --at {at_s:g}")


def _only_face(pixels: BgrImage, reader: PhotoSampler, where: str) -> Box:
    sample = reader.sample(pixels)
    if sample.main is None:
        raise InputError(f"{where}: no face; choose another moment, or mark it with --box")
    if rejection_reason(sample).startswith("several"):
        boxes = "  ".join(
            f"{face.box.left:.0f},{face.box.top:.0f},{face.box.width:.0f},{face.box.height:.0f}"
            for face in sample.faces
        )
        raise InputError(f"{where}: several faces; choose one with --box, one of  {boxes}")
    return sample.main.box


def _home(folder: Path, person_id: str) -> tuple[Path, tuple[Path, ...]]:
    """The folder of a person, who may be new, and the photos in it."""
    for person in read_people(folder):
        if person.id == person_id:
            return person.folder, person.photos
    check_person_id(person_id)
    home = folder / person_id
    if home.exists() and read_profile(home).id not in (None, person_id):
        raise InputError(f"{home}: this folder belongs to another person, by its {PROFILE_FILE}; use another id")
    return home, ()
