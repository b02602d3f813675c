"""A clip through the very loop of the daemon: golden events, the same at every run."""

from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edge.config import AccessConfig, DoorConfig, MotionConfig
from edge.demo.show import CLIP, FOLDER, GALLERY
from edge.errors import CameraError, ExpectationError, GalleryError, InputError
from edge.replay import Line, Who, compare, read_expected, replay
from edge.vision.images import read_image

CONFIG = DoorConfig(site="test", door="test")
EXPECTED = FOLDER / "expected.jsonl"


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    return list(replay(CONFIG, CLIP, GALLERY))


def test_the_bundled_clip_gives_its_golden_events(lines: list[Line]) -> None:
    """One enrolled person is recognised, one stranger is unknown; the distances hold, too."""
    golden = read_expected(EXPECTED)
    compare(golden, lines)
    assert [line.kind for line in lines] == ["door-open", "unknown"]
    for want, have in zip(golden, lines, strict=True):
        assert have.distance_sq == pytest.approx(want.distance_sq, abs=0.05)


def test_an_unknown_names_nobody(lines: list[Line]) -> None:
    (unknown,) = [line for line in lines if line.kind == "unknown"]
    assert unknown.person is None
    assert unknown.distance_sq > unknown.threshold_sq


def test_two_runs_give_the_same_bytes(lines: list[Line]) -> None:
    assert msgspec.json.encode(list(replay(CONFIG, CLIP, GALLERY))) == msgspec.json.encode(lines)


def test_a_closed_motion_gate_loses_no_event(lines: list[Line]) -> None:
    ungated = msgspec.structs.replace(CONFIG, motion=MotionConfig(enabled=False))
    found = [(line.kind, line.person) for line in replay(ungated, CLIP, GALLERY)]
    assert found == [(line.kind, line.person) for line in lines]


def test_who_is_recognised_but_not_allowed_is_denied() -> None:
    config = msgspec.structs.replace(CONFIG, access=AccessConfig(allow=()))
    first = next(replay(config, CLIP, GALLERY))
    assert (first.kind, first.rule) == ("denied", "not-in-allow")
    assert first.person is not None


def test_the_annotated_clip_shows_every_frame_with_something_drawn(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    list(replay(CONFIG, CLIP, GALLERY, annotate=out))
    plain, drawn = cv2.VideoCapture(str(CLIP)), cv2.VideoCapture(str(out))
    frames, changed = 0, 0
    while True:
        ok, one = plain.read()
        other_ok, other = drawn.read()
        assert ok == other_ok
        if not ok:
            break
        frames += 1
        changed += int(np.count_nonzero(cv2.absdiff(one, other)[:460] > 60) > 300)  # above the time stamp
    assert frames > 90
    assert changed > 30


def test_stills_of_several_sizes_are_a_clip(tmp_path: Path) -> None:
    """Twenty looks at one portrait, alternately larger: the person is recognised once."""
    portrait = read_image(next((FOLDER / "people" / "barack-obama").glob("*.jpg")))
    larger = cv2.resize(portrait, None, fx=1.1, fy=1.1)
    for number in range(20):
        cv2.imwrite(str(tmp_path / f"{number:02}.jpg"), larger if number % 2 else portrait)
    (line,) = replay(CONFIG, tmp_path, GALLERY, annotate=tmp_path / "out.mp4")
    assert (line.kind, line.person and line.person.id) == ("door-open", "barack-obama")


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([], "event 1: expected door-open anna at 1.00 s, found nothing"),
        ([Line("unknown", None, 1.0)], "expected door-open anna at 1.00 s, found unknown - at 1.00 s"),
        ([Line("door-open", Who("bert"), 1.0)], "found door-open bert at 1.00 s"),
        ([Line("door-open", Who("anna"), 1.6)], "found door-open anna at 1.60 s"),
        ([Line("door-open", Who("anna"), 1.0), Line("unknown", None, 2.0)], "event 2: expected nothing"),
    ],
)
def test_a_difference_from_the_expected_events_is_told(found: list[Line], told: str) -> None:
    with pytest.raises(ExpectationError) as caught:
        compare([Line("door-open", Who("anna"), 1.0)], found)
    assert told in str(caught.value)


def test_a_small_shift_in_time_is_as_expected() -> None:
    compare([Line("unknown", None, 1.0)], [Line("unknown", None, 1.5)])


def test_only_kind_person_and_time_need_to_be_expected(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"kind":"door-open","person":{"id":"anna"},"t":1.0}\n\n{"kind":"unknown","person":null,"t":2}\n')
    assert [line.kind for line in read_expected(path)] == ["door-open", "unknown"]


@pytest.mark.parametrize("text", ["{", "[]", '{"kind":"unknown"}'])
def test_a_malformed_expectation_is_named_with_its_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"kind":"unknown","person":null,"t":2}\n' + text)
    with pytest.raises(InputError, match=r"events\.jsonl:2: not an expected event"):
        read_expected(path)


def test_bad_input_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(CameraError):
        list(replay(CONFIG, tmp_path / "absent.mp4", GALLERY))
    with pytest.raises(GalleryError):
        list(replay(CONFIG, CLIP, tmp_path / "absent.safetensors"))
    with pytest.raises(InputError, match=r"must be named \*\.mp4"):
        list(replay(CONFIG, CLIP, GALLERY, annotate=tmp_path / "out.gif"))
    assert list(tmp_path.iterdir()) == []
