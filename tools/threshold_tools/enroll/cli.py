"""Enrol people from photos: PHOTOS/<person>/*.jpg to a gallery for the doors.

    threshold enroll PHOTOS --out G            make the gallery of everybody in the folder PHOTOS
    threshold enroll add PHOTOS ID PHOTO...    copy photos into a person's folder and say which are usable
    threshold enroll frames PHOTOS CLIP ...    cut faces from recorded footage into a person's folder
    threshold enroll remove PHOTOS ID          delete a person, or single photos
    threshold enroll list PHOTOS               list the people in the folder
    threshold enroll review PHOTOS             report problems of the folder without making a gallery
    threshold enroll policy PHOTOS             access rules with everybody's groups and validity

The name of each folder is the person's id; a person.toml in it may say more (id, name, groups, valid_from,
valid_until). Every photo is assessed by the models that run at a door; an unusable photo is reported with its reason
and left out: no face, several faces, too small, blurred, turned away, the same picture twice, unlike the person's other
photos, or like another person. Three to five sharp, frontal photos in different light are best; one is enough. --sheet
shows every face and what became of it.

Results are cached in PHOTOS/.enrol-cache.sqlite, so that only new photos are embedded; protect that file as you protect
the photos, or delete it, or use --no-cache.

Each person's threshold_sq (a squared distance; lower is stricter) is set so that at most one stranger in N is accepted
by this whole gallery, and is stricter for people with a look-alike; threshold calibrate does better. A new gallery has
none of the thresholds that calibration set: calibrate again, or keep them with --thresholds-from.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge.core.errors import InputError
from edge.core.files import atomic_write, require_parent_dir
from edge.core.records import Box
from threshold_tools.enroll.folder import PersonProfile, empty_folders, find_person, read_people
from threshold_tools.enroll.gallery_builder import make_gallery, need_gallery_name, thresholds_of
from threshold_tools.enroll.operations import Picture, add, cut_frame, read_pictures, remove
from threshold_tools.enroll.photo_quality import ENROL_QUALITY
from threshold_tools.enroll.review import NO_PHOTO, ONE_STRANGER_IN, FolderReview, review
from threshold_tools.photos import PhotoSampler
from threshold_tools.reports.document import count
from threshold_tools.thresholds import smallest_supported_rate

_NEXT = (
    "next: make the gallery again (if it was calibrated: calibrate again, or use --thresholds-from) and publish it "
    "to the doors"
)


def main(words: Sequence[str] | None = None) -> None:
    """Parse the command line and act: a subcommand, or a people folder (./add for one of such a name).

    Raises:
        InputError: something given cannot be used, or nobody can be enrolled.
    """
    words = sys.argv[1:] if words is None else words
    if words and words[0] in _ACTIONS:
        arguments = _command_parser().parse_args(words)
        _ACTIONS[arguments.command](arguments)
        return
    parser = _gallery_parser()
    arguments = parser.parse_args(words)
    if not arguments.one_stranger_in >= 2:
        parser.error("--one-stranger-in must be at least 2")
    _make_gallery(arguments)


def _gallery_parser() -> argparse.ArgumentParser:
    """Parser of the command line that makes a gallery."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="PHOTOS", help="folder with one folder of photos per person")
    parser.add_argument("--out", type=Path, required=True, metavar="G", help="gallery to write (.safetensors)")
    parser.add_argument(
        "--one-stranger-in",
        type=float,
        default=ONE_STRANGER_IN,
        metavar="N",
        help="accept at most one stranger in N, whatever the gallery's size (default: %(default)g)",
    )
    parser.add_argument(
        "--thresholds-from",
        type=Path,
        metavar="G0",
        help="people in the gallery G0 keep their calibrated thresholds; new people get the median",
    )
    parser.add_argument("--sheet", type=Path, metavar="OUT.html", help="write a contact sheet of every photo")
    parser.add_argument("--no-cache", action="store_true", help="neither read nor write the cache of photos")
    return parser


