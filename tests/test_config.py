"""door.toml: what is accepted, and what a mistake is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config import read_config
from edge.errors import ConfigError

ROOT = Path(__file__).parent.parent
LEAST = 'site = "home"\ndoor = "front"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "door.toml"
    path.write_text(text)
    return path


def test_the_example_that_ships_is_valid() -> None:
    config = read_config(ROOT / "systemd" / "door.toml")
    assert (config.site, config.door, config.camera.source) == ("home", "front", "picamera2")


def test_site_and_door_suffice(tmp_path: Path) -> None:
    assert read_config(written(tmp_path, LEAST)).verdict.min_samples == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LEAST + "[camera]\nsourc = 'x'", "[camera]: unknown key 'sourc'; did you mean 'source'?"),
        (LEAST + "camer = 1", "top level: unknown key 'camer'; did you mean 'camera'?"),
        (LEAST + "[verdict]\nmin_samples = 'three'", "verdict.min_samples: expected `int`, got `str`"),
        (LEAST + "[verdict]\nmin_samples = 0", "verdict.min_samples: expected `int` >= 1"),
        (LEAST + "[verdict]\nthreshold_sq = 4.5", "verdict.threshold_sq: expected `float` <= 4.0"),
        (LEAST + "[models]\ndetector = 'mid'", "models.detector: invalid enum value 'mid'"),
        (LEAST + "[mqtt]\nurl = 'http://x'", "mqtt.url"),
        ("site = 'home'", "top level: object missing required field `door`"),
        ("site = 'a/b'\ndoor = 'c'", "site: expected `str` matching regex"),
        ("site = ", "not valid TOML"),
    ],
)
def test_a_mistake_is_answered_with_its_place_and_the_remedy(tmp_path: Path, text: str, told: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert told in message
    assert "\n" not in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read"):
        read_config(tmp_path / "absent.toml")


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "door.toml"
    path.write_bytes(b"site = '\xff'")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_config(path)
