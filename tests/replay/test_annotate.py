"""Annotated clips."""

from __future__ import annotations

import base64
import sys
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.browser import needs_browser, open_browser

from edge.core.config import AccessConfig, DoorConfig
from edge.core.errors import CameraError, GalleryError, InputError
from edge.core.records import BgrImage
from edge.demo.run_demo import CLIP, GALLERY
from edge.replay.annotate import Annotator
from edge.replay.clip_writer import has_h264, open_clip_writer
from edge.replay.replay import replay

CONFIG = DoorConfig(site="test", door="test")
MIN_SAMPLES = CONFIG.recognition.min_samples
OPEN_S = (1.6, 3.2)  # in the bundled clip: the door has opened for the first visitor, who is still in sight
LOAD = """async (content) => {
    const video = document.querySelector("video")
    video.muted = true
    video.src = URL.createObjectURL(await (await fetch(content)).blob())
    await new Promise((done, failed) => {
        video.onloadeddata = done
        video.onerror = () => failed(video.error.message)
    })
    return [video.duration, video.videoWidth, video.videoHeight]
}"""
SEEK = """async (t) => {
    const video = document.querySelector("video")
    await new Promise((done) => { video.onseeked = done; video.currentTime = t })
    const canvas = document.createElement("canvas")
    canvas.width = video.videoWidth
    canvas.height = video.videoHeight
    canvas.getContext("2d").drawImage(video, 0, 0)
    return Array.from(canvas.getContext("2d").getImageData(video.videoWidth - 20, 495, 1, 1).data.slice(0, 3))
}"""
PLAY = """async () => {
    const video = document.querySelector("video")
    const before = video.currentTime
    await video.play()
    await new Promise((done) => { video.ontimeupdate = () => video.currentTime > before + 0.2 && done() })
    return video.currentTime - before
}"""
needs_h264 = pytest.mark.skipif(not has_h264(), reason="needs PyAV: pip install av")
formats = pytest.mark.parametrize("suffix", [".webm", pytest.param(".mp4", marks=needs_h264)])


def annotated(out: Path, clip: Path = CLIP, config: DoorConfig = CONFIG, gallery: Path | None = GALLERY) -> Path:
    """The clip, annotated."""
    with closing(Annotator(out, MIN_SAMPLES)) as annotator:
        list(replay(config, clip, gallery, [annotator]))
    return out


def frames(clip: Path) -> list[BgrImage]:
    """All frames of a clip."""
    capture, found = cv2.VideoCapture(str(clip)), []
    while (read := capture.read())[0]:
        found.append(np.asarray(read[1], np.uint8))
    return found


@formats
def test_annotated_clip_of_every_frame(tmp_path: Path, suffix: str) -> None:
    """Every frame is drawn on, above a legend, and only the owner of the file can read it."""
    out = tmp_path / f"out{suffix}"
    out.write_bytes(b"an older clip")
    out.chmod(0o644)
    plain, drawn = frames(CLIP), frames(annotated(out))
    assert out.stat().st_mode & 0o777 == 0o600
    assert len(drawn) == len(plain)
    changed = [
        np.count_nonzero(cv2.absdiff(one, other[:480]) > 60) > 300 for one, other in zip(plain, drawn, strict=True)
    ]
    assert sum(changed) > 30
    assert all(np.count_nonzero(frame[510:] > 180) > 1000 for frame in drawn)


@needs_browser
@formats
def test_annotated_clip_plays_in_a_browser(tmp_path: Path, suffix: str) -> None:
    """Chromium decodes the clip, gives its duration, shows the opening where it is, and plays on."""
    content = base64.b64encode(annotated(tmp_path / f"out{suffix}").read_bytes()).decode()
    with open_browser() as browser:
        page = browser.new_page()
        page.set_content("<video></video>")
        duration_s, width, height = page.evaluate(LOAD, f"data:video/{suffix[1:]};base64,{content}")
        red, green, blue = page.evaluate(SEEK, 2.0)
        advanced_s = page.evaluate(PLAY)
    assert duration_s == pytest.approx(9.0, abs=0.05)
    assert (width, height > 480) == (640, True)
    assert green > 1.5 * max(red, blue)
    assert advanced_s > 0.2


