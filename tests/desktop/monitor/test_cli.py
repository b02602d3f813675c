"""The command line of the monitor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from threshold_tools.monitor.cli import main

from edge.core.errors import InputError

ROOT = Path(__file__).parents[3]
PEOPLE = str(ROOT / "edge" / "demo" / "people")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--listen", "desk"], "is not an address"),
        (["--broker", "mqtt://other.example"], "not encrypted"),
        (["--people", "/nowhere"], "no such folder"),
        (["--cert", "x"], "need each other"),
        (["--publish", "repo", "--people", PEOPLE, "--site", "s"], "--publish needs --crops, --people and --site"),
        (["--crops", "/dev/null/faces"], "cannot store faces there"),
        (["--keep-crops-days", "0"], "must be positive"),
        (["--crops", "/tmp", "--publish", "/nowhere", "--people", PEOPLE, "--site", "s"], "no repository"),
        (["--listen", "0.0.0.0", "--token-file", "/nowhere"], "cannot be read"),
    ],
)
def test_unusable_argument_is_an_error(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its message names the argument and the problem."""
    with pytest.raises((InputError, SystemExit)) as error:
        main(["--port", "0", *words])
    assert message in f"{error.value} {capsys.readouterr().err}"


def test_error_is_one_line_with_exit_code_2() -> None:
    command = [sys.executable, str(ROOT / "tools" / "monitor.py"), "--people", "/nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: /nowhere: no such folder"]
