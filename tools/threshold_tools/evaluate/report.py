"""Records of an evaluation, which --json prints."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from threshold_tools.stats import Rate, Reals


class Acquisition(msgspec.Struct, frozen=True):
    """Failures to acquire: photos in which no face was found, or that could not be read."""

    photos: int
    failures: int
    rate: float
    people: int
    people_without_a_face: int
    failed: Sequence[str]


class TarAtFar(msgspec.Struct, frozen=True):
    """TAR at one target FMR; `tar_with_failures` counts pairs with a photo without a face as rejected."""

    fmr: float
    threshold_sq: float
    false_matches: int
    tar: float
    tar_with_failures: float


class VerificationResult(msgspec.Struct, frozen=True):
    """Every pair of photos; `det` is (FMR, FNMR), thinned."""

    mated: int
    mated_with_failures: int
    non_mated: int
    eer: float
    eer_with_failures: float
    at: Sequence[TarAtFar]
    unsupported_fmr: Sequence[float]
    det: Sequence[tuple[float, float]]


class MeanWithSpread(msgspec.Struct, frozen=True):
    """Of folds or splits: `spread` is their standard deviation (n - 1)."""

    mean: float
    spread: float

    @classmethod
    def of(cls, values: Reals) -> MeanWithSpread:
        """Of (N,) values."""
        return cls(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0)


class TenFoldResult(msgspec.Struct, frozen=True):
    """Accuracy in folds; `source` is the pairs file, or how the pairs were drawn."""

    source: str
    folds: int
    pairs: int
    failed_pairs: int
    accuracy: MeanWithSpread
    standard_error: float
    with_failures: MeanWithSpread
    standard_error_with_failures: float
    threshold_sq: MeanWithSpread


class ClassifierRates(msgspec.Struct, frozen=True):
    """Rates of one classifier; None without enough strangers, and without times.

    `accuracy` is of probes of enrolled people; `fnir` is the share of them answered by "unknown" or wrongly, the
    limit of "unknown" being set on half of the strangers, and `fpir` the share of the other half that gets a name.
    """

    name: str
    retrains: bool
    accuracy: MeanWithSpread
    accuracy_with_failures: MeanWithSpread
    fnir: MeanWithSpread | None
    fnir_with_failures: MeanWithSpread | None
    fpir: MeanWithSpread | None
    learn_ms: float | None
    add_ms: float | None
    probe_ms: float | None


class Misidentification(msgspec.Struct, frozen=True):
    """A photo taken for `named` by the nearest centroid in `wrong` of `tried` splits, and the nearest of theirs."""

    path: str
    named: str
    wrong: int
    tried: int
    nearest_path: str
    distance_sq: float


class ClosedSet(msgspec.Struct, frozen=True):
    """Identification of people who are all enrolled, and of strangers, who are people with fewer photos.

    The first of the classifiers is the door's, the nearest centroid.
    """

    people: int
    photos: int
    splits: int
    strangers: int
    target_fpir: float
    classifiers: Sequence[ClassifierRates]
    misnamed: Sequence[Misidentification]


class FnirAtFpir(msgspec.Struct, frozen=True):
    """FNIR at one target FPIR; targets that the strangers do not support are left out."""

    fpir: float  # the target
    threshold_sq: float  # mean over the draws; lower is stricter
    false_positives: float  # strangers' searches accepted, mean over the draws
    fnir: Rate  # of the searches with a face
    fnir_with_failures: Rate  # searches without a face being misses
    fnir_per_person: float  # every enrolled person having one vote


class OpenSet(msgspec.Struct, frozen=True):
    """Open-set identification with `images` photos enrolled of each person; searches are counts per draw.

    `failed_enrolments` of those `enrolled` have no photo with a face, so all their searches fail.
    """

    images: int
    enrolled: int
    failed_enrolments: int
    strangers: int
    draws: int
    searches: int
    failed_searches: int
    stranger_searches: int
    single: Sequence[FnirAtFpir]
    tracks: int
    stranger_tracks: int
    fused: Sequence[FnirAtFpir]


class GroupRates(msgspec.Struct, frozen=True):
    """A group under the threshold that gives everybody this FMR; None where it has no such pair."""

    overall_fmr: float
    threshold_sq: float
    fmr: float | None
    fnmr: float | None


class GroupReport(msgspec.Struct, frozen=True):
    """One group; FNIR and FPIR with three photos enrolled, where everybody's FPIR is 1 %."""

    name: str
    people: int
    photos: int
    failures: int
    failure_rate: float
    mated: int
    non_mated: int
    at: Sequence[GroupRates]
    fnir: float | None
    fpir: float | None


class EvaluationReport(msgspec.Struct, frozen=True):
    """The whole report; None where a protocol was not asked for, or lacks the people."""

    source: str
    embedder_sha256: str
    seed: int
    acquisition: Acquisition
    ten_fold: TenFoldResult | None = None
    all_pairs: VerificationResult | None = None
    closed_set: ClosedSet | None = None
    open_set: Sequence[OpenSet] = ()
    groups: Sequence[GroupReport] = ()
    notes: Sequence[str] = ()


def ratio(part: int, whole: int) -> float | None:
    """A share, or None of nothing."""
    return part / whole if whole else None
