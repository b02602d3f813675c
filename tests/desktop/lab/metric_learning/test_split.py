"""Splitting people into those to learn from, to stop by and to judge on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.made_up_people import SIZE, crowd

from edge.core.errors import InputError

pytest.importorskip("torch", reason="not installed: pip install -e '.[lab]'")

from threshold_tools.lab.metric_learning.comparison import MAX_PHOTOS, split_people


class TestSplit:
    def test_sets_are_disjoint_and_similar(self) -> None:
        photos = crowd([1] * 100 + [2] * 60 + [6] * 40, np.full(SIZE, 0.5))
        split = split_people(photos, 4)
        sets = (split.train, split.validation, split.held_out)
        assert sorted(name for each in sets for name in each.names) == photos.names
        assert [len(each.names) for each in sets] == [100, 40, 60]
        assert [int((np.bincount(each.people) > 1).sum()) for each in sets] == [50, 20, 30]
        assert split_people(photos, 4).held_out.paths == split.held_out.paths
        assert split_people(photos, 5).held_out.paths != split.held_out.paths

    def test_nobody_is_in_one_set_for_ever(self) -> None:
        """Not even who has the most photos."""
        photos = crowd([9] + [2] * 59, np.full(SIZE, 0.5))
        splits = [split_people(photos, seed) for seed in range(20)]
        assert any("p000" in split.train.names for split in splits)
        assert any("p000" in split.validation.names for split in splits)
        assert any("p000" in split.held_out.names for split in splits)

    def test_faceless_and_surplus_photos_are_left_out(self) -> None:
        photos = crowd([MAX_PHOTOS + 9] * 3 + [3] * 47, np.full(SIZE, 0.5))
        found = np.ones(len(photos), bool)
        found[::7] = False
        split = split_people(replace(photos, found=found), 0)
        kept = {path for each in (split.train, split.validation, split.held_out) for path in each.paths}
        assert not kept & {path for path, good in zip(photos.paths, found, strict=True) if not good}
        assert sum(path.startswith("p000/") for path in kept) == MAX_PHOTOS

    def test_too_few_people_are_refused(self) -> None:
        with pytest.raises(InputError, match="only 39 people have two photos"):
            split_people(crowd([2] * 39 + [1] * 50, np.full(SIZE, 0.5)), 0)
