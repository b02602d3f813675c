"""The words that tools/enroll.py understands beside making a gallery, and what it tells."""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
from tqdm import tqdm

from edge.core.errors import InputError
from edge.core.files import atomic_write
from edge.core.records import Box
from threshold_tools.enroll.contact_sheet import contact_sheet
from threshold_tools.enroll.folder import PersonProfile, find_member, read_members, to_rows, vacant
from threshold_tools.enroll.operations import add, cut_frame, read_pictures, remove
from threshold_tools.enroll.photo_quality import ENROL_QUALITY
from threshold_tools.enroll.review import NO_PHOTO, FolderReview, review
from threshold_tools.photos import PhotoReader

_NEXT = (
    "now make the gallery again (after tools/calibrate.py: calibrate again, or use --thresholds-from) and publish it, "
    "so that the doors follow"
)
FIRST_WORDS = ("add", "frames", "remove", "list", "review", "policy")


def tell(text: str) -> None:
    """A line to the user that leaves a progress bar whole."""
    tqdm.write(text, file=sys.stderr)


def tell_review(seen: FolderReview, folder: Path, sheet: Path | None) -> None:
    """Every finding, how much was looked at, and the contact sheet where one is asked for."""
    for line in seen.lines():
        tell(line)
    if seen.trouble:
        tell(f"cache: {seen.trouble}")
    tell(f"{folder}: {seen.embedded} photos looked at, {seen.remembered} known from before")
    if sheet is not None:
        atomic_write(sheet, contact_sheet(seen, f"Enrolment of {folder.resolve().name}").encode(), private=True)
        tell(f"{sheet}: contact sheet")


def need_folders(*files: Path | None) -> None:
    """Refuse a file to write whose folder is not there, before the long work."""
    for file in files:
        if file is not None and not file.resolve().parent.is_dir():
            raise InputError(f"{file.parent}: no such folder")


def _review_one(folder: Path, person: str, reader: PhotoReader, remember: bool) -> None:
    """How a person stands after a change, among everybody else."""
    seen = review(folder, reader, remember=remember)
    member = next(each for each in seen.members if each.id == person)
    for line in seen.lines_of(member):
        tell(line)
    kept = len(seen.kept.get(person, []))
    tell(f"{person}: {kept} of {len(member.photos)} photos can serve; {_NEXT}")


def _add(arguments: argparse.Namespace) -> None:
    reader = PhotoReader(ENROL_QUALITY)
    card = PersonProfile(
        name=arguments.name,
        groups=tuple(arguments.group),
        valid_from=arguments.valid_from,
        valid_until=arguments.valid_until,
    )
    pictures = read_pictures(arguments.photos)
    if arguments.replace and not pictures:
        raise InputError("--replace needs the new photos")
    _, refused = add(arguments.folder, arguments.person, pictures, card, reader, replace=arguments.replace)
    for line in refused:
        tell(f"{line}; not added")
    _review_one(arguments.folder, arguments.person, reader, not arguments.no_cache)


def _frames(arguments: argparse.Namespace) -> None:
    if arguments.box and len(arguments.at) > 1:
        raise InputError("--box marks a face in one frame: give one --at with it")
    reader = PhotoReader(ENROL_QUALITY)
    pictures = [cut_frame(arguments.clip, at_s, arguments.box, reader) for at_s in arguments.at]
    _, refused = add(arguments.folder, arguments.person, pictures, PersonProfile(), reader, replace=False)
    for line in refused:
        tell(f"{line}; not added")
    _review_one(arguments.folder, arguments.person, reader, not arguments.no_cache)


def _remove(arguments: argparse.Namespace) -> None:
    gone = remove(arguments.folder, arguments.person, arguments.photo)
    what = f"{len(gone)} photos" if arguments.photo else f"the person and {len(gone)} photos"
    tell(f"{arguments.person}: {what} deleted; {_NEXT}")


def _list(arguments: argparse.Namespace) -> None:
    members = read_members(arguments.folder)
    for empty in vacant(arguments.folder):
        tell(f"{empty}: {NO_PHOTO}")
    if arguments.json:
        print(msgspec.json.encode(to_rows(members)).decode())
        return
    for member in members:
        name = member.name if member.name != member.id else ""
        days = (
            f"{member.valid_from or ''}..{member.valid_until or ''}" if member.valid_from or member.valid_until else ""
        )
        print(
            f"{member.id:<24} {len(member.photos):>3} photos  {name:<24} {','.join(member.groups):<20} {days}".rstrip()
        )


