"""A recorded clip through the very loop of the daemon: decisions out, nothing sent, the same bytes at every run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec
from tqdm import tqdm

from edge.access.rules import rules_of
from edge.annotate import Annotator
from edge.config import CameraConfig, DoorConfig
from edge.decoding import UNREADABLE
from edge.errors import ExpectationError, InputError
from edge.identity.gallery import load_gallery
from edge.identity.sealing import read_key
from edge.pipeline import Pipeline
from edge.records import Decision, Kind
from edge.vision.camera import open_camera
from edge.vision.reader import load_vision

_TOLERANCE_S = 0.5  # an expected event may come so much earlier or later


class Who(msgspec.Struct, frozen=True):
    """The person of a line."""

    id: str
    name: str = ""


class Line(msgspec.Struct, frozen=True):
    """One decision of a replay, as printed and as expected; `t` is seconds into the clip, distances as in records."""

    kind: str
    person: Who | None
    t: float
    distance_sq: float = 0.0
    threshold_sq: float = 0.0
    runner_up_sq: float = 0.0
    samples: int = 0
    quality: float = 0.0
    reason: str = ""
    rule: str = ""
    track: int = 0
    box: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


def replay(
    config: DoorConfig, clip: Path, gallery: Path, annotate: Path | None = None, at_ns: int | None = None
) -> Iterator[Line]:
    """Yield the decisions of a clip, or of a folder of stills, as they fall.

    Args:
        config: of the door to stand in for; its camera source is replaced by the clip.
        clip: video file or folder of stills.
        gallery: who is enrolled.
        annotate: where to write the clip with what the door saw drawn into it, or None.
        at_ns: when the clip begins for the access rules, nanoseconds since 1970 UTC; None: the clock is not set.

    Raises:
        CameraError, ConfigError, GalleryError, ModelError: the clip, the policy, the gallery or a model cannot be used.
    """
    vision = load_vision(config.models, config.detector, config.quality)
    rules = rules_of(config.access)
    known = load_gallery(gallery, vision.reader.embedder.sha256, read_key(config.gallery_key))
    pipeline = Pipeline(config, vision, known, rules=rules)
    t_ns = 0
    with ExitStack() as stack:
        camera = stack.enter_context(open_camera(_clip_camera(config.camera, clip)))
        drawn = stack.enter_context(closing(Annotator(annotate))) if annotate else None
        for frame in tqdm(camera, desc="replay", unit=" frames", disable=None, leave=False):
            t_ns = frame.t_ns
            decisions = pipeline.step(frame, at_ns)
            if drawn:
                drawn.draw(frame, pipeline, decisions)
            yield from (line(decision) for decision in decisions)
        yield from (line(decision) for decision in pipeline.finish(t_ns, at_ns))


def line(decision: Decision) -> Line:
    """The printed form of a decision; an unknown visitor has no person, however near somebody is."""
    verdict = decision.verdict
    person = verdict.match.person if decision.kind is not Kind.UNKNOWN else None
    box = verdict.track.face.box
    return Line(
        kind=str(decision.kind),
        person=Who(person.id, person.name) if person else None,
        t=round(decision.t_ns / 1e9, 3),
        distance_sq=round(verdict.match.distance_sq, 4),
        threshold_sq=round(verdict.match.threshold_sq, 4),
        runner_up_sq=round(verdict.match.runner_up_sq, 4),
        samples=verdict.samples,
        quality=round(verdict.quality, 3),
        reason=decision.reason or verdict.reason,
        rule=decision.rule,
        track=verdict.track.id,
        box=(round(box.left, 1), round(box.top, 1), round(box.right, 1), round(box.bottom, 1)),
    )


def read_expected(path: Path) -> list[Line]:
    """Lines of a JSON Lines file with at least `kind`, `person` and `t`.

    Raises:
        InputError: it cannot be read, or a line is not such an object.
    """
    try:
        texts = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    lines = []
    for number, text in enumerate(texts, start=1):
        try:
            if text.strip():
                lines.append(msgspec.json.decode(text, type=Line))
        except UNREADABLE as error:
            raise InputError(f"{path}:{number}: not an expected event ({error})") from error
    return lines


def compare(expected: list[Line], found: list[Line]) -> None:
    """Hold the decisions of a replay against the expected ones, in order.

    Raises:
        ExpectationError: they differ in kind, person or, by more than half a second, in time.
    """
    differences = []
    for index in range(max(len(expected), len(found))):
        want = expected[index] if index < len(expected) else None
        have = found[index] if index < len(found) else None
        if not (want and have and _alike(want, have)):
            differences.append(f"event {index + 1}: expected {_short(want)}, found {_short(have)}")
    if differences:
        raise ExpectationError("; ".join(differences))


def _alike(want: Line, have: Line) -> bool:
    same_person = (want.person and want.person.id) == (have.person and have.person.id)
    return want.kind == have.kind and same_person and abs(want.t - have.t) <= _TOLERANCE_S


def _short(event: Line | None) -> str:
    if event is None:
        return "nothing"
    return f"{event.kind} {event.person.id if event.person else '-'} at {event.t:.2f} s"


def _clip_camera(config: CameraConfig, clip: Path) -> CameraConfig:
    return msgspec.structs.replace(config, source=str(clip))
