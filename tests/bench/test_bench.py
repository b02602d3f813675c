"""The benchmark: what its figures mean, that it measures what it says, and before and after. No time is asserted."""

from __future__ import annotations

import math
import random
from pathlib import Path

import msgspec
import pytest

from edge.bench import cpu_per_hour, pipeline_stages, search, startup_latency, visit_latency
from edge.bench.bench import bench
from edge.bench.processes import broker, toml
from edge.bench.report import Report, compare, read_report
from edge.bench.scenes import loop_frames, scenes
from edge.bench.statistics import Measurement, Timing, figure, ratios, times
from edge.bench.table import comparison_table, table
from edge.core.config import CameraConfig, DoorConfig, LockoutConfig, ModelsConfig, RecognitionConfig, read_config
from edge.core.errors import InputError
from edge.core.records import Frame
from edge.vision.face_sampler import VisionStages

ONE_THREAD = ModelsConfig(threads=1)


def report(*figures: Measurement) -> Report:
    return Report(
        program="1",
        machine="m",
        cores=1,
        load=0.0,
        python="3",
        runtime="r",
        threads=1,
        broker="",
        figures=figures,
    )


def named(figures: list[Measurement]) -> set[str]:
    assert all(math.isfinite(each.value) and each.value > 0 for each in figures)
    assert all(each.low <= each.value <= each.high for each in figures)
    return {each.name for each in figures if not each.unit.startswith("CPU ")}


def test_a_figure_is_the_median_with_the_interval_in_which_it_could_as_well_lie() -> None:
    """Of 1..100 the binomial 95 % interval of the median is from the 40th to the 61st value."""
    values = [float(number) for number in range(1, 101)]
    random.Random(0).shuffle(values)
    one = figure("s", "n", "ms", values)
    assert (one.value, one.low, one.high, one.runs) == (50.5, 40, 61, 100)
    assert one.tail == pytest.approx(95.05, abs=0.01)


def test_a_single_run_has_neither_interval_nor_tail() -> None:
    one = figure("s", "n", "MB", [3.0])
    assert (one.low, one.value, one.high, one.tail, one.runs) == (3, 3, 3, None, 1)


def test_quotients_are_taken_run_by_run_so_that_a_slow_spell_cancels_out() -> None:
    pairs = [(Timing(2 * ns, 3 * ns), Timing(ns, ns)) for ns in (100, 1000, 10_000)]
    wall, cpu = ratios("s", "n", pairs)
    assert (wall.value, wall.low, wall.high, wall.unit) == (2, 2, 2, "x")
    assert (cpu.value, cpu.unit) == (3, "CPU x")


def test_only_a_change_beyond_the_noise_is_marked() -> None:
    before = report(
        Measurement("s", "apart", "ms", 10, 9, 11, None, 9),
        Measurement("s", "overlapping", "ms", 10, 9, 12, None, 9),
        Measurement("s", "apart by a hair", "ms", 10, 9.99, 10.01, None, 9),
        Measurement("s", "one run", "MB", 100, 100, 100, None, 1),
        Measurement("s", "one run, far", "MB", 100, 100, 100, None, 1),
        Measurement("s", "gone", "MB", 100, 100, 100, None, 1),
    )
    after = report(
        Measurement("s", "apart", "ms", 5, 4, 6, None, 9),
        Measurement("s", "overlapping", "ms", 12, 11, 13, None, 9),
        Measurement("s", "apart by a hair", "ms", 10.1, 10.05, 10.2, None, 9),
        Measurement("s", "one run", "MB", 104, 104, 104, None, 1),
        Measurement("s", "one run, far", "MB", 106, 106, 106, None, 1),
        Measurement("s", "new", "MB", 100, 100, 100, None, 1),
    )
    changes = compare(before, after).changes
    assert {change.name: change.changed for change in changes} == {
        "apart": True,
        "overlapping": False,
        "apart by a hair": False,
        "one run": False,
        "one run, far": True,
    }
    assert changes[0].ratio == 0.5
    assert comparison_table(compare(before, after)).splitlines()[-1].startswith("2 of 5 figures changed")


def test_a_report_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_bytes(msgspec.json.encode(report(figure("s", "n", "ms", [1.0, 2.0]))))
    assert read_report(path) == report(figure("s", "n", "ms", [1.0, 2.0]))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff\xfe",
        b'{"figures":[]}',
        msgspec.json.encode(report())[:-2],
        msgspec.json.encode(report()).replace(b'"version":1', b'"version":2'),
        msgspec.json.encode(report(figure("s", "n", "ms", [1.0]))).replace(b'"value":1.0', b'"value":1e99'),
        msgspec.json.encode(report(figure("s", "n", "ms", [1.0]))).replace(b'"runs":1', b'"runs":0'),
    ],
)
def test_a_damaged_report_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bench.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"^\S+bench\.json: not a report .*; make one with") as refused:
        read_report(path)
    assert "\n" not in str(refused.value)


