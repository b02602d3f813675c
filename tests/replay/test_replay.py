"""A clip through the very loop of the daemon: golden events, the same at every run."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from contextlib import closing
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edge.core.config import AccessConfig, DoorConfig, LivenessConfig, MotionConfig
from edge.core.errors import CameraError, GalleryError, InputError
from edge.demo.run_demo import CLIP, FOLDER, GALLERY
from edge.replay.annotate import Annotator
from edge.replay.expected import difference_table, match_events, read_expected, write_expected
from edge.replay.explain import Explainer
from edge.replay.replay import ReplayEvent, ReplayPerson, replay
from edge.replay.suite import ClipResult, clips_without_expectation, junit, run_suite
from edge.vision.images import read_image

CONFIG = DoorConfig(site="test", door="test")
EXPECTED = FOLDER / "expected.jsonl"


@pytest.fixture(scope="module")
def lines() -> list[ReplayEvent]:
    return list(replay(CONFIG, CLIP, GALLERY))


def test_the_bundled_clip_gives_its_golden_events(lines: list[ReplayEvent]) -> None:
    """One enrolled person is recognised, one stranger is unknown; the distances hold, too."""
    golden = read_expected(EXPECTED)
    assert not any(pair.differs for pair in match_events(golden, lines))
    assert [line.kind for line in lines] == ["door-open", "unknown"]
    for want, have in zip(golden, lines, strict=True):
        assert have.distance_sq == pytest.approx(want.distance_sq, abs=0.05)


def test_an_unknown_names_nobody(lines: list[ReplayEvent]) -> None:
    (unknown,) = [line for line in lines if line.kind == "unknown"]
    assert unknown.person is None
    assert unknown.distance_sq > unknown.threshold_sq


def test_two_runs_give_the_same_bytes(lines: list[ReplayEvent]) -> None:
    assert msgspec.json.encode(list(replay(CONFIG, CLIP, GALLERY))) == msgspec.json.encode(lines)


def test_a_closed_motion_gate_loses_no_event(lines: list[ReplayEvent]) -> None:
    ungated = msgspec.structs.replace(CONFIG, motion=MotionConfig(enabled=False))
    found = [(line.kind, line.person) for line in replay(ungated, CLIP, GALLERY)]
    assert found == [(line.kind, line.person) for line in lines]


def test_who_is_recognised_but_not_allowed_is_denied() -> None:
    config = msgspec.structs.replace(CONFIG, access=AccessConfig(allow=()))
    first = next(replay(config, CLIP, GALLERY))
    assert (first.kind, first.rule) == ("denied", "not-in-allow")
    assert first.person is not None


@pytest.mark.parametrize(("name", "codec"), [("out.webm", b"V_VP8"), ("out.mp4", b"mp4v")])
def test_annotated_clip_of_every_frame(tmp_path: Path, name: str, codec: bytes) -> None:
    """Something is drawn into it, its owner alone may read it, and *.webm holds VP8, which browsers play."""
    out = tmp_path / name
    out.write_bytes(b"an older clip")
    out.chmod(0o644)
    with closing(Annotator(out, CONFIG.recognition.min_samples)) as annotator:
        list(replay(CONFIG, CLIP, GALLERY, [annotator]))
    assert out.stat().st_mode & 0o777 == 0o600
    assert codec in out.read_bytes()
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
    with closing(Annotator(tmp_path / "out.mp4", CONFIG.recognition.min_samples)) as annotator:
        (line,) = replay(CONFIG, tmp_path, GALLERY, [annotator])
    assert (line.kind, line.person and line.person.id) == ("door-open", "barack-obama")


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([], "- 1.00 s door-open anna nothing missing"),
        ([ReplayEvent("unknown", None, 1.0)], "! 1.00 s door-open anna 1.00 s unknown - kind, person"),
        ([ReplayEvent("door-open", ReplayPerson("bert"), 1.0)], "! 1.00 s door-open anna 1.00 s door-open bert person"),
        ([ReplayEvent("door-open", ReplayPerson("anna"), 1.6)], "! 1.00 s door-open anna 1.60 s door-open anna time"),
        (
            [ReplayEvent("door-open", ReplayPerson("anna"), 1.0), ReplayEvent("unknown", None, 2.0)],
            "+ nothing 2.00 s unknown - not expected",
        ),
    ],
)
def test_a_difference_from_the_expected_events_is_told(found: list[ReplayEvent], told: str) -> None:
    table = difference_table(match_events([ReplayEvent("door-open", ReplayPerson("anna"), 1.0)], found))
    assert told in [" ".join(row.split()) for row in table.splitlines()]


def test_an_event_too_many_shifts_none_of_the_others() -> None:
    """Each finds its own partner, not the one in the same place of the list."""
    anna, bert, carl = (
        ReplayEvent("door-open", ReplayPerson(name), t) for name, t in (("anna", 1.0), ("bert", 5.0), ("carl", 9.0))
    )
    pairs = match_events([anna, bert, carl], [ReplayEvent("unknown", None, 0.2), anna, bert, carl])
    assert [pair.differs for pair in pairs] == [("not expected",), (), (), ()]


def test_a_small_shift_in_time_is_as_expected() -> None:
    (pair,) = match_events([ReplayEvent("unknown", None, 1.0)], [ReplayEvent("unknown", None, 1.5)])
    assert not pair.differs


def test_what_is_recorded_is_what_is_expected_afterwards(lines: list[ReplayEvent], tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write_expected(path, lines)
    assert read_expected(path) == lines
    with pytest.raises(InputError, match="exists already"):
        write_expected(path, lines)


def test_every_visitor_is_explained_with_every_look() -> None:
    explainer = Explainer()
    for line in replay(CONFIG, CLIP, GALLERY, [explainer]):
        explainer.on_event(line)
    answers = [answer.kind for visitor in explainer.visitors.values() for answer in visitor.answers]
    assert answers == ["door-open", "unknown"]
    for visitor in explainer.visitors.values():
        assert visitor.looks[-1].samples == max(look.samples for look in visitor.looks)
        assert f"Visitor {visitor.track}: {visitor.first_s:.2f}" in explainer.render()
    assert max(map(len, explainer.render().splitlines())) <= 100


def test_with_liveness_what_was_asked_and_shown_is_explained_and_drawn(tmp_path: Path) -> None:
    """The demo's clip cannot hear: the question, its end and the measurements stand beside the looks."""
    config = msgspec.structs.replace(CONFIG, liveness=LivenessConfig(mode="challenge", challenge_step_timeout_s=0.5))
    explainer = Explainer()
    with closing(Annotator(tmp_path / "asked.mp4", 3)) as asked, closing(Annotator(tmp_path / "off.mp4", 3)) as off:
        for line in replay(config, CLIP, GALLERY, [explainer, asked]):
            explainer.on_event(line)
        list(replay(CONFIG, CLIP, GALLERY, [off]))
    text = explainer.render()
    assert re.search(r"s: challenge, failed: (\S+)\n.*s: shown .*, challenge \1\n", text)
    assert re.search(r"\n +local-motion +\d.* [+-]\d.*\n +unexplained .*(\n.*)?\n +mouth .* -  how ", text)
    assert max(map(len, text.splitlines())) <= 100
    clips = [cv2.VideoCapture(str(tmp_path / name)) for name in ("asked.mp4", "off.mp4")]
    while (read := [clip.read() for clip in clips])[0][0]:
        plates = [frame[450:475, 100:400] for _, frame in read]
        if np.count_nonzero(cv2.absdiff(*plates) > 60) > 300:
            break
    else:
        pytest.fail("nothing is said of the challenge")