@needs_h264
def test_frames_keep_their_times(tmp_path: Path) -> None:
    """A pause between two frames is as long in the annotated clip as in the recording."""
    with closing(open_clip_writer(tmp_path / "out.mp4")) as writer:
        for t_ms in (40, 80, 120, 900, 940):
            writer.write(np.full((120, 160, 3), t_ms % 256, np.uint8), t_ms * 1_000_000)
    capture, times = cv2.VideoCapture(str(tmp_path / "out.mp4")), []
    while capture.read()[0]:
        times.append(round(capture.get(cv2.CAP_PROP_POS_MSEC)))
    assert times == [0, 40, 80, 860, 900]


@pytest.mark.parametrize(
    ("size", "expected"), [((160, 120), (640, 480)), ((1280, 720), (1280, 720)), ((2400, 1200), (1920, 960))]
)
def test_size_at_which_text_is_legible(tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]) -> None:
    """Small pictures are enlarged to 640 pixels, large ones reduced to 1920; the legend is below."""
    (tmp_path / "stills").mkdir()
    for number in range(2):
        cv2.imwrite(str(tmp_path / "stills" / f"{number}.png"), np.full((size[1], size[0], 3), 90, np.uint8))
    height, width = frames(annotated(tmp_path / "out.webm", tmp_path / "stills"))[0].shape[:2]
    assert width == expected[0]
    assert expected[1] < height < expected[1] + 200 * width / 640


def test_landmarks_are_drawn_on_every_frame(tmp_path: Path) -> None:
    """Between two samples, up to a second apart, the last landmarks move with the face."""
    drawn = frames(annotated(tmp_path / "out.webm"))[round(OPEN_S[0] * 15) : round(OPEN_S[1] * 15)]
    for frame in drawn:
        green = np.all(np.abs(frame[:480].astype(int) - (70, 170, 40)) < 45, axis=2)
        left, _, width, _ = cv2.boundingRect(green.astype(np.uint8))
        top = np.flatnonzero(np.count_nonzero(green[:, left : left + width], axis=1) > width / 2)[0]
        inside = green[top + 10 : top + width - 10, left + 10 : left + width - 10]
        assert np.count_nonzero(inside) > 100


@pytest.mark.parametrize(
    ("config", "colour"),
    [(CONFIG, (70, 170, 40)), (DoorConfig(site="test", door="test", access=AccessConfig(allow=())), (60, 50, 215))],
)
def test_highlight_shows_the_first_decision(tmp_path: Path, config: DoorConfig, colour: tuple[int, int, int]) -> None:
    """The status line has the colour of the outcome: green for an opening, red for a denial."""
    with closing(Annotator(tmp_path / "out.webm", MIN_SAMPLES)) as annotator:
        list(replay(config, CLIP, GALLERY, [annotator]))
    assert annotator.highlight is not None
    assert annotator.highlight[490, -20] == pytest.approx(np.array(colour) * 0.75, abs=1)


def test_bad_input_is_rejected_before_writing(tmp_path: Path) -> None:
    with pytest.raises(CameraError):
        list(replay(CONFIG, tmp_path / "absent.mp4", GALLERY))
    with pytest.raises(GalleryError):
        list(replay(CONFIG, CLIP, tmp_path / "absent.safetensors"))
    with pytest.raises(InputError, match=r"out\.gif: name the annotated clip \*\.mp4 \(H\.264\) or \*\.webm"):
        Annotator(tmp_path / "out.gif", MIN_SAMPLES)
    assert list(tmp_path.iterdir()) == []


def test_missing_encoder_is_reported_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"an \.mp4 needs PyAV; run: pip install av, or name the clip out\.webm"):
        Annotator(tmp_path / "out.mp4", MIN_SAMPLES)
    Annotator(tmp_path / "out.webm", MIN_SAMPLES).close()


@needs_h264
def test_full_disk_is_an_error_of_the_file(tmp_path: Path) -> None:
    """The process survives the error, and `close` can be called afterwards."""
    path = tmp_path / "out.mp4"
    path.symlink_to("/dev/full")
    random = np.random.default_rng(0)
    with closing(open_clip_writer(path)) as writer:

        def write_noise() -> None:
            for number in range(200):
                writer.write(random.integers(0, 255, (480, 640, 3), dtype=np.uint8), number * 40_000_000)

        with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
            write_noise()
