"""Changes to a people folder: add photos or frames to a person, enrol anew, remove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from edge.core.errors import InputError
from edge.core.files import make_private_folder
from edge.core.records import BgrImage, Box
from edge.vision.camera import read_image
from edge.vision.camera_file import VideoFileCamera
from threshold_tools.enroll.cache import FILE, PhotoCache, photo_key
from threshold_tools.enroll.folder import (
    PROFILE_FILE,
    PersonFolder,
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

_ROOM = 0.6  # kept around a face cut from footage, in its longer sides: the detector wants to see a head
_EARLY_NS = 1_000_000  # a time told in milliseconds may be rounded up past its frame


@dataclass(frozen=True, slots=True)
class Picture:
    """Something to enrol somebody with: the file's name and content, and its pixels, (H, W, 3) uint8 BGR."""

    name: str
    content: bytes
    pixels: BgrImage


def read_pictures(paths: Sequence[Path]) -> list[Picture]:
    """Photos from anywhere.

    Raises:
        ImageError: one cannot be read.
    """
    return [Picture(path.name, path.read_bytes(), read_image(path)) for path in paths]


def cut_frame(clip: Path, at_s: float, box: Box | None, reader: PhotoSampler) -> Picture:
    """A face of recorded footage, marked by hand: the frame shown at `at_s`, and the box where there are several.

    Raises:
        CameraError: the clip cannot be opened.
        InputError: it ends before, the box lies outside, or the frame shows no face, or several and no box.
    """
    pixels, last_s = _frame(clip, at_s)
    if pixels is None:
        raise InputError(f"{clip}: it ends at {last_s:.2f} s, before --at {at_s:g}")
    where = f"{clip} at {at_s:g} s"
    if box is None:
        box = _only_face(pixels, reader, where)
    height, width = pixels.shape[:2]
    if box.right <= 0 or box.bottom <= 0 or box.left >= width or box.top >= height:
        raise InputError(f"{where}: --box lies outside the picture of {width}x{height} px")
    cut = crop(pixels, box, _ROOM)
    encoded = cv2.imencode(".png", cut)[1].tobytes()
    return Picture(f"{clip.stem}-{at_s:.3f}s.png", encoded, cut)


def add(
    folder: Path,
    person: str,
    pictures: Sequence[Picture],
    changes: PersonProfile,
    reader: PhotoSampler,
    *,
    replace: bool,
) -> tuple[list[Path], list[str]]:
    """Store what can serve in the person's folder, made if need be; with `replace` in place of what was there.

    Args:
        changes: what the card is to say from now on; what is empty in it stays as it was.

    Returns:
        The photos stored, and what was refused with its reason.

    Raises:
        InputError: not one picture can serve (nothing is changed then), or the id cannot name a folder.
    """
    usable, refused = [], []
    for picture in pictures:
        reason = assess_photo(reader, picture.pixels).rejection_reason
        if reason:
            refused.append(f"{picture.name}: {reason}")
        else:
            usable.append(picture)
    if pictures and not usable:
        raise InputError(f"{person}: nothing was changed; " + "; ".join(refused))
    home, former = _home(folder, person)
    present = read_profile(home)
    card = PersonProfile(
        id=present.id,
        name=changes.name or present.name,
        groups=changes.groups or present.groups,
        valid_from=changes.valid_from or present.valid_from,
        valid_until=changes.valid_until or present.valid_until,
    )
    if card.valid_from and card.valid_until and card.valid_until < card.valid_from:
        raise InputError(
            f"{home / PROFILE_FILE}: valid_until ({card.valid_until}) would be before valid_from ({card.valid_from})"
        )
    make_private_folder(home)
    if card != present:
        write_profile(home, card)
    stored = [new_photo(home, picture.name, picture.content) for picture in usable]
    if replace:
        for photo in former:
            photo.unlink()
    return stored, refused


def remove(folder: Path, person: str, photos: Sequence[str]) -> list[Path]:
    """Delete a person, or only some of their photos, and what the cache remembers of them.

    Args:
        photos: names of files in the person's folder; none means the whole person.

    Returns:
        The photos deleted.

    Raises:
        InputError: nobody has this id, or no such photo.
    """
    member = find_person(folder, person)
    gone = [_photo(member, name) for name in photos] or list(member.photos)
    keys = {photo_key(photo.read_bytes()) for photo in gone}
    if (folder / FILE).is_file():
        with PhotoCache(folder / FILE, "") as cache:
            cache.delete(keys)
    if photos:
        for photo in gone:
            photo.unlink()
    else:
        delete_folder(member.folder)
    return gone


def _frame(clip: Path, at_s: float) -> tuple[BgrImage | None, float]:
    """A copy of the first frame not before `at_s`, or None and the clip time of its last one."""
    last_ns = 0
    with VideoFileCamera(clip) as frames:
        for frame in frames:
            last_ns = frame.captured_ns
            if frame.captured_ns + _EARLY_NS >= at_s * 1e9:
                return frame.pixels.copy(), last_ns / 1e9
    return None, last_ns / 1e9


def _only_face(pixels: BgrImage, reader: PhotoSampler, where: str) -> Box:
    look = reader.sample(pixels)
    if look.main is None:
        raise InputError(f"{where}: no face; choose another moment, or mark it with --box")
    reason = rejection_reason(look)
    if reason.startswith("several"):
        boxes = "  ".join(
            f"{face.box.left:.0f},{face.box.top:.0f},{face.box.width:.0f},{face.box.height:.0f}" for face in look.faces
        )
        raise InputError(f"{where}: several faces; say which with --box, one of  {boxes}")
    return look.main.box


def _home(folder: Path, person: str) -> tuple[Path, tuple[Path, ...]]:
    """The folder of a person, who may be new, and the photos in it."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    for member in read_people(folder):
        if member.id == person:
            return member.folder, member.photos
    check_person_id(person)
    home = folder / person
    if home.exists() and read_profile(home).id not in (None, person):
        raise InputError(f"{home}: this folder belongs to somebody else; their {PROFILE_FILE} says so")
    return home, ()


def _photo(member: PersonFolder, name: str) -> Path:
    for photo in member.photos:
        if photo.relative_to(member.folder).as_posix() == name:
            return photo
    raise InputError(f"{member.folder}: no photo called '{name}'")
