"""Times of several programs on one picture: in turn, with one thread each, by the clock and by the processor."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import cv2
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from edge.core.records import BgrImage
from peers.peer import Baseline


@dataclass(slots=True)
class Timings:
    """One entry for each round.

    Attributes:
        found: whether the program found a face; otherwise it embedded nothing.
        wall_ns: by the clock.
        cpu_ns: of the whole process, so that no thread of a program's own goes unseen.
    """

    found: bool = True
    wall_ns: list[int] = field(default_factory=list)
    cpu_ns: list[int] = field(default_factory=list)


def time_baselines(peers: Mapping[str, Baseline], pixels: BgrImage, rounds: int) -> dict[str, Timings]:
    """Laps of all programs, which take turns, so that a machine busy with something else slows all alike.

    Before each lap a program runs once untimed: none finds its data gone from the cache thanks to another.
    """
    laps = {name: Timings() for name in peers}
    for _ in tqdm(range(rounds), desc="speed", unit=" rounds", disable=None):
        for name, peer in peers.items():
            lap = laps[name]
            lap.found = peer.detect_and_embed(pixels) is not None and lap.found
            cpu_ns, wall_ns = time.process_time_ns(), time.perf_counter_ns()
            peer.detect_and_embed(pixels)
            lap.wall_ns.append(time.perf_counter_ns() - wall_ns)
            lap.cpu_ns.append(time.process_time_ns() - cpu_ns)
    return laps


@contextmanager
def one_thread() -> Iterator[None]:
    """OpenCV, BLAS and OpenMP, as far as loaded by now, with one thread."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        cv2.setNumThreads(before)
