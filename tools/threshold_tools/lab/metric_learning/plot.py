"""A picture of training: the loss of every head, and what the validation people made of it."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib as mpl

from threshold_tools.lab.metric_learning.report import Part

mpl.use("Agg")
from matplotlib import pyplot as plt


def draw(parts: Sequence[Part]) -> bytes:
    """The picture as PNG; a line for each loss and split, a colour for each loss."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 9), sharex=True, layout="constrained")
    for first, part in enumerate(parts):
        for number, each in enumerate(part.tried):
            label = "" if first else each.loss
            colour = f"C{number}"
            trained = [(look.step, look.loss / each.collapsed_loss) for look in each.course if look.loss is not None]
            above.plot([step for step, _ in trained], [loss for _, loss in trained], color=colour, label=label)
            start = each.course[0].validation
            gained = [100 * (look.validation - start) for look in each.course]
            below.plot([look.step for look in each.course], gained, color=colour, label=label)
            if each.best_step:
                below.plot(each.best_step, 100 * each.validation_gain, "o", color=colour)
    above.axhline(1, color="#888888", linewidth=0.8, linestyle="--")
    above.set_yscale("log")
    above.set_ylabel("loss, 1 where all vectors are alike")
    above.set_title("Training of a head on frozen vectors")
    above.legend()
    below.axhline(0, color="#888888", linewidth=0.8, label="no head")
    below.set_ylabel("gain on validation people, points; a dot is the head kept")
    below.set_xlabel("batches")
    below.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return buffer.getvalue()
