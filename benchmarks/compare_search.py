#!/usr/bin/env python3
"""Compare the time of nearest-neighbour searches in galleries of synthetic people.

Each program finds the two nearest people for one probe at a time, among all enrolled people:

  threshold  Gallery.nearest of edge
  numpy      only the float32 matrix-vector product, the lower bound of an exact search; returns no person
  faiss      faiss-cpu's IndexFlatL2
  usearch    usearch's exact search

First with one thread each, then with the default number of threads. Ratios are medians of quotients of neighbouring
runs, so other load on the machine affects both. Peers that are not installed are left out: pip install -e '.[peers]'.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from synthetic_gallery import DIMENSION, DIRECTIONS, crowd, gallery_of, probes_of, quotient, time_interleaved
from threshold_tools.embeddings import load_embeddings

from edge.core.cli_support import run_main
from edge.core.errors import InputError
from edge.core.records import FloatArray
from edge.recognition.gallery import Gallery

COUNTS = (1_000, 10_000, 100_000, 1_000_000)
PEERS = {"faiss": "faiss", "usearch": "usearch"}  # name, module
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_SAME_SQ = 1e-5  # squared distances that are summed in another order differ by less
_SEARCHED = 2  # the nearest and the second-nearest person


class Standing(msgspec.Struct, frozen=True):
    """One program at one size.

    Attributes:
        median_us: median time of one search.
        of_ours: median of its time / Threshold's time; above 1 is slower than Threshold.
        agreed: share of the probes with the same distances as Threshold; None if the program returns no distances.
    """

    median_us: float
    of_ours: float
    agreed: float | None


class Size(msgspec.Struct, frozen=True):
    """All programs at one size of gallery.

    Attributes:
        prepare_ms: time to prepare Threshold's search, once.
        index_mb: memory of Threshold's index, without the vectors, 10^6 bytes.
        laps: number of timed searches of each program.
    """

    people: int
    prepare_ms: float
    index_mb: float
    laps: int
    standings: dict[str, Standing]


class Comparison(msgspec.Struct, frozen=True):
    """Results of all sizes with one choice of threads: "1" or "default"."""

    threads: str
    sizes: list[Size]


class Report(msgspec.Struct, frozen=True):
    """Output of --json: source of the people, versions of the peers, and results."""

    crowd: str
    versions: dict[str, str]
    comparisons: list[Comparison]


@dataclass(frozen=True, slots=True)
class Contender:
    """A program: its search function (for a probe or a batch of one) and the two squared distances of its answer."""

    search: Callable[[FloatArray], Any]
    distances_sq: Callable[[Any], Sequence[float]] | None
    batch: bool = False


def contenders(gallery: Gallery, rows: FloatArray, one_thread: bool) -> dict[str, Contender]:
    """Return the installed programs, ready to search (N, D) unit rows, Threshold first."""
    found = {
        "threshold": Contender(gallery.nearest, lambda match: (match.distance_sq, match.runner_up_sq)),
        "numpy": Contender(lambda probe: rows @ probe, None),
    }
    if importlib.util.find_spec("faiss"):
        index = importlib.import_module("faiss").IndexFlatL2(rows.shape[1])
        index.add(rows)
        found["faiss"] = Contender(
            lambda probe: index.search(probe, _SEARCHED), lambda answer: answer[0][0], batch=True
        )
    if importlib.util.find_spec("usearch"):
        usearch = importlib.import_module("usearch.index")
        threads = 1 if one_thread else 0
        found["usearch"] = Contender(
            lambda probe: usearch.search(rows, probe, _SEARCHED, usearch.MetricKind.L2sq, exact=True, threads=threads),
            lambda answer: answer.distances,
        )
    return found


def compare(
    counts: Sequence[int], make: Callable[[int], FloatArray], *, budget_s: float, one_thread: bool
) -> list[Size]:
    """Measure every program at every size in this process.

    Args:
        counts: sizes of the gallery.
        make: function that returns (count, D) unit rows.
        budget_s: approximate time for each size.
        one_thread: whether this process is limited to one thread.
    """
    return [_size(make(count), budget_s, one_thread) for count in counts]


def _size(rows: FloatArray, budget_s: float, one_thread: bool) -> Size:
    began = time.perf_counter()
    gallery = gallery_of(rows)
    prepare_ms = round((time.perf_counter() - began) * 1e3, 1)
    found = contenders(gallery, rows, one_thread)
    probes = probes_of(rows)
    asked = {name: [probe[None] if each.batch else probe for probe in probes] for name, each in found.items()}
    laps = dict(
        zip(
            found,
            time_interleaved([_repeated(each.search, asked[name]) for name, each in found.items()], budget_s),
            strict=True,
        )
    )
    ours = [found["threshold"].search(probe) for probe in probes]
    standings = {}
    for name, each in found.items():
        agreed = None
        if each.distances_sq is not None:
            theirs = np.array([each.distances_sq(each.search(probe)) for probe in asked[name]])
            expected = np.array([(match.distance_sq, match.runner_up_sq) for match in ours])
            agreed = float(np.all(np.abs(theirs - expected) < _SAME_SQ, axis=1).mean())
        median_us = round(float(np.median(laps[name])) / 1e3, 1)
        standings[name] = Standing(median_us, round(quotient(laps[name], laps["threshold"]), 3), agreed)
    return Size(len(rows), prepare_ms, round(gallery.index_bytes / 1e6, 1), len(laps["threshold"]), standings)


def _repeated(search: Callable[[FloatArray], Any], probes: Sequence[FloatArray]) -> Callable[[int], Any]:
    return lambda number: search(probes[number % len(probes)])


def like(vectors: FloatArray, count: int, seed: int = 0) -> FloatArray:
    """Return (count, D) unit rows drawn from the normal distribution that fits (N, D) real vectors."""
    random = np.random.default_rng(seed)
    sizes, directions = np.linalg.eigh(np.cov(vectors.T))
    basis = (directions * np.sqrt(np.maximum(sizes, 0))).T.astype(np.float32)
    rows = random.standard_normal((count, len(basis)), np.float32) @ basis + vectors.mean(axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows, np.float32)


def show(report: Report) -> str:
    """Return the report as text."""
    named = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    lines = [f"{report.crowd}; {named}; median µs of one search (times ours)"]
    for comparison in report.comparisons:
        names = list(comparison.sizes[0].standings)
        title = "1 thread" if comparison.threads == "1" else "threads by default"
        lines += ["", f"{title:>20}" + "".join(f"{name:>20}" for name in names)]
        for size in comparison.sizes:
            cells = [f"{each.median_us:>11,.0f} ({each.of_ours:5.2f}) " for each in size.standings.values()]
            lines.append(f"{size.people:>20,}" + "".join(cells))
        lines += [
            f"{size.people:,} people: {size.prepare_ms:.0f} ms to prepare, index {size.index_mb:.1f} MB"
            for size in comparison.sizes
        ]
    worst = [
        f"{name} at {size.people:,}: {each.agreed:.1%}"
        for comparison in report.comparisons
        for size in comparison.sizes
        for name, each in size.standings.items()
        if each.agreed is not None and each.agreed < 1
    ]
    return "\n".join(
        [
            *lines,
            "",
            "all programs return the same distances" if not worst else f"different distances: {'; '.join(worst)}",
        ]
    )


def versions() -> dict[str, str]:
    """Return the versions of numpy and of the installed peers."""
    found = {"numpy": np.__version__}
    for name, module in PEERS.items():
        if importlib.util.find_spec(module):
            found[name] = str(importlib.import_module(module).__version__)
    return found


def main(words: Sequence[str] | None = None) -> None:
    """Parse the command line and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, nargs="+", metavar="N", default=COUNTS, help="sizes of the gallery")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--vectors", type=Path, metavar="X.npz", help="draw people like these (threshold embed)")
    source.add_argument(
        "--directions",
        type=int,
        default=DIRECTIONS,
        metavar="D",
        help=f"directions, of {DIMENSION}, in which people differ (default: {DIRECTIONS}, as for the embedder)",
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each size (default: 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--inside", choices=("1", "default"), help=argparse.SUPPRESS)  # for the child process
    arguments = parser.parse_args(words)
    if min(arguments.people) < _SEARCHED:
        parser.error(f"--people must be {_SEARCHED} or more")
    if not 1 <= arguments.directions <= DIMENSION:
        parser.error(f"--directions must be 1 to {DIMENSION}")
    if not 0 < arguments.seconds <= 3600:
        parser.error("--seconds must be above 0, and an hour at most")
    if arguments.vectors is not None:
        stored = load_embeddings(arguments.vectors)
        faces = stored.vectors[stored.found]
        if len(faces) <= DIMENSION:
            raise InputError(
                f"{arguments.vectors}: {len(faces)} faces; more than {DIMENSION} are needed to fit a distribution"
            )
        made = f"people like those in {arguments.vectors.name}"
        make: Callable[[int], FloatArray] = lambda count: like(faces, count)  # noqa: E731
    else:
        made = f"people in {arguments.directions} of {DIMENSION} directions"
        make = lambda count: crowd(count, arguments.directions)  # noqa: E731
    if arguments.inside:
        one_thread = arguments.inside == "1"
        sizes = compare(arguments.people, make, budget_s=arguments.seconds, one_thread=one_thread)
        print(msgspec.json.encode(Comparison(arguments.inside, sizes)).decode())
        return
    given = list(sys.argv[1:] if words is None else words)
    comparisons = [_apart(given, threads) for threads in ("1", "default")]
    report = Report(made, versions(), comparisons)
    print(msgspec.json.encode(report).decode() if arguments.json else show(report))


def _apart(words: list[str], threads: str) -> Comparison:
    """Measure in a separate process, because numpy reads the number of threads when it is loaded."""
    environment = {name: value for name, value in os.environ.items() if name not in ONE_THREAD}
    environment |= ONE_THREAD if threads == "1" else {}
    command = [sys.executable, __file__, *words, "--inside", threads]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise InputError(f"measuring with threads = {threads} ended with exit code {done.returncode}; see above")
    return msgspec.json.decode(done.stdout, type=Comparison)


if __name__ == "__main__":
    run_main(main)
