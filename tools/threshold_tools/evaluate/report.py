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
    """Mean of folds or splits; `spread` is their standard deviation (n - 1)."""

    mean: float
    spread: float

    @classmethod
    def of(cls, values: Reals) -> MeanWithSpread:
        """Mean and spread of (N,) values."""
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
    """Rates of one classifier; None without enough strangers, or without times.

    `accuracy` is the share of enrolled people's probes that get the right name, and `fnir` the share that is unknown or
    misnamed. The limit of unknown is set on half of the strangers; `fpir` is the share of the other half that gets a
    name.
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
    """A photo that is named `named` in `wrong` of `tried` splits, with the nearest photo of that person."""

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
    """FNIR at one target FPIR. The strangers must support the target."""

    fpir: float  # the target
    threshold_sq: float  # mean over the draws; lower is stricter
    false_positives: float  # accepted searches of strangers, mean over the draws
    fnir: Rate  # of the searches with a face
    fnir_with_failures: Rate  # searches without a face count as misses
    fnir_per_person: float  # every enrolled person has the same weight


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
    """A group under the threshold that gives all people this FMR; None without such a pair."""

    overall_fmr: float
    threshold_sq: float
    fmr: float | None
    fnmr: float | None


class GroupReport(msgspec.Struct, frozen=True):
    """One group; FNIR and FPIR with three photos enrolled, at FPIR 1 % of all people."""

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
    """The whole report; None if a protocol was not requested, or there are too few people."""

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
    """A share, or None if `whole` is 0."""
    return part / whole if whole else None
