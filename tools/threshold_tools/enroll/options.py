"""Command-line options of enrolment."""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path

from edge.core.records import Box
from threshold_tools.enroll.review import ONE_STRANGER_IN


def gallery_parser(description: str | None) -> argparse.ArgumentParser:
    """Parser of the command line that makes a gallery."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="PHOTOS", help="folder with one folder of photos per person")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="gallery to write (.safetensors)")
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
        metavar="FILE",
        help="keep the calibrated thresholds of the people in this gallery; new people get the median",
    )
    parser.add_argument("--sheet", type=Path, metavar="PAGE", help="write a contact sheet of every photo")
    parser.add_argument("--no-cache", action="store_true", help="do not use the cache of photos")
    return parser


def command_parser(description: str | None) -> argparse.ArgumentParser:
    """Parser of the subcommands; `command` of the result is the name."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, about: str) -> argparse.ArgumentParser:
        made = subparsers.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
        made.add_argument("folder", type=Path, metavar="PHOTOS", help="folder with one folder of photos per person")
        return made

    adding = command("add", "copy photos into a person's folder, created if missing")
    adding.add_argument("person", metavar="ID", help="id of the person")
    adding.add_argument(
        "photos", nargs="*", type=Path, metavar="PHOTO", help="without photos, only the profile is changed"
    )
    adding.add_argument("--replace", action="store_true", help="delete the person's present photos")
    adding.add_argument("--name", metavar="NAME", help="display name")
    adding.add_argument(
        "--group", action="append", default=[], metavar="GROUP", help="group in the access rules; repeatable"
    )
    adding.add_argument("--valid-from", type=_day, metavar="DAY", help="first day, such as 2026-01-01")
    adding.add_argument("--valid-until", type=_day, metavar="DAY", help="last day")
    cutting = command("frames", "put faces cut from recorded footage into a person's folder")
    cutting.add_argument("clip", type=Path, metavar="CLIP", help="video file")
    cutting.add_argument("--person", required=True, metavar="ID", help="id of the person")
    cutting.add_argument(
        "--at", type=_at, action="append", required=True, metavar="SECONDS", help="moment in the clip; repeatable"
    )
    cutting.add_argument("--box", type=_box, metavar="X,Y,W,H", help="face to cut, in px, if there are several")
    removing = command("remove", "delete a person with all photos, or single photos of theirs")
    removing.add_argument("person", metavar="ID", help="id of the person")
    removing.add_argument("--photo", action="append", default=[], metavar="FILE", help="only this photo; repeatable")
    listing = command("list", "list the people in the folder")
    listing.add_argument("--json", action="store_true", help="one JSON list of id, name, groups, validity, photos")
    reviewing = command("review", "report problems of the folder without making a gallery")
    reviewing.add_argument("--person", metavar="ID", help="report only this person")
    reviewing.add_argument("--sheet", type=Path, metavar="PAGE", help="write a contact sheet")
    ruling = command("policy", "write groups and validity of all people into the access rules")
    ruling.add_argument(
        "--rules", type=Path, required=True, metavar="FILE", help="access rules with schedules and doors (.toml)"
    )
    ruling.add_argument("--out", type=Path, required=True, metavar="FILE", help="access rules to publish (.toml)")
    for each in (adding, cutting, reviewing):
        each.add_argument("--no-cache", action="store_true", help="do not use the cache of photos")
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
