"""The people folder: one folder of photos per person, and in it, if need be, a `person.toml`.

id = "anna"                 # what rules and machines use; the folder's name unless it says otherwise
name = "Anna Schmidt"       # what people read; the id unless it says otherwise
groups = ["staff", "lab"]   # for the access rules
valid_from = 2026-01-01     # whole days, both included; absent: without limit
valid_until = 2026-12-31
"""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from edge.core.errors import InputError
from edge.core.files import atomic_write
from threshold_tools.photos import SUFFIXES

_UNREAD = frozenset({".heic", ".heif", ".avif", ".tif", ".tiff", ".gif", ".dng"})
PROFILE_FILE = "person.toml"
MAX_ID_LENGTH = 64  # characters
_ID = re.compile(rf"[^\W_][\w.@+-]{{0,{MAX_ID_LENGTH - 1}}}")
_PLAIN = r"^[^\x00-\x1f\x7f]+$"  # no tabs and line breaks: galleries and tables are cut at them
Text = Annotated[str, msgspec.Meta(pattern=_PLAIN, max_length=200)]


class PersonProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `person.toml` says; see the module's own words for each field."""

    id: Text | None = None
    name: Text | None = None
    groups: tuple[Text, ...] = ()
    valid_from: datetime.date | None = None
    valid_until: datetime.date | None = None


@dataclass(frozen=True, slots=True)
class PersonFolder:
    """One person of a people folder, enrolled or not.

    Attributes:
        id, name, groups, valid_from, valid_until: as `person.toml` and the folder's name say.
        folder: where the photos are.
        photos: all image files in it, at any depth, sorted.
    """

    id: str
    name: str
    groups: tuple[str, ...]
    valid_from: datetime.date | None
    valid_until: datetime.date | None
    folder: Path
    photos: tuple[Path, ...]


def read_people(folder: Path) -> list[PersonFolder]:
    """Everybody in a people folder, by the folder's name; hidden folders and ones without photo or card are nobody.

    Raises:
        InputError: no such folder, a malformed card, or one id twice.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    own = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    members = [_read_person(each) for each in own]
    taken: dict[str, Path] = {}
    for member in members:
        if member.id in taken:
            raise InputError(
                f"{member.folder}: the id '{member.id}' belongs to {taken[member.id]}; give one of them another"
            )
        taken[member.id] = member.folder
    return [member for member in members if member.photos or (member.folder / PROFILE_FILE).is_file()]


def empty_folders(folder: Path) -> list[Path]:
    """Folders of people in which there is nothing to enrol anybody with, not even in another format; sorted."""
    return sorted(
        each
        for each in folder.iterdir()
        if each.is_dir()
        and not each.name.startswith(".")
        and not any(path.suffix.lower() in SUFFIXES | _UNREAD and path.is_file() for path in each.rglob("*"))
    )


def loose_files(folder: Path) -> list[Path]:
    """Photos that lie beside the folders of people, so belong to nobody; sorted."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())


def unreadable_files(folder: Path) -> list[Path]:
    """Pictures in formats that are not read, as phones and cameras make them; sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _UNREAD and path.is_file())


def check_person_id(person: str) -> None:
    """Check the id of a new person: it names a folder, is typed into access rules and read in events.

    Raises:
        InputError: it holds anything but letters, digits and . _ - @ +, does not begin with a letter or digit, or has
            more than 64 characters.
    """
    if _ID.fullmatch(person) is None:
        raise InputError(
            f"'{person}' cannot be an id here: use up to {MAX_ID_LENGTH} letters, digits and . _ - @ +, "
            "such as jane-doe, beginning with a letter or digit"
        )


def find_person(folder: Path, person: str) -> PersonFolder:
    """The person with this id.

    Raises:
        InputError: nobody has it, or the folder cannot be read.
    """
    for member in read_people(folder):
        if member.id == person:
            return member
    raise InputError(f"{folder}: nobody has the id '{person}'; see  tools/enroll.py list {folder}")


def read_profile(folder: Path) -> PersonProfile:
    """The card of one person's folder; an empty one where there is no file.

    Raises:
        InputError: it cannot be read or is malformed.
    """
    path = folder / PROFILE_FILE
    try:
        card = msgspec.convert(tomllib.loads(path.read_bytes().decode()), PersonProfile)
    except FileNotFoundError:
        return PersonProfile()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {error}; known are {', '.join(PersonProfile.__struct_fields__)}") from error
    except (ValueError, RecursionError) as error:  # ValueError: not TOML, not UTF-8, or thousands of digits
        raise InputError(f"{path}: not valid TOML ({error})") from error
    if card.valid_from and card.valid_until and card.valid_until < card.valid_from:
        raise InputError(f"{path}: valid_until ({card.valid_until}) is before valid_from ({card.valid_from})")
    return card


def write_profile(folder: Path, card: PersonProfile) -> None:
    """Replace the card of one person's folder durably; only what differs from the default is written."""
    lines = []
    for field in ("id", "name"):
        if getattr(card, field) is not None:
            lines.append(f"{field} = {_quoted(getattr(card, field))}")
    if card.groups:
        lines.append(f"groups = [{', '.join(_quoted(group) for group in card.groups)}]")
    for field in ("valid_from", "valid_until"):
        if getattr(card, field) is not None:
            lines.append(f"{field} = {getattr(card, field).isoformat()}")
    atomic_write(folder / PROFILE_FILE, "".join(f"{line}\n" for line in lines).encode(), private=True)


def new_photo(folder: Path, wanted: str, content: bytes) -> Path:
    """Store a photo (0600) in a person's folder under the wanted name, with a number added if that is taken."""
    stem, suffix = os.path.splitext(wanted)
    path, number = folder / wanted, 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    atomic_write(path, content, private=True)
    return path


def delete_folder(folder: Path) -> None:
    """Delete a person's folder: gone from its name at once, then from the disk.

    Raises:
        InputError: it is a link, whose target is not ours to delete.
    """
    if folder.is_symlink():
        raise InputError(f"{folder}: a link to another folder; delete the link and the folder by hand")
    grave = Path(tempfile.mkdtemp(prefix=".removed-", dir=folder.parent))
    folder.rename(grave / folder.name)
    shutil.rmtree(grave)


def _read_person(folder: Path) -> PersonFolder:
    card = read_profile(folder)
    photos = tuple(sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()))
    person = card.id or folder.name
    return PersonFolder(person, card.name or person, card.groups, card.valid_from, card.valid_until, folder, photos)


def _quoted(text: str) -> str:
    """A TOML basic string; JSON's escapes are a part of TOML's, control characters are refused before."""
    return json.dumps(text, ensure_ascii=False)


def to_rows(members: Sequence[PersonFolder]) -> list[dict[str, object]]:
    """Members as plain records for JSON, for programs that join people and access rules."""
    return [
        {
            "id": member.id,
            "name": member.name,
            "groups": list(member.groups),
            "valid_from": member.valid_from,
            "valid_until": member.valid_until,
            "photos": len(member.photos),
        }
        for member in members
    ]
