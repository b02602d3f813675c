"""The people folder: one folder of photos per person, and optionally a `person.toml` in it.

    id = "anna"                 # id in rules and events; default: name of the folder
    name = "Anna Schmidt"       # display name; default: the id
    groups = ["staff", "lab"]   # groups in the access rules
    valid_from = 2026-01-01     # first day; default: no limit
    valid_until = 2026-12-31    # last day; default: no limit

Every field is optional.
"""

from __future__ import annotations

import datetime
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from edge.core.errors import ConfigError, InputError
from edge.core.files import atomic_write
from edge.core.toml_config import convert, load_toml
from threshold_tools.photos import SUFFIXES

_UNREAD = frozenset({".heic", ".heif", ".avif", ".tif", ".tiff", ".gif", ".dng"})
PROFILE_FILE = "person.toml"
MAX_ID_LENGTH = 64  # characters
_ID = re.compile(rf"[^\W_][\w.@+-]{{0,{MAX_ID_LENGTH - 1}}}")
_PLAIN = r"^[^\x00-\x1f\x7f]+$"  # no tabs and line breaks, which separate fields in galleries and tables
_TEXT = "at most 200 characters, without tabs and line breaks"
Text = Annotated[str, msgspec.Meta(pattern=_PLAIN, max_length=200, extra_json_schema={"description": _TEXT})]


class PersonProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Content of `person.toml`; the docstring of the module describes the fields."""

    id: Text | None = None
    name: Text | None = None
    groups: tuple[Text, ...] = ()
    valid_from: datetime.date | None = None
    valid_until: datetime.date | None = None


@dataclass(frozen=True, slots=True)
class PersonFolder:
    """One person of a people folder, enrolled or not, from `person.toml` and the name of the folder."""

    id: str
    name: str
    groups: tuple[str, ...]
    valid_from: datetime.date | None
    valid_until: datetime.date | None
    folder: Path
    photos: tuple[Path, ...]  # all image files in the folder, at any depth, sorted


def read_people(folder: Path) -> list[PersonFolder]:
    """The people of a people folder, sorted; hidden folders and folders without photo and profile are left out.

    Raises:
        InputError: no such folder, a malformed profile, or one id twice.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    people = [_read_person(each) for each in _person_folders(folder)]
    taken: dict[str, Path] = {}
    for person in people:
        if person.id in taken:
            raise InputError(
                f"{person.folder}: the id '{person.id}' belongs to {taken[person.id]}; give one of them another id"
            )
        taken[person.id] = person.folder
    return [person for person in people if person.photos or (person.folder / PROFILE_FILE).is_file()]


def empty_folders(folder: Path) -> list[Path]:
    """Folders of people without a picture in any format; sorted."""
    return [each for each in _person_folders(folder) if not _pictures(each.rglob("*"), SUFFIXES | _UNREAD)]


def loose_files(folder: Path) -> list[Path]:
    """Photos outside the folders of people; sorted."""
    return _pictures(folder.iterdir(), SUFFIXES)


def unreadable_files(folder: Path) -> list[Path]:
    """Pictures in unsupported formats of phones and cameras; sorted."""
    return _pictures(folder.rglob("*"), _UNREAD)


def check_person_id(person_id: str) -> None:
    """Check the id of a new person: it names a folder and is used in access rules and events.

    Raises:
        InputError: it holds anything but letters, digits and . _ - @ +, does not begin with a letter or digit, or has
            more than 64 characters.
    """
    if _ID.fullmatch(person_id) is None:
        raise InputError(
            f"'{person_id}' cannot be an id here: use up to {MAX_ID_LENGTH} letters, digits and . _ - @ +, "
            "such as jane-doe, beginning with a letter or digit"
        )


def find_person(folder: Path, person_id: str) -> PersonFolder:
    """The person with this id.

    Raises:
        InputError: no person has it, or the folder cannot be read.
    """
    for person in read_people(folder):
        if person.id == person_id:
            return person
    raise InputError(f"{folder}: no person has the id '{person_id}'; list them with  threshold enroll list {folder}")


def read_profile(folder: Path) -> PersonProfile:
    """The profile in a person's folder; an empty one if there is no file.

    Raises:
        InputError: it cannot be read or is malformed.
    """
    path = folder / PROFILE_FILE
    if not path.exists():
        return PersonProfile()
    try:
        profile = convert(load_toml(path), PersonProfile)
    except ConfigError as error:
        raise InputError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
    if profile.valid_from and profile.valid_until and profile.valid_until < profile.valid_from:
        raise InputError(f"{path}: valid_until ({profile.valid_until}) is before valid_from ({profile.valid_from})")
    return profile


def write_profile(folder: Path, profile: PersonProfile) -> None:
    """Replace the profile in a person's folder durably; fields with their default are left out."""
    import tomli_w  # imported here: a gallery can be made with the packages of a door

    fields = {name: value for name, value in msgspec.structs.asdict(profile).items() if value}
    atomic_write(folder / PROFILE_FILE, tomli_w.dumps(fields).encode(), private=True)


def new_photo(folder: Path, name: str, content: bytes) -> Path:
    """Store a photo (0600) in a person's folder under a name, with a number added if the name is taken."""
    stem, suffix = os.path.splitext(name)
    path, number = folder / name, 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    atomic_write(path, content, private=True)
    return path


def delete_folder(folder: Path) -> None:
    """Delete a person's folder: it is renamed first, so that no part of it is used while it is deleted.

    Raises:
        InputError: it is a symbolic link; its target is not deleted.
    """
    if folder.is_symlink():
        raise InputError(f"{folder}: a symbolic link to another folder; delete the link and the folder yourself")
    trash = Path(tempfile.mkdtemp(prefix=".removed-", dir=folder.parent))
    folder.rename(trash / folder.name)
    shutil.rmtree(trash)


def _read_person(folder: Path) -> PersonFolder:
    profile = read_profile(folder)
    photos = tuple(_pictures(folder.rglob("*"), SUFFIXES))
    person_id = profile.id or folder.name
    name = profile.name or person_id
    return PersonFolder(person_id, name, profile.groups, profile.valid_from, profile.valid_until, folder, photos)


def _person_folders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def _pictures(paths: Iterable[Path], suffixes: Set[str]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in suffixes and path.is_file())
