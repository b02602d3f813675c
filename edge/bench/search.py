"""How fast a gallery is searched, beside the least that measuring everybody in float32 takes: numpy's bare product."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np

from edge.bench.statistics import Measurement
from edge.core.records import FloatArray, Person
from edge.core.stage_statistics import StageTiming, summarize
from edge.recognition.gallery import Gallery, GalleryInfo

COUNTS = (100, 1_000, 10_000, 100_000, 1_000_000)
DIMENSION = 192
DIRECTIONS = 96  # which hold 99.98 % of the squared length of the faces of LFW, as the installed embedder sees them
_BEYOND = 0.014  # length of what lies in the others
_NOISE = 0.6  # of a probe against a person's vector: squared distances around 0.3
_MIXED = 8  # people in a stranger
_PROBES = 64
_BLOCK = 50_000
_QUICK = 10_000  # people at most


class SearchTiming(msgspec.Struct, frozen=True):
    """One size of gallery.

    Attributes:
        people: how many are enrolled.
        load_ms: to prepare the search, once; in memory beside the vectors then: `extra_mb`.
        nearest: `Gallery.nearest`, one probe.
        product: numpy's float32 matrix-vector product of the same vectors and probe, run in turn.
        ratio: median of nearest / product.
    """

    people: int
    load_ms: float
    extra_mb: float
    nearest: StageTiming
    product: StageTiming
    ratio: float


def measure(quick: bool) -> list[Measurement]:
    """Searches, their quotients with numpy's bare product, and what preparing takes.

    Args:
        quick: no galleries beyond ten thousand people, and those but briefly.
    """
    counts = [count for count in COUNTS if not quick or count <= _QUICK]
    figures: list[Measurement] = []
    for each in bench_search(counts, budget_s=0.3 if quick else 2.0):
        people = f"{each.people:,} people"
        figures += [
            _time(people, each.nearest),
            Measurement("search", f"{people} / numpy's product", "x", each.ratio, each.ratio, each.ratio, None, 1),
            Measurement("search", f"{people}, preparing", "ms", each.load_ms, each.load_ms, each.load_ms, None, 1),
        ]
    return figures


def bench_search(counts: Iterable[int] = COUNTS, budget_s: float = 2.0) -> list[SearchTiming]:
    """Measure galleries of made-up people; those are left out that do not fit into half of the free memory.

    Args:
        counts: sizes.
        budget_s: about how long to measure each.
    """
    room = _available_bytes() // 2
    return [_timed(count, budget_s) for count in counts if count * DIMENSION * 5 <= room]


def crowd(count: int, directions: int = DIRECTIONS, seed: int = 0) -> FloatArray:
    """(count, D) float32 unit rows of made-up people, spread over some of the D directions as faces are."""
    random = np.random.default_rng(seed)
    basis = np.linalg.qr(random.normal(size=(DIMENSION, directions)))[0].T.astype(np.float32)
    rows = np.empty((count, DIMENSION), np.float32)
    for start in range(0, count, _BLOCK):
        part = rows[start : start + _BLOCK]
        np.matmul(random.standard_normal((len(part), directions), np.float32), basis, out=part)
        part /= np.sqrt(np.einsum("ij,ij->i", part, part))[:, None]
        if directions < DIMENSION:
            part += random.standard_normal((1, DIMENSION), np.float32) * np.float32(_BEYOND / DIMENSION**0.5)
        part /= np.sqrt(np.einsum("ij,ij->i", part, part))[:, None]
    return rows


def probes_of(rows: FloatArray, seed: int = 1) -> list[FloatArray]:
    """(D,) unit vectors, by turns near somebody and of a stranger who mixes several others."""
    random = np.random.default_rng(seed)
    chosen = rows[random.integers(len(rows), size=(_MIXED, _PROBES))]
    probes = chosen[0] + np.float32(_NOISE) * chosen[1]
    probes[1::2] = chosen[:, 1::2].sum(axis=0)
    return list(probes / np.linalg.norm(probes, axis=1, keepdims=True))


def gallery_of(rows: FloatArray) -> Gallery:
    """A gallery of nameless people."""
    count = len(rows)
    return Gallery([Person("p", "P")] * count, rows, np.ones(count, np.float32), GalleryInfo("", "", count))


def time_interleaved(
    runs: Sequence[Callable[[int], object]], budget_s: float, least: int = 15, most: int = 2000
) -> list[list[int]]:
    """Laps of several runs that take turns, in nanoseconds; each is told the lap's number.

    Before each lap a run goes once untimed, so that none finds its data in the cache, or gone, thanks to another.
    """
    began = time.perf_counter()
    for run in runs:
        run(0)
    round_s = 2 * (time.perf_counter() - began)
    laps: list[list[int]] = [[] for _ in runs]
    for number in range(1, 1 + min(max(int(budget_s / round_s), least), most)):
        for run, lap in zip(runs, laps, strict=True):
            run(number - 1)
            began_ns = time.perf_counter_ns()
            run(number)
            lap.append(time.perf_counter_ns() - began_ns)
    return laps


def quotient(laps: Sequence[int], others: Sequence[int]) -> float:
    """Median of the quotients of laps that were run in turn."""
    return float(np.median(np.asarray(laps) / np.asarray(others)))


def _time(name: str, timing: StageTiming) -> Measurement:
    low, high = timing.median_ms, timing.median_ms
    return Measurement(
        "search", name, "us", timing.median_ms * 1e3, low * 1e3, high * 1e3, timing.p95_ms * 1e3, timing.runs
    )


def _timed(count: int, budget_s: float) -> SearchTiming:
    rows = crowd(count)
    probes = probes_of(rows)
    began = time.perf_counter()
    gallery = gallery_of(rows)
    load_ms = (time.perf_counter() - began) * 1e3
    nearest, product = time_interleaved(
        [lambda number: gallery.nearest(probes[number % _PROBES]), lambda number: rows @ probes[number % _PROBES]],
        budget_s,
    )
    return SearchTiming(
        people=count,
        load_ms=round(load_ms, 1),
        extra_mb=round(gallery.index_bytes / 1e6, 1),
        nearest=summarize(nearest),
        product=summarize(product),
        ratio=round(quotient(nearest, product), 3),
    )


def _available_bytes() -> int:
    """Memory that new programs may use without swapping."""
    with open("/proc/meminfo") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["MemAvailable"].split()[0]) * 1024
