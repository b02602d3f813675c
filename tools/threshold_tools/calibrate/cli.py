"""Set a gallery's thresholds for a target rate: "at most one stranger in 10,000 attempts opens a door".

Strangers are people who are not enrolled: a folder with one folder of photos each, or an .npz of threshold embed. The
tail of their distances to this very gallery is fitted (peaks over threshold, generalised Pareto) and the threshold is
read off it; people to whom strangers come near, and people with a look-alike in the gallery, get a stricter one.
Without strangers the table that ships with the embedder is used.

A target that the data cannot support is rejected: a fitted tail is trusted for one decade beyond the data, so a target
of one in N takes N / 10 strangers, and never fewer than 100.

The rate is for one photo, by the nearest person and their threshold, and for strangers and cameras like those of the
photos. A door asks more of a visitor (several samples that agree, and a runner-up that is clearly farther), but a
visitor who walks up gives many samples, and each is a try: an outside review measured about one stranger in 500 for a
target of one in 1,000. threshold_sq is a squared distance, 0 to 4: lower is stricter.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from threshold_tools.calibrate.calibration import calibrate
from threshold_tools.calibrate.report import format_report


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and calibrate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gallery", type=Path, required=True, metavar="G", help="gallery of threshold enroll")
    parser.add_argument(
        "--strangers",
        type=Path,
        metavar="S",
        help="people who are not enrolled: folder with one folder of photos each, or .npz of threshold embed",
    )
    parser.add_argument(
        "--genuine",
        type=Path,
        metavar="D",
        help="photos of enrolled people that they were not enrolled with, in folders named by id, or such an .npz",
    )
    parser.add_argument(
        "--one-stranger-in", type=float, required=True, metavar="N", help="target: accept at most one attempt in N"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="G2", help="gallery to write")
    parser.add_argument("--plot", type=Path, metavar="P.png", help="draw the distances, the tail and the threshold")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    arguments = parser.parse_args(argv)
    if not 2 <= arguments.one_stranger_in < math.inf:
        parser.error("--one-stranger-in must be at least 2")
    if arguments.plot and not arguments.strangers:
        parser.error("--plot shows the strangers: give --strangers")
    report = calibrate(
        arguments.gallery,
        arguments.out,
        arguments.one_stranger_in,
        strangers_path=arguments.strangers,
        genuine_path=arguments.genuine,
        plot=arguments.plot,
    )
    print(msgspec.json.encode(report).decode() if arguments.json else format_report(report, arguments.out))
