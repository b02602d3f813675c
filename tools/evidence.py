#!/usr/bin/env python3
"""Measure what evidence a door gathers is worth, on faces of your own: DIR/<person>/*.jpg.

Every photo is looked at as it is and in copies harmed on purpose, under a seed: out of focus, smeared, far away, dark,
glaring, lit from one side, starved of bits; with a mask, a hand before it, or sunglasses.

  power   which cues foretell that a look will lie far from its person: rank correlation, and error against reject, the
          FNMR that is left when the worst looks are refused; what becomes of each kind of harm
  fusion  what tracks of 1 to 10 looks gain over one: FNIR at FPIR 1 % and 0.1 % of the first look, the best one, the
          plain mean, the mean of what a door accepts, and that mean weighted as the door does it
  visits  the door's own rule, look by look: who gets in and how soon, by the number of samples that a name takes

Take it to choose [quality] and [recognition] of door.toml: --config measures with the settings given there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec
from threshold_tools.lab.fusion import min_samples_sim, track_fusion
from threshold_tools.lab.fusion.quality_power import power
from threshold_tools.lab.fusion.report import Fused, Report, Visits, show
from threshold_tools.lab.fusion.samples import collect_samples
from threshold_tools.thresholds import threshold_for_fmr, threshold_sq

from edge.core.cli_support import run_main
from edge.core.config import DoorConfig, read_config
from edge.core.errors import InputError

MEASUREMENTS = ("power", "fusion", "visits")
FMR = 1e-4  # of the distance beyond which a single look is a false non-match
ONE_STRANGER_IN = 1000  # the wish behind the threshold of visits, as in tools/enroll.py


def measure(
    source: Path, config: DoorConfig, *, wanted: Sequence[str] = MEASUREMENTS, copies: int, most: int, seed: int
) -> Report:
    """Look at everybody and measure.

    Raises:
        InputError: there is nothing usable in the folder.
    """
    if not source.is_dir():
        raise InputError(f"{source}: no such folder")
    looks, reader = collect_samples(source, config.quality, copies=copies, most=most, seed=seed)

    def threshold_for(people: int) -> float:
        return threshold_sq(reader.impostors, one_stranger_in=ONE_STRANGER_IN, people=people)

    notes = []
    told = power(looks, threshold_for_fmr(reader.impostors, FMR)) if "power" in wanted else None
    if told is None and "power" in wanted:
        notes.append("no cues: they take people with three photos")
    fused: list[Fused] = []
    visited: list[Visits] = []
    for kind in track_fusion.KINDS_OF_TRACKS:
        for length in track_fusion.LENGTHS if "fusion" in wanted else ():
            one = track_fusion.measure(looks, kind, length, seed)
            if one is not None:
                fused.append(one)
        if "visits" in wanted:
            visited += min_samples_sim.measure(looks, kind, threshold_for, config.recognition, seed)
    few = "they take 10 people with four photos or more, and 10 with fewer, with as many looks as a track has"
    if not fused and "fusion" in wanted:
        notes.append(f"no fusion: {few}")
    if not visited and "visits" in wanted:
        notes.append(f"no visits: {few}")
    return Report(
        source=str(source),
        embedder_sha256=reader.embedder_sha256,
        seed=seed,
        copies=copies,
        people=len(looks.names),
        looks=len(looks),
        power=told,
        fused=fused,
        visits=visited,
        notes=notes,
    )


def main(words: Sequence[str] | None = None) -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="DIR", help="one folder of photos for each person")
    parser.add_argument("--measure", choices=(*MEASUREMENTS, "all"), default="all", help="what (default: all)")
    parser.add_argument("--copies", type=int, default=4, metavar="N", help="harmed copies of a photo (default: 4)")
    parser.add_argument("--most", type=int, default=10, metavar="N", help="photos of one person (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn (default: 0)")
    parser.add_argument("--config", type=Path, metavar="door.toml", help="a door's [quality] and [recognition]")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    arguments = parser.parse_args(words)
    if arguments.seed < 0 or arguments.copies < 0 or arguments.most < 1:
        parser.error("--seed and --copies must not be negative, --most at least 1")
    config = read_config(arguments.config) if arguments.config else DoorConfig(site="any", door="any")
    wanted = MEASUREMENTS if arguments.measure == "all" else (arguments.measure,)
    report = measure(
        arguments.source, config, wanted=wanted, copies=arguments.copies, most=arguments.most, seed=arguments.seed
    )
    print(msgspec.json.encode(report).decode() if arguments.json else show(report))


if __name__ == "__main__":
    run_main(main)
