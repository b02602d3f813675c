"""Enrol people from photos: a folder of photos for each person becomes a gallery for the doors.

    threshold enroll PHOTOS --out FILE         make the gallery of all people in the folder PHOTOS
    threshold enroll add PHOTOS ID PHOTO...    copy photos into a person's folder and check them
    threshold enroll frames PHOTOS CLIP ...    cut faces from recorded footage into a person's folder
    threshold enroll remove PHOTOS ID          delete a person, or single photos
    threshold enroll list PHOTOS               list the people in the folder
    threshold enroll review PHOTOS             report problems of the folder without making a gallery
    threshold enroll policy PHOTOS             write groups and validity into the access rules

The name of each folder is the person's id. A file person.toml in it can set id, name, groups, valid_from and
valid_until. The models of a door check every photo. An unusable photo is reported with its reason and left out: no
face, several faces, too small, blurred, turned away, nearly identical to another photo, unlike the person's other
photos, or similar to another person. Three to five sharp, frontal photos in different light are best; one is enough.
--sheet shows every face with the result.

Results are cached in PHOTOS/.enrol-cache.sqlite, so that only new photos are processed. Protect that file like the
photos, delete it, or use --no-cache.

Each person's threshold_sq (a squared distance; lower is stricter) is set so that the whole gallery accepts at most one
stranger in N. It is stricter for people with a look-alike. threshold calibrate sets better thresholds. A new gallery
has no calibrated thresholds: calibrate again, or keep them with --thresholds-from.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge.core.cli_support import counted
from edge.core.errors import InputError
from edge.core.files import atomic_write, require_parent_dir
from edge.core.terminal import Style, Terminal
from threshold_tools.enroll.folder import PersonProfile, empty_folders, find_person, read_people
from threshold_tools.enroll.gallery_builder import make_gallery, need_gallery_name, thresholds_of
from threshold_tools.enroll.operations import Picture, add, cut_frame, read_pictures, remove
from threshold_tools.enroll.options import command_parser, gallery_parser
from threshold_tools.enroll.photo_quality import ENROL_QUALITY
from threshold_tools.enroll.review import NO_PHOTO, FolderReview, review
from threshold_tools.photos import PhotoSampler
from threshold_tools.thresholds import smallest_supported_rate

_NEXT = (
    "next: make the gallery again (if it was calibrated: calibrate again, or use --thresholds-from) and publish it "
    "to the doors"
)


def main(words: Sequence[str] | None = None) -> None:
    """Parse the command line and act: a subcommand, or a people folder (./add for a folder of that name).

    Raises:
        InputError: an input cannot be used, or no person can be enrolled.
    """
    words = sys.argv[1:] if words is None else words
    if words and words[0] in _ACTIONS:
        arguments = command_parser(__doc__).parse_args(words)
        _ACTIONS[arguments.command](arguments)
        return
    parser = gallery_parser(__doc__)
    arguments = parser.parse_args(words)
    if not arguments.one_stranger_in >= 2:
        parser.error("--one-stranger-in must be at least 2")
    _make_gallery(arguments)


def _make_gallery(arguments: argparse.Namespace) -> None:
    """Write the gallery of all people who can be enrolled, and the contact sheet if requested."""
    need_gallery_name(arguments.out)
    for output in (arguments.out, arguments.sheet):
        if output is not None:
            require_parent_dir(output)
    reader = PhotoSampler(ENROL_QUALITY)
    kept_from, target = arguments.thresholds_from, arguments.one_stranger_in
    kept_sq = None if kept_from is None else thresholds_of(kept_from, reader.embedder_sha256)
    reviewed = review(arguments.folder, reader, one_stranger_in=target, use_cache=not arguments.no_cache)
    _print_review(reviewed, arguments.folder, arguments.sheet)
    _print(make_gallery(reviewed, arguments.out, reader.embedder_sha256, kept_sq), Style.GOOD)
    if kept_sq:
        added = sum(person not in kept_sq for person in reviewed.kept)
        if added:
            people = counted(added, "new person", "new people")
            _print(f"{people}: the next  threshold calibrate  measures how similar strangers look to them")
        return
    supported = 1 / smallest_supported_rate(reader.impostors, len(reviewed.kept))
    people = counted(len(reviewed.kept), "person", "people")
    if target > supported * (1 + 1e-9):
        _print(
            f"warning: thresholds are set for one stranger in {supported:,.0f}, the most that the embedder's table "
            f"supports for {people}; for one in {target:,.0f} use  threshold calibrate --strangers",
            Style.WARNING,
        )


def _print(text: str, style: Style = Style.PLAIN) -> None:
    """Print a line to standard error."""
    terminal = Terminal(sys.stderr)
    terminal.print(terminal.styled(text, style))


def _print_review(reviewed: FolderReview, folder: Path, sheet: Path | None) -> None:
    """Print every rejection and how many photos were processed, and write the contact sheet if requested."""
    for line in reviewed.lines():
        _print(line, Style.WARNING)
    if reviewed.cache_problem:
        _print(f"cache: {reviewed.cache_problem}", Style.WARNING)
    _print(f"{folder}: {counted(reviewed.embedded, 'photo')} processed, {reviewed.cached:,} from the cache")
    if sheet is not None:
        from threshold_tools.enroll.sheet import contact_sheet  # needs jinja2, a gallery does not
        from threshold_tools.reports.page import write_page

        write_page(sheet, contact_sheet(reviewed, f"Enrolment of {folder.resolve().name}"))


def _review_one(folder: Path, person_id: str, reader: PhotoSampler, use_cache: bool) -> None:
    """Review the whole folder and print the result for one person."""
    reviewed = review(folder, reader, use_cache=use_cache)
    person = next(each for each in reviewed.people if each.id == person_id)
    for line in reviewed.lines_of(person):
        _print(line, Style.WARNING)
    kept = len(reviewed.kept.get(person_id, []))
    _print(f"{person_id}: {kept} of {counted(len(person.photos), 'photo')} usable; {_NEXT}")


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
        raise InputError("--replace: name the new photos, too")
    _store(arguments, pictures, profile, reader, replace=arguments.replace)


def _frames(arguments: argparse.Namespace) -> None:
    if arguments.box and len(arguments.at) > 1:
        raise InputError("--box: give exactly one --at with it, because the box marks a face in one frame")
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
        _print(f"{line}; not added", Style.WARNING)
    _review_one(arguments.folder, arguments.person, reader, not arguments.no_cache)


def _remove(arguments: argparse.Namespace) -> None:
    deleted = remove(arguments.folder, arguments.person, arguments.photo)
    photos = counted(len(deleted), "photo")
    what = photos if arguments.photo else f"the person and {photos}"
    _print(f"{arguments.person}: {what} deleted; {_NEXT}")


def _list(arguments: argparse.Namespace) -> None:
    people = read_people(arguments.folder)
    for empty in empty_folders(arguments.folder):
        _print(f"{empty}: {NO_PHOTO}", Style.WARNING)
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
    people = counted(len(reviewed.people), "person", "people")
    _print(f"{len(reviewed.kept)} of {people} can be enrolled, from {counted(photos, 'photo')}")


_ACTIONS = {"add": _add, "frames": _frames, "remove": _remove, "list": _list, "review": _review, "policy": _policy}
