"""Command line of presentation attack detection: evaluate clips, simulate challenges, make attack clips."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from edge.cli.command import print_json
from edge.core.cli_support import counted
from edge.core.config import DetectorConfig, LivenessConfig, ModelsConfig, QualityConfig
from edge.core.errors import InputError
from edge.core.files import atomic_write
from edge.vision.face_sampler import load_vision
from edge.vision.images import read_image
from threshold_tools.evaluate.by_group import read_group_file
from threshold_tools.pad import attack_clips, challenge_trials
from threshold_tools.pad.attack_clips import draw_photos, make_clips
from threshold_tools.pad.clip_evaluation import evaluate_clip, find_clips
from threshold_tools.pad.report import document, measure, page
from threshold_tools.photos import photos_in
from threshold_tools.reports.page import write_page
from threshold_tools.reports.terminal import show, track

MAX_STEPS = 5  # largest challenge_steps in door.toml
_DEVELOPMENT = "seven development clips and simulated photos of others (docs/lab/liveness.md)"


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and run the subcommand.

    Raises:
        ThresholdError: wrong input, or a failure.
    """
    parser = argparse.ArgumentParser(description="Measure the liveness detection of a door.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_evaluate(commands.add_parser("evaluate", help="error rates on clips, by kind of attack", description=EVALUATE))
    _add_challenge(commands.add_parser("challenge", help="simulate challenges", description=CHALLENGE))
    _add_clips(commands.add_parser("clips", help="make clips of simulated attacks", description=CLIPS))
    options = parser.parse_args(argv)
    options.run(options)


EVALUATE = (
    "Measure presentation attack detection: APCER for each kind of attack, BPCER, ACER and DET (ISO/IEC 30107-3). "
    "FOLDER contains genuine/ and one folder for each kind of attack; each has a folder of clips for each person. "
    "Kinds whose names begin with simulated- (made by `clips`) are reported separately from filmed ones. The liveness "
    "detection of a door evaluates each clip: its score is 0 (genuine) to 1 (attack). A clip with a score of --limit "
    "or more is an attack; a lower limit is stricter."
)
CHALLENGE = (
    "Measure how often the challenge passes simulated genuine visitors, photos in a hand, and recordings of other "
    "challenges."
)
CLIPS = (
    "Make clips of simulated presentation attacks from clips of real people, to measure liveness before real attacks "
    "are filmed. FOLDER contains clips, or a folder of clips for each person. The folder --out gets genuine/<person>/ "
    "(links to the clips) and simulated-<species>/<person>/. The species are a photo held in a hand, a photo that "
    "fills the view, a still photo, a bent photo, a screen with a photo, and a screen that replays the clip."
)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", type=Path, metavar="FOLDER", help="folder with genuine/ and a folder for each kind of attack"
    )
    parser.add_argument(
        "--limit", type=float, metavar="SCORE", help="score from which a clip is an attack (default: that of a door)"
    )
    parser.add_argument("--chosen-on", metavar="TEXT", help="data on which --limit was chosen, for the report")
    parser.add_argument("--groups", type=Path, metavar="FILE", help="CSV file with person,group: BPCER of each group")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures as JSON")
    parser.add_argument("--html", type=Path, metavar="PAGE", help="write a page with tables and the DET plot")
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    groups = read_group_file(options.groups) if options.groups else {}
    if options.limit is not None and not options.chosen_on:
        raise InputError("--limit: name the data on which it was chosen with --chosen-on")
    limit = LivenessConfig().attack_score if options.limit is None else options.limit
    clips = find_clips(options.source)
    vision = load_vision(ModelsConfig(detector="near"), DetectorConfig(), QualityConfig())
    report = measure(
        [evaluate_clip(clip, vision, limit) for clip in track(clips, "Evaluating clips")],
        source=str(options.source),
        limit=limit,
        chosen_on=options.chosen_on or _DEVELOPMENT,
        groups=groups,
    )
    if options.json:
        atomic_write(options.json, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n", private=True)
    if options.html:
        write_page(options.html, page(report))
    show(document(report))


def _add_challenge(parser: argparse.ArgumentParser) -> None:
    species = challenge_trials.SPECIES
    parser.add_argument(
        "photos", type=Path, metavar="FOLDER", help="frontal portraits with one face each, including subfolders"
    )
    parser.add_argument(
        "--species", nargs="+", choices=species, default=species, help="species to simulate (default: all)"
    )
    _add_number(parser, "--tries", _within(int, 1), 200, "trials of each species")
    _add_number(parser, "--steps", _within(int, 1, MAX_STEPS), 2, "movements requested one after another")
    _add_number(parser, "--looks", _within(float, 0.1, 100), 15.0, "samples of the face per second")
    _add_number(parser, "--seed", _within(int, 0), 0, "seed of all random values")
    parser.add_argument("--json", action="store_true", help="print one JSON object per species and line")
    parser.set_defaults(run=_challenge)


def _challenge(options: argparse.Namespace) -> None:
    paths = photos_in(options.photos)
    vision = load_vision(ModelsConfig(threads=1), DetectorConfig(), QualityConfig())
    sampled = (challenge_trials.SampledPortrait.of(read_image(path), vision) for path in paths)
    portraits = [each for each in sampled if each is not None]
    if not portraits:
        raise InputError(
            f"{options.photos}: no portrait with exactly one frontal face; give a folder of .jpg or .png files"
        )
    print(f"{len(portraits)} of {counted(len(paths), 'portrait')} used; all results are simulated", file=sys.stderr)
    for species in options.species:
        trials = challenge_trials.measure_species(
            portraits,
            species,
            vision,
            tries=options.tries,
            seed=options.seed,
            steps=options.steps,
            sample_s=1 / options.looks,
        )
        if options.json:
            print_json(trials)
            continue
        reasons = ", ".join(f"{count} {reason}" for reason, count in trials.reasons.items())
        share = f"{100 * trials.passed / trials.tries:5.1f} % ({100 * trials.low:.1f} to {100 * trials.high:.1f})"
        print(f"{species:16} {trials.passed:4} of {trials.tries} passed, {share}: {reasons}", flush=True)


def _add_clips(parser: argparse.ArgumentParser) -> None:
    species = attack_clips.SPECIES
    parser.add_argument(
        "source", type=Path, metavar="FOLDER", help="clips of real people, or a folder of clips for each"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new folder for the clips")
    parser.add_argument(
        "--species", nargs="+", choices=species, default=species, help="species to simulate (default: all)"
    )
    _add_number(parser, "--count", _within(int, 0), 4, "attacks of each species from each clip")
    _add_number(parser, "--seed", _within(int, 0), 0, "seed of all random values")
    _add_number(parser, "--seconds", _within(float, 0.1, 600), 4.0, "length of each attack, s")
    parser.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="photos of other people to show, one folder for each person"
    )
    _add_number(parser, "--people", _within(int, 1), 100, "people of --photos, one photo each")
    parser.set_defaults(run=_clips)


def _clips(options: argparse.Namespace) -> None:
    photos = draw_photos(options.photos, options.people, options.seed) if options.photos else []
    made = make_clips(
        options.source,
        options.out,
        count=options.count,
        species=options.species,
        seed=options.seed,
        seconds=options.seconds,
        photos=photos,
    )
    print(f"{counted(made, 'simulated attack')} in {options.out}")


def _add_number(
    parser: argparse.ArgumentParser, name: str, kind: Callable[[str], float], default: float, text: str
) -> None:
    parser.add_argument(name, type=kind, default=default, metavar="N", help=f"{text} (default: {default:g})")


def _within(kind: Callable[[str], float], low: float, high: float = math.inf) -> Callable[[str], float]:
    """Type for argparse: a number within bounds."""

    def parse(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text}: expected {low:g} to {high:g}")
        return value

    return parse
