#!/usr/bin/env python3
"""Enrol people from photos: PHOTOS/<person>/*.jpg to a gallery for the doors.

    enroll.py PHOTOS --out G            make the gallery of everybody in the folder PHOTOS
    enroll.py add PHOTOS ID PHOTO...    put photos into a person's folder, and say whether they can serve
    enroll.py frames PHOTOS CLIP ...    put faces cut from recorded footage there
    enroll.py remove PHOTOS ID          delete a person, or single photos
    enroll.py list PHOTOS               who is in the folder
    enroll.py review PHOTOS             what is wrong with it, without making a gallery
    enroll.py policy PHOTOS             access rules with everybody's groups and validity

The name of each folder is the person's id; a person.toml in it may say more (id, name, groups, valid_from,
valid_until). Every photo is looked at by the very models that run at a door; one that cannot serve is named with its
reason and left out, and the rest goes on: no face, several faces, too small, blurred, turned away, the same picture
twice, unlike the person's other photos, or like another person. Three to five sharp, frontal photos in different
light serve best; one will do. --sheet shows every face and what became of it.

What was seen is remembered in PHOTOS/.enrol-cache.sqlite, so that only new photos are looked at; keep that file as you
keep the photos, or delete it, or say --no-cache.

Each person's threshold_sq (a squared distance; lower is stricter) follows from the wish that at most one stranger in
so many is accepted by this whole gallery, and is tighter for people with a look-alike; tools/calibrate.py does better.
A new gallery has none of the thresholds that calibrate.py set: run it again, or keep them with --thresholds-from.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from threshold_tools.enroll.cli import FIRST_WORDS, commands, need_folders, tell, tell_review
from threshold_tools.enroll.gallery_builder import make_gallery, thresholds_of
from threshold_tools.enroll.photo_quality import ENROL_QUALITY
from threshold_tools.enroll.review import ONE_STRANGER_IN, review
from threshold_tools.outputs import need_gallery_name
from threshold_tools.photos import PhotoReader
from threshold_tools.thresholds import table_reach

from edge.core.cli_support import run_main


def enrol(
    folder: Path,
    out: Path,
    one_stranger_in: float,
    *,
    sheet: Path | None = None,
    remember: bool = True,
    thresholds_from: Path | None = None,
) -> None:
    """Write the gallery of everybody below `folder` who can be enrolled, and the contact sheet where asked for.

    Args:
        folder: people folder.
        out: gallery to write.
        one_stranger_in: accept at most one stranger in so many.
        sheet: contact sheet to write.
        remember: use and keep the cache beside the photos.
        thresholds_from: a gallery whose thresholds its people keep; None: set all of them from the embedder's table.

    Raises:
        InputError: no photos, no folder to write to, or nobody could be enrolled.
        GalleryError: `thresholds_from` cannot be used.
    """
    need_gallery_name(out)
    need_folders(out, sheet)
    reader = PhotoReader(ENROL_QUALITY)
    kept_sq = None if thresholds_from is None else thresholds_of(thresholds_from, reader.embedder_sha256)
    seen = review(folder, reader, one_stranger_in=one_stranger_in, remember=remember)
    tell_review(seen, folder, sheet)
    tell(make_gallery(seen, out, reader.embedder_sha256, kept_sq))
    if kept_sq:
        added = sum(person not in kept_sq for person in seen.kept)
        if added:
            tell(f"{added} new: how near strangers come to them is known after the next run of tools/calibrate.py")
        return
    reach = table_reach(reader.impostors, len(seen.kept))
    if one_stranger_in > reach * (1 + 1e-9):
        tell(
            f"warning: thresholds are set for one stranger in {reach:,.0f}; the embedder's table supports no more for "
            f"{len(seen.kept):,} people; for one in {one_stranger_in:,.0f} use tools/calibrate.py with --strangers"
        )


def _parser() -> argparse.ArgumentParser:
    """The command line that makes a gallery."""
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
        help="people in the gallery G0 keep their thresholds, as set by tools/calibrate.py; new people get the median",
    )
    parser.add_argument("--sheet", type=Path, metavar="OUT.html", help="write a contact sheet of every photo")
    parser.add_argument("--no-cache", action="store_true", help="neither use nor keep what was seen in photos")
    return parser


def main(words: Sequence[str] | None = None) -> None:
    """Parse the command line and act: a first word of FIRST_WORDS, or a folder (./add for one of such a name)."""
    words = sys.argv[1:] if words is None else words
    if words and words[0] in FIRST_WORDS:
        arguments = commands(__doc__ or "").parse_args(words)
        arguments.act(arguments)
        return
    parser = _parser()
    arguments = parser.parse_args(words)
    if not arguments.one_stranger_in >= 2:
        parser.error("--one-stranger-in must be at least 2")
    enrol(
        arguments.folder,
        arguments.out,
        arguments.one_stranger_in,
        sheet=arguments.sheet,
        remember=not arguments.no_cache,
        thresholds_from=arguments.thresholds_from,
    )


if __name__ == "__main__":
    run_main(main)
