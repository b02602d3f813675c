"""Error rates of groups of people under the thresholds of all people."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from edge.core.errors import InputError
from threshold_tools.embeddings import LabelledEmbeddings
from threshold_tools.evaluate.open_set_identification import OpenSetRun
from threshold_tools.evaluate.report import GroupRates, GroupReport, ratio
from threshold_tools.evaluate.verification import counts_at

_FIELDS = 2
_HEAD = ["person", "group"]


def read_group_file(path: Path) -> dict[str, str]:
    """Group of each person, from a CSV file "person,group"; a first line with these names is skipped.

    Raises:
        InputError: it is malformed, or lists a person in two groups.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [(number, [cell.strip() for cell in row]) for number, row in enumerate(csv.reader(file), 1) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    group_of: dict[str, str] = {}
    for number, row in rows:
        if number == 1 and [cell.lower() for cell in row] == _HEAD:
            continue
        if len(row) != _FIELDS or not all(row):
            raise InputError(f'{path}, line {number}: expected "person,group", found "{",".join(row)}"')
        if group_of.setdefault(row[0], row[1]) != row[1]:
            raise InputError(f"{path}, line {number}: {row[0]} is already in group {group_of[row[0]]}")
    return group_of


def read_groups(path: Path, photos: LabelledEmbeddings) -> dict[str, list[str]]:
    """People of each group, from a file as for `read_group_file`.

    Raises:
        InputError: as there, or there is no photo of any person in it.
    """
    group_of, known = read_group_file(path), set(photos.names)
    if not group_of.keys() & known:
        raise InputError(f"{path}: contains none of the {len(known)} people; use the names of their folders")
    groups: dict[str, list[str]] = {}
    for person, group in sorted(group_of.items()):
        if person in known:
            groups.setdefault(group, []).append(person)
    return dict(sorted(groups.items()))


def measure_group(
    photos: LabelledEmbeddings,
    name: str,
    people: list[str],
    thresholds_sq: dict[float, float],
    tried: OpenSetRun | None,
    fpir: float,
) -> GroupReport:
    """Rates of a group under the thresholds of all people: pairs within the group, and searches by its people.

    Args:
        photos: all photos.
        name: name of the group.
        people: names of its people.
        thresholds_sq: threshold of all people by FMR.
        tried: open-set searches of all people, or None.
        fpir: FPIR of the threshold of the searches.
    """
    numbers = np.flatnonzero(np.isin(photos.names, people))
    mine = np.isin(photos.people, numbers)
    own = photos.only(mine)
    true, mated, false, others = counts_at(own, list(thresholds_sq.values()))
    at = [
        GroupRates(fmr, threshold_sq, ratio(false[place], others), ratio(mated - true[place], mated))
        for place, (fmr, threshold_sq) in enumerate(thresholds_sq.items())
    ]
    failures = int((~own.found).sum())
    fnir = fpir_own = None
    if tried is not None:
        missed = tests = let_in = strangers = 0
        for draw in tried.draws:
            threshold = draw.strangers.threshold_sq(fpir)
            own_sq, other_sq = (
                each.critical_sq[each.usable & np.isin(each.people, numbers)] for each in (draw.own, draw.strangers)
            )
            missed, tests = missed + int((own_sq > threshold).sum()), tests + len(own_sq)
            let_in, strangers = let_in + int((other_sq <= threshold).sum()), strangers + len(other_sq)
        fnir, fpir_own = ratio(missed, tests), ratio(let_in, strangers)
    return GroupReport(name, len(people), len(own), failures, failures / len(own), mated, others, at, fnir, fpir_own)
