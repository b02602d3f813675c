"""A real browser for tests of pages.

Needs Chromium (Debian: apt-get install chromium) and axe-playwright-python, which brings Playwright and axe-core.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-sync")
AXE = (
    "axe.run(document).then((found) => found.violations.map((each) => [each.id, each.nodes.map((node) => node.html)]))"
)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None or importlib.util.find_spec("axe_playwright_python") is None,
    reason="needs Chromium and axe-playwright-python",
)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Run headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[f"--{each}" for each in QUIET])
        yield browser
        browser.close()


def collect_errors(page: Page, errors: list[str]) -> None:
    """Append every console message and script error of a page."""
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))


def violations(page: Page) -> list[object]:
    """Findings of axe-core, each with its id and elements."""
    import axe_playwright_python  # type: ignore[import-untyped]

    page.evaluate((Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text())
    found: list[object] = page.evaluate(AXE)
    return found