def _command_parser() -> argparse.ArgumentParser:
    """Parser of the command lines that start with one of _ACTIONS, which becomes `command` of the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="|".join(_ACTIONS))

    def command(name: str, about: str) -> argparse.ArgumentParser:
        made = subparsers.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
        made.add_argument("folder", type=Path, metavar="PHOTOS", help="folder with one folder of photos per person")
        return made

    adding = command("add", "copy photos into a person's folder, created if missing")
    adding.add_argument("person", metavar="ID")
    adding.add_argument("photos", nargs="*", type=Path, metavar="PHOTO", help="none: only change the profile")
    adding.add_argument("--replace", action="store_true", help="delete the photos that were there")
    adding.add_argument("--name", metavar="NAME", help="display name")
    adding.add_argument(
        "--group", action="append", default=[], metavar="GROUP", help="for the access rules; repeatable"
    )
    adding.add_argument("--valid-from", type=_day, metavar="DAY", help="first day, such as 2026-01-01")
    adding.add_argument("--valid-until", type=_day, metavar="DAY", help="last day")
    cutting = command("frames", "put faces cut from recorded footage into a person's folder")
    cutting.add_argument("clip", type=Path, metavar="CLIP")
    cutting.add_argument("--person", required=True, metavar="ID")
    cutting.add_argument("--at", type=_at, action="append", required=True, metavar="S", help="seconds; repeatable")
    cutting.add_argument("--box", type=_box, metavar="X,Y,W,H", help="which face, in px, where there are several")
    removing = command("remove", "delete a person with all photos, or single photos of theirs")
    removing.add_argument("person", metavar="ID")
    removing.add_argument("--photo", action="append", default=[], metavar="FILE", help="only this photo; repeatable")
    listing = command("list", "list the people in the folder")
    listing.add_argument("--json", action="store_true", help="one JSON list of id, name, groups, validity, photos")
    reviewing = command("review", "report problems of the folder without making a gallery")
    reviewing.add_argument("--person", metavar="ID", help="only what concerns this one")
    reviewing.add_argument("--sheet", type=Path, metavar="OUT.html", help="write a contact sheet")
    ruling = command("policy", "enter everybody's groups and validity into the access rules")
    ruling.add_argument("--rules", type=Path, required=True, metavar="P.toml", help="schedules and doors")
    ruling.add_argument("--out", type=Path, required=True, metavar="OUT.toml", help="the policy to publish")
    for each in (adding, cutting, reviewing):
        each.add_argument("--no-cache", action="store_true", help="neither read nor write the cache of photos")
    return parser


def _box(text: str) -> Box:
    """Parse x,y,w,h in pixels."""
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


def _make_gallery(arguments: argparse.Namespace) -> None:
    """Write the gallery of everybody who can be enrolled, and the contact sheet if one is asked for."""
    need_gallery_name(arguments.out)
    for output in (arguments.out, arguments.sheet):
        if output is not None:
            require_parent_dir(output)
    reader = PhotoSampler(ENROL_QUALITY)
    kept_from, target = arguments.thresholds_from, arguments.one_stranger_in
    kept_sq = None if kept_from is None else thresholds_of(kept_from, reader.embedder_sha256)
    reviewed = review(arguments.folder, reader, one_stranger_in=target, use_cache=not arguments.no_cache)
    _print_review(reviewed, arguments.folder, arguments.sheet)
    _print(make_gallery(reviewed, arguments.out, reader.embedder_sha256, kept_sq))
    if kept_sq:
        added = sum(person not in kept_sq for person in reviewed.kept)
        if added:
            people = count(added, "new person", "new people")
            _print(f"{people}: the next  threshold calibrate  measures how similar strangers look to them")
        return
    supported = 1 / smallest_supported_rate(reader.impostors, len(reviewed.kept))
    people = count(len(reviewed.kept), "person", "people")
    if target > supported * (1 + 1e-9):
        _print(
            f"warning: thresholds are set for one stranger in {supported:,.0f}, the most that the embedder's table "
            f"supports for {people}; for one in {target:,.0f} use  threshold calibrate --strangers"
        )


def _print(text: str) -> None:
    """Print a line to standard error."""
    print(text, file=sys.stderr)


def _print_review(reviewed: FolderReview, folder: Path, sheet: Path | None) -> None:
    """Print every rejection and how many photos were embedded, and write the contact sheet if one is asked for."""
    for line in reviewed.lines():
        _print(line)
    if reviewed.cache_problem:
        _print(f"cache: {reviewed.cache_problem}")
    _print(f"{folder}: {count(reviewed.embedded, 'photo')} processed, {reviewed.cached:,} from the cache")
    if sheet is not None:
        from threshold_tools.enroll.sheet import contact_sheet  # needs jinja2, a gallery does not
        from threshold_tools.reports.page import write_page

        write_page(sheet, contact_sheet(reviewed, f"Enrolment of {folder.resolve().name}"))


def _review_one(folder: Path, person_id: str, reader: PhotoSampler, use_cache: bool) -> None:
    """Print what the review of the whole folder says about one person."""
    reviewed = review(folder, reader, use_cache=use_cache)
    person = next(each for each in reviewed.people if each.id == person_id)
    for line in reviewed.lines_of(person):
        _print(line)
    kept = len(reviewed.kept.get(person_id, []))
    _print(f"{person_id}: {kept} of {count(len(person.photos), 'photo')} usable; {_NEXT}")


def _add(arguments: argparse.Namespace) -> None:
    reader = PhotoSampler(ENROL_QUALITY)
    profile = PersonProfile(
        name=arguments.name,
        groups=tuple(arguments.group),
        valid_from=arguments.valid_from,
        valid_until=arguments.valid_until,
    )
    pictures = read_pictures(arguments.photos)
    if arguments.replace and not pictures:
        raise InputError("--replace needs the new photos")
    _store(arguments, pictures, profile, reader, replace=arguments.replace)


def _frames(arguments: argparse.Namespace) -> None:
    if arguments.box and len(arguments.at) > 1:
        raise InputError("--box marks a face in one frame: give one --at with it")
    reader = PhotoSampler(ENROL_QUALITY)
    pictures = [cut_frame(arguments.clip, at_s, arguments.box, reader) for at_s in arguments.at]
    _store(arguments, pictures, PersonProfile(), reader, replace=False)


def _store(
    arguments: argparse.Namespace,
    pictures: Sequence[Picture],
    profile: PersonProfile,
    reader: PhotoSampler,
    *,
    replace: bool,
) -> None:
    _, refused = add(arguments.folder, arguments.person, pictures, profile, reader, replace=replace)
    for line in refused:
        _print(f"{line}; not added")
    _review_one(arguments.folder, arguments.person, reader, not arguments.no_cache)


def _remove(arguments: argparse.Namespace) -> None:
    deleted = remove(arguments.folder, arguments.person, arguments.photo)
    photos = count(len(deleted), "photo")
    what = photos if arguments.photo else f"the person and {photos}"
    _print(f"{arguments.person}: {what} deleted; {_NEXT}")


def _list(arguments: argparse.Namespace) -> None:
    people = read_people(arguments.folder)
    for empty in empty_folders(arguments.folder):
        _print(f"{empty}: {NO_PHOTO}")
    if arguments.json:
        fields = ("id", "name", "groups", "valid_from", "valid_until")
        rows = [{name: getattr(each, name) for name in fields} | {"photos": len(each.photos)} for each in people]
        print(msgspec.json.encode(rows).decode())
        return
    for person in people:
        name = person.name if person.name != person.id else ""
        limited = person.valid_from or person.valid_until
        days = f"{person.valid_from or ''}..{person.valid_until or ''}" if limited else ""
        print(
            f"{person.id:<24} {len(person.photos):>3} photos  {name:<24} {','.join(person.groups):<20} {days}".rstrip()
        )


def _policy(arguments: argparse.Namespace) -> None:
    from threshold_tools.enroll.policy_export import merged_policy  # needs tomli-w, a gallery does not

    require_parent_dir(arguments.out)
    people = read_people(arguments.folder)
    atomic_write(arguments.out, merged_policy(arguments.rules, people))
    grouped = sum(bool(person.groups) for person in people)
    _print(f"{arguments.out}: the rules of {arguments.rules} with {grouped} people in their groups")


def _review(arguments: argparse.Namespace) -> None:
    if arguments.sheet is not None:
        require_parent_dir(arguments.sheet)
    if arguments.person:
        find_person(arguments.folder, arguments.person)
        _review_one(arguments.folder, arguments.person, PhotoSampler(ENROL_QUALITY), not arguments.no_cache)
        return
    reviewed = review(arguments.folder, PhotoSampler(ENROL_QUALITY), use_cache=not arguments.no_cache)
    _print_review(reviewed, arguments.folder, arguments.sheet)
    photos = sum(len(photos) for photos in reviewed.kept.values())
    people = count(len(reviewed.people), "person", "people")
    _print(f"{len(reviewed.kept)} of {people} can be enrolled, from {count(photos, 'photo')}")


_ACTIONS = {"add": _add, "frames": _frames, "remove": _remove, "list": _list, "review": _review, "policy": _policy}
