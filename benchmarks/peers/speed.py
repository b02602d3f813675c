"""Wall time and processor time of several programs on one picture, with one thread each."""

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
    """Times of one program, one entry per round.

    Attributes:
        found: whether the program found a face in every round.
        wall_ns: wall times.
        cpu_ns: processor times of the whole process, including all threads.
    """

    found: bool = True
    wall_ns: list[int] = field(default_factory=list)
    cpu_ns: list[int] = field(default_factory=list)


def time_baselines(peers: Mapping[str, Baseline], pixels: BgrImage, rounds: int) -> dict[str, Timings]:
    """Time all programs in rounds, so that other load on the machine affects them alike.

    Each program runs once untimed before each timed run, so that its data is in the cache.
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
    """Limit OpenCV and the loaded BLAS and OpenMP libraries to one thread."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        cv2.setNumThreads(before)
