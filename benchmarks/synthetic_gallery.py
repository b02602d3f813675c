"""Galleries of synthetic people, and interleaved timing of searches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from edge.core.records import FloatArray, Person
from edge.recognition.gallery import Gallery, GalleryInfo

DIMENSION = 192
DIRECTIONS = 96  # contain 99.98 % of the squared length of LFW faces, with the installed embedder
_BEYOND = 0.014  # length of the part in the other directions
_NOISE = 0.6  # between a probe and a person's vector: squared distances around 0.3
_MIXED = 8  # people in a stranger
_PROBES = 64
_BLOCK = 50_000


def crowd(count: int, directions: int = DIRECTIONS, seed: int = 0) -> FloatArray:
    """Return (count, D) float32 unit rows of synthetic people, spread over some of the D directions like faces."""
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
    """Return (D,) unit vectors, alternately near a person and a mixture of several people (a stranger)."""
    random = np.random.default_rng(seed)
    chosen = rows[random.integers(len(rows), size=(_MIXED, _PROBES))]
    probes = chosen[0] + np.float32(_NOISE) * chosen[1]
    probes[1::2] = chosen[:, 1::2].sum(axis=0)
    return list(probes / np.linalg.norm(probes, axis=1, keepdims=True))


def gallery_of(rows: FloatArray) -> Gallery:
    """Return a gallery of these people without names."""
    count = len(rows)
    return Gallery([Person("p", "P")] * count, rows, np.ones(count, np.float32), GalleryInfo("", "", count))


def time_interleaved(
    runs: Sequence[Callable[[int], object]], budget_s: float, least: int = 15, most: int = 2000
) -> list[list[int]]:
    """Time several functions alternately, in nanoseconds; each gets the number of the lap.

    Each function runs once untimed before each timed run, so that all find the cache in the same state.
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
    """Return the median of the quotients of interleaved laps."""
    return float(np.median(np.asarray(laps) / np.asarray(others)))
