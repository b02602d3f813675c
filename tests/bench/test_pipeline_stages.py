"""Measurements of models, stages and steps; no time is asserted."""

from __future__ import annotations

import math

from edge.bench import pipeline_stages
from edge.bench.report import Measurement
from edge.bench.scenes import loop_frames, scenes
from edge.core.config import DoorConfig, ModelsConfig
from edge.vision.face_sampler import VisionStages

ONE_THREAD = ModelsConfig(threads=1)


def named(figures: list[Measurement]) -> set[str]:
    assert all(math.isfinite(each.value) and each.value > 0 for each in figures)
    assert all(each.low <= each.value <= each.high for each in figures)
    return {each.name for each in figures if not each.unit.startswith("CPU ")}


def test_every_model_and_scene_is_measured() -> None:
    figures = pipeline_stages.measure(ONE_THREAD, 10)
    names = named(figures)
    assert {"detector-far", "detector-near", "landmarks", "embedder"} <= names
    assert {"motion", "detect", "landmarks", "align", "quality", "embed"} <= names
    for name in ("one_face", "one_face_followed", "liveness", "empty_moving_searched", "empty_moving", "still_empty"):
        assert any(each.startswith(f"{name} / ") for each in names), name


def test_models_used_by_a_step_are_detected(watching: VisionStages) -> None:
    """The far detector searches, the near one follows, and an empty scene has no landmarks and embeddings."""
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
