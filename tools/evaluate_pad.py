#!/usr/bin/env python3
"""Measure the door's liveness on clips: APCER for each kind of attack, BPCER, ACER and DET (ISO/IEC 30107-3).

    python tools/evaluate_pad.py clips --html report.html

The folder holds genuine/ and one folder for each kind of attack, in each a folder of clips for each person.
Kinds called simulated-... (tools/make_attack_clips.py) are told apart from filmed ones. The score is 0 (genuine) to
1 (attack): at or above --limit, a clip counts as an attack; lower is stricter.
"""

from __future__ import annotations

import argparse
import csv
import html
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import desktop  # noqa: F401
import matplotlib as mpl
import matplotlib.pyplot as plt
import msgspec
import pages
from spoofing.report import PadReport, measure, show
from spoofing.watch import read_cases, ready, watch

from edge.config import LivenessConfig
from edge.errors import InputError
from edge.files import replace_file
from edge.program import run

_DEVELOPMENT = (
    "windows of seven development clips and simulated photos: not other people, if yours are these (docs/liveness.md)"
)


def read_groups(path: Path) -> dict[str, str]:
    """Group of each person, of a CSV file "person,group".

    Raises:
        InputError: it cannot be read or a line is malformed.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    for number, row in enumerate(rows, 1):
        if len(row) != 2:
            raise InputError(f'{path}, line {number}: "person,group" wanted, found "{",".join(row)}"')
    return {person: group for person, group in rows if (person, group) != ("person", "group")}


def page(report: PadReport) -> str:
    """The report as one HTML page that needs nothing else."""
    figure, axes = plt.subplots(figsize=(6.5, 5), layout="constrained")
    for kind, points in report.det.items():
        axes.step([100 * bpcer for _, bpcer, _ in points], [100 * apcer for *_, apcer in points], label=kind)
    axes.set_xlabel("BPCER, %")
    axes.set_ylabel("APCER, %")
    axes.set_xscale("symlog", linthresh=1)
    axes.set_yscale("symlog", linthresh=1)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.grid(color="#e0e0e0")
    axes.legend(fontsize=8)
    drawn = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "pad"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    plt.close(figure)
    title = "Presentation attacks"
    svg = drawn.getvalue()
    text = html.escape(show(report))
    head = f"{pages.HEAD}<title>{title}</title></head><body><h1>{title}</h1>"
    return f"{head}\n{svg[svg.index('<svg') :]}\n<pre>{text}</pre></body></html>\n"


def main(words: Sequence[str] | None = None) -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="DIR", help="genuine/ and a folder for each kind of attack")
    parser.add_argument("--limit", type=float, help="score from which on it is an attack (default: the door's)")
    parser.add_argument("--chosen-on", help="what --limit was chosen on, for the report")
    parser.add_argument("--seconds", type=float, nargs="+", default=(0.75, 1.0, 1.25), help="judge after so long")
    parser.add_argument("--groups", type=Path, metavar="X.csv", help='"person,group": BPCER by group')
    parser.add_argument("--json", type=Path, metavar="X.json", help="write all figures")
    parser.add_argument("--html", type=Path, metavar="X.html", help="write a page with the DET plot")
    given = parser.parse_args(words)
    groups = read_groups(given.groups) if given.groups else {}
    if given.limit is not None and not given.chosen_on:
        raise InputError("--limit: say with --chosen-on what it was chosen on")
    cases = read_cases(given.source)
    vision = ready()
    report = measure(
        [watch(case, vision) for case in cases],
        source=str(given.source),
        limit=LivenessConfig().attack_score if given.limit is None else given.limit,
        chosen_on=given.chosen_on or _DEVELOPMENT,
        seconds=sorted(given.seconds),
        groups=groups,
    )
    if given.json:
        replace_file(given.json, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    if given.html:
        replace_file(given.html, page(report).encode())
    sys.stdout.write(show(report))


if __name__ == "__main__":
    run(main)
