"""Each protocol's results as records of the report."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.evaluate import closed_set_identification, cross_validation, open_set_identification, verification
from threshold_tools.evaluate.report import (
    Acquisition,
    ClassifierRates,
    ClosedSet,
    FnirAtFpir,
    MeanWithSpread,
    OpenSet,
    TarAtFar,
    TenFoldResult,
    VerificationResult,
)
from threshold_tools.lab.classifiers.registry import CLASSIFIERS
from threshold_tools.stats import Reals

_DET_POINTS = 400


def acquisition(photos: LabelledEmbeddings) -> Acquisition:
    """Failures counted, and named."""
    failed = [photos.paths[row] for row in np.flatnonzero(~photos.found).tolist()]
    faces = np.bincount(photos.people, photos.found, len(photos.names))
    return Acquisition(
        len(photos), len(failed), len(failed) / len(photos), len(photos.names), int((faces == 0).sum()), failed
    )


def ten_fold(photos: LabelledEmbeddings, pairs_file: Path | None, seed: int) -> TenFoldResult | None:
    """Verification in folds; None where no pairs are given and there are too few people to draw them."""
    drawn = cross_validation.read_pairs(pairs_file, photos) if pairs_file else cross_validation.draw_pairs(photos, seed)
    if drawn is None:
        return None
    result = cross_validation.judge(photos, drawn)
    root = math.sqrt(len(result.accuracy))
    plain, failures = mean(result.accuracy), mean(result.with_failures)
    return TenFoldResult(
        source=pairs_file.name if pairs_file else "drawn, people kept apart between folds",
        folds=len(result.accuracy),
        pairs=len(drawn.first),
        failed_pairs=result.failed,
        accuracy=plain,
        standard_error=plain.spread / root,
        with_failures=failures,
        standard_error_with_failures=failures.spread / root,
        threshold_sq=mean(result.thresholds_sq),
    )


def all_pairs(swept: verification.Sweep) -> VerificationResult:
    """Verification over all pairs."""
    at = []
    for fmr in verification.TARGET_FMRS:
        if swept.has_enough_samples(fmr):
            limit = swept.threshold_sq(fmr)
            accepted = swept.accepted(limit)
            tar, with_failures = accepted / len(swept.genuine_sq), accepted / swept.mated
            at.append(TarAtFar(fmr, limit, round(swept.fmr_at(limit) * swept.impostor_count), tar, with_failures))
    return VerificationResult(
        mated=len(swept.genuine_sq),
        mated_with_failures=swept.mated,
        non_mated=swept.impostor_count,
        eer=swept.eer(),
        eer_with_failures=swept.eer(failures=True),
        at=at,
        unsupported_fmr=[fmr for fmr in verification.TARGET_FMRS if not swept.has_enough_samples(fmr)],
        det=downsample_curve(*swept.det()),
    )


def downsample_curve(fmr: Reals, fnmr: Reals) -> list[tuple[float, float]]:
    """Some points of a DET curve: evenly over both rates' logarithms, the ends included."""
    if len(fmr) <= _DET_POINTS:
        rows: NDArray[np.intp] = np.arange(len(fmr))
    else:
        wanted = np.geomspace(1 / len(fmr), 1, _DET_POINTS // 2)
        by_fmr = np.searchsorted(fmr, np.geomspace(max(fmr[fmr > 0].min(initial=1), 1e-12), 1, _DET_POINTS // 2))
        by_fnmr = np.searchsorted(-fnmr, -wanted)
        rows = np.unique(np.clip(np.concatenate([[0], by_fmr, by_fnmr, [len(fmr) - 1]]), 0, len(fmr) - 1))
    return [(float(fmr[row]), float(fnmr[row])) for row in rows]


def closed_set(result: closed_set_identification.ClosedSetRuns) -> ClosedSet:
    """Closed-set identification, and the strangers to it."""
    classifiers = []
    for place, (spec, tried) in enumerate(zip(CLASSIFIERS, result.tried, strict=True)):
        rated = not np.isnan(tried.fnir).any()
        times = result.times[place] if result.times else None
        classifiers.append(
            ClassifierRates(
                name=spec.name,
                retrains=spec.retrains,
                accuracy=mean(tried.accuracy),
                accuracy_with_failures=mean(tried.accuracy_with_failures),
                fnir=mean(tried.fnir) if rated else None,
                fnir_with_failures=mean(tried.fnir_with_failures) if rated else None,
                fpir=mean(tried.fpir) if rated else None,
                learn_ms=times.learn_ms if times else None,
                add_ms=times.add_ms if times else None,
                probe_ms=times.probe_ms if times else None,
            )
        )
    return ClosedSet(
        result.people,
        result.photos,
        closed_set_identification.SPLITS,
        result.strangers,
        closed_set_identification.FPIR,
        classifiers,
        result.misnamed,
    )


def open_set(tried: open_set_identification.OpenSetRun, seed: int) -> OpenSet:
    """Open-set identification, by single photos and by tracks."""
    first = tried.draws[0]
    return OpenSet(
        images=tried.images,
        enrolled=len(tried.enrolled),
        failed_enrolments=tried.failed,
        strangers=len(tried.strangers),
        draws=len(tried.draws),
        searches=len(first.own.people),
        failed_searches=int((~first.own.usable).sum()),
        stranger_searches=len(first.strangers.people),
        single=_rows(tried, seed, tracks=False),
        tracks=len(first.own_tracks.people),
        stranger_tracks=len(first.stranger_tracks.people),
        fused=_rows(tried, seed, tracks=True),
    )


def mean(values: Reals) -> MeanWithSpread:
    """Mean and standard deviation (n - 1)."""
    return MeanWithSpread(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0)


def _rows(tried: open_set_identification.OpenSetRun, seed: int, *, tracks: bool) -> list[FnirAtFpir]:
    own = tried.draws[0].own_tracks if tracks else tried.draws[0].own
    fpirs = [
        fpir
        for fpir in open_set_identification.TARGET_FPIRS
        if open_set_identification.has_enough_samples(tried, fpir, tracks=tracks)
    ]
    if not fpirs or not own.usable.any():
        return []
    return open_set_identification.fnir_curve(tried, fpirs, seed, tracks=tracks)
