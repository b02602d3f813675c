"""Rates with and without a head, and their differences, against slow references; without PyTorch."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from support.made_up_people import SIZE, crowd, even_noise, half_noise
from threshold_tools.evaluate import open_set_identification, verification
from threshold_tools.lab.metric_learning import significance
from threshold_tools.lab.metric_learning.head import apply_head
from threshold_tools.lab.metric_learning.report import Gain


class TestSignificance:
    def test_the_rates_are_those_of_the_evaluation(self) -> None:
        photos = half_noise()
        found = significance.measure_rates(photos, 6, 200)
        swept, tried = verification.sweep(photos), open_set_identification.open_set(photos, significance.IMAGES, 6)
        assert found is not None
        assert swept is not None
        assert tried is not None
        expected = [swept.accepted(swept.threshold_sq(fmr)) / len(swept.genuine_sq) for fmr in significance.FMRS]
        expected += [
            swept.eer(),
            open_set_identification.fnir_curve(tried, [significance.FPIR], 6, tracks=False)[0].fnir.value,
        ]
        assert list(found.names) == ["TAR at FMR 1e-03", "TAR at FMR 1e-04", "EER", "FNIR at FPIR 1e-02"]
        assert found.values == pytest.approx(np.array(expected))
        assert 0 < found.values[0] < 1
        assert np.nanmean(found.drawn, axis=0) == pytest.approx(found.values, abs=0.05)

    def test_few_people_have_fewer_rates(self) -> None:
        """Nobody has photos enough to be enrolled, and the pairs are too few for the rarer FMR."""
        found = significance.measure_rates(crowd([3] * 40, np.full(SIZE, 0.5)), 0, 200)
        assert found is not None
        assert list(found.names) == ["TAR at FMR 1e-03", "EER"]
        assert significance.measure_rates(crowd([1] * 40, np.full(SIZE, 0.5)), 0, 200) is None
        few = significance.measure_rates(crowd([5] * 18, np.full(SIZE, 0.5)), 0, 200)
        assert few is not None
        assert "FNIR at FPIR 1e-02" not in few.names

    def test_bootstrap_sample_equals_repeated_people(self) -> None:
        """TAR and EER, all pairs of the sample gone through; two copies of one person are no impostors."""
        photos = crowd([3, 2, 4, 1, 3, 2, 1, 5], np.full(SIZE, 0.9))
        votes = np.array([2, 0, 1, 3, 1, 1, 0, 2])
        copies = [(who, row) for who in range(8) for row in photos.rows_of[who] for _ in range(votes[who])]
        genuine = [
            (verification.squared(photos.vectors[one] @ photos.vectors[two]), votes[who])
            for who in range(8)
            for one, two in itertools.combinations(photos.rows_of[who], 2)
        ]
        own = np.repeat([d for d, _ in genuine], [v for _, v in genuine])
        other = np.array(
            [
                verification.squared(photos.vectors[one] @ photos.vectors[two])
                for (who, one), (whom, two) in itertools.combinations(copies, 2)
                if who != whom
            ]
        )
        near = 1e-6
        limits = [limit for limit in np.sort(own) if (other <= limit + near).mean() <= 0.05]
        tar = (own <= limits[-1] + near).mean()
        eer = min(max((other <= x + near).mean(), 1 - (own <= x + near).mean()) for x in own)
        found = significance.ResampledPairs(photos, 1.0).rates([0.05], votes)
        assert found == pytest.approx([tar, eer])

    def test_searches_are_weighted_by_draws(self) -> None:
        tried = open_set_identification.open_set(crowd([9] * 60, np.full(SIZE, 0.7)), significance.IMAGES, 0)
        assert tried is not None
        rng, once = np.random.default_rng(1), np.ones(60, np.int64)
        for draw in tried.draws:
            votes = rng.integers(0, 5, 60)
            own = np.repeat(draw.own.critical_sq, votes[draw.own.people])
            strangers = np.sort(np.repeat(draw.strangers.critical_sq, votes[draw.strangers.people]))
            refused = strangers[math.floor(significance.FPIR * len(strangers))]
            searches = significance.ResampledSearches(draw)
            assert searches.fnir(votes) == pytest.approx((own >= refused).mean())
            assert searches.fnir(votes) != pytest.approx(searches.fnir(once))

    def test_all_drawn_once_is_the_value_itself(self) -> None:
        """Also where only the nearest impostors are kept."""
        photos = half_noise(60)
        once = np.ones(60, np.int64)
        swept = verification.sweep(photos)
        assert swept is not None
        expected = [swept.accepted(swept.threshold_sq(1e-3)) / len(swept.genuine_sq), swept.eer()]
        assert significance.ResampledPairs(photos, 3 * swept.eer()).rates([1e-3], once) == pytest.approx(expected)

    def test_no_head_makes_no_difference(self) -> None:
        photos = even_noise(60)
        without = significance.measure_rates(photos, 0, 200)
        behind_none = significance.measure_rates(apply_head(np.eye(SIZE), photos), 0, 200)
        assert without is not None
        assert behind_none is not None
        found = significance.rate_differences(without, behind_none)
        assert all(abs(gain.value) < 1e-3 for gain in found)
        assert significance.summarize_significance(found) == "no difference"

    def test_positive_gain_is_better_for_every_rate(self) -> None:
        photos = half_noise(100)
        mute = np.diag(np.repeat([1.0, 0.1], SIZE // 2))
        without, muted = (
            significance.measure_rates(photos, 0, 200),
            significance.measure_rates(apply_head(mute, photos), 0, 200),
        )
        assert without is not None
        assert muted is not None
        found = significance.rate_differences(without, muted)
        assert all(gain.low > 0 for gain in found)
        assert significance.summarize_significance(found) == "helps"
        assert significance.summarize_significance(significance.rate_differences(muted, without)) == "hurts"

    def test_one_worse_rate_outweighs_a_better_one(self) -> None:
        better, worse = Gain("a", 0.9, 0.01, 0.001, 0.02), Gain("b", 0.9, -0.01, -0.02, -0.001)
        unsure = Gain("c", 0.9, 0.01, -0.01, 0.03)
        assert significance.summarize_significance([unsure]) == "no difference"
        assert significance.summarize_significance([unsure, better]) == "helps"
        assert significance.summarize_significance([unsure, better, worse]) == "hurts"
