#!/usr/bin/env python3
"""Measure presentation attack detection: APCER for each kind of attack, BPCER, ACER and DET (ISO/IEC 30107-3).

    python tools/evaluate_pad.py DIR --html report.html

DIR holds genuine/ and one folder for each kind of attack, in each a folder for each person, with clips.
Kinds called simulated-... (tools/make_attack_clips.py) are told apart from filmed ones. Clips go through the door's
own liveness: its score is 0 (genuine) to 1 (attack), at or above --limit a clip is an attack, and lower is stricter.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from threshold_tools import plots
from threshold_tools.html import data_uri, render
from threshold_tools.pad.clip_evaluation import LabelledClip, evaluate_clip, find_clips, ready
from threshold_tools.pad.report import PadReport, measure, show

from edge.core.cli_support import run_main
from edge.core.config import LivenessConfig
from edge.core.errors import InputError
from edge.core.files import atomic_write
from edge.vision.face_sampler import VisionStages

_DEVELOPMENT = "seven development clips and simulated photos of others (docs/liveness.md)"


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
    plot = data_uri(_plot(report.det).encode(), "image/svg+xml")
    return render("pad.html", title="Presentation attacks", plot=plot, text=show(report))


def _plot(curves: Mapping[str, Sequence[tuple[float, float, float]]]) -> str:
    """DET curves as SVG."""
    figure = plots.new_figure(6.5, 5)
    axes = figure.subplots()
    for kind, points in curves.items():
        axes.step([100 * bpcer for _, bpcer, _ in points], [100 * apcer for *_, apcer in points], label=kind)
    axes.set_xlabel("BPCER, %")
    axes.set_ylabel("APCER, %")
    axes.set_xscale("symlog", linthresh=1)
    axes.set_yscale("symlog", linthresh=1)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.grid(color=plots.GRID)
    axes.legend(fontsize=8)
    return plots.to_svg(figure, "pad")


def _clips(
    cases: Sequence[LabelledClip], vision: VisionStages, given: argparse.Namespace, groups: dict[str, str]
) -> PadReport:
    limit = LivenessConfig().attack_score if given.limit is None else given.limit
    watched = [evaluate_clip(case, vision, limit) for case in cases]
    chosen_on = given.chosen_on or _DEVELOPMENT
    return measure(watched, source=str(given.source), limit=limit, chosen_on=chosen_on, groups=groups)


def main(words: Sequence[str] | None = None) -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="DIR", help="genuine/ and a folder for each kind of attack")
    parser.add_argument("--limit", type=float, help="score from which on it is an attack (default: the door's)")
    parser.add_argument("--chosen-on", help="what --limit was chosen on, for the report")
    parser.add_argument("--groups", type=Path, metavar="X.csv", help='"person,group": BPCER by group')
    parser.add_argument("--json", type=Path, metavar="X.json", help="write all figures")
    parser.add_argument("--html", type=Path, metavar="X.html", help="write a page with the DET plots")
    given = parser.parse_args(words)
    groups = read_groups(given.groups) if given.groups else {}
    if given.limit is not None and not given.chosen_on:
        raise InputError("--limit: say with --chosen-on what it was chosen on")
    cases = find_clips(given.source)
    report = _clips(cases, ready(), given, groups)
    if given.json:
        atomic_write(given.json, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    if given.html:
        atomic_write(given.html, page(report).encode())
    sys.stdout.write(show(report))


if __name__ == "__main__":
    run_main(main)