def _policy(arguments: argparse.Namespace) -> None:
    from threshold_tools.enroll.policy_export import merged_policy

    need_folders(arguments.out)
    members = read_members(arguments.folder)
    atomic_write(arguments.out, merged_policy(arguments.rules, members))
    grouped = sum(bool(member.groups) for member in members)
    tell(f"{arguments.out}: the rules of {arguments.rules} with {grouped} people in their groups")


def _review(arguments: argparse.Namespace) -> None:
    need_folders(arguments.sheet)
    if arguments.person:
        find_member(arguments.folder, arguments.person)
        _review_one(arguments.folder, arguments.person, PhotoReader(ENROL_QUALITY), not arguments.no_cache)
        return
    seen = review(arguments.folder, PhotoReader(ENROL_QUALITY), remember=not arguments.no_cache)
    tell_review(seen, arguments.folder, arguments.sheet)
    photos = sum(len(photos) for photos in seen.kept.values())
    tell(f"{len(seen.kept)} of {len(seen.members)} people can be enrolled from {photos} photos")


def _box(text: str) -> Box:
    """x,y,w,h in pixels."""
    x, y, width, height = (float(part) for part in text.split(","))
    if not (width > 0 and height > 0):
        raise ValueError("an empty box")
    return Box(x, y, x + width, y + height)


def _day(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)


def _at(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise ValueError("not a time")
    return seconds


_box.__name__, _day.__name__, _at.__name__ = "box (x,y,width,height in px)", "day (2026-12-31)", "time in seconds"


def commands(description: str) -> argparse.ArgumentParser:
    """The command line that starts with one of FIRST_WORDS."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = parser.add_subparsers(required=True, metavar="|".join(FIRST_WORDS))

    def word(name: str, act: Callable[[argparse.Namespace], None], about: str) -> argparse.ArgumentParser:
        made = words.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
        made.add_argument("folder", type=Path, metavar="PHOTOS", help="folder with one folder of photos per person")
        made.set_defaults(act=act)
        return made

    adding = word("add", _add, "put photos into a person's folder, made if need be; with --replace, enrol them anew")
    adding.add_argument("person", metavar="ID")
    adding.add_argument("photos", nargs="*", type=Path, metavar="PHOTO", help="none: only change the card")
    adding.add_argument("--replace", action="store_true", help="delete the photos that were there")
    adding.add_argument("--name", metavar="NAME", help="what people read")
    adding.add_argument(
        "--group", action="append", default=[], metavar="GROUP", help="for the access rules; repeatable"
    )
    adding.add_argument("--valid-from", type=_day, metavar="DAY", help="first day, such as 2026-01-01")
    adding.add_argument("--valid-until", type=_day, metavar="DAY", help="last day")
    cutting = word("frames", _frames, "put faces cut from recorded footage into a person's folder")
    cutting.add_argument("clip", type=Path, metavar="CLIP")
    cutting.add_argument("--person", required=True, metavar="ID")
    cutting.add_argument("--at", type=_at, action="append", required=True, metavar="S", help="seconds; repeatable")
    cutting.add_argument("--box", type=_box, metavar="X,Y,W,H", help="which face, in px, where there are several")
    removing = word("remove", _remove, "delete a person with all photos, or single photos of theirs")
    removing.add_argument("person", metavar="ID")
    removing.add_argument("--photo", action="append", default=[], metavar="FILE", help="only this photo; repeatable")
    listing = word("list", _list, "who is in the folder")
    listing.add_argument("--json", action="store_true", help="one JSON list of id, name, groups, validity, photos")
    reviewing = word("review", _review, "what is wrong with the folder, without making a gallery")
    reviewing.add_argument("--person", metavar="ID", help="only what concerns this one")
    reviewing.add_argument("--sheet", type=Path, metavar="OUT.html", help="write a contact sheet")
    ruling = word("policy", _policy, "enter everybody's groups and validity into the access rules")
    ruling.add_argument("--rules", type=Path, required=True, metavar="P.toml", help="schedules and doors")
    ruling.add_argument("--out", type=Path, required=True, metavar="OUT.toml", help="the policy to publish")
    for each in (adding, cutting, reviewing):
        each.add_argument("--no-cache", action="store_true", help="neither use nor keep what was seen in photos")
    return parser
