"""Plots training: the loss of every head, and the gain on the validation people."""

from __future__ import annotations

from collections.abc import Sequence

from threshold_tools.lab.metric_learning.report import SplitResult
from threshold_tools.plots import REFERENCE, new_figure, to_png


def draw_training(splits: Sequence[SplitResult]) -> bytes:
    """The picture as PNG; a line for each loss and split, a colour for each loss."""
    figure = new_figure(9, 9)
    above, below = figure.subplots(2, 1, sharex=True)
    for first, part in enumerate(splits):
        for number, each in enumerate(part.tried):
            label = "" if first else each.loss
            colour = f"C{number}"
            trained = [
                (check.step, check.loss / each.collapsed_loss) for check in each.checks if check.loss is not None
            ]
            above.plot([step for step, _ in trained], [loss for _, loss in trained], color=colour, label=label)
            start = each.checks[0].validation
            gained = [100 * (check.validation - start) for check in each.checks]
            below.plot([check.step for check in each.checks], gained, color=colour, label=label)
            if each.best_step:
                below.plot(each.best_step, 100 * each.validation_gain, "o", color=colour)
    above.axhline(1, color=REFERENCE, linewidth=0.8, linestyle="--")
    above.set_yscale("log")
    above.set_ylabel("loss, 1 where all vectors are alike")
    above.set_title("Training of a head on frozen vectors")
    above.legend()
    below.axhline(0, color=REFERENCE, linewidth=0.8, label="no head")
    below.set_ylabel("gain on validation people, points; a dot is the head kept")
    below.set_xlabel("batches")
    below.legend()
    return to_png(figure)
