"""Command lines of `threshold enroll`."""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path

from edge.core.records import Box
from threshold_tools.enroll.review import ONE_STRANGER_IN

COMMANDS = ("add", "frames", "remove", "list", "review", "policy")


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


def gallery_parser(description: str) -> argparse.ArgumentParser:
    """Parser of the command line that makes a gallery."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
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


def command_parser(description: str) -> argparse.ArgumentParser:
    """Parser of the command lines that start with one of COMMANDS, which becomes `command` of the result."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="|".join(COMMANDS))

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
