"""The documentation as a site: built once, then read in a browser."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import site_hooks
from PIL import Image
from support.browser import needs_browser, open_browser, violations

from edge import __version__

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[2]
LOOKED_AT = ("index.html", "guides/enrol.html", "guides/access-rules.html", "guides/many-doors.html")
WIDTHS = (390, 1440)
LONG_CODE = (
    "[...document.querySelectorAll('pre > code')].filter((each) => each.scrollWidth > each.clientWidth + 1).length"
)
FITS = "document.documentElement.scrollWidth <= innerWidth"


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing."""


def build_site(folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build_site(folder, {})
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """A web server for the site: search works over HTTP only."""
    handler = partial(_QuietHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.mark.slow
def test_site_builds_without_warnings_or_foreign_hosts(site: Path) -> None:
    """Every page is in the navigation, every link and anchor leads somewhere; a browser contacts no other host."""
    pages = [path.read_text() for path in site.rglob("*.html")]
    assert len(pages) > len(list((ROOT / "docs").rglob("*.md"))) // 2
    for page in pages:
        assert not re.findall(
            r"<(?:script|img|iframe)[^>]* src=\"?http|<link rel=\"?stylesheet\"?[^>]* href=\"?http", page
        )


@pytest.mark.slow
def test_home_page_shows_version_and_pictures(site: Path) -> None:
    home = (site / "index.html").read_text()
    assert f"Version {__version__}" in home
    for picture in ("replay.webp", "open.jpg", "monitor.png", "stages.svg", "logo.svg"):
        assert f"pictures/{picture}" in home
        assert (site / "pictures" / picture).exists()


@pytest.mark.slow
def test_site_of_a_clone_links_to_its_origin(tmp_path: Path) -> None:
    """The home page shows the address to clone, and no placeholder for it."""
    origin = {"GIT_CONFIG_KEY_0": "remote.origin.url", "GIT_CONFIG_VALUE_0": "git@host.example:owner/name.git"}
    build_site(tmp_path, origin | {"GIT_CONFIG_COUNT": "1"})
    home = (tmp_path / "index.html").read_text()
    assert "git clone https://host.example/owner/name.git" in home
    assert 'href="https://host.example/owner/name"' in home
    assert "REPOSITORY" not in home


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", LOOKED_AT)
def test_page_is_accessible(address: str, browser: Browser, page: str, scheme: str) -> None:
    """axe-core finds nothing on a phone and a desktop, and the page does not scroll sideways."""
    for width in WIDTHS:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="reduce",
        )
        opened = context.new_page()
        opened.goto(f"{address}/{page}")
        assert opened.evaluate("document.body.dataset.mdColorScheme") == {"light": "default", "dark": "slate"}[scheme]
        assert violations(opened) == [], (page, width)
        assert opened.evaluate(FITS), (page, width)
        context.close()


@pytest.mark.slow
@needs_browser
def test_every_page_fits_a_desktop(site: Path, address: str, browser: Browser) -> None:
    """At 1400 px no line of code is cut, no page scrolls sideways, and axe-core finds nothing."""
    opened = browser.new_page(viewport={"width": 1400, "height": 900})
    for path in sorted(site.rglob("*.html")):
        opened.goto(f"{address}/{path.relative_to(site)}")
        assert opened.evaluate(LONG_CODE) == 0, path.name
        assert opened.evaluate(FITS), path.name
        assert violations(opened) == [], path.name
    opened.close()


@pytest.mark.slow
@needs_browser
def test_search_finds_a_page(address: str, browser: Browser) -> None:
    opened = browser.new_page(viewport={"width": 1440, "height": 900})
    opened.goto(f"{address}/index.html")
    opened.click(".md-search__input")
    opened.keyboard.type("photos per person")
    opened.wait_for_selector(".md-search-result__link[href*='/enrol.html']")
    opened.close()


def test_replay_picture_is_animated_and_small() -> None:
    picture = ROOT / "docs/pictures/replay.webp"
    assert picture.stat().st_size < 2_000_000
    with Image.open(picture) as opened:
        assert getattr(opened, "n_frames", 1) > 30


def test_monitor_has_the_logo_of_the_site() -> None:
    icon = ROOT / "tools/threshold_tools/monitor/static/icon.svg"
    assert icon.read_bytes() == (ROOT / "docs/pictures/logo.svg").read_bytes()


@pytest.mark.parametrize(
    ("origin", "address"),
    [
        ("https://host.example/owner/name.git", "https://host.example/owner/name"),
        ("https://user:secret@host.example/owner/name", "https://host.example/owner/name"),
        ("git@host.example:owner/name.git", "https://host.example/owner/name"),
        ("ssh://git@host.example/owner/name.git", "https://host.example/owner/name"),
        ("/srv/git/name.git", ""),
        ("", ""),
    ],
)
def test_repository_link_holds_no_login(origin: str, address: str) -> None:
    """The link of the site is the clone's origin; a login in its URL is left out."""
    assert site_hooks.web_address(origin) == address
