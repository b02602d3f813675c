"""Plot of how far strangers and enrolled people are from the gallery, with the threshold between them."""

from __future__ import annotations

import numpy as np

from threshold_tools import plots
from threshold_tools.calibrate.rates import ImpostorModel
from threshold_tools.calibrate.report import CalibrationRow
from threshold_tools.stats import Reals


def draw(opens: ImpostorModel, genuine_sq: Reals | None, chosen: CalibrationRow) -> bytes:
    """The plot as PNG: both distributions above; below, how rare a stranger is, as counted and as fitted.

    `genuine_sq` (M,) is the base at which enrolled people's attempts nearest to themselves open, or None.
    """
    figure = plots.new_figure(9, 9)
    above, below = figure.subplots(2, 1, sharex=True)
    impostor, weights, base = opens.critical_sq, opens.weights, chosen.threshold_sq
    bins = np.linspace(0, max(2.0, float(impostor.max())), 81).tolist()
    above.hist(impostor, bins, weights=weights, color=plots.STRANGERS, alpha=0.6, label="strangers")
    if genuine_sq is not None and len(genuine_sq):
        share = np.full(len(genuine_sq), 1 / len(genuine_sq))
        above.hist(genuine_sq, bins, weights=share, color=plots.ENROLLED, alpha=0.6, label="enrolled people")
    above.set_ylabel("share of attempts")
    above.set_title("Distance of one photo to the nearest person in the gallery")
    order = np.argsort(impostor)
    below.step(impostor[order], np.cumsum(weights[order]), where="post", color=plots.STRANGERS, label="strangers")
    along = np.linspace(min(base, float(impostor.min())) - 0.05, opens.tail.cut - 1e-6, 200)
    fitted = [opens.share(float(value)) for value in along]
    below.plot(along, fitted, color=plots.LINE, linestyle="--", label="fitted tail, stricter for look-alikes")
    number = chosen.one_stranger_in
    below.axhline(1 / number, color=plots.REFERENCE, linewidth=0.8, label=f"target, one in {number:,.0f}")
    below.set_yscale("log")
    below.set_ylim(0.2 / number, 1.5)
    below.set_ylabel("share of strangers accepted at this threshold")
    below.set_xlabel("threshold_sq: squared distance, 0 to 4, before each person's own offset; lower is stricter")
    for axes in (above, below):
        axes.axvline(base, color=plots.LINE, linewidth=1.2, label=f"threshold_sq {base:.3f}")
        axes.legend()
    return plots.to_png(figure)
