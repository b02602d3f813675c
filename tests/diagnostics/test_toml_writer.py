"""A door.toml that is written is read as it was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.core.config import DoorConfig, read_config
from edge.core.errors import ConfigError
from edge.diagnostics.toml_writer import to_toml, with_value


def test_written_configuration_is_read_back(tmp_path: Path) -> None:
    """Also quotes, backslashes and umlauts; and what is as the default stands nowhere."""
    config = DoorConfig(site="s", door="d")
    for key, value in (("gallery", 'C:\\"ü".safetensors'), ("mqtt.insecure", True), ("camera.fps", 12.5)):
        config = with_value(config, key, value)
    path = tmp_path / "door.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    assert read_config(path) == config
    assert "width_px" not in path.read_text()
    with pytest.raises(ConfigError, match="camera"):
        with_value(config, "camera.fps", 0)
