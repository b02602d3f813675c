"""Commands as a user types them: results, exit codes, and one clear line for every mistake."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from support.pty_stream import PtyStream

from edge.cli.main import main
from edge.core.cli_support import DEFAULT_CONFIGS
from edge.demo.run_demo import CLIP, FOLDER, GALLERY
from edge.events.topics import Channel
from edge.vision.images import read_image


class Result(NamedTuple):
    code: int
    out: str
    err: str


Edge = Callable[..., Result]


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Edge]:
    """Run `edge` with these arguments, in this process."""
    mask = os.umask(0o022)

    def run(*arguments: str | Path) -> Result:
        monkeypatch.setattr("sys.argv", ["edge", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        return Result(int(left.value.code or 0), *capfd.readouterr())

    os.umask(mask)
    yield run
    os.umask(mask)  # `edge run` sets the umask to 077


def test_replay_prints_one_json_object_per_decision(edge: Edge) -> None:
    result = edge("replay", CLIP, "--gallery", GALLERY, "--json")
    assert result.code == 0
    events = [json.loads(line) for line in result.out.splitlines()]
    assert [event["kind"] for event in events] == ["door-open", "unknown"]
    for event in events:
        assert {"kind", "person", "t", "distance_sq", "threshold_sq", "samples"} <= event.keys()
    assert events[0]["person"]["id"] == "barack-obama"
    assert events[1]["person"] is None


def test_replay_compared_with_expected_events(edge: Edge, tmp_path: Path) -> None:
    assert (
        "expected.jsonl: 2 events as expected"
        in edge("replay", CLIP, "--gallery", GALLERY, "--expect", FOLDER / "expected.jsonl").err
    )
    other = tmp_path / "other.jsonl"
    other.write_text('{"kind":"unknown","person":null,"t":2}\n')
    result = edge("replay", CLIP, "--gallery", GALLERY, "--expect", other)
    assert result.code == 1
    assert "2 of 2 events different from expectation" in result.err
    assert "!    2.00 s  unknown    -" in result.err


def test_reason_for_a_clip_without_events(edge: Edge, tmp_path: Path) -> None:
    """The reasons differ for no face, faces that are too small, and a visit that is too short."""
    config = tmp_path / "door.toml"
    config.write_text('site = "a"\ndoor = "b"\n[quality]\nmin_size_px = 40\n')
    portrait = read_image(next((FOLDER / "people" / "barack-obama").glob("*.jpg")))

    def told(name: str, width_px: int, count: int) -> str:
        (tmp_path / name).mkdir()
        picture = np.full((480, 640, 3), 90, np.uint8)
        if width_px:
            small = cv2.resize(portrait, (width_px, round(portrait.shape[0] * width_px / portrait.shape[1])))
            picture[40 : 40 + small.shape[0], 40 : 40 + small.shape[1]] = small
        for number in range(count):
            cv2.imwrite(str(tmp_path / name / f"{number:02}.png"), picture)
        result = edge("replay", tmp_path / name, "--gallery", GALLERY, "--config", config)
        assert (result.code, result.out) == (0, "")
        return result.err

    assert told("empty", 0, 1) == "no event: no face was found (--explain lists all samples)\n"
    refused = told("far", 150, 30)
    assert re.match(r"no event: (\d+) of \1 samples could not be used, most of them too small: come closer", refused)
    assert told("short", 300, 2).startswith(
        "no event: nobody stayed in sight long enough: 1 sample, at least 3 are needed"
    )


def test_demo_publishes_one_opening_and_one_unknown(edge: Edge, tmp_path: Path) -> None:
    result = edge("demo", "--json", "--out", tmp_path)
    assert result.code == 0
    events = [json.loads(line) for line in result.out.splitlines()]
    assert [event["kind"] for event in events] == ["started", "door-open", "unknown", "stopped"]
    assert [event["seq"] - events[0]["seq"] for event in events] == [0, 1, 2, 3]
    assert events[1]["person"]["id"] == "barack-obama"


def test_bench_reports_and_compares_figures(edge: Edge, tmp_path: Path) -> None:
    words = ["bench", "--json", "--only", "steps", "--repeats", "3"]
    before = tmp_path / "before.json"
    result = edge(*words)
    before.write_text(result.out)
    figures = {(each["section"], each["name"], each["unit"]): each for each in json.loads(result.out)["figures"]}
    assert {("models", "detector-far", "ms"), ("steps", "one_face", "ms")} <= figures.keys()
    result = edge(*words, "--compare", before)
    assert result.code == 0
    comparison = json.loads(result.out)
    assert len(comparison["changes"]) == len(figures)
    assert all(each["ratio"] > 0 for each in comparison["changes"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["replay", "absent.mp4", "--gallery", GALLERY], "error: absent.mp4: no such file\n"),
        (["replay", "empty.mp4", "--gallery", GALLERY], "empty.mp4"),
        (["replay", "text.mp4", "--gallery", GALLERY], "text.mp4"),
        (["replay", CLIP, "--gallery", "absent"], "absent: no such gallery; make one with  threshold enroll"),
        (["replay", CLIP, "--gallery", "empty.mp4"], "damaged or not a gallery"),
        (["replay", CLIP, "--gallery", GALLERY, "--expect", "absent"], "absent: cannot be read"),
        (["replay", CLIP, "--gallery", GALLERY, "--annotate", "no/such/out.mp4"], "no such folder"),
        (["replay", CLIP, "--gallery", GALLERY, "--config", "bad.toml"], "did you mean 'source'?"),
        (["replay", CLIP, "--gallery", GALLERY, "--record", "no/such/events.jsonl"], "no/such: no such folder"),
        (["replay", "--suite", "absent"], "absent: no such folder"),
        (["replay", "--suite", "."], "no clip has expected events"),
        (["replay", ".", "--suite", "--junit", "no/such/report.xml"], "no/such: no such folder"),
        (["run", "--config", "absent.toml"], "absent.toml: no such file; write one with  edge setup --out absent.toml"),
        (["run", "--config", "bad.toml"], "did you mean 'source'?"),
        (["run", "--config", "noclip.toml"], "absent.mp4: no such file or camera"),
        (["run", "--config", "edgetpu.toml"], "not compiled for the Edge TPU"),
        (["bench", "--compare", "bad.toml"], "bad.toml: not a report"),
        (["bench", "--only", "everything"], "invalid choice"),
        (["replay"], "CLIP"),
        (["replay", "--suite", ".", "--explain"], "--explain is for a single clip"),
        (["replay", CLIP, "--junit", "out.xml"], "--junit is for a folder of clips; add --suite"),
        (["gallery"], "ACTION"),
        (["release", "trust-root", "absent", "--config", "noclip.toml"], "absent: cannot be read"),
        (["open-sesame"], "invalid choice"),
    ],
)
def test_usage_errors_are_one_line_with_exit_code_2(
    edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str | Path], told: str
) -> None:
    door = f'site = "a"\ndoor = "b"\nstate_folder = "{tmp_path}"\ngallery = "{GALLERY}"\n'
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is no clip\n" * 100)
    (tmp_path / "bad.toml").write_text(door + "[camera]\nsourc = 'x'")
    (tmp_path / "noclip.toml").write_text(door + "[camera]\nsource = 'absent.mp4'")
    (tmp_path / "edgetpu.toml").write_text(door + "[models]\ndelegate = 'edgetpu'")
    monkeypatch.chdir(tmp_path)
    result = edge(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert told in result.err
    assert "Traceback" not in result.err
    if "usage:" not in result.err:
        assert [line for line in result.err.splitlines() if line.startswith("error: ")] == [result.err.splitlines()[-1]]


@pytest.mark.skipif(DEFAULT_CONFIGS[0].exists(), reason="this machine has a door")
@pytest.mark.parametrize(
    "command", [["run"], ["check"], ["lock"], ["release", "trust-root", "root.json"]], ids=lambda words: words[0]
)
def test_door_toml_of_this_folder_is_the_default(
    edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """Without a configuration, one line names the expected files; else ./door.toml is read."""
    monkeypatch.chdir(tmp_path)
    result = edge(*command)
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "error: no configuration: /etc/threshold/door.toml and ./door.toml do not exist; "
        "run edge setup, or name a file with --config\n"
    )
    (tmp_path / "door.toml").write_text("site = 5")
    result = edge(*command)
    words = " ".join((result.out + result.err).split())
    assert "door.toml: site = 5: expected text, got a number" in words
    assert "put it in quotes" in words


def test_channels_of_edge_events(edge: Edge) -> None:
    assert edge("events", "--channels", *Channel, "--help").code == 0


def test_events_without_a_broker_exits_with_1(edge: Edge) -> None:
    result = edge("events", "--broker", "mqtt://127.0.0.1:1")
    assert result.code == 1
    assert "mqtt://127.0.0.1:1: cannot be reached" in result.err


@pytest.mark.skipif(DEFAULT_CONFIGS[0].exists(), reason="this machine has a door")
def test_events_of_the_broker_in_door_toml(edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker of ./door.toml is used unless an option names one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "door.toml").write_text('site = "a"\ndoor = "b"\n[mqtt]\nurl = "mqtt://127.0.0.1:1"\n')
    assert "mqtt://127.0.0.1:1: cannot be reached" in edge("events").err
    assert "mqtt://127.0.0.1:2: cannot be reached" in edge("events", "--broker", "mqtt://127.0.0.1:2").err


def test_events_login_given_twice(edge: Edge, tmp_path: Path) -> None:
    """A login on the command line conflicts with the login in door.toml."""
    result = edge("events", "--config", tmp_path / "door.toml", "--username", "front")
    assert result.code == 2
    assert "--username: --config has the login of the broker already" in result.err


def test_events_errors_without_a_door_toml(edge: Edge) -> None:
    """Errors name options instead of keys of door.toml."""
    for url, told in (("mqtt://elsewhere", "add --insecure"), ("http://x", "--broker: 'http://x' is not of the form")):
        result = edge("events", "--broker", url)
        assert result.code == 2
        assert told in result.err
        assert "[mqtt]" not in result.err


@pytest.mark.parametrize("command", ["", "run", "replay", "demo", "check", "bench", "events"])
def test_help_of_every_command(edge: Edge, command: str) -> None:
    result = edge(*command.split(), "--help")
    assert result.code == 0
    assert "usage: edge" in result.out


def test_tuf_is_imported_only_for_releases() -> None:
    code = "import edge.cli.main, edge.runtime.daemon, sys; sys.exit('tuf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_colours_of_log_and_errors_on_a_terminal(tmp_path: Path) -> None:
    """A warning is yellow and the error red; in a pipe there are no colours."""
    config = tmp_path / "door.toml"
    config.write_text(f'site = "a"\ndoor = "b"\nstate_folder = "{tmp_path}"\ngallery = "{tmp_path}/none"\n')
    tmp_path.chmod(0o755)
    command = [sys.executable, "-m", "edge", "run", "--config", str(config)]
    environ = {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | {"TERM": "xterm"}
    with PtyStream(100) as stream:
        subprocess.run(command, stderr=stream, env=environ, check=False)
        shown = stream.read_terminal()
    assert re.search(r"\x1b\[33m\S+ \S+ WARNING other users can read or write", shown)
    assert f"\x1b[1;31merror:\x1b[0m {tmp_path}/none: no such gallery" in shown
    assert b"\x1b" not in subprocess.run(command, capture_output=True, env=environ, check=False).stderr
