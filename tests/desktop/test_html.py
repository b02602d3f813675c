"""Templates: HTML is escaped, text is not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from jinja2 import UndefinedError
from support.browser import needs_browser, open_browser
from threshold_tools.html import data_uri, render


def test_html_is_escaped() -> None:
    page = render("pad.html", title="<b>", plot=data_uri(b"svg", "image/svg+xml"), text="<script>")
    assert "<title>&lt;b&gt;</title>" in page
    assert "<script" not in page
    assert 'src="data:image/svg+xml;base64,c3Zn"' in page


def test_missing_value_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="plot"):
        render("pad.html", title="t", text="")


@needs_browser
@pytest.mark.slow
def test_wide_plot_fits_a_phone(tmp_path: Path) -> None:
    """The page does not scroll sideways; long lines of text scroll in their own box."""
    plot = cv2.imencode(".png", np.zeros((480, 1200), np.uint8))[1].tobytes()
    page = tmp_path / "pad.html"
    page.write_text(render("pad.html", title="t", plot=data_uri(plot, "image/png"), text="x" * 500))
    with open_browser() as browser:
        phone = browser.new_page(viewport={"width": 390, "height": 800})
        phone.goto(page.as_uri())
        assert phone.evaluate("document.documentElement.scrollWidth") == 390
