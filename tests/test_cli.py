"""The commands as a user types them: results, exit codes, and one clear line for every mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from edge import cli
from edge.demo.show import CLIP, FOLDER, GALLERY


class Result(NamedTuple):
    code: int
    out: str
    err: str


Edge = Callable[..., Result]


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Edge:
    """Run `edge` with these arguments, in this process."""

    def run(*arguments: str | Path) -> Result:
        monkeypatch.setattr("sys.argv", ["edge", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return Result(int(left.value.code or 0), *capfd.readouterr())

    return run


def test_replay_prints_one_json_object_per_decision(edge: Edge) -> None:
    result = edge("replay", CLIP, "--gallery", GALLERY, "--json")
    assert result.code == 0
    events = [json.loads(line) for line in result.out.splitlines()]
    assert [event["kind"] for event in events] == ["door-open", "unknown"]
    for event in events:
        assert {"kind", "person", "t", "distance_sq", "threshold_sq", "samples"} <= event.keys()
    assert events[0]["person"]["id"] == "barack-obama"
    assert events[1]["person"] is None


def test_replay_as_expected_says_so_and_otherwise_fails(edge: Edge, tmp_path: Path) -> None:
    assert (
        "all 2 events as expected"
        in edge("replay", CLIP, "--gallery", GALLERY, "--expect", FOLDER / "expected.jsonl").err
    )
    other = tmp_path / "other.jsonl"
    other.write_text('{"kind":"unknown","person":null,"t":2}\n')
    result = edge("replay", CLIP, "--gallery", GALLERY, "--expect", other)
    assert result.code == 1
    assert "event 1: expected unknown" in result.err


def test_demo_shows_one_opening_and_one_unknown_over_a_real_connection(edge: Edge) -> None:
    result = edge("demo", "--json")
    assert result.code == 0
    events = [json.loads(line) for line in result.out.splitlines()]
    assert [event["kind"] for event in events] == ["started", "door-open", "unknown", "stopped"]
    assert [event["seq"] for event in events] == [1, 2, 3, 4]
    assert events[1]["person"]["id"] == "barack-obama"


def test_bench_reports_stages_models_and_overhead(edge: Edge) -> None:
    result = edge("bench", "--json", "--repeats", "3")
    assert result.code == 0
    report = json.loads(result.out)
    assert set(report["raw"]) == {"detector", "landmarks", "embedder"}
    assert {"detect", "landmarks", "align", "quality", "embed"} <= set(report["stages"])
    total = sum(model["median_ms"] for model in report["raw"].values())
    assert report["overhead"] == pytest.approx(report["one_face"]["median_ms"] / total, abs=0.01)
    assert report["rss_mb"] > 10


def test_check_names_every_obstacle_with_its_remedy(edge: Edge, tmp_path: Path) -> None:
    config = tmp_path / "door.toml"
    config.write_text(
        f'site = "a"\ndoor = "b"\nstate_folder = "{tmp_path}/none"\ngallery = "{tmp_path}/none"\n'
        f'[camera]\nsource = "{CLIP}"\n[mqtt]\nurl = "mqtt://127.0.0.1:1"\n'
    )
    result = edge("check", "--config", config, "--json")
    assert result.code == 1
    findings = {finding["what"]: finding for finding in json.loads(result.out)}
    assert [findings[what]["ok"] for what in ("config", "camera", "models")] == [True] * 3
    assert [findings[what]["ok"] for what in ("gallery", "broker", "state")] == [False] * 3
    assert all(finding["remedy"] for finding in findings.values() if not finding["ok"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["replay", "absent.mp4", "--gallery", GALLERY], "absent.mp4"),
        (["replay", "empty.mp4", "--gallery", GALLERY], "empty.mp4"),
        (["replay", "text.mp4", "--gallery", GALLERY], "text.mp4"),
        (["replay", CLIP, "--gallery", "absent"], "absent: cannot be read"),
        (["replay", CLIP, "--gallery", "empty.mp4"], "damaged or not a gallery"),
        (["replay", CLIP, "--gallery", GALLERY, "--expect", "absent"], "absent: cannot be read"),
        (["replay", CLIP, "--gallery", GALLERY, "--annotate", "no/such/out.mp4"], "no such folder"),
        (["replay", CLIP, "--gallery", GALLERY, "--config", "bad.toml"], "did you mean 'source'?"),
        (["run", "--config", "absent.toml"], "absent.toml: cannot be read"),
        (["run", "--config", "bad.toml"], "did you mean 'source'?"),
        (["run", "--config", "nocamera.toml"], "/dev/video99"),
        (["run", "--config", "edgetpu.toml"], "libedgetpu.so.1 cannot be loaded"),
        (["run"], "--config"),
        (["replay"], "CLIP"),
        (["open-sesame"], "invalid choice"),
    ],
)
def test_a_mistake_gets_one_clear_line_and_exit_code_2(
    edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str | Path], told: str
) -> None:
    door = f'site = "a"\ndoor = "b"\nstate_folder = "{tmp_path}"\ngallery = "{GALLERY}"\n'
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is no clip\n" * 100)
    (tmp_path / "bad.toml").write_text(door + "[camera]\nsourc = 'x'")
    (tmp_path / "nocamera.toml").write_text(door + "[camera]\nsource = '/dev/video99'")
    (tmp_path / "edgetpu.toml").write_text(door + "[models]\ndelegate = 'edgetpu'")
    monkeypatch.chdir(tmp_path)
    result = edge(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert told in result.err
    assert "Traceback" not in result.err
    if "usage:" not in result.err:
        assert [line for line in result.err.splitlines() if line.startswith("error: ")] == [result.err.splitlines()[-1]]


def test_events_without_a_broker_fails_with_exit_code_1(edge: Edge) -> None:
    result = edge("events", "--broker", "mqtt://127.0.0.1:1")
    assert result.code == 1
    assert "mqtt://127.0.0.1:1: cannot be reached" in result.err


@pytest.mark.parametrize("command", ["", "run", "replay", "demo", "check", "bench", "events"])
def test_every_command_explains_itself(edge: Edge, command: str) -> None:
    result = edge(*command.split(), "--help")
    assert result.code == 0
    assert "usage: edge" in result.out
