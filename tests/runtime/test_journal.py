"""Log lines in systemd's journal: fields, large entries, and entries that the journal rejects."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.door_process import write_config
from support.mqtt_brokers import free_port, wait_until

from edge.core.errors import CameraError
from edge.demo.run_demo import CLIP
from edge.runtime.journal import JournalHandler, event_fields, set_door_fields, stream_is_journal

ROOT = Path(__file__).parents[2]
SAY = """
import logging
from pathlib import Path
from edge.runtime.journal import JournalHandler, event_fields, set_door_fields
handler = JournalHandler()
logging.basicConfig(handlers=[handler], level=logging.DEBUG, format="%(message)s")
set_door_fields("home", "front")
log = logging.getLogger("edge.test")
log.warning("camera-lost: %s", "no frame for 5 s", extra=event_fields("camera-lost", "an-id"))
log.info("two" + chr(10) + "lines")
log.error("large " + "x" * 1_000_000)
log.debug("the-end")
"""


class Journal:
    """Socket in place of the journal's socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(20)
        self.by_file = 0

    def entry(self) -> dict[str, str]:
        """The next entry, decoded by the protocol."""
        data, files, _, _ = socket.recv_fds(self._socket, 1 << 20, 1)
        if files:
            self.by_file += 1
            with open(files[0], "rb") as file:
                assert not data
                data = Path(f"/proc/self/fd/{file.fileno()}").read_bytes()
        fields: dict[str, str] = {}
        while data:
            line, _, data = data.partition(b"\n")
            name, equals, value = line.partition(b"=")
            if not equals:
                length = int.from_bytes(data[:8], "little")
                value, data = data[8 : 8 + length], data[8 + length + 1 :]
            fields[name.decode()] = value.decode()
        return fields

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal")
    yield made
    made.close()


@pytest.fixture
def log(journal: Journal) -> Iterator[logging.Logger]:
    """Logger that writes only to that journal."""
    handler = JournalHandler(journal.path)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.Logger("edge.test")
    logger.addHandler(handler)
    yield logger
    handler.close()


def test_fields_of_an_entry(journal: Journal, log: logging.Logger) -> None:
    log.warning("camera-lost: %s", "gone", extra=event_fields("camera-lost", "an-id"))
    entry = journal.entry()
    assert int(entry.pop("CODE_LINE")) > 0
    assert entry == {
        "MESSAGE": "camera-lost: gone",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "threshold",
        "LOGGER": "edge.test",
        "THREAD_NAME": "MainThread",
        "CODE_FILE": __file__,
        "CODE_FUNC": "test_fields_of_an_entry",
        "THRESHOLD_EVENT": "camera-lost",
        "THRESHOLD_EVENT_ID": "an-id",
    }


@pytest.mark.parametrize(
    ("level", "priority"), [("critical", "2"), ("error", "3"), ("warning", "4"), ("info", "6"), ("debug", "7")]
)
def test_levels_become_priorities(journal: Journal, log: logging.Logger, level: str, priority: str) -> None:
    getattr(log, level)("words")
    assert journal.entry()["PRIORITY"] == priority


def test_line_breaks_stay_within_their_field(journal: Journal, log: logging.Logger) -> None:
    """Otherwise a name with a line break could add fields."""
    log.info("one\nPRIORITY=0\n\ntwo")
    entry = journal.entry()
    assert (entry["MESSAGE"], entry["PRIORITY"]) == ("one\nPRIORITY=0\n\ntwo", "6")


def test_traceback_is_part_of_the_message(journal: Journal, log: logging.Logger) -> None:
    try:
        raise CameraError("no such camera")
    except CameraError:
        log.exception("unexpected")
    assert re.search(r"^unexpected\nTraceback .*no such camera$", journal.entry()["MESSAGE"], re.S)


def test_large_entry_is_sent_as_a_file(journal: Journal, log: logging.Logger) -> None:
    log.info("x" * 1_000_000)
    assert journal.entry()["MESSAGE"] == "x" * 1_000_000
    assert journal.by_file == 1


