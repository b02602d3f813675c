"""What a measurement of evidence tells: the same numbers as a record for programs and as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from threshold_tools.stats import Rate


class CueLine(msgspec.Struct, frozen=True):
    """One cue: rank correlation with nearness over all looks and over unharmed ones; FNMR by share refused."""

    cue: str
    ranks: float
    ranks_plain: float
    fnmr: Sequence[float]


class KindLine(msgspec.Struct, frozen=True):
    """One way of harm: looks refused by reason; FNMR of all its looks with a face, and of those that a door accepts."""

    kind: str
    tried: int
    no_face: int
    refused: dict[str, int]
    distance_sq: float | None
    fnmr: float | None
    fnmr_accepted: float | None


class Power(msgspec.Struct, frozen=True):
    """What cues foretell; `ideal` is the FNMR by share refused if the distances themselves were known."""

    looks: int
    people: int
    threshold_sq: float
    rejected: Sequence[float]
    ideal: Sequence[float]
    cues: Sequence[CueLine]
    kinds: Sequence[KindLine]


class FusedAt(msgspec.Struct, frozen=True):
    """One way to make one vector of a track, at one wished FPIR.

    `fnir` counts tracks of which no sample is usable as misses; `against_mean` is its difference to the plain mean.
    """

    way: str
    fpir: float
    threshold_sq: float
    fnir: Rate
    against_mean: Rate


class Fused(msgspec.Struct, frozen=True):
    """Tracks of one kind and length; `unusable` is the share of enrolled people's with nothing but refused looks."""

    tracks_of: str
    length: int
    people: int
    tracks: int
    strangers: int
    stranger_tracks: int
    unusable: float
    ways: Sequence[FusedAt]


class Visits(msgspec.Struct, frozen=True):
    """The door's own rule on tracks of up to `looks` looks, at each number of samples that a name takes.

    `opened` and `opened_to_another` are shares of enrolled people's visits, `false_opens` of strangers'; `looks_taken`
    is the mean number of looks until it opened.
    """

    tracks_of: str
    looks: int
    min_samples: int
    visits: int
    stranger_visits: int
    opened: Rate
    opened_to_another: float
    false_opens: Rate
    looks_taken: float


class Report(msgspec.Struct, frozen=True):
    """All that --json prints; None or empty where there are too few people or photos."""

    source: str
    embedder_sha256: str
    seed: int
    copies: int
    people: int
    looks: int
    power: Power | None
    fused: Sequence[Fused]
    visits: Sequence[Visits]
    notes: Sequence[str]


ABOUT_TRACKS = (
    "Tracks of photos are different photos, more independent than frames ever are; tracks of copies are one photo "
    "harmed in different ways, nearer to the frames of one visit. The truth of a camera lies between them."
)


def show(report: Report) -> str:
    """The report as tables for people."""
    lines = [
        f"{report.source}: {report.looks:,} looks at {report.people:,} people, {report.copies} harmed copies of each "
        f"photo, embedder {report.embedder_sha256[:12]}, seed {report.seed}"
    ]
    if report.power:
        lines += ["", *_power(report.power)]
    if report.fused:
        lines += ["", *_fused(report.fused)]
    if report.visits:
        lines += ["", *_visits(report.visits)]
    return "\n".join([*lines, *(["", *(f"note: {note}" for note in report.notes)] if report.notes else [])])


def _power(power: Power) -> list[str]:
    lines = [
        f"HARM: {power.looks:,} looks at {power.people:,} people, against the centroid of the person's other photos, "
        f"threshold_sq {power.threshold_sq:.2f}",
        "  kind         looks  no face  refused   distance     FNMR   of the accepted   refused as",
    ]
    for each in power.kinds:
        refused = sum(each.refused.values())
        found = max(each.tried - each.no_face, 1)
        lines.append(
            f"  {each.kind:<11} {each.tried:>6,}  {each.no_face:>7,}  {percent(refused / found):>7}   "
            + (f"{each.distance_sq:>8.2f}" if each.distance_sq is not None else f"{'-':>8}")
            + f"  {percent(each.fnmr):>7}   {percent(each.fnmr_accepted):>15}   "
            + ", ".join(f"{reason} {count}" for reason, count in list(each.refused.items())[:3])
        )
    shares = "".join(f"{percent(share, 0):>8}" for share in power.rejected)
    lines += [
        "",
        "CUES: rank correlation with nearness over all looks and over unharmed ones; FNMR when so many are refused",
        f"  cue              all   unharmed {shares}",
    ]
    for cue in power.cues:
        curve = "".join(f"{percent(value, 1):>8}" for value in cue.fnmr)
        lines.append(f"  {cue.cue:<12} {cue.ranks:>7.2f}   {cue.ranks_plain:>8.2f} {curve}")
    curve = "".join(f"{percent(value, 1):>8}" for value in power.ideal)
    return [*lines, f"  {'ideal':<12} {'1.00':>7}   {'1.00':>8} {curve}"]


def _fused(fused: Sequence[Fused]) -> list[str]:
    lines = [
        "FUSION: FNIR, 95 % interval over people; tracks of which every look is refused are misses. " + ABOUT_TRACKS,
        "  tracks of  length  tracks  strangers'  unusable   FPIR  way        FNIR                      "
        "against the plain mean",
    ]
    for each in fused:
        for row in each.ways:
            fnir, gain = row.fnir, row.against_mean
            lines.append(
                f"  {each.tracks_of:<9}  {each.length:>6}  {each.tracks:>6,}  {each.stranger_tracks:>10,}  "
                f"{percent(each.unusable):>8}  {row.fpir:.0e}  {row.way:<9}  "
                f"{percent(fnir.value)} ({100 * fnir.low:.2f} to {100 * fnir.high:.2f})".ljust(94)
                + (
                    ""
                    if row.way == "mean"
                    else f"{100 * gain.value:+.2f} ({100 * gain.low:+.2f} to {100 * gain.high:+.2f})"
                )
            )
    return lines


def _visits(visits: Sequence[Visits]) -> list[str]:
    lines = [
        "VISITS: the door's own rule, look by look, until it opens or the looks end; 95 % interval over people",
        "  tracks of  looks  min_samples  visits   opened                      as another  looks taken  strangers'  "
        "false opens",
    ]
    lines += [
        f"  {each.tracks_of:<9}  {each.looks:>5}  {each.min_samples:>11}  {each.visits:>6,}   "
        f"{_rate(each.opened):<26}  {percent(each.opened_to_another, 3):>10}  {each.looks_taken:>11.1f}  "
        f"{each.stranger_visits:>10,}  {_rate(each.false_opens, 3)}"
        for each in visits
    ]
    return lines


def percent(value: float | None, digits: int = 2) -> str:
    """A share in percent."""
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def _rate(rate: Rate, digits: int = 2) -> str:
    return f"{percent(rate.value, digits)} ({100 * rate.low:.{digits}f} to {100 * rate.high:.{digits}f})"
