"""Replay of the bundled clip: golden events, and equal bytes at every run."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import cv2
import msgspec
import pytest
from support.pty_stream import PtyStream

from edge.core.config import AccessConfig, DoorConfig, MotionConfig
from edge.demo.run_demo import CLIP, FOLDER, GALLERY
from edge.replay.annotate import Annotator
from edge.replay.expected import match_events, read_expected
from edge.replay.replay import ReplayEvent, replay
from edge.vision.images import read_image

CONFIG = DoorConfig(site="test", door="test")


EXPECTED = FOLDER / "expected.jsonl"


@pytest.fixture(scope="module")
def lines() -> list[ReplayEvent]:
    return list(replay(CONFIG, CLIP, GALLERY))


def test_golden_events_of_the_bundled_clip(lines: list[ReplayEvent]) -> None:
    """One enrolled person is recognised, one stranger is unknown; the distances hold, too."""
    golden = read_expected(EXPECTED)
    assert not any(pair.differs for pair in match_events(golden, lines))
    assert [line.kind for line in lines] == ["door-open", "unknown"]
    for want, have in zip(golden, lines, strict=True):
        assert have.distance_sq == pytest.approx(want.distance_sq, abs=0.05)


def test_no_person_in_an_unknown(lines: list[ReplayEvent]) -> None:
    (unknown,) = [line for line in lines if line.kind == "unknown"]
    assert unknown.person is None
    assert unknown.distance_sq > unknown.threshold_sq


def test_equal_bytes_of_two_runs(lines: list[ReplayEvent]) -> None:
    assert msgspec.json.encode(list(replay(CONFIG, CLIP, GALLERY))) == msgspec.json.encode(lines)


def test_equal_events_without_the_motion_test(lines: list[ReplayEvent]) -> None:
    ungated = msgspec.structs.replace(CONFIG, motion=MotionConfig(enabled=False))
    found = [(line.kind, line.person) for line in replay(ungated, CLIP, GALLERY)]
    assert found == [(line.kind, line.person) for line in lines]


def test_denial_without_a_rule() -> None:
    config = msgspec.structs.replace(CONFIG, access=AccessConfig(allow=()))
    first = next(replay(config, CLIP, GALLERY))
    assert (first.kind, first.rule) == ("denied", "not-in-allow")
    assert first.person is not None


def test_cleared_progress_bar_before_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line about an event does not begin behind the bar."""
    with PtyStream(80) as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        shown = [terminal.read_terminal() for _ in replay(CONFIG, CLIP, GALLERY)]
    assert "replay: " in shown[0]
    assert all(text.endswith("\r") for text in shown)


def test_stills_of_several_sizes(tmp_path: Path) -> None:
    """Twenty pictures of one portrait in two sizes: the person is recognised once."""
    portrait = read_image(next((FOLDER / "people" / "barack-obama").glob("*.jpg")))
    larger = cv2.resize(portrait, None, fx=1.1, fy=1.1)
    for number in range(20):
        cv2.imwrite(str(tmp_path / f"{number:02}.jpg"), larger if number % 2 else portrait)
    with closing(Annotator(tmp_path / "out.webm", CONFIG.recognition.min_samples)) as annotator:
        (line,) = replay(CONFIG, tmp_path, GALLERY, [annotator])
    assert (line.kind, line.person and line.person.id) == ("door-open", "barack-obama")
