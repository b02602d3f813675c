"""The operator's commands, as an operator runs them: init, publish, status, rotate, revoke, rollback, push, export."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from support.monitor_fleet import FleetPublisher, a_release, a_status
from support.mqtt_brokers import Mosquitto, needs_mosquitto, wait_until
from support.pty_stream import PtyStream
from support.release_signer import Door, gallery_bytes, holds, mqtt_source, vector
from threshold_tools.release.cli import main
from threshold_tools.release.site_status import SiteReports, forget_door, reporting_doors

from edge.core.config import MqttConfig
from edge.core.errors import ReleaseError
from edge.events.schema import DoorConnection, ReleaseReport, encode
from edge.events.topics import REPO_DELIVERY, Channel, Topics, repo_topic
from edge.mqtt.subscriber import Message
from edge.updates.sources import FolderSource
from edge.vision.manifest import default_folder, read_manifest

ROOT = Path(__file__).parents[3]
SITE = "home"
PASSWORD = "a password of some length"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


def tool(*arguments: str | Path, password: str | None = PASSWORD) -> Ran:
    """Run a tool unattended, with the password in its environment."""
    environment = {key: value for key, value in os.environ.items() if key != "THRESHOLD_KEY_PASSWORD"}
    if password is not None:
        environment["THRESHOLD_KEY_PASSWORD"] = password
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def sync(*arguments: str | Path, password: str | None = PASSWORD) -> Ran:
    return tool("tools/sync.py", *arguments, password=password)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    path = tmp_path / "repo"
    assert sync("init", path).code == 0
    return path


def gallery(folder: Path, people: list[int], embedder: str = "e" * 64) -> Path:
    path = folder / f"gallery-{len(list(folder.glob('gallery-*')))}.safetensors"
    path.write_bytes(gallery_bytes(people, embedder=embedder))
    return path


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
def fleet(broker: Mosquitto) -> Iterator[FleetPublisher]:
    """All doors of the site, through one connection."""
    with FleetPublisher(MqttConfig(url=broker.url), SITE) as made:
        yield made


def test_keys_encrypted_and_private_to_their_owner(repo: Path) -> None:
    keys = sorted((repo / "keys").iterdir())
    assert [path.name for path in keys] == ["root-1.pem", "snapshot-1.pem", "targets-1.pem", "timestamp-1.pem"]
    for path in keys:
        assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
        assert path.stat().st_mode & 0o777 == 0o600


def test_short_password_accepted_with_a_warning(tmp_path: Path) -> None:
    ran = sync("init", str(tmp_path / "new"), password="short")
    assert ran.code == 0
    assert "5 characters is easy to guess" in ran.err


@pytest.mark.parametrize(
    ("arguments", "password", "code", "error"),
    [
        (["init", "{repo}"], PASSWORD, 2, "is already a repository"),
        (["init", "{new}"], None, 2, "THRESHOLD_KEY_PASSWORD"),
        (["init", "{new}", "--threshold", "3", "--signers", "2"], PASSWORD, 2, "needs at least 3 --signers, not 2"),
        (["publish", "{new}", "--gallery", "{gallery}"], PASSWORD, 2, "no repository; make one with"),
        (["publish", "{repo}"], PASSWORD, 2, "the first release needs --gallery"),
        (
            ["publish", "{repo}", "--gallery", "{repo}/absent"],
            PASSWORD,
            2,
            "no such gallery; make one with  threshold enroll",
        ),
        (["publish", "{repo}", "--gallery", "{repo}/root.json"], PASSWORD, 2, "damaged or not a gallery"),
        (["publish", "{repo}", "--gallery", "{gallery}"], "another password", 2, "this password does not open"),
        (
            ["publish", "{repo}", "--gallery", "{gallery}", "--broker", "mqtt://127.0.0.1:1"],
            PASSWORD,
            2,
            "need each other",
        ),
        (
            ["publish", "{repo}", "--gallery", "{gallery}", "--broker", "mqtt://127.0.0.1:1", "--site", "s"],
            PASSWORD,
            1,
            "cannot be reached",
        ),
        (
            ["publish", "{repo}", "--gallery", "{gallery}", "--broker", "http://x", "--site", "s"],
            PASSWORD,
            2,
            "must have the form",
        ),
        (["rollback", "{repo}", "--to", "7"], PASSWORD, 2, "no release 7; there are: none"),
        (["revoke-key", "{repo}", "ffff"], PASSWORD, 2, "no key"),
        (["status", "--broker", "mqtt://127.0.0.1:1", "--site", "s"], None, 1, "cannot be reached"),
        (["export", "{repo}", "{new}"], None, 2, "no release yet"),
    ],
)
def test_every_mistake_is_one_clear_line(
    tmp_path: Path, repo: Path, arguments: list[str], password: str | None, code: int, error: str
) -> None:
    places = {"repo": repo, "new": tmp_path / "new", "gallery": gallery(tmp_path, [1, 2])}
    ran = sync(*(argument.format(**places) for argument in arguments), password=password)
    assert (ran.code, error in ran.err) == (code, True), ran
    assert ran.err.strip().splitlines()[-1].startswith(("error: ", "sync.py: error: "))


@needs_mosquitto
def test_publish_removal_and_proof(tmp_path: Path, repo: Path, broker: Mosquitto) -> None:
    """A person who is removed is deleted from the disk of the door, and comes back only with --bring-back."""
    to = ("--broker", broker.url, "--site", SITE)
    assert sync("publish", repo, "--gallery", gallery(tmp_path, [1, 2]), *to).code == 0
    source = mqtt_source(MqttConfig(url=broker.url), SITE, "front")
    with Door(tmp_path / "state", (repo / "root.json").read_bytes(), source, now=_now) as door:
        wait_until(lambda: door.release == 1, "release 1")
        assert holds(tmp_path / "state", vector(2).tobytes())
        assert sync("publish", repo, "--gallery", gallery(tmp_path, [1]), *to).code == 0
        wait_until(lambda: door.release == 2, "release 2")
        assert holds(tmp_path / "state", vector(2).tobytes()) == []
        ran = sync("rollback", repo, "--to", "1", *to)
        assert (ran.code, "would bring back 1 person removed since: p000002" in ran.err) == (2, True)
        assert sync("rollback", repo, "--to", "1", "--bring-back", *to).code == 0
        wait_until(lambda: door.release == 3, "release 3")
        assert holds(tmp_path / "state", vector(2).tobytes())


@needs_mosquitto
def test_keys_rotated_and_revoked_while_doors_run(tmp_path: Path, repo: Path, broker: Mosquitto) -> None:
    to = ("--broker", broker.url, "--site", SITE)
    root = (repo / "root.json").read_bytes()
    assert sync("publish", repo, "--gallery", gallery(tmp_path, [1, 2]), *to).code == 0
    source = mqtt_source(MqttConfig(url=broker.url), SITE, "front")
    with Door(tmp_path / "state", root, source, now=_now) as door:
        wait_until(lambda: door.release == 1, "release 1")
        assert sync("rotate", repo, "timestamp", *to).code == 0
        listed = sync("keys", repo).out.split()
        first = listed[listed.index("targets:") + 3]
        ran = sync("revoke-key", repo, first[:10], *to)
        assert (ran.code, f"targets: key {first[:12]} replaced by" in ran.err) == (0, True)
        (repo / "keys" / "root-1.pem").rename(tmp_path / "root-1.pem")
        assert sync("publish", repo, "--gallery", gallery(tmp_path, [1, 2, 3]), *to).code == 0
        wait_until(lambda: door.release == 2, "release 2")
        ran = sync("rotate", repo, "snapshot", *to)
        assert (ran.code, "add the folders with root keys by --keys" in ran.err) == (2, True)
        assert sync("rotate", repo, "root", "--keys", tmp_path, *to).code == 0
        assert sync("publish", repo, "--gallery", gallery(tmp_path, [1]), *to).code == 0
        wait_until(lambda: door.release == 3, "release 3")
        assert not [news for news in door.news if news.refused]


def test_two_signers_of_three(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    assert sync("init", repo, "--threshold", "2", "--signers", "3").code == 0
    stick = tmp_path / "stick"
    stick.mkdir()
    for number in (2, 3):
        (repo / "keys" / f"targets-{number}.pem").rename(stick / f"targets-{number}.pem")
    ran = sync("publish", repo, "--gallery", gallery(tmp_path, [1]))
    assert (ran.code, "targets needs 2 of its 3 keys to sign, 1 are available" in ran.err) == (2, True)
    assert sync("publish", repo, "--gallery", gallery(tmp_path, [1]), "--keys", stick).code == 0


def test_repository_and_export_private_to_their_owner(tmp_path: Path, repo: Path) -> None:
    """With --shared other accounts, such as a web server, may read the export."""
    assert sync("publish", repo, "--gallery", gallery(tmp_path, [1, 2])).code == 0
    assert sync("export", repo, tmp_path / "stick", password=None).code == 0
    for folder in (repo, repo / "pieces", tmp_path / "stick"):
        assert folder.stat().st_mode & 0o777 == 0o700, folder
    for file in [*(repo / "pieces").iterdir(), *(tmp_path / "stick").iterdir()]:
        assert file.stat().st_mode & 0o777 == 0o600, file
    assert sync("export", repo, tmp_path / "served", "--shared", password=None).code == 0
    assert {path.stat().st_mode & 0o444 for path in (tmp_path / "served").iterdir()} == {0o444}


def test_release_by_usb_stick(tmp_path: Path, repo: Path) -> None:
    assert sync("publish", repo, "--gallery", gallery(tmp_path, [1, 2])).code == 0
    assert sync("export", repo, tmp_path / "stick", password=None).code == 0
    with Door(
        tmp_path / "state", (repo / "root.json").read_bytes(), FolderSource(tmp_path / "stick"), now=_now
    ) as door:
        wait_until(lambda: door.release == 1, "release 1")


def test_models_with_a_gallery_of_another_embedder_refused(tmp_path: Path, repo: Path) -> None:
    """A new embedder needs a new gallery; the error names the command for it."""
    models = default_folder()
    embedder = read_manifest(models).models["embedder"].sha256
    assert sync("publish", repo, "--gallery", gallery(tmp_path, [1, 2])).code == 0
    ran = tool("tools/push.py", repo, "--models", models)
    assert (ran.code, "make it again with these models by  threshold enroll" in ran.err) == (2, True)
    matching = gallery(tmp_path, [1, 2], embedder)
    ran = tool("tools/push.py", repo, "--models", models, "--gallery", matching)
    assert (ran.code, "release 2: 2 people, 6 files" in ran.err) == (0, True), ran
    ran = sync("publish", repo, "--gallery", gallery(tmp_path, [1]))
    assert (ran.code, "made with another embedder" in ran.err) == (2, True)
    ran = sync("publish", repo, "--gallery", gallery(tmp_path, [1], embedder))
    assert (ran.code, "release 3: 1 person, 6 files" in ran.err) == (0, True)


def test_publishing_the_same_files_renews_the_signatures(tmp_path: Path, repo: Path) -> None:
    same = gallery(tmp_path, [1, 2])
    assert "release 1: " in sync("publish", repo, "--gallery", same).err
    assert "release 1: " in sync("publish", repo, "--gallery", same).err
    assert "release 1: " in sync("publish", repo).err
    assert (repo / "metadata" / "3.timestamp.json").exists()


def test_malformed_policy_not_published(tmp_path: Path, repo: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[dors.front]\n")
    ran = sync("publish", repo, "--gallery", gallery(tmp_path, [1]), "--policy", policy)
    assert (ran.code, "dors" in ran.err) == (2, True)


@dataclass(frozen=True, slots=True)
class Shown:
    """One door in the output of `sync.py status --json`."""

    door: str
    release: int | None
    ok: bool
    reason: str


def status_of(broker: Mosquitto, *options: str, site: str = SITE) -> tuple[int, dict[str, Shown]]:
    """Exit code and doors of `sync.py status --json`."""
    ran = sync("status", "--broker", broker.url, "--site", site, "--json", *options, password=None)
    return ran.code, {shown.door: shown for shown in msgspec.json.decode(ran.out, type=list[Shown])}


def mark_newest(fleet: FleetPublisher, release: int) -> None:
    """Publish the part of timestamp.json that `status` reads."""
    timestamp = msgspec.json.encode({"signed": {"x-threshold-release": release}})
    fleet.enqueue_payload(repo_topic(SITE, "timestamp.json"), timestamp, retain=REPO_DELIVERY.retained)
    fleet.wait_for_acks()


@needs_mosquitto
def test_hostile_door_report_is_one_printable_line(broker: Mosquitto, fleet: FleetPublisher) -> None:
    """A door that sends terminal codes in its report cannot overwrite the line of another door."""
    mark_newest(fleet, 12)
    fleet.publish("back", a_release("back", 3, ok=False, detail="timestamp.json: expired"))
    paint = "12 people\x1b[1A\r\x1b[2Kok    back\x9b\u202e\x7f" + "x" * 5000
    fleet.publish("front", a_release("front", 12, detail=paint))
    ran = sync("status", "--broker", broker.url, "--site", SITE, password=None)
    lines = ran.out.splitlines()
    assert all(line.isprintable() and len(line) < 700 for line in lines)
    assert [line[:10] for line in lines[1:3]] == ["WAIT  back", "ok    fron"]
    assert "\\u001b[1A" in lines[2]
    as_json = sync("status", "--broker", broker.url, "--site", SITE, "--json", password=None)
    assert as_json.out.rstrip("\n").isprintable()


@needs_mosquitto
def test_status_coloured_on_a_terminal(
    broker: Mosquitto, fleet: FleetPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark_newest(fleet, 12)
    fleet.publish("back", a_release("back", 3))
    fleet.publish("front", a_release("front", 12))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with PtyStream(100) as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        assert main(["status", "--broker", broker.url, "--site", SITE]) == 1
        shown = terminal.read_terminal()
    assert "\x1b[32mok  \x1b[0m  front" in shown
    assert "\x1b[1;31mWAIT\x1b[0m  back" in shown


@needs_mosquitto
@pytest.mark.parametrize("options", [[], ["--json"], ["--wait", "0.1"]], ids=["plain", "json", "wait"])
def test_status_fails_for_a_site_without_reports(broker: Mosquitto, options: list[str]) -> None:
    ran = sync("status", "--broker", broker.url, "--site", "homee", *options, password=None)
    assert ran.code == 1
    assert "no door of site 'homee' has reported" in ran.err


@needs_mosquitto
def test_status_counts_known_and_reporting_doors(broker: Mosquitto, fleet: FleetPublisher) -> None:
    mark_newest(fleet, 12)
    fleet.publish("front", a_release("front", 12))
    assert status_of(broker)[0] == 0
    fleet.publish("side", a_status("side"))
    fleet.enqueue_payload(Topics(SITE, "yard").topic_for(Channel.RELEASE), b"junk", retain=True)
    fleet.wait_for_acks()
    ran = sync("status", "--broker", broker.url, "--site", SITE, "--expect", "back", "front", password=None)
    assert ran.code == 1
    assert "4 doors known, 3 reporting, 1 up to date" in ran.out
    assert "not up to date: back, side, yard" in ran.out


@needs_mosquitto
@pytest.mark.parametrize("report", [a_release("front", 11), a_release("front", 12, ok=False)], ids=["old", "refused"])
def test_status_fails_while_a_door_is_outdated(broker: Mosquitto, fleet: FleetPublisher, report: ReleaseReport) -> None:
    mark_newest(fleet, 12)
    fleet.publish("front", report)
    assert status_of(broker)[0] == 1
    assert status_of(broker, "--wait", "0.1")[0] == 1


@needs_mosquitto
def test_status_of_more_doors_than_a_broker_queues(tmp_path: Path) -> None:
    """A broker drops retained messages that exceed its queue, but only for a subscriber with QoS 1."""
    with Mosquitto(tmp_path, conf="allow_anonymous true\nmax_queued_messages 10\n") as broker:
        _report_from(broker, 100)
        code, shown = status_of(broker)
    assert (code, len(shown)) == (0, 100)


def kept(door: str, release: int | None, *, retained: bool = True) -> Message:
    """A release report as the subscriber returns it."""
    record = a_release(door, release)
    return Message("", Topics(SITE, door), Channel.RELEASE, encode(record), record, "", retained)


def test_retained_reports_extend_the_wait() -> None:
    """Live reports do not, because a busy door would then keep `status` running endlessly."""
    roll = SiteReports(12, (), 0.0, 100.0)
    for number in range(5):
        now_s = 100.0 + 0.9 * number
        assert not roll.is_complete(now_s)
        roll.update(kept(f"door-{number}", 12), now_s)
    roll.update(kept("door-0", 12, retained=False), 104.5)
    assert (roll.is_complete(104.5), roll.is_complete(104.7)) == (False, True)
    assert (len(roll.site().doors), roll.site().complete) == (5, True)


def test_wait_ends_with_the_last_door_or_the_timeout() -> None:
    roll = SiteReports(12, ("back",), 60.0, 100.0)
    roll.update(kept("front", 11), 100.1)
    assert not roll.is_complete(102.0)
    roll.update(kept("front", 12, retained=False), 103.0)
    assert (roll.is_complete(103.0), roll.is_complete(160.0)) == (False, True)
    roll.update(kept("back", 12, retained=False), 110.0)
    assert roll.is_complete(110.0)


@needs_mosquitto
@pytest.mark.slow
def test_status_of_five_thousand_doors(broker: Mosquitto) -> None:
    """Reports that take longer than a second to arrive are all received and count for the exit code."""
    _report_from(broker, 5000)
    code, shown = status_of(broker)
    assert (code, len(shown)) == (0, 5000)


def _report_from(broker: Mosquitto, doors: int) -> None:
    with FleetPublisher(MqttConfig(url=broker.url), SITE) as fleet:
        mark_newest(fleet, 12)
        for number in range(doors):
            fleet.enqueue(f"door-{number}", a_status(f"door-{number}"))
            fleet.enqueue(f"door-{number}", a_release(f"door-{number}", 12))
            if number % 50 == 0:
                fleet.wait_for_acks(20.0)
        fleet.wait_for_acks(20.0)


@needs_mosquitto
def test_retired_door_deleted_from_the_broker(broker: Mosquitto, fleet: FleetPublisher) -> None:
    """No retained message is left. A door that is online, or has never reported, is an error."""
    mark_newest(fleet, 12)
    fleet.publish("front", a_release("front", 12))
    fleet.publish("old", a_release("old", 3))
    fleet.publish("old", a_status("old"))
    mqtt = MqttConfig(url=broker.url)
    with pytest.raises(ReleaseError, match="'old' is online; stop it first"):
        forget_door(mqtt, SITE, "old")
    fleet.publish("old", a_status("old", DoorConnection.OFFLINE))
    assert sync("forget", "old", "--broker", broker.url, "--site", SITE, password=None).code == 0
    for unknown in ("old", "+", "front/#"):
        with pytest.raises(ReleaseError, match="has never reported"):
            forget_door(mqtt, SITE, unknown)
    assert reporting_doors(mqtt, SITE) == {"front"}


@needs_mosquitto
def test_mistyped_site_refused_before_any_change(
    tmp_path: Path, repo: Path, broker: Mosquitto, fleet: FleetPublisher
) -> None:
    """The first site may be without doors; another one without doors needs --new-site."""
    to = ("--broker", broker.url, "--site")
    first = sync("publish", repo, "--gallery", gallery(tmp_path, [1]), *to, SITE)
    assert (first.code, f"warning: site '{SITE}': no door of this site" in first.err) == (0, True)
    fleet.publish("front", a_release("front", 1))
    more = gallery(tmp_path, [1, 2])
    refused = sync("publish", repo, "--gallery", more, *to, "hom")
    assert (refused.code, f"published to {SITE}; nothing was published" in refused.err) == (2, True)
    assert sorted(path.name for path in (repo / "releases").iterdir()) == ["1.json"]
    assert sync("publish", repo, "--gallery", more, *to, "hom", "--new-site").code == 0
    quiet = sync("publish", repo, *to, SITE)
    assert (quiet.code, "warning" in quiet.err) == (0, False)


@needs_mosquitto
def test_publish_names_rules_without_effect(
    tmp_path: Path, repo: Path, broker: Mosquitto, fleet: FleetPublisher
) -> None:
    fleet.publish("yard", a_release("yard", 1))
    policy = tmp_path / "policy.toml"
    policy.write_text(
        '[groups]\nstaff = ["jane-doe"]\n\n'
        '[[doors.front.allow]]\ngroups = ["staff"]\n\n[[doors.back.allow]]\npeople = ["p000001"]\n'
    )
    people = gallery(tmp_path, [1, 2])
    ran = sync("publish", repo, "--gallery", people, "--policy", policy, "--broker", broker.url, "--site", SITE)
    assert ran.code == 0
    assert [line for line in ran.err.splitlines() if line.startswith("warning: ")] == [
        "warning: the rules name jane-doe, but the gallery has no such person",
        "warning: doors.front admits nobody in the gallery",
        "warning: the rules have no table for door 'yard', which has reported: it denies everybody",
        "warning: no rule admits p000002 at any door",
    ]
    policy.write_text('[[doors."*".allow]]\npeople = ["*"]\n')
    ran = sync("publish", repo, "--policy", policy, "--broker", broker.url, "--site", SITE)
    assert (ran.code, "warning" in ran.err) == (0, False)


def _now() -> datetime:
    return datetime.now(UTC)
