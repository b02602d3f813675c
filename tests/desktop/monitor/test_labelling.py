"""An unknown visitor from the camera of a door to an enrolment in a browser, a release, and an open door."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from support.browser import collect_errors, needs_browser, open_browser, violations
from support.door_process import Ear, Process, Visitors, write_config
from support.monitor_client import TOKEN
from support.mqtt_brokers import Mosquitto, config_for, free_port, needs_mosquitto, wait_until

from edge.core.config import read_config
from edge.demo.run_demo import FOLDER
from edge.events.schema import Event, EventKind, OpenCommand
from edge.runtime.release_manager import install_root

if TYPE_CHECKING:
    from playwright.sync_api import Page

TOOLS = Path(__file__).parents[3] / "tools"
SCHEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
PASSWORD = {"THRESHOLD_KEY_PASSWORD": "staple-battery-horse-correct"}
MORE = '[snapshots]\nkinds = ["unknown"]\n[release]\nsource = "mqtt"\n'
pytestmark = [pytest.mark.slow, needs_mosquitto, needs_browser]


@contextmanager
def a_monitor(folder: Path, broker: Mosquitto) -> Iterator[str]:
    """Runs a monitor that stores faces and publishes; yields its address."""
    (folder / "token").write_text(TOKEN)
    (folder / "token").chmod(0o600)
    port = free_port()
    command: list[str | Path] = [sys.executable, TOOLS / "monitor.py", "--broker", broker.url, "--site", "test"]
    command += ["--port", str(port), "--token-file", folder / "token", "--history", folder / "h.sqlite"]
    command += ["--people", folder / "people", "--crops", folder / "faces", "--publish", folder / "repo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | PASSWORD) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("The monitor is at")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def check_page(page: Page) -> None:
    """Check with axe-core, and for sideways scrolling: on a phone and a desktop, dark and light."""
    for width in (360, 1440):
        for scheme in SCHEMES:
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            assert violations(page) == [], (page.url, width, scheme)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (page.url, width)


def test_visitor_enrolled_on_the_page_is_let_in(tmp_path: Path) -> None:
    """Without an error in the browser or a finding of axe-core."""
    shutil.copytree(FOLDER / "people", tmp_path / "people")
    init: list[str | Path] = [sys.executable, TOOLS / "sync.py", "init", tmp_path / "repo"]
    subprocess.run(init, check=True, env=os.environ | PASSWORD, capture_output=True)
    errors: list[str] = []
    with Mosquitto(tmp_path) as broker, Visitors(stranger=True) as camera, Ear(config_for(broker)) as ear:
        config = write_config(tmp_path, broker.url, camera.url, MORE)
        install_root(read_config(config), tmp_path / "repo" / "root.json")
        with (
            a_monitor(tmp_path, broker) as url,
            Process(tmp_path, "-m", "edge", "run", "--config", config),
            open_browser() as browser,
        ):
            page = browser.new_page()
            collect_errors(page, errors)
            page.goto(url)
            page.fill("#token", TOKEN)
            page.keyboard.press("Enter")
            page.wait_for_selector("#rail >> text=unknown")
            page.goto(f"{url}/people")
            page.wait_for_selector("h2 >> text=barack-obama")
            wait_until(lambda: len(list((tmp_path / "faces").rglob("*.jpg"))) >= 2, "two visits", 40)

            def grouped() -> bool:
                page.goto(f"{url}/unknown")
                return page.locator("#g1").count() == 1

            wait_until(grouped, "a group", 20)
            check_page(page)
            assert not [event for event in ear.records(Event) if event.kind is EventKind.DOOR_OPEN]
            page.fill("#g1-person", "new person!")
            page.keyboard.press("Enter")
            assert page.evaluate("document.activeElement.validationMessage").startswith("Use letters, digits")
            assert page.url == f"{url}/unknown"
            page.fill("#g1-person", "carol")
            page.fill("#g1-name", "Carol Example")
            page.keyboard.press("Enter")
            page.wait_for_selector("text=threshold of carol")
            check_page(page)
            page.click("button:has-text('Enrol')")
            page.wait_for_selector("text=published to site test")
            check_page(page)
            (opening,) = ear.wait_for(OpenCommand, 1)[:1]
            assert (opening.person.id, opening.person.name) == ("carol", "Carol Example")
            page.goto(url)
            page.wait_for_selector("#rail >> text=Carol Example")
            page.goto(f"{url}/people")
            page.wait_for_selector("h2 >> text=Carol Example")
            check_page(page)
            page.click("text=Sign out")
            page.wait_for_selector("#token")
            check_page(page)
    assert errors == []
