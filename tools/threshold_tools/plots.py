"""Plots: colours that mean the same everywhere, and figures as PNG or SVG."""

from __future__ import annotations

import io

import matplotlib as mpl
from matplotlib.figure import Figure

STRANGERS, ENROLLED, LINE = "#b3452c", "#2c6eb3", "#222222"
GRID, REFERENCE = "#dddddd", "#888888"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, inches; it draws into memory and leaves no global state of matplotlib behind."""
    return Figure(figsize=(width, height), layout="constrained")


def to_png(figure: Figure) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def to_svg(figure: Figure, salt: str) -> str:
    """The figure as SVG, the same in every run; figures on one page need different salts."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
