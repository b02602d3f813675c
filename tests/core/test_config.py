"""door.toml: valid content, and errors for invalid content."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.core.config import read_config
from edge.core.errors import ConfigError

ROOT = Path(__file__).parents[2]
LEAST = 'site = "home"\ndoor = "front"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "door.toml"
    path.write_text(text)
    return path


def test_shipped_example_is_valid() -> None:
    config = read_config(ROOT / "systemd" / "door.toml")
    assert (config.site, config.door, config.camera.source) == ("home", "front", "picamera2")


def test_site_and_door_suffice(tmp_path: Path) -> None:
    assert read_config(written(tmp_path, LEAST)).recognition.min_samples == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LEAST + "[camera]\nsourc = 'x'", "[camera]: unknown key 'sourc'; did you mean 'source'?"),
        (LEAST + "camer = 1", "top level: unknown key 'camer'; did you mean 'camera'?"),
        (LEAST + "[recognition]\nmin_samples = 'three'", "recognition.min_samples: expected a whole number, got text"),
        (LEAST + "[recognition]\nmin_samples = 0", "recognition.min_samples = 0: must be at least 1"),
        (
            LEAST + "[recognition]\nmin_samples = 2.5",
            "recognition.min_samples = 2.5: expected a whole number, got a number",
        ),
        (LEAST + "[recognition]\nthreshold_sq = 9", "recognition.threshold_sq = 9: allowed 0 to 4"),
        (LEAST + "[recognition]\nthreshold_sq = nan", "recognition.threshold_sq = nan: allowed 0 to 4"),
        (LEAST + "[recognition]\nthreshold_sq = 'low'", "recognition.threshold_sq: expected a number, got text"),
        (LEAST + "[camera]\nfps = '15'", 'camera.fps = "15": expected a number, got text; remove the quotes'),
        (LEAST + "[camera]\nfps = true", "camera.fps = true: expected a number, got a truth value"),
        (LEAST + "[camera]\nfps = 0", "camera.fps = 0: allowed 0 to 240, not 0 itself"),
        (LEAST + "[camera]\nrotate_deg = 45", "camera.rotate_deg = 45: must be one of 0, 90, 180, 270"),
        (LEAST + "[camera]\nsource = ''", "camera.source: must not be empty"),
        (LEAST + "[tracker]\nmax_centre_step = -1.5", "tracker.max_centre_step = -1.5: must be more than 0"),
        (LEAST + "[motion]\nenabled = 'true'", 'motion.enabled = "true": expected true or false, got text; remove'),
        (LEAST + "[models]\ndetector = 'mid'", "models.detector: 'mid' is not one of far, near"),
        (LEAST + "[models]\nfolder = 3", "models.folder = 3: expected text, got a number; put it in quotes"),
        (LEAST + "[access]\nallow = 'ada'", "access.allow: expected a list, got text; put it in brackets"),
        (LEAST + "[access]\nallow = ['ada', 5]", "access.allow[1] = 5: expected text, got a number; put it in quotes"),
        (LEAST + "[liveness]\nchallenge_movements = []", "liveness.challenge_movements: the list must not be empty"),
        (
            LEAST + "[liveness]\nchallenge_movements = ['nod']",
            "liveness.challenge_movements[0]: 'nod' is not one of look-up, turn-left, turn-right",
        ),
        (LEAST + "[lock]\npulse_s = 1.0", "[lock]: 'pin' is missing"),
        (LEAST + "lock = 17", "lock = 17: expected a table, got a number"),
        (
            LEAST + "[mqtt]\nurl = 'http://x'",
            "mqtt.url: expected mqtt://host or mqtts://host; write an address such as",
        ),
        (LEAST + "[mqtt]\nurl = 'localhost'", "mqtt.url: expected mqtt://host or mqtts://host; write mqtt://localhost"),
        ("site = 'home'", "top level: 'door' is missing"),
        ("site = 'a/b'\ndoor = 'c'", "site: expected letters, digits, '.', '_' and '-'"),
        (
            "site = 'a'\ndoor = 'repo'",
            "door: expected letters, digits, '.', '_' and '-', a letter or a digit first, at",
        ),
        ("site = 2026-01-01\ndoor = 'c'", "site: expected text, got a date or time"),
        ("site = ", "not valid TOML"),
    ],
)
def test_error_names_place_and_remedy(tmp_path: Path, text: str, told: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert told in message
    assert "`" not in message
    assert "\n" not in message


@pytest.mark.parametrize("key", ["[camera]\nsource", "[mqtt]\nurl", "[models]\nthreads", "[motion]\nenabled"])
def test_errors_quote_no_longer_text(tmp_path: Path, key: str) -> None:
    """Text in the wrong place may be a password, so the message does not repeat it."""
    for value in ('["u:S3cr3t@host"]', '{ S3cr3t = 1, b = "S3cr3t" }', "'u:S3cr3t@host'"):
        if (key, value) == ("[camera]\nsource", "'u:S3cr3t@host'"):
            continue  # any text is a valid source
        path = written(tmp_path, f"{LEAST}{key} = {value}")
        with pytest.raises(ConfigError) as caught:
            read_config(path)
        assert "S3cr3t" not in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: no such file; write one with  edge setup --out"):
        read_config(tmp_path / "absent.toml")


def test_invalid_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "door.toml"
    path.write_bytes(b"site = '\xff'")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_config(path)
