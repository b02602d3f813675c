"""Every report in Chromium: accessible, self-contained, and readable on phones and desktops, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from support.browser import collect_errors, needs_browser, open_browser, violations
from support.rendered_portraits import EMBEDDER, Photo, put, two_people
from threshold_tools.calibrate import cli as calibrate
from threshold_tools.cluster import cli as cluster
from threshold_tools.embeddings import LabelledEmbeddings, save_embeddings
from threshold_tools.enroll import cli as enroll
from threshold_tools.evaluate import cli as evaluate
from threshold_tools.explain import cli as explain
from threshold_tools.pad.clip_evaluation import ClipResult, LabelledClip
from threshold_tools.pad.report import measure, page
from threshold_tools.reports.page import write_page

from edge.liveness.cues.weights import CUE_WEIGHTS, Cue, LivenessEvidence

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

pytestmark = needs_browser
REPORTS = ("enrolment", "calibration", "evaluation", "explanation", "groups", "liveness")
WIDTHS = {"phone": 390, "desktop": 1440}
Scheme = Literal["light", "dark"]


def vectors_of(counts: list[int], noise: float) -> LabelledEmbeddings:
    """Made-up people with this many photos each, close to a centre of their own."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(len(counts), 192))
    rows = np.repeat(centres, counts, axis=0) + rng.normal(0, noise, (sum(counts), 192))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    paths = [f"person-{who}/{number}.jpg" for who, count in enumerate(counts) for number in range(count)]
    return LabelledEmbeddings(rows.astype(np.float32), np.ones(len(rows), bool), paths, EMBEDDER)


def clip_of(species: str, score: float) -> ClipResult:
    cues = tuple(Cue(name, score, 0.5, 1.0, "") for name in CUE_WEIGHTS)
    seen = LivenessEvidence(score, cues, True, 20, 2.5)
    return ClipResult(LabelledClip(species, "ann", Path("a.avi")), (seen,), (seen,), read_ns=10, observe_ns=1)


def watched(shown: Page) -> list[str]:
    """Collects errors of a page, and its requests for anything but files and data URIs."""
    problems: list[str] = []

    def on_request(request: Request) -> None:
        if not request.url.startswith(("file:", "data:")):
            problems.append(request.url)

    collect_errors(shown, problems)
    shown.on("request", on_request)
    return problems


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, photo: Photo) -> Path:
    """One page of each kind, made from two people with four photos, and from made-up vectors and clips."""
    folder = tmp_path_factory.mktemp("reports")
    people = two_people(folder / "people", photo)
    put(people / "biden" / "wall.png", np.full((200, 200, 3), 90, np.uint8))
    gallery = str(folder / "g.safetensors")
    enroll.main([str(people), "--out", gallery, "--sheet", str(folder / "enrolment.html")])
    save_embeddings(folder / "strangers.npz", vectors_of([1] * 300, 0.0))
    words = ["--gallery", gallery, "--strangers", str(folder / "strangers.npz"), "--genuine", str(people)]
    words += ["--one-stranger-in", "1000", "--out", str(folder / "h.safetensors")]
    calibrate.main([*words, "--html", str(folder / "calibration.html")])
    save_embeddings(folder / "all.npz", vectors_of([2] * 30 + [12] * 12, 0.6))
    evaluate.main([str(folder / "all.npz"), "--splits", "1", "--html", str(folder / "evaluation.html")])
    explain.main([str(people / "obama" / "2.png"), "--gallery", gallery, "--out", str(folder / "explanation.html")])
    cluster.main([str(people), "--html", str(folder / "groups.html")])
    clips = [clip_of("genuine", 0.1), clip_of("genuine", 0.6), clip_of("print", 0.9), clip_of("print", 0.4)]
    write_page(folder / "liveness.html", page(measure(clips, source="x", limit=0.5, chosen_on="y", groups={})))
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.mark.parametrize("name", REPORTS)
def test_report_is_accessible_and_self_contained(folder: Path, browser: Browser, name: str) -> None:
    path = folder / f"{name}.html"
    assert path.stat().st_mode & 0o777 == 0o600
    for device, width in WIDTHS.items():
        shown = browser.new_page(viewport={"width": width, "height": 900})
        problems = watched(shown)
        shown.goto(path.as_uri())
        schemes: tuple[Scheme, ...] = ("light", "dark")
        for scheme in schemes:
            shown.emulate_media(color_scheme=scheme)
            assert shown.evaluate("document.documentElement.scrollWidth") == width, (device, scheme)
            assert violations(shown) == [], (device, scheme)
        assert problems == [], device
        assert shown.locator(".verdict h2").inner_text()
        shown.close()


def test_pointer_on_a_plot_shows_values(folder: Path, browser: Browser) -> None:
    shown = browser.new_page(viewport={"width": 390, "height": 800})
    shown.goto((folder / "evaluation.html").as_uri())
    shown.locator("svg.chart .dot").first.hover(force=True)
    assert "threshold" in shown.locator(".tip").inner_text()
    shown.close()


def test_print_is_light(folder: Path, browser: Browser) -> None:
    shown = browser.new_page(color_scheme="dark")
    shown.emulate_media(media="print")
    shown.goto((folder / "enrolment.html").as_uri())
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert shown.locator(".check").is_hidden()
    shown.close()


def test_only_problems_are_shown_on_request(folder: Path, browser: Browser) -> None:
    shown = browser.new_page()
    shown.goto((folder / "enrolment.html").as_uri())
    assert shown.locator(".tile:visible").count() == 4
    shown.get_by_label("Show only problems").check()
    assert shown.locator(".tile:visible").count() == 1
    shown.close()
