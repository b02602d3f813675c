"""Every file with faces or vectors is readable only by its owner, whatever the umask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.rendered_portraits import EMBEDDER, Photo, two_people
from threshold_tools import embed
from threshold_tools.calibrate import cli as calibrate
from threshold_tools.cluster import cli as cluster
from threshold_tools.embeddings import LabelledEmbeddings, save_embeddings
from threshold_tools.enroll import cli as enroll
from threshold_tools.evaluate import cli as evaluate
from threshold_tools.explain import cli as explain

from edge.demo.run_demo import CLIP


@pytest.fixture
def lax_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("lax_umask")
def test_outputs_with_faces_are_private(tmp_path: Path, photo: Photo) -> None:
    people = two_people(tmp_path / "people", photo)
    out = tmp_path / "out"
    out.mkdir()
    gallery = str(out / "g.safetensors")
    portrait = str(people / "biden" / "1.png")
    rng = np.random.default_rng(1).normal(size=(200, 192)).astype(np.float32)
    strangers = rng / np.linalg.norm(rng, axis=1, keepdims=True)
    names = [f"s{number}/1.jpg" for number in range(200)]
    save_embeddings(out / "strangers.npz", LabelledEmbeddings(strangers, np.ones(200, bool), names, EMBEDDER))
    enroll.main([str(people), "--out", gallery, "--sheet", str(out / "sheet.html")])
    enroll.main(["add", str(people), "copy", portrait, "--no-cache"])
    enroll.main(["frames", str(people), str(CLIP), "--person", "guest", "--at", "2.4", "--no-cache"])
    embed.main([str(people), "--out", str(out / "x.npz")])
    words = ["--strangers", str(out / "strangers.npz"), "--one-stranger-in", "1000", "--html", str(out / "c.html")]
    calibrate.main(["--gallery", gallery, *words, "--out", str(out / "h.safetensors")])
    evaluate.main([str(people), "--html", str(out / "e.html"), "--out-vectors", str(out / "v.npz")])
    explain.main([portrait, "--gallery", gallery, "--out", str(out / "explained.html")])
    cluster.main([str(people), "--html", str(out / "groups.html"), "--projector", str(out / "projector")])
    written = [path for path in out.rglob("*") if path.is_file()]
    written += [*(people / "copy").iterdir(), *(people / "guest").iterdir(), people / ".enrol-cache.sqlite"]
    assert len(written) >= 16
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in written if path.stat().st_mode & 0o077} == {}
