#!/usr/bin/env python3
"""Compare the speed and the error rates of face recognition programs on the same pictures.

Each program finds the main face of a picture and computes its vector. The programs run one after another, with one
thread each:

  threshold  first sight: the door was idle and a visitor is near
             far search: the whole frame, as twice a second while something moves
             followed: a visitor who is tracked
             near detector: with detector = "near"
  dlib       as the package face_recognition uses it, without and with doubling the picture
  OpenCV     version 4: a Haar cascade and local binary patterns; no package contains the weights of its networks

Ratios are medians of quotients within a round, so other load on the machine affects all programs alike. With a folder
of people, all programs get the same photos; a photo in which a program finds no face counts as an error, and the rates
without such photos are in brackets. A program that is not installed is left out, with the command that installs it
(pip install -e '.[peers]'). mediapipe computes no vectors; insightface, deepface and facenet-pytorch download weights
at run time, so they are not compared.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np
from peers import accuracy, ours, with_dlib, with_opencv
from peers.peer import Baseline, BaselineSpec
from peers.report import Accuracy, Report, Speed, markdown, show
from peers.speed import Timings, one_thread, time_baselines
from synthetic_gallery import quotient

from edge import __version__
from edge.bench.scenes import scenes
from edge.core.cli_support import run_main
from edge.core.config import ModelsConfig
from edge.core.errors import InputError
from edge.vision.images import read_image

PACKAGES = ("ai-edge-litert", "tflite-runtime", "dlib-bin")
ROUNDS, PHOTOS = 30, 800


def entries() -> list[BaselineSpec]:
    """Return every known program, Threshold first."""
    return [*ours.entries(), *with_dlib.entries(), *with_opencv.entries()]


def compare(
    known: Sequence[BaselineSpec],
    picture: Path | None = None,
    folder: Path | None = None,
    *,
    rounds: int = ROUNDS,
    limit: int = PHOTOS,
    seed: int = 0,
) -> Report:
    """Measure all installed programs.

    Args:
        known: programs; programs that are not installed are left out.
        picture: picture for the speed; None: a frame of the bundled clip.
        folder: one folder of photos per person, for the accuracy; None: the accuracy is not measured.
        rounds: timed runs of each program.
        limit: largest number of photos from the folder.
        seed: seed of the random draw.

    Raises:
        InputError: picture or folder cannot be used.
    """
    pixels = scenes(ModelsConfig(threads=1)).face if picture is None else read_image(picture)
    paths = [] if folder is None else accuracy.draw(folder, limit, seed)
    missing = {entry.name: entry.missing() for entry in known}
    here = [entry for entry in known if not missing[entry.name]]
    peers = {entry.name: entry.load() for entry in here}
    if any(entry.ours and peers[entry.name].detect_and_embed(pixels) is None for entry in here):
        raise InputError(f"{picture}: Threshold finds no face in it; choose another picture")
    rates: list[Accuracy] = []
    people = read = 0
    with one_thread():
        laps = time_baselines(peers, pixels, rounds)
        if folder is not None:
            embedded = accuracy.embed(_for_photos(here, peers), folder, paths)
            rates = [accuracy.measure(name, each, seed) for name, each in embedded.items()]
            people, read = next((len(each.photos.names), len(each.photos)) for each in embedded.values())
    return Report(
        machine=f"{platform.machine()}, Python {platform.python_version()}",
        versions=_versions(),
        made_of={entry.name: entry.made_of for entry in here},
        left_out={name: how for name, how in missing.items() if how},
        picture=f"{picture.name if picture else 'bundled clip'}, {pixels.shape[1]}x{pixels.shape[0]}",
        rounds=rounds,
        speed=_speeds(here, laps),
        people=people,
        photos=read,
        accuracy=rates,
    )


def _for_photos(here: Sequence[BaselineSpec], peers: dict[str, Baseline]) -> dict[str, Baseline]:
    return {entry.name: peers[entry.name] for entry in here if entry.photos}


def _speeds(here: Sequence[BaselineSpec], laps: dict[str, Timings]) -> list[Speed]:
    bases = [entry.name for entry in here if entry.ours]
    return [
        Speed(
            name=name,
            found=lap.found,
            wall_ms=round(float(np.median(lap.wall_ns)) / 1e6, 3),
            cpu_ms=round(float(np.median(lap.cpu_ns)) / 1e6, 3),
            wall_of={base: round(quotient(lap.wall_ns, laps[base].wall_ns), 3) for base in bases},
            cpu_of={base: round(quotient(lap.cpu_ns, laps[base].cpu_ns), 3) for base in bases},
        )
        for name, lap in laps.items()
    ]


def _versions() -> dict[str, str]:
    found = {each.name: each.version for each in importlib.metadata.distributions()}
    peers = {name: found[name] for name in PACKAGES if name in found}
    return {"threshold": __version__, **peers, "OpenCV": cv2.__version__}


def main(words: Sequence[str] | None = None, known: Sequence[BaselineSpec] | None = None) -> None:
    """Parse the command line and compare the known programs, by default all `entries`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", metavar="DIR", help="one folder of photos for each person")
    parser.add_argument(
        "--picture", type=Path, metavar="X.jpg", help="picture for the speed (default: of the bundled clip)"
    )
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, metavar="N", help=f"timed runs of each program (default: {ROUNDS})"
    )
    parser.add_argument(
        "--limit", type=int, default=PHOTOS, metavar="N", help=f"largest number of photos (default: {PHOTOS})"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of all random draws (default: 0)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    form.add_argument("--markdown", action="store_true", help="print a Markdown table")
    arguments = parser.parse_args(words)
    if min(arguments.rounds, arguments.limit) < 1:
        parser.error("--rounds and --limit must be 1 or more")
    if arguments.seed < 0:
        parser.error("--seed must not be negative")
    report = compare(
        entries() if known is None else known,
        arguments.picture,
        arguments.folder,
        rounds=arguments.rounds,
        limit=arguments.limit,
        seed=arguments.seed,
    )
    if arguments.json:
        print(msgspec.json.encode(report).decode())
    elif arguments.markdown:
        for name, how in report.left_out.items():
            print(f"{name}: left out; {how}", file=sys.stderr)
        print(markdown(report))
    else:
        print(show(report))


if __name__ == "__main__":
    run_main(main)
