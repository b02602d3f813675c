"""Set a gallery's thresholds for a target rate: "at most one stranger in 10,000 attempts opens a door".

Strangers are people who are not enrolled: a folder with one folder of photos for each, or an .npz file of threshold
embed. The tail of their distances to this gallery is fitted (peaks over threshold, generalised Pareto), and the
threshold is read from the fit. People to whom strangers look similar, and people with a look-alike in the gallery, get
a stricter threshold. Without strangers, the table that ships with the embedder is used.

A target that the data cannot support is rejected: a fitted tail is trusted for one decade beyond the data, so a target
of one in N needs N / 10 strangers, and at least 100.

Each rate is for one photo, compared with the nearest person, and holds for strangers and cameras like those of the
photos. A door is stricter: several samples must agree, and the second-nearest person must be clearly farther. But each
visitor gives many samples: an external review measured about one stranger in 500 for a target of one in 1,000.
threshold_sq is a squared distance, 0 to 4: lower is stricter.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from threshold_tools.calibrate.calibration import calibrate
from threshold_tools.calibrate.report import document
from threshold_tools.reports.terminal import show


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and calibrate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--gallery", type=Path, required=True, metavar="GALLERY", help="gallery made by threshold enroll"
    )
    parser.add_argument(
        "--strangers",
        type=Path,
        metavar="FOLDER",
        help="people who are not enrolled: one folder of photos each, or an .npz file of threshold embed",
    )
    parser.add_argument(
        "--genuine",
        type=Path,
        metavar="FOLDER",
        help="other photos of enrolled people, in folders named by id, or an .npz file",
    )
    parser.add_argument(
        "--one-stranger-in", type=float, required=True, metavar="N", help="target: accept at most one attempt in N"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="gallery to write")
    parser.add_argument("--html", type=Path, metavar="PAGE", help="write a page with the rates and plots")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    arguments = parser.parse_args(argv)
    if not 2 <= arguments.one_stranger_in < math.inf:
        parser.error("--one-stranger-in must be at least 2")
    report = calibrate(
        arguments.gallery,
        arguments.out,
        arguments.one_stranger_in,
        strangers_path=arguments.strangers,
        genuine_path=arguments.genuine,
        html=arguments.html,
    )
    if arguments.json:
        print(msgspec.json.encode(report).decode())
    else:
        show(document(report, arguments.out))
