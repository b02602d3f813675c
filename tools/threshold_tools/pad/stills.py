"""What a one-frame candidate makes of pictures, by species, and where its limit was chosen."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from edge.core.errors import InputError
from edge.core.records import BgrImage, Box, Frame
from edge.vision.camera import read_image
from edge.vision.camera_file import VideoFileCamera
from edge.vision.detector import most_prominent_face
from edge.vision.face_sampler import VisionStages
from threshold_tools.pad.candidates import Score
from threshold_tools.pad.rates import RateWithInterval, auc, det, equal_error_limit, format_rate, wilson
from threshold_tools.pad.watch import GENUINE, SIMULATED, Case

_STRICT = 0.02


@dataclass(frozen=True, slots=True)
class Seen:
    """The score of one picture; it rises for attacks."""

    case: Case
    score: float


class StillSpecies(msgspec.Struct, frozen=True):
    """One kind of attack.

    Attributes:
        apcer: at the limit.
        auc: how often one of these scores above a genuine picture.
        strict: APCER at the lowest limit that refuses at most 2 % of these genuine pictures, the goal of a door.
    """

    name: str
    simulated: bool
    apcer: RateWithInterval | None
    auc: float | None
    strict: RateWithInterval | None


class StillReport(msgspec.Struct, frozen=True):
    """All figures of pictures. A score at or above `limit` is an attack."""

    source: str
    model: str
    limit: float
    chosen_on: str
    bpcer: RateWithInterval | None
    species: list[StillSpecies]
    acer_real: float | None
    acer_simulated: float | None
    groups: dict[str, RateWithInterval | None]
    det: dict[str, list[tuple[float, float, float]]]


def face_of(pixels: BgrImage, vision: VisionStages, margin: float) -> BgrImage:
    """The square around the main face, cut off at the picture's edges; all of a picture where no face is found."""
    height, width = pixels.shape[:2]
    face = most_prominent_face(vision.detector.detect(Frame(pixels, 0, 0)), width, height)
    box = face.box if face is not None else Box(0, 0, width, height)
    (x, y), half = box.centre, margin * max(box.width, box.height) / 2
    cut = pixels[max(round(y - half), 0) : round(y + half), max(round(x - half), 0) : round(x + half)]
    return cut if cut.size else pixels


def frames_of(case: Case, count: int) -> Iterator[BgrImage]:
    """A picture as it is; of a clip so many frames, evenly spaced, each lent until the next.

    Raises:
        CameraError: the clip cannot be read.
        ImageError: the picture cannot be read.
    """
    if not case.moving:
        yield read_image(case.path)
        return
    with VideoFileCamera(case.path) as clip:
        total = sum(1 for _ in clip)
    wanted = {int((k + 0.5) * total / count) for k in range(count)}
    with VideoFileCamera(case.path) as clip:
        yield from (frame.pixels for number, frame in enumerate(clip) if number in wanted)


def look(case: Case, vision: VisionStages, score: Score, margin: float, count: int) -> list[Seen]:
    """Score one picture, or so many frames of a clip.

    Raises:
        CameraError: the clip cannot be read.
        ImageError: the picture cannot be read.
    """
    return [Seen(case, score(face_of(pixels, vision, margin))) for pixels in frames_of(case, count)]


def choose(seen: Sequence[Seen], subjects: Collection[str]) -> float:
    """The limit of equal errors on these people.

    Raises:
        InputError: there is nobody of that name, or not both genuine pictures and attacks of them.
    """
    unknown = sorted(set(subjects) - {each.case.subject for each in seen})
    if unknown:
        raise InputError(f"--choose: there is no picture of {unknown[0]}")
    mine = [each for each in seen if each.case.subject in subjects]
    genuine = [each.score for each in mine if each.case.species == GENUINE]
    attacks = [each.score for each in mine if each.case.species != GENUINE]
    if not genuine or not attacks:
        raise InputError("--choose: these people need genuine pictures and attacks, both")
    return equal_error_limit(genuine, attacks)


def measure_stills(
    seen: Sequence[Seen], *, source: str, model: str, limit: float, chosen_on: str, groups: Mapping[str, str]
) -> StillReport:
    """The report of pictures that were scored."""
    genuine = [each for each in seen if each.case.species == GENUINE]
    scores = [each.score for each in genuine]
    shown: dict[str, list[float]] = {}
    for each in seen:
        if each.case.species != GENUINE:
            shown.setdefault(each.case.species, []).append(each.score)
    bpcer = _refused(genuine, limit)
    species = [
        StillSpecies(
            name,
            name.startswith(SIMULATED),
            wilson(sum(score < limit for score in some), len(some)),
            auc(scores, some),
            _strict(scores, some),
        )
        for name, some in sorted(shown.items())
    ]
    acers = []
    for simulated in (False, True):
        rates = [kind.apcer.value for kind in species if kind.simulated is simulated and kind.apcer]
        acers.append((max(rates) + bpcer.value) / 2 if rates and bpcer else None)
    by_group = {
        group: _refused([each for each in genuine if groups.get(each.case.subject) == group], limit)
        for group in sorted(set(groups.values()))
    }
    curves = {name: det(scores, some) for name, some in sorted(shown.items())}
    return StillReport(source, model, limit, chosen_on, bpcer, species, acers[0], acers[1], by_group, curves)


def show_stills(report: StillReport) -> str:
    """The report as text."""
    lines = [
        f"Pictures in {report.source}, one frame each, by {report.model}, which no door uses:",
        f"an attack from score {report.limit:.4g} on; chosen on: {report.chosen_on}",
        f"  {'BPCER, genuine':34s} {format_rate(report.bpcer)}",
    ]
    for kind in sorted(report.species, key=lambda kind: (kind.simulated, kind.name)):
        auc = "" if kind.auc is None else f", AUC {kind.auc:.3f}"
        lines.append(f"  {'APCER, ' + kind.name:34s} {format_rate(kind.apcer)}{auc}")
        lines.append(f"  {'  where BPCER is at most 2 %':34s} {format_rate(kind.strict)}")
    for name, value in (("real", report.acer_real), ("simulated", report.acer_simulated)):
        if value is not None:
            lines.append(f"  {'ACER, worst ' + name + ' species':34s} {100 * value:6.2f} %")
    lines += [f"  {'BPCER, group ' + group:34s} {format_rate(share)}" for group, share in report.groups.items()]
    return "\n".join(lines) + "\n"


def _strict(genuine: Sequence[float], attacks: Sequence[float]) -> RateWithInterval | None:
    passed = (apcer for _, bpcer, apcer in det(genuine, attacks) if bpcer <= _STRICT)
    return wilson(round(min(passed, default=1.0) * len(attacks)), len(attacks)) if genuine else None


def _refused(genuine: Sequence[Seen], limit: float) -> RateWithInterval | None:
    return wilson(sum(each.score >= limit for each in genuine), len(genuine))