def test_a_folder_of_clips_is_held_to_what_each_expects(tmp_path: Path) -> None:
    """One as expected, one with another time, one without a clip: each is told, and the report counts them."""
    for name in ("good", "other"):
        (tmp_path / f"{name}.mp4").symlink_to(CLIP)
    (tmp_path / "gallery.safetensors").symlink_to(GALLERY)
    (tmp_path / "good.expected.jsonl").symlink_to(EXPECTED)
    (tmp_path / "other.expected.jsonl").write_text('{"kind":"unknown","person":null,"t":3}\n')
    (tmp_path / "absent.expected.jsonl").symlink_to(EXPECTED)
    (tmp_path / "new.mp4").symlink_to(CLIP)
    assert clips_without_expectation(tmp_path) == ["new.mp4"]
    results = list(run_suite(tmp_path))
    assert [(result.name, result.ok) for result in results] == [("absent", False), ("good", True), ("other", False)]
    assert results[0].error
    assert "not expected" in results[2].difference
    suite = ET.fromstring(junit(results))
    assert suite.attrib.items() >= {"tests": "3", "failures": "1", "errors": "1"}.items()


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"door.toml": 'sit = "x"'}, None),
        ({"a.expected.jsonl": "{"}, "a.expected.jsonl:1: not an expected event"),
        ({"a.expected.jsonl": "", "a.mp4": ""}, "a.mp4: an empty file"),
        ({"a.expected.jsonl": "", "a.mp4": "no clip", "a.avi": ""}, "several clips of this name"),
        ({"a.expected.jsonl": "", "a.mp4": "", "a.toml": "config = ["}, "a.toml: not valid TOML"),
        ({"a.expected.jsonl": "", "a.mp4": "", "a.toml": 'galery = "x"'}, "did you mean 'gallery'?"),
        ({"a.expected.jsonl": "", "a.mp4": "", "a.toml": 'at = "noon"'}, "a.toml: 'noon' is no time such as"),
        ({"a.expected.jsonl": "", "a.mp4": "", "a.toml": 'gallery = "none"'}, "none: no such gallery"),
    ],
)
def test_a_clip_that_cannot_be_tried_says_why_and_the_others_go_on(
    tmp_path: Path, files: dict[str, str], told: str | None
) -> None:
    """A mistake in one is an error of that one, each named with its file; a folder without any is refused."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    if told is None:
        with pytest.raises(InputError, match="no clip says what it expects"):
            run_suite(tmp_path)
        return
    (result,) = run_suite(tmp_path)
    assert told in result.error
    assert result.error.count(str(tmp_path)) == 1


def test_a_report_holds_no_character_that_its_readers_refuse() -> None:
    suite = ET.fromstring(junit([ClipResult("x", 1, "a\x00\x1b\u202eb\ufffe", "", 0.1)]))
    (case,) = suite
    assert case[0].text == "a???b?"


def test_only_kind_person_and_time_need_to_be_expected(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"kind":"door-open","person":{"id":"anna"},"t":1.0}\n\n{"kind":"unknown","person":null,"t":2}\n')
    assert [line.kind for line in read_expected(path)] == ["door-open", "unknown"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", ""),
        ("[]", "top level: expected a table, got a list"),
        ('{"kind":"unknown"}', "top level: 'person' is missing"),
        ('{"kind":"door-opened"}', "unknown kind 'door-opened'; did you mean 'door-open'?"),
        ('{"kind":"unknown","person":null,"t":"2"}', 't = "2": expected a number, got text; remove the quotes'),
    ],
)
def test_a_malformed_expectation_is_named_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"kind":"unknown","person":null,"t":2}\n' + text)
    with pytest.raises(InputError, match=rf"events\.jsonl:2: not an expected event .{re.escape(told)}"):
        read_expected(path)


def test_bad_input_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(CameraError):
        list(replay(CONFIG, tmp_path / "absent.mp4", GALLERY))
    with pytest.raises(GalleryError):
        list(replay(CONFIG, CLIP, tmp_path / "absent.safetensors"))
    with pytest.raises(InputError, match=r"must be named \*\.webm, which browsers play, or \*\.mp4"):
        Annotator(tmp_path / "out.gif", CONFIG.recognition.min_samples)
    assert list(tmp_path.iterdir()) == []
