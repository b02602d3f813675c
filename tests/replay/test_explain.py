"""Explanations of a replay."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edge.core.config import DoorConfig, LivenessConfig
from edge.demo.run_demo import CLIP, GALLERY
from edge.replay.annotate import Annotator
from edge.replay.explain import Explainer, SampleTrace, VisitorTrace
from edge.replay.replay import replay

CONFIG = DoorConfig(site="test", door="test")


def test_every_visitor_is_explained_with_every_sample() -> None:
    explainer = Explainer()
    for line in replay(CONFIG, CLIP, GALLERY, [explainer]):
        explainer.on_event(line)
    answers = [answer.kind for visitor in explainer.visitors.values() for answer in visitor.answers]
    assert answers == ["door-open", "unknown"]
    for visitor in explainer.visitors.values():
        assert visitor.looks[-1].samples == max(look.samples for look in visitor.looks)
        assert f"Visitor {visitor.track}: {visitor.first_s:.2f}" in explainer.render()
    assert max(map(len, explainer.render().splitlines())) <= 100


def test_reason_names_the_main_refusal() -> None:
    """Five good samples of two visitors are too few for a decision; the cause is the 25 that were too small."""

    def sample(refusal: str) -> SampleTrace:
        return SampleTrace(1.0, refusal, 0, None, 0.0, 20.0, 0.0, 0.0, 0.0, 100.0, 0.0)

    visitors = {
        track: VisitorTrace(track, 0.0, 3.0, [sample("too-small")] * small + [sample("")] * good)
        for track, small, good in ((1, 15, 2), (2, 10, 3))
    }
    assert (
        Explainer(visitors).why_nothing(3) == "25 of 30 samples could not be used, most of them too small: come closer"
    )


def test_replay_without_gallery_shows_no_distances() -> None:
    explainer = Explainer()
    for line in replay(CONFIG, CLIP, None, [explainer]):
        explainer.on_event(line)
    text = explainer.render()
    assert "nobody is enrolled, 10 samples" in text
    assert "4.00" not in text


def test_challenges_and_liveness_are_explained_and_drawn(tmp_path: Path) -> None:
    """The clip cannot respond: the request, its failure and the cues are explained, and the request is drawn."""
    config = msgspec.structs.replace(CONFIG, liveness=LivenessConfig(mode="challenge", challenge_step_timeout_s=0.5))
    explainer = Explainer()
    with closing(Annotator(tmp_path / "asked.webm", 3)) as asked, closing(Annotator(tmp_path / "off.webm", 3)) as off:
        for line in replay(config, CLIP, GALLERY, [explainer, asked]):
            explainer.on_event(line)
        list(replay(CONFIG, CLIP, GALLERY, [off]))
    text = explainer.render()
    assert re.search(r"s: challenge, failed: too late\n.*s: liveness, .*, challenge too late\n", text)
    assert re.search(r"\n +local motion +[\d.]+  (photo|face|neutral) [+-]\d.*\n +unexplained ", text)
    assert re.search(r"\n +mouth +[\d.]+  not weighed +variation of the mouth height", text)
    assert max(map(len, text.splitlines())) <= 100
    clips = [cv2.VideoCapture(str(tmp_path / name)) for name in ("asked.webm", "off.webm")]
    while (read := [clip.read() for clip in clips])[0][0]:
        status_lines = [frame[480:510] for _, frame in read]
        blue, _, red = (float(channel.mean()) for channel in cv2.split(status_lines[0]))
        if blue > 2 * red and np.count_nonzero(cv2.absdiff(*status_lines) > 60) > 300:
            break
    else:
        pytest.fail("the clip does not show the challenge")
