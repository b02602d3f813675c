"""How often a challenge passes whom it should, and what: simulated visitors, photos in a hand, recordings of others.

.venv/bin/python tools/evaluate_challenge.py edge/demo/people --tries 200
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
from threshold_tools.pad.challenge_trials import SPECIES, SampledPortrait, ready, summary, try_species
from tqdm import tqdm

from edge.cli.command import print_json
from edge.core.cli_support import run_main
from edge.core.errors import InputError
from edge.vision.camera import read_image

_PICTURES = frozenset({".jpg", ".jpeg", ".png"})
MOST_STEPS = 5  # of challenge_steps in door.toml
MOST_LOOKS = 100  # a second


class Row(msgspec.Struct, frozen=True):
    """One species; `low` and `high` are the 95 % interval (Clopper and Pearson 1934) of the share that passed."""

    species: str
    tries: int
    passed: int
    low: float
    high: float
    reasons: dict[str, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, metavar="DIR", help="portraits, frontal, one face each; subfolders too")
    parser.add_argument("--tries", type=int, default=200, metavar="N", help="of each species (default: 200)")
    parser.add_argument("--species", nargs="+", choices=SPECIES, default=SPECIES, help="which (default: all)")
    parser.add_argument("--steps", type=int, default=2, metavar="N", help="movements asked in a row (default: 2)")
    parser.add_argument("--looks", type=float, default=15.0, metavar="N", help="at the face in a second (default: 15)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of everything random (default: 0)")
    parser.add_argument("--json", action="store_true", help="one JSON object per species and line")
    given = parser.parse_args(arguments)
    if given.tries < 1 or given.seed < 0:
        parser.error("--tries must be 1 or more, --seed not negative")
    if not 1 <= given.steps <= MOST_STEPS:
        parser.error(f"--steps must be 1 to {MOST_STEPS}, as for a door")
    if not 0 < given.looks <= MOST_LOOKS:
        parser.error(f"--looks must be above 0, and {MOST_LOOKS} at most")
    paths = sorted(path for path in given.photos.rglob("*") if path.suffix.lower() in _PICTURES)
    vision = ready()
    models = [model for path in paths if (model := SampledPortrait.of(read_image(path), vision)) is not None]
    if not models:
        raise InputError(f"{given.photos}: no portrait with one frontal face; give a folder of .jpg or .png")
    print(f"{len(models)} portraits of {len(paths)} serve; all that follows is simulated", file=sys.stderr)
    for species in given.species:
        reasons: Counter[str] = Counter()
        for number in tqdm(range(given.tries), desc=species, disable=None, leave=False):
            model, look_s = models[number % len(models)], 1 / given.looks
            reasons[try_species(model, species, (given.seed, number), vision, steps=given.steps, look_s=look_s)] += 1
        passed = reasons["passed"]
        row = Row(species, given.tries, passed, *summary(passed, given.tries), dict(reasons.most_common()))
        if given.json:
            print_json(row)
        else:
            told = ", ".join(f"{count} {reason}" for reason, count in row.reasons.items())
            share = f"{100 * passed / given.tries:5.1f} % ({100 * row.low:.1f} to {100 * row.high:.1f})"
            print(f"{species:16} {passed:4} of {given.tries} passed, {share}: {told}", flush=True)
    return 0


if __name__ == "__main__":
    run_main(main)
