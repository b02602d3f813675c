"""A folder of clips, each with its expected events."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from edge.core.errors import InputError
from edge.demo.run_demo import CLIP, FOLDER, GALLERY
from edge.replay.suite import ClipResult, Suite, junit

EXPECTED = FOLDER / "expected.jsonl"


def test_suite_compares_every_clip(tmp_path: Path) -> None:
    """One clip is as expected, one has another time, one is missing; the report counts each of them."""
    for name in ("good", "other"):
        (tmp_path / f"{name}.mp4").symlink_to(CLIP)
    (tmp_path / "gallery.safetensors").symlink_to(GALLERY)
    (tmp_path / "good.expected.jsonl").symlink_to(EXPECTED)
    (tmp_path / "other.expected.jsonl").write_text('{"kind":"unknown","person":null,"t":3}\n')
    (tmp_path / "absent.expected.jsonl").symlink_to(EXPECTED)
    (tmp_path / "new.mp4").symlink_to(CLIP)
    suite = Suite(tmp_path)
    assert suite.skipped == ["new.mp4"]
    results = list(suite.run())
    assert [(result.name, result.ok) for result in results] == [("absent", False), ("good", True), ("other", False)]
    assert results[0].error
    assert "not expected" in results[2].difference
    report = ET.fromstring(junit(results))
    assert report.attrib.items() >= {"tests": "3", "failures": "1", "errors": "1"}.items()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"door.toml": 'sit = "x"'}, None),
        ({"a.expected.jsonl": "{"}, "a.expected.jsonl:1: not an expected event"),
        ({"a.expected.jsonl": "", "a.mp4": ""}, "a.mp4: an empty file"),
        ({"a.expected.jsonl": "", "a.mp4": "no clip", "a.avi": ""}, "several clips with this name: a.avi, a.mp4"),
        ({"a.expected.jsonl": '{"kind":"door-opened"}', "a.mp4": ""}, "(kinds: door-open, denied, unknown)"),
        ({"a.expected.jsonl": "", "b.mp4": ""}, "a: no clip or folder of stills with this name"),
        ({"a.expected.jsonl": "", "a.mp4": "", "a.toml": "config = ["}, "a.toml: not valid TOML"),
        ({"a.expected.jsonl": "", "a.mp4": "", "a.toml": 'galery = "x"'}, "did you mean 'gallery'?"),
        ({"a.expected.jsonl": "", "a.mp4": "", "a.toml": 'at = "noon"'}, "a.toml: 'noon' is not a time"),
        ({"a.expected.jsonl": "", "a.mp4": "", "a.toml": 'gallery = "none"'}, "none: no such gallery"),
    ],
)
def test_unusable_clip_does_not_stop_the_others(tmp_path: Path, files: dict[str, str], message: str | None) -> None:
    """A mistake in one clip is an error of that clip with its file; a folder without expected events is an error."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    if message is None:
        with pytest.raises(InputError, match="no clip has expected events"):
            Suite(tmp_path)
        return
    (result,) = Suite(tmp_path).run()
    assert message in result.error
    assert result.error.count(str(tmp_path)) == 1


def test_missing_expectations_are_recorded_once(tmp_path: Path) -> None:
    """The recorded events are the expected ones of the next run; existing files stay as they are."""
    (tmp_path / "new.mp4").symlink_to(CLIP)
    (tmp_path / "old.mp4").symlink_to(CLIP)
    (tmp_path / "old.expected.jsonl").write_text('{"kind":"unknown","person":null,"t":3}\n')
    (tmp_path / "gallery.safetensors").symlink_to(GALLERY)
    new, old = Suite(tmp_path, record_missing=True).run()
    assert (new.recorded, new.ok, new.events) == (True, True, 2)
    assert (old.recorded, old.ok) == (False, False)
    assert [result.ok for result in Suite(tmp_path).run()] == [True, False]
    assert (tmp_path / "old.expected.jsonl").read_text().count("\n") == 1


def test_annotated_clip_of_a_difference(tmp_path: Path) -> None:
    """Only clips that differ are annotated."""
    out = tmp_path / "seen"
    out.mkdir()
    (tmp_path / "gallery.safetensors").symlink_to(GALLERY)
    for name, expected in (("good", EXPECTED.read_text()), ("other", "")):
        (tmp_path / f"{name}.mp4").symlink_to(CLIP)
        (tmp_path / f"{name}.expected.jsonl").write_text(expected)
    results = list(Suite(tmp_path, annotate=out).run())
    assert [result.annotated for result in results] == [None, next(out.iterdir())]
    assert [path.stem for path in out.iterdir()] == ["other"]
    with pytest.raises(InputError, match="absent: no such folder"):
        Suite(tmp_path, annotate=tmp_path / "absent")


def test_junit_report_has_no_forbidden_characters() -> None:
    suite = ET.fromstring(junit([ClipResult("x", 1, "a\x00\x1b\u202eb\ufffe", "", 0.1)]))
    (case,) = suite
    assert case[0].text == "a???b?"