def test_standard_error_without_a_journal(
    journal: Journal, log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    journal.close()
    log.warning("nobody listens")
    assert capsys.readouterr().err == "nobody listens\n"


def test_blocked_journal_does_not_block_the_door(
    journal: Journal, log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """The queue of the journal is full, so lines go to standard error until it accepts entries again."""
    while not capsys.readouterr().err:
        log.info("more")
    assert journal.entry()["MESSAGE"] == "more"
    log.info("again")
    assert capsys.readouterr().err == ""


def test_journal_is_recognised_by_standard_error(tmp_path: Path) -> None:
    """Processes with another standard error also inherit JOURNAL_STREAM."""
    with (tmp_path / "log").open("w") as file:
        found = os.fstat(file.fileno())
        right = f"{found.st_dev}:{found.st_ino}"
        assert stream_is_journal(file.fileno(), {"JOURNAL_STREAM": right})
        for other in (f"{found.st_dev}:{found.st_ino + 1}", "", "nonsense"):
            assert not stream_is_journal(file.fileno(), {"JOURNAL_STREAM": other})
        assert not stream_is_journal(file.fileno(), {})
    assert not stream_is_journal(file_that_is_closed(), {"JOURNAL_STREAM": right})


def file_that_is_closed() -> int:
    number = os.open("/dev/null", os.O_RDONLY)
    os.close(number)
    return number


def run_door(tmp_path: Path, journal: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Complete door whose standard error is a file."""
    config = write_config(tmp_path, f"mqtt://127.0.0.1:{free_port()}", str(CLIP))
    program = (
        "import sys, pathlib, edge.runtime.journal\n"
        f"edge.runtime.journal.JournalHandler.__init__.__defaults__ = (pathlib.Path({str(journal)!r}),)\n"
        "from edge.cli.main import main\n"
        f"sys.argv = ['edge', 'run', '--config', {str(config)!r}]\nmain()\n"
    )
    with (tmp_path / "stderr").open("wb") as errors:
        found = os.fstat(errors.fileno())
        known = {key: value.replace("HERE", f"{found.st_dev}:{found.st_ino}") for key, value in environment.items()}
        return subprocess.Popen(
            [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(ROOT)} | known, stderr=errors
        )


def test_door_and_event_fields_under_systemd(tmp_path: Path, journal: Journal) -> None:
    door = run_door(tmp_path, journal.path, {"JOURNAL_STREAM": "HERE"})
    entry: dict[str, str] = {}
    while entry.get("THRESHOLD_EVENT") != "door-open":
        entry = journal.entry()
        assert (entry["THRESHOLD_SITE"], entry["THRESHOLD_DOOR"]) == ("test", "front")
    door.send_signal(signal.SIGTERM)
    assert re.fullmatch(r"[0-9a-f-]{36}", entry["THRESHOLD_EVENT_ID"])
    assert entry["CODE_FILE"].endswith("edge/runtime/event_recorder.py")
    while entry.get("THRESHOLD_EVENT") != "stopped":
        entry = journal.entry()
    assert door.wait(20) == 0
    assert (tmp_path / "stderr").read_text() == ""


def test_lines_carry_their_time_without_a_journal(tmp_path: Path, journal: Journal) -> None:
    """Also with an inherited JOURNAL_STREAM of another process."""
    door = run_door(tmp_path, journal.path, {"JOURNAL_STREAM": "1:1"})
    words = tmp_path / "stderr"
    wait_until(lambda: "started reason=service-started: camera" in words.read_text(), "the door has started", 30)
    door.send_signal(signal.SIGTERM)
    assert door.wait(20) == 0
    line = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO started reason=service-started: camera"
    assert re.search(line, words.read_text(), re.M)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("journalctl") is None, reason="systemd is not installed")
def test_real_journal_keeps_every_field() -> None:
    done = subprocess.run(
        [ROOT / "tests" / "systemd" / "journal.sh", sys.executable, "-c", SAY],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    if done.returncode == 2:
        pytest.skip(done.stderr.strip())
    lost, lines, large, end = (json.loads(line) for line in done.stdout.splitlines())
    assert (lost["MESSAGE"], lost["PRIORITY"]) == ("camera-lost: no frame for 5 s", "4")
    assert (lost["THRESHOLD_EVENT"], lost["THRESHOLD_EVENT_ID"]) == ("camera-lost", "an-id")
    assert (lost["THRESHOLD_SITE"], lost["THRESHOLD_DOOR"]) == ("home", "front")
    assert lines["MESSAGE"] == "two\nlines"
    assert len(large["MESSAGE"]) == 1_000_006
    assert end["PRIORITY"] == "7"


def test_only_the_journal_handler_gets_door_fields(journal: Journal) -> None:
    handler = JournalHandler(journal.path)
    others = [logging.StreamHandler()]
    root = logging.getLogger()
    for each in (handler, *others):
        root.addHandler(each)
    try:
        set_door_fields("home", "front")
    finally:
        for each in (handler, *others):
            root.removeHandler(each)
    assert handler.about == {"THRESHOLD_SITE": "home", "THRESHOLD_DOOR": "front"}
    handler.close()
