"""The file of a head, and vectors behind it; without PyTorch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.made_up_people import SIZE, even_noise, stored
from support.rendered_portraits import EMBEDDER
from threshold_tools.embeddings import load_embeddings
from threshold_tools.lab.metric_learning.cli import main
from threshold_tools.lab.metric_learning.head import VERSION, Head, HeadOrigin, project, read_head, save_head

from edge.core.errors import InputError


class TestHead:
    HEAD = Head(np.eye(SIZE, dtype=np.float32) * 2, HeadOrigin(VERSION, EMBEDDER, "arcface", 3, 50))

    def test_a_head_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        save_head(tmp_path / "h", self.HEAD)
        found = read_head(tmp_path / "h")
        assert np.array_equal(found.matrix, self.HEAD.matrix)
        assert found.origin == self.HEAD.origin

    def test_head_keeps_unit_vectors_and_zeros(self) -> None:
        vectors = np.vstack([even_noise(3).vectors, np.zeros((1, SIZE))]).astype(np.float32)
        moved = project(np.diag(np.arange(1.0, SIZE + 1)), vectors)
        assert np.linalg.norm(moved[:-1], axis=1) == pytest.approx(np.ones(len(moved) - 1), abs=1e-6)
        assert not moved[-1].any()

    def test_what_is_no_head_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "h").write_bytes(b"no head")
        with pytest.raises(InputError, match="damaged, or not a head"):
            read_head(tmp_path / "h")
        with pytest.raises(InputError, match="cannot be read"):
            read_head(tmp_path / "nowhere")
        save_head(tmp_path / "h", replace(self.HEAD, matrix=np.full((SIZE, SIZE), np.nan, np.float32)))
        with pytest.raises(InputError, match="not a square matrix"):
            read_head(tmp_path / "h")
        save_head(tmp_path / "h", replace(self.HEAD, matrix=np.ones((SIZE, 3), np.float32)))
        with pytest.raises(InputError, match="not a square matrix"):
            read_head(tmp_path / "h")
        save_head(tmp_path / "h", replace(self.HEAD, origin=HeadOrigin(2, EMBEDDER, "arcface", 3, 50)))
        with pytest.raises(InputError, match="version 2"):
            read_head(tmp_path / "h")

    def test_stored_vectors_behind_a_head_have_their_own_hash(self, tmp_path: Path) -> None:
        """Neither the embedder's vectors nor another head's can be mistaken for them."""
        photos = even_noise(3)
        source = stored(tmp_path / "x.npz", photos)
        names = []
        for number, matrix in enumerate((np.eye(SIZE), np.diag(np.arange(1.0, SIZE + 1)))):
            save_head(tmp_path / "h", replace(self.HEAD, matrix=matrix.astype(np.float32)))
            out = tmp_path / f"{number}.npz"
            assert main([str(source), "--apply", str(tmp_path / "h"), "--out", str(out)]) == 0
            found = load_embeddings(out)
            assert found.vectors == pytest.approx(project(matrix, photos.vectors))
            assert found.paths == photos.paths
            names.append(found.embedder_sha256)
        other = replace(self.HEAD, origin=HeadOrigin(VERSION, "0" * 64, "arcface", 3, 50))
        assert len({*names, EMBEDDER, self.HEAD.vectors_sha256, other.vectors_sha256}) == 5

    def test_vectors_of_another_embedder_are_refused(self, tmp_path: Path) -> None:
        source = stored(tmp_path / "x.npz", even_noise(3))
        save_head(tmp_path / "h", replace(self.HEAD, origin=HeadOrigin(VERSION, "0" * 64, "arcface", 3, 50)))
        with pytest.raises(InputError, match="trained on 000000000000"):
            main([str(source), "--apply", str(tmp_path / "h"), "--out", str(tmp_path / "y.npz")])
        assert not (tmp_path / "y.npz").exists()
