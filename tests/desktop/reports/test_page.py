"""HTML pages of reports: escaping, self-containment, plots, and what a browser makes of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from threshold_tools.reports.charts import Chart, ChartAxis
from threshold_tools.reports.document import ReportDocument, ReportTable, ReportVerdict, TableColumn
from threshold_tools.reports.page import render, write_page


def made_up(headline: str = "Good.", cell: str = "1") -> ReportDocument:
    table = ReportTable("Rates", [TableColumn("FNMR", "false non-match rate")], [[cell]])
    return ReportDocument("A <b> title", "source", ReportVerdict("good", headline, ["Run `edge <x>`."]), tables=[table])


def rendered(document: ReportDocument, *charts: Chart) -> str:
    return render("report.html", title=document.title, kind="test", document=document, charts=charts)


def test_everything_is_escaped() -> None:
    chart = Chart("<i>", ChartAxis.linear("<x>", 0, 1, 1), ChartAxis.linear("y", 0, 1, 1), "<note>")
    chart.dots([(0.5, 0.5, "<tip>")], 1, "<label>")
    page = rendered(made_up("<script>alert(1)</script>", "<td>"), chart)
    for text in ("<script>alert", "<i>", "<x>", "<note>", "<tip>", "<label>", "<td><td>", "A <b>"):
        assert text not in page
    assert "<code>edge &lt;x&gt;</code>" in page


def test_missing_value_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="charts"):
        render("report.html", title="t", kind="k", document=made_up())


def test_page_names_no_other_file() -> None:
    page = rendered(made_up())
    assert not re.search(r"https?:|//|url\(|<link|@import", page.replace("http-equiv", ""))


def test_terms_define_the_columns() -> None:
    assert "<dt>FNMR</dt><dd>false non-match rate</dd>" in rendered(made_up())


def test_written_page_is_private(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    page.touch(0o644)
    write_page(page, "x")
    assert page.stat().st_mode & 0o777 == 0o600
    assert capsys.readouterr().err == f"{page}: page written\n"


class TestChart:
    def test_values_are_placed_on_the_axes(self) -> None:
        axis = ChartAxis.logarithmic("y", 0.01, 100)
        assert [axis.share(value) for value in (0.01, 1, 100, 1e-9)] == pytest.approx([0, 0.5, 1, 0])
        assert [text for _, text in axis.ticks] == ["0.01", "0.1", "1", "10", "100"]
        rates = ChartAxis.percent_from_zero("y")
        assert [rates.share(value) for value in (0, 0.1, 1, 100)] == pytest.approx([0, 0.25, 0.5, 1])
        assert [text for _, text in ChartAxis.linear("x", 0.05, 0.31, 0.1).ticks] == ["0.1", "0.2", "0.3"]

    def test_higher_values_are_drawn_higher(self) -> None:
        chart = Chart("t", ChartAxis.linear("x", 0, 1, 1), ChartAxis.linear("y", 0, 1, 1))
        chart.dots([(0.2, 0.1, "low"), (0.8, 0.9, "high")], 1)
        circles = re.findall(r'cx="([\d.]+)" cy="([\d.]+)"[^>]*><title>(\w+)', chart.svg)
        (low_x, low_y, _), (high_x, high_y, _) = [(float(x), float(y), name) for x, y, name in circles]
        assert low_x < high_x
        assert low_y > high_y

    def test_colours_come_from_the_page(self) -> None:
        chart = Chart("t", ChartAxis.linear("x", 0, 1, 1), ChartAxis.linear("y", 0, 1, 1))
        chart.bars([0, 0.5, 1], [([0.2, 0.8], 1, "a")], " %")
        chart.line([(0, 0), (1, 1)], 2, "b", tip=lambda x, y: f"{x} {y}")
        chart.limit(x=0.5, text="limit")
        assert not re.search(r"#[0-9a-f]{3}|rgb|style=", chart.svg)
        assert "<title>0.00 to 0.50: a 0.2 %</title>" in chart.svg
        assert [text for _, text, _ in chart.legend] == ["a", "b"]
