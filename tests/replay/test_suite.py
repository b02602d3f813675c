"""A folder of clips, each with its expected events."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from edge.core.errors import InputError
from edge.demo.run_demo import CLIP, FOLDER, GALLERY
from edge.replay.suite import ClipResult, clips_without_expectation, junit, run_suite

EXPECTED = FOLDER / "expected.jsonl"


def test_suite_compares_every_clip(tmp_path: Path) -> None:
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
def test_unusable_clip_does_not_stop_the_others(tmp_path: Path, files: dict[str, str], told: str | None) -> None:
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


def test_junit_report_has_no_forbidden_characters() -> None:
    suite = ET.fromstring(junit([ClipResult("x", 1, "a\x00\x1b\u202eb\ufffe", "", 0.1)]))
    (case,) = suite
    assert case[0].text == "a???b?"
