"""Templates: HTML is escaped, text is not."""

from __future__ import annotations

import pytest
from jinja2 import UndefinedError
from threshold_tools.html import data_uri, render


def test_html_is_escaped() -> None:
    page = render("pad.html", title="<b>", plot=data_uri(b"svg", "image/svg+xml"), text="<script>")
    assert "<title>&lt;b&gt;</title>" in page
    assert "<script" not in page
    assert 'src="data:image/svg+xml;base64,c3Zn"' in page


def test_missing_value_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="plot"):
        render("pad.html", title="t", text="")
