"""Shared fixtures: the real models, loaded once, and the bundled pictures."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in edge.cli.main, before numpy is imported

import pytest
from hypothesis import HealthCheck, settings
from support.mqtt_brokers import BROKERS, AnyBroker, make_broker

from edge.core.config import DetectorConfig, ModelsConfig, QualityConfig
from edge.core.records import BgrImage, Face, Frame
from edge.demo.run_demo import FOLDER
from edge.vision.face_sampler import VisionStages, load_vision
from edge.vision.images import read_image

DATA = Path(__file__).parent / "data"

# The same examples everywhere, however slow or busy the machine is.
settings.register_profile(
    "threshold", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("threshold")


def pytest_configure() -> None:
    """Let child processes receive Ctrl-C even if the parent process ignores it, as with nohup and background jobs.

    A handler is reset to the default when a program starts, but an ignored signal stays ignored.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line with the requirements of skipped tests."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.write_line(f"skipped: {'; '.join(f'{n} {why}' for why, n in reasons.most_common())}")


@pytest.fixture(params=BROKERS)
def stopped_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyBroker]:
    """Mosquitto, then the embedded broker; the test starts it."""
    made = make_broker(request.param, tmp_path)
    yield made
    made.close()


@pytest.fixture
def broker(stopped_broker: AnyBroker) -> AnyBroker:
    """The same broker, started."""
    stopped_broker.start()
    return stopped_broker


@pytest.fixture(scope="session")
def vision() -> VisionStages:
    """Detector, landmarks and embedder of a door that search every frame, so that no test depends on another."""
    return load_vision(ModelsConfig(), DetectorConfig(far_scan_every_s=0), QualityConfig())


@pytest.fixture(scope="session")
def watching() -> VisionStages:
    """The same stages with the door's interval between searches."""
    return load_vision(ModelsConfig(), DetectorConfig(), QualityConfig())


@pytest.fixture(scope="session")
def photo() -> Callable[[str], BgrImage]:
    """A bundled photo by its stem: two of barack-obama (enrolled in the demo), biden and astronaut."""
    paths = [*FOLDER.glob("people/*/*.jpg"), *DATA.glob("*.jpg")]
    by_stem = {path.stem: path for path in paths}
    return lambda stem: read_image(by_stem[stem])


@pytest.fixture(scope="session")
def only_face(vision: VisionStages) -> Callable[[BgrImage], Face]:
    """Return the face of a picture with exactly one face."""

    def find(pixels: BgrImage) -> Face:
        (face,) = vision.detector.detect(Frame(pixels, 0, 0))
        return face

    return find
