"""From vectors to a verdict: losses compared, a head chosen and written only if it helps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.json import decode
from support.made_up_people import even_noise, half_noise, one_side, stored
from support.rendered_portraits import EMBEDDER
from threshold_tools.evaluate import verification
from threshold_tools.lab.metric_learning.cli import main
from threshold_tools.lab.metric_learning.head import apply_head, read_head
from threshold_tools.lab.metric_learning.report import LOSSES, AdaptationReport, TrainingConfig, document
from threshold_tools.reports.terminal import to_text

from edge.core.errors import InputError
from edge.demo.run_demo import FOLDER

pytest.importorskip("torch", reason="not installed: pip install -e '.[lab]'")

from threshold_tools.lab.metric_learning.comparison import adapt, split_people, summarize

QUICK = TrainingConfig(steps=150, check_every=25, rate=3e-3, pull=0.001)


class TestAdapt:
    QUICK_WORDS = ("--rate", "0.003", "--pull", "0.001", "--steps", "150")

    @pytest.mark.parametrize("name", [name for name in LOSSES if name != "triplet-random"])
    def test_every_loss_learns_what_can_be_learnt(self, name: str) -> None:
        report, _ = adapt(half_noise(), "made up", losses=[name], config=QUICK)
        (tried,) = report.splits[0].tried
        course = [check.loss for check in tried.checks if check.loss is not None]
        assert tried.verdict == "helps", to_text(document(report))
        assert all(gain.value > 0 for gain in tried.gains)
        if name != "triplet-semihard":  # its triplets are chosen again to be as hard as before
            assert course[-1] < course[0]

    def test_helpful_head_is_written(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        photos = half_noise()
        source, out, plot = stored(tmp_path / "x.npz", photos), tmp_path / "h", tmp_path / "p.html"
        words = [str(source), "--loss", "contrastive", "--out", str(out), "--html", str(plot), "--json"]
        assert main([*words, *self.QUICK_WORDS]) == 0
        report = decode(capsys.readouterr().out, type=AdaptationReport)
        assert (report.helps, report.chosen, report.written) == (True, "contrastive", str(out))
        head = read_head(out)
        assert (head.origin.embedder_sha256, head.origin.people) == (EMBEDDER, 100)
        assert plot.read_text().count('<svg class="chart"') == 2
        before = verification.sweep(split_people(photos, 0).held_out)
        after = verification.sweep(apply_head(head.matrix, split_people(photos, 0).held_out))
        assert before is not None
        assert after is not None
        assert after.eer() < before.eer()

    def test_a_head_that_does_not_help_is_not_written(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        source, out = stored(tmp_path / "x.npz", even_noise()), tmp_path / "h"
        assert main([str(source), "--out", str(out), *self.QUICK_WORDS]) == 1
        printed = capsys.readouterr()
        assert "No head: " in printed.out
        assert "not written, because no head helps" in printed.err
        assert not out.exists()
        assert all(name in printed.out for name in LOSSES)
        assert "validation +" in printed.err

    def test_the_same_seed_gives_the_same_report(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        source = stored(tmp_path / "x.npz", even_noise(80))
        answers = []
        for seed in ("5", "5", "6"):
            words = ("--loss", "triplet-random", "--splits", "2", "--steps", "30", "--json", "--seed", seed)
            assert main([str(source), *words]) == 0
            answers.append(json.loads(capsys.readouterr().out))
        assert answers[0] == answers[1] != answers[2]
        assert [part["seed"] for part in answers[0]["splits"]] == [5, 6]

    def test_a_head_must_help_on_every_split(self) -> None:
        assert summarize("arcface", ["helps", "helps"]) == (
            True,
            "The head chosen on validation, arcface, helps on the held-out people of 2 splits.",
        )
        for other in ("no difference", "hurts", "no better on validation"):
            assert not summarize("arcface", ["helps", other])[0]
        assert not summarize(None, [])[0]

    def test_two_splits_of_people_who_profit_make_a_head(self) -> None:
        report, head = adapt(half_noise(), "made up", losses=["contrastive"], config=QUICK, splits=2)
        assert report.helps
        assert "Mean gain over 2 splits" in to_text(document(report))
        assert head is not None
        assert head.origin.seed == 0

    def test_a_collapsed_head_is_never_chosen(self, capsys: pytest.CaptureFixture[str]) -> None:
        config = TrainingConfig(steps=3000, check_every=50, patience=100, rate=0.01, pull=0.0)
        report, head = adapt(one_side(200), "made up", losses=["triplet-hard"], config=config)
        assert head is None
        assert [one.verdict for one in report.splits[0].tried] == ["collapsed"]
        assert "collapsed: " in capsys.readouterr().err
        assert " collapsed: " in to_text(document(report))

    def test_a_folder_of_too_few_people_is_refused(self) -> None:
        with pytest.raises(InputError, match="people have two photos"):
            main([str(FOLDER / "people")])

    def test_missing_output_folder_is_reported_before_training(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such folder"):
            main(["x.npz", "--out", str(tmp_path / "nowhere" / "h")])
