"""Scenes of the benchmarks."""

from __future__ import annotations

from edge.bench.scenes import scenes
from edge.core.config import ModelsConfig
from edge.core.records import Frame
from edge.vision.face_sampler import VisionStages

ONE_THREAD = ModelsConfig(threads=1)


def test_scenes_show_the_named_number_of_faces(vision: VisionStages) -> None:
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
