"""Make docs/pictures: an animation and two stills of a replay, and two screenshots of the monitor.

`make pictures` runs it. The monitor needs Mosquitto and Chromium; --only replay needs neither.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image
from support.browser import open_browser
from support.mqtt_brokers import Mosquitto, answers, free_port, wait_until

from edge.core.cli_support import run_main
from edge.core.errors import InputError
from edge.core.records import BgrImage
from edge.demo.run_demo import CLIP, FOLDER, GALLERY

if TYPE_CHECKING:
    from playwright.sync_api import Page, ViewportSize

ROOT = Path(__file__).parents[2]
FLEET = ROOT / "tests/support/monitor_fleet.py"
STILLS = {"open.jpg": 2.0, "unknown.jpg": 7.0}  # seconds after the start of the clip
EVERY = 2  # frames of the clip per frame of the animation
LAST_MS = 1500  # the last frame is shown this long
MOST_BYTES = 2_000_000
WIDTH_PX, HEIGHT_PX = 1280, 760
STRANGER = (slice(64, 386), slice(141, 463))  # rows and columns of the unknown visitor's head and shoulders
STRANGER_S = {"front": (6.0, 6.4, 6.8), "back": (7.2, 7.6)}  # seconds after the start of the clip, by door
EVENTS = 15  # events on the monitor's page before its picture is taken


def write_replay(folder: Path) -> None:
    """Replay the clip with annotations; write replay.webp and the stills.

    Args:
        folder: where the pictures go.

    Raises:
        InputError: the replay failed, or the animation is too large.
    """
    frames, fps = _annotated_frames()
    for name, seconds in STILLS.items():
        frame = frames[min(round(seconds * fps), len(frames) - 1)]
        (folder / name).write_bytes(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes())
    shown = [Image.fromarray(np.ascontiguousarray(frame[:, :, ::-1])) for frame in frames[::EVERY]]
    lasting = [round(1000 * EVERY / fps)] * (len(shown) - 1) + [LAST_MS]
    target = folder / "replay.webp"
    shown[0].save(target, save_all=True, append_images=shown[1:], duration=lasting, loop=0, quality=72, method=6)
    if target.stat().st_size > MOST_BYTES:
        raise InputError(f"{target}: {target.stat().st_size} bytes, at most {MOST_BYTES}")


def _annotated_frames() -> tuple[list[BgrImage], float]:
    """Every frame of an annotated replay, and the frames per second."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "seen.webm"
        words = ["-m", "edge", "replay", str(CLIP), "--gallery", str(GALLERY), "--annotate", str(clip)]
        done = subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise InputError(f"{CLIP}: the replay failed with exit code {done.returncode}")
        reader = cv2.VideoCapture(str(clip))
        frames = []
        while (read := reader.read())[0]:
            frames.append(np.asarray(read[1], np.uint8))
        return frames, reader.get(cv2.CAP_PROP_FPS)


def write_monitor(folder: Path) -> None:
    """Run broker, doors and monitor; write monitor.png, a screenshot of the first page.

    Args:
        folder: where the picture goes.
    """
    with ExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = stack.enter_context(Mosquitto(state))
        url = _start_monitor(stack, broker, "--history", str(state / "history.sqlite"))
        fleet = stack.enter_context(subprocess.Popen([sys.executable, str(FLEET), broker.url]))
        stack.callback(fleet.terminate)
        page = _open_page(stack)
        page.goto(url)
        wait_until(lambda: page.locator("#rail li").count() >= EVENTS, f"{EVENTS} events are on the page")
        page.screenshot(path=folder / "monitor.png")


def write_unknown_page(folder: Path) -> None:
    """Run a monitor with faces of the clip's unknown visitor; write unknown-page.png, a screenshot of the page.

    Args:
        folder: where the picture goes.
    """
    with ExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        people = shutil.copytree(FOLDER / "people", state / "people")
        _write_faces(state / "faces")
        token = state / "token"
        token.write_text("token-of-the-picture")
        token.chmod(0o600)
        broker = stack.enter_context(Mosquitto(state))
        words = ["--people", str(people), "--crops", str(state / "faces"), "--token-file", str(token)]
        url = _start_monitor(stack, broker, *words)
        page = _open_page(stack)
        page.goto(url)
        page.fill("#token", token.read_text())
        page.keyboard.press("Enter")
        page.wait_for_selector("nav")

        def grouped() -> bool:
            page.goto(f"{url}unknown")
            return page.locator("#g1").count() == 1

        wait_until(grouped, "the faces are grouped", 60)
        page.fill("#g1-person", "eileen")
        page.fill("#g1-name", "Eileen Collins")
        page.screenshot(path=folder / "unknown-page.png")


def _write_faces(folder: Path) -> None:
    """Write crops of the unknown visitor as a monitor stores them: FOLDER/site/door/event.jpg."""
    clip = cv2.VideoCapture(str(CLIP))
    for door, times in STRANGER_S.items():
        home = folder / "home" / door
        home.mkdir(parents=True)
        for seconds in times:
            clip.set(cv2.CAP_PROP_POS_MSEC, 1000 * seconds)
            cv2.imwrite(str(home / f"{seconds:g}.jpg"), clip.read()[1][STRANGER])


def _start_monitor(stack: ExitStack, broker: Mosquitto, *options: str) -> str:
    """Start a monitor that ends with the stack; returns the address of its page."""
    port = free_port()
    words = ["-m", "threshold_tools.cli", "monitor", "--broker", broker.url, "--port", str(port), *options]
    process = stack.enter_context(subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL))
    stack.callback(process.terminate)
    wait_until(lambda: answers(port), "the monitor answers")
    return f"http://127.0.0.1:{port}/"


def _open_page(stack: ExitStack) -> Page:
    browser = stack.enter_context(open_browser())
    size: ViewportSize = {"width": WIDTH_PX, "height": HEIGHT_PX}
    return browser.new_page(viewport=size, device_scale_factor=1.5, reduced_motion="reduce")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    makers = {"replay": write_replay, "monitor": write_monitor, "unknown": write_unknown_page}
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--only", choices=makers, help="make these pictures only (default: all)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/pictures", metavar="FOLDER", help="(docs/pictures)")
    given = parser.parse_args(arguments)
    for name, maker in makers.items():
        if given.only in (None, name):
            maker(given.out)


if __name__ == "__main__":
    run_main(main)
