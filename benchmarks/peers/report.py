"""Report of the comparison of programs: JSON, text and Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Speed(msgspec.Struct, frozen=True):
    """Speed of one program on one picture.

    Attributes:
        found: whether the program found the face; otherwise the times are of the search only.
        wall_ms, cpu_ms: median wall time and processor time.
        wall_of, cpu_of: median of its time / the time of each mode of Threshold in the same round; above 1 is slower.
    """

    name: str
    found: bool
    wall_ms: float
    cpu_ms: float
    wall_of: dict[str, float]
    cpu_of: dict[str, float]


class Tar(msgspec.Struct, frozen=True):
    """True accept rate at a false match rate, over all pairs; photos without a face left out or as errors."""

    fmr: float
    tar: float
    tar_with_failures: float


class Accuracy(msgspec.Struct, frozen=True):
    """Accuracy of one program; a rate that needs more photos is None or missing.

    Attributes:
        cpu_ms: median processor time of one photo.
        failures: number of photos without a face.
        ten_fold, ten_fold_with_failures: share of correct decisions on drawn pairs, failures left out or as errors.
        eer_with_failures: equal error rate over all pairs.
        mated: number of pairs of one person, including failures.
        tar: true accept rates, from lax to strict.
    """

    name: str
    cpu_ms: float
    failures: int
    ten_fold: float | None
    ten_fold_with_failures: float | None
    eer_with_failures: float | None
    mated: int
    tar: list[Tar]


class Report(msgspec.Struct, frozen=True):
    """Output of --json.

    Attributes:
        machine: kind of processor, version of Python.
        versions: versions of the compared packages.
        made_of: stages of each program.
        left_out: programs that are not installed, with the command to install them.
        picture: name and size of the picture.
        rounds: timed runs of each program.
        people, photos: numbers drawn for the accuracy; 0 if it is not measured.
    """

    machine: str
    versions: dict[str, str]
    made_of: dict[str, str]
    left_out: dict[str, str]
    picture: str
    rounds: int
    speed: list[Speed]
    people: int
    photos: int
    accuracy: list[Accuracy]


def show(report: Report) -> str:
    """Return the report as text."""
    named = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    width = max(len(each.name) for each in report.speed) + 2
    ours = list(report.speed[0].wall_of)
    lines = [
        f"{report.machine}; {named}",
        f"{report.picture}, {report.rounds} rounds, one thread each; median wall time (processor time) in ms, and "
        "relative to each mode of Threshold",
        "",
        f"{'':{width}}{'ms':>24}" + "".join(f"{'x ' + _short(name):>24}" for name in ours),
    ]
    for each in report.speed:
        cells = [f"{each.wall_ms:.2f} ({each.cpu_ms:.2f})"]
        cells += [f"{each.wall_of[name]:.2f} ({each.cpu_of[name]:.2f})" for name in ours]
        note = "" if each.found else "  found no face"
        lines.append(f"{each.name:{width}}" + "".join(f"{cell:>24}" for cell in cells) + note)
    if report.accuracy:
        lines += ["", *_rates(report, width)]
    lines += ["", *(f"{name}: {stages}" for name, stages in report.made_of.items())]
    lines += [f"{name}: left out; {how}" for name, how in report.left_out.items()]
    return "\n".join(lines)


def markdown(report: Report) -> str:
    """Return the report as a Markdown table."""
    ours = list(report.speed[0].wall_of)
    fmrs = _fmrs(report.accuracy)
    heads = ["one thread each, same picture", "detect + embed", *(f"÷ {_short(name)}" for name in ours)]
    rates = {each.name: each for each in report.accuracy}
    if rates:
        heads += [f"no face, of {report.photos:,}", "10-fold", *(f"TAR at FMR {_one_in(fmr)}" for fmr in fmrs)]
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for each in report.speed:
        time = f"{each.wall_ms:.1f} ms" if each.found else f"{each.wall_ms:.1f} ms, no face"
        row = [f"{each.name}: {report.made_of[each.name]}", time, *(f"{each.wall_of[name]:.1f}" for name in ours)]
        if rates:
            row += _cells(rates[each.name], fmrs) if each.name in rates else ["-"] * (2 + len(fmrs))
        rows.append(row)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _rates(report: Report, width: int) -> list[str]:
    fmrs = _fmrs(report.accuracy)
    heads = ["no face", "10-fold", *(f"TAR at {_one_in(fmr)}" for fmr in fmrs)]
    lines = [
        f"{report.photos:,} photos of {report.people:,} people, {report.accuracy[0].mated:,} pairs of one person; "
        "a photo without a face counts as an error (in brackets: left out)",
        "",
        f"{'':{width}}{'CPU ms a photo':>24}" + "".join(f"{head:>24}" for head in heads),
    ]
    for each in report.accuracy:
        cells = [f"{each.cpu_ms:.1f}", *_cells(each, fmrs)]
        lines.append(f"{each.name:{width}}" + "".join(f"{cell:>24}" for cell in cells))
    return lines


def _cells(each: Accuracy, fmrs: Sequence[float]) -> list[str]:
    rows = {row.fmr: row for row in each.tar}
    tars = [_both(rows[fmr].tar_with_failures, rows[fmr].tar) if fmr in rows else "-" for fmr in fmrs]
    return [f"{each.failures:,}", _both(each.ten_fold_with_failures, each.ten_fold), *tars]


def _both(with_failures: float | None, plain: float | None) -> str:
    return "-" if with_failures is None or plain is None else f"{with_failures:.2%} ({plain:.2%})"


def _fmrs(rates: Sequence[Accuracy]) -> list[float]:
    return sorted({row.fmr for each in rates for row in each.tar}, reverse=True)


def _short(name: str) -> str:
    return name.split(", ")[-1]


def _one_in(fmr: float) -> str:
    return f"1 in {round(1 / fmr):,}"