def test_a_missing_report_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent: cannot be read"):
        read_report(tmp_path / "absent")


def test_the_tables_stay_within_a_hundred_columns_and_tell_every_figure() -> None:
    figures = [
        *times("steps", "one_face_followed / its bare models", [Timing(123_456_789, 98_765_432)] * 3),
        *times("steps", "second", [Timing(1, 1)]),
        Measurement("power", "an hour", "CPU s/h", 123_456.7, 1000.5, 234_567.8, 99.5, 12),
    ]
    both = [table(report(*figures)), comparison_table(compare(report(*figures), report(*figures)))]
    for text in both:
        assert max(map(len, text.splitlines())) <= 100
        assert all(each.name in text for each in figures)
    assert "98.8" in both[0].splitlines()[4]  # processor time stands beside wall time


def test_steps_measures_each_model_and_each_scene_beside_the_models_it_ran() -> None:
    figures = pipeline_stages.measure(ONE_THREAD, 10)
    names = named(figures)
    assert {"detector-far", "detector-near", "landmarks", "embedder"} <= names
    assert {"motion", "detect", "landmarks", "align", "quality", "embed"} <= names
    for name in ("one_face", "one_face_followed", "liveness", "empty_moving_searched", "empty_moving", "still_empty"):
        assert any(each.startswith(f"{name} / ") for each in names), name


def test_the_models_that_a_step_ran_are_seen(watching: VisionStages) -> None:
    """A search is the far detector's work, a close look the near one's, and nobody reads an empty scene."""
    shown = scenes(ONE_THREAD)
    ran = [
        turn.ran
        for turn in pipeline_stages.run_interleaved(
            pipeline_stages.pipeline_of(pipeline_stages.EVERY_STAGE, watching), watching, loop_frames([shown.face]), 8
        )
    ]
    reading = {"landmarks", "embedder"}
    assert set(ran) == {frozenset(reading | {"detector-near"}), frozenset(reading | {"detector-far"})}
    nobody = pipeline_stages.run_interleaved(
        pipeline_stages.pipeline_of(DoorConfig(site="a", door="b"), watching), watching, loop_frames(shown.moving), 8
    )
    assert {turn.ran for turn in nobody} == {frozenset({"detector-near"}), frozenset({"detector-far"})}


def test_the_scenes_show_what_they_say(vision: VisionStages) -> None:
    shown = scenes(ONE_THREAD)
    counts = {
        name: {len(vision.detector.detect(Frame(picture, 0, 0))) for picture in pictures}
        for name, pictures in (
            ("nobody", [shown.nobody, *shown.still, *shown.moving]),
            ("one", [shown.face, *shown.still_face]),
            ("two", shown.busy),
        )
    }
    assert counts == {"nobody": {0}, "one": {1}, "two": {2}}


def test_power_names_three_scenes_in_seconds_an_hour() -> None:
    figures = cpu_per_hour.measure(ONE_THREAD, 1)
    assert [each.unit for each in figures] == ["CPU s/h"] * 3
    assert len({each.name for each in figures}) == 3
    assert all(0 < each.value < math.inf for each in figures)


def test_searches_grow_to_ten_thousand_people_when_quick() -> None:
    names = named([each for each in search.measure(quick=True) if "preparing" not in each.name])
    assert {"100 people", "1,000 people", "10,000 people", "10,000 people / numpy's product"} <= names
    assert "100,000 people" not in names


def test_the_door_under_measurement_runs_the_configuration_meant_for_it(tmp_path: Path) -> None:
    config = DoorConfig(
        site="a",
        door="b",
        gallery='/a "quoted" folder/ü',
        camera=CameraConfig(source="x"),
        recognition=RecognitionConfig(threshold_sq=0.5, cooldown_s=0.0),
        lockout=LockoutConfig(),
    )
    path = tmp_path / "door.toml"
    path.write_text(toml(config))
    assert read_config(path) == config


@pytest.mark.slow
def test_a_running_door_is_measured_from_frame_to_event() -> None:
    with broker() as beside:
        names = named(visit_latency.measure(ONE_THREAD, 2, beside))
    assert {"last needed frame to event (tail: p99)", "resident with 10,000 people"} <= names


@pytest.mark.slow
def test_a_start_is_split_by_cause() -> None:
    with broker() as beside:
        names = named(startup_latency.measure(ONE_THREAD, 1, beside))
    assert {"interpreter", "import numpy", "import opencv", "import the door", "models", "gallery", "camera"} <= names
    assert {"process start to first verdict", "process start to event at subscriber"} <= names


def test_only_the_sections_asked_for_are_measured() -> None:
    measured = bench(ONE_THREAD, sections=["search"], quick=True)
    assert {each.section for each in measured.figures} == {"search"}
    assert measured.broker == ""
