"""Prometheus metrics, fetched by HTTP from real doors; and the dashboard and alerts that use them."""

from __future__ import annotations

import http.client
import json
import logging
import re
import select
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import yaml
from mqtt_contract.examples import examples_of
from prometheus_client.parser import text_string_to_metric_families as parsed
from support.daemon_runs import door_config, running
from support.mqtt_brokers import Mosquitto, config_for, free_port, needs_mosquitto, wait_until

from edge import __version__
from edge.core.config import DoorConfig, MetricsConfig
from edge.core.errors import ConfigError
from edge.demo.run_demo import CLIP
from edge.events.schema import EventKind, Health, LockState
from edge.events.topics import Channel
from edge.runtime.daemon import Daemon
from edge.runtime.prometheus_server import Exporter

DOCS = Path(__file__).parents[2] / "docs"
NAME = re.compile(r"\b(?:threshold|process)_\w+")
EXAMPLE = examples_of(Channel.HEALTH)[0].record
assert isinstance(EXAMPLE, Health)
HEALTH = EXAMPLE


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    kind: str
    text: str

    def values(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """Values by name and label values, in the order of label names."""
        samples = [sample for family in parsed(self.text) for sample in family.samples]
        return {(sample.name, tuple(sample.labels.values())): sample.value for sample in samples}


def fetch(port: int, path: str = "/metrics", accept: str = "") -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path, headers={"Accept": accept})
    response = connection.getresponse()
    answer = Answer(response.status, response.headers["Content-Type"], response.read().decode())
    connection.close()
    return answer


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    with Exporter(MetricsConfig(port=free_port()), "home") as made:
        yield made


@pytest.fixture(scope="module")
def scrape(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    """Metrics of a real door after an opening, with the bundled clip and a real broker."""
    folder = tmp_path_factory.mktemp("door")
    port = free_port()
    with Mosquitto(folder) as broker:
        mqtt = config_for(broker, health_every_s=0.05)
        daemon = Daemon(door_config(folder, CLIP, mqtt, metrics=MetricsConfig(port=port)))
        opened, answer = ("threshold_events_total", (EventKind.DOOR_OPEN.value,)), Answer(0, "", "")

        def let_in() -> bool:
            nonlocal answer
            if daemon.frames:
                answer = fetch(port)
            return answer.values().get(opened, 0) > 0

        with running(daemon):
            wait_until(let_in, "somebody is let in", 30)
    return answer


# The door


@needs_mosquitto
def test_metrics_of_a_real_door(scrape: Answer) -> None:
    values = scrape.values()
    assert (scrape.status, scrape.kind.partition(";")[0]) == (200, "text/plain")
    assert values["threshold_camera_state", ("working",)] == 1
    assert values["threshold_camera_state", ("lost",)] == 0
    assert values["threshold_broker_connected", ()] == 1
    assert values["threshold_events_total", ("started",)] == 1
    assert values["threshold_events_total", ("denied",)] == 0, "also what has not happened yet is there, to be counted"
    assert values["threshold_frames_total", ()] > 10
    assert 0 < values["threshold_stage_median_seconds", ("detect",)] < 10
    assert values["process_resident_memory_bytes", ()] > 1e6


@needs_mosquitto
def test_metrics_name_no_person(scrape: Answer) -> None:
    """The door has just opened for the id barack-obama."""
    assert "obama" not in scrape.text.lower()
    labels = {label for family in parsed(scrape.text) for sample in family.samples for label in sample.labels}
    assert labels <= {"door", "gallery", "kind", "model", "reason", "sha256", "site", "stage", "state", "version"}


@needs_mosquitto
def test_metric_names_follow_the_conventions(scrape: Answer) -> None:
    """Prefix, base units, _total on counters only, and a help text."""
    for family in parsed(scrape.text):
        assert re.fullmatch(r"(threshold|process)_[a-z0-9_]+", family.name)
        assert not re.search(r"_(ms|milliseconds|mb|percent|fahrenheit)(_|$)", family.name)
        assert family.documentation
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")


@needs_mosquitto
def test_dashboard_uses_known_metrics(scrape: Answer, exporter: Exporter) -> None:
    """Metrics of lock, temperature and challenges come from a report that contains them."""
    told = {name for name, _ in scrape.values()} | {name for name, _ in everything(exporter).values()}
    dashboard = json.loads((DOCS / "examples" / "grafana.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    asked = {name for query in queries for name in NAME.findall(query)}
    assert len(queries) >= 10
    assert asked - told == set()


@needs_mosquitto
def test_alerts_use_known_metrics(scrape: Answer, exporter: Exporter) -> None:
    told = {name for name, _ in scrape.values()} | {name for name, _ in everything(exporter).values()}
    groups = yaml.safe_load((DOCS / "examples" / "alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert all(rule["annotations"]["summary"] for rule in rules)
    assert {name for rule in rules for name in NAME.findall(rule["expr"])} - told == set()


@needs_mosquitto
def test_page_names_every_metric(scrape: Answer, exporter: Exporter) -> None:
    told = {name for name, _ in scrape.values()} | {name for name, _ in everything(exporter).values()}
    named = set(NAME.findall((DOCS / "guides/metrics-and-logs.md").read_text())) - {"process_"}
    assert named == {name for name in told if name.startswith("threshold_")}


# The metrics


def everything(exporter: Exporter) -> Answer:
    """Metrics of a door with every optional component."""
    health = msgspec.structs.replace(HEALTH, lock=LockState.OPEN, problems=("one", "two"))
    exporter.update(health, connected=False, events={EventKind.UNKNOWN: 7})
    return fetch(exporter.port)


def test_metrics_equal_the_health_report(exporter: Exporter) -> None:
    values = everything(exporter).values()
    assert values["threshold_frames_total", ()] == HEALTH.frames
    assert values["threshold_frames_dropped_total", ()] == HEALTH.dropped
    assert values["threshold_samples_rejected_total", ("too-small", "quality")] == 52
    assert values["threshold_liveness_outcomes_total", ("presentation-attack",)] == 1
    assert values["threshold_stage_p95_seconds", ("detect",)] == pytest.approx(0.00602)
    assert values["threshold_temperature_celsius", ()] == HEALTH.temperature_c
    assert values["threshold_health_timestamp_seconds", ()] == pytest.approx(1_795_367_281.135)
    assert (values["threshold_problems", ()], values["threshold_broker_connected", ()]) == (2, 0)
    assert (values["threshold_lock_state", ("open",)], values["threshold_lock_state", ("locked",)]) == (1, 0)
    assert values["threshold_events_total", ("unknown",)] == 7
    assert HEALTH.gallery
    assert ("threshold_door_info", ("front", HEALTH.gallery.version, "home", __version__)) in values


def test_missing_parts_have_no_metric(exporter: Exporter) -> None:
    exporter.update(msgspec.structs.replace(HEALTH, lock=None, temperature_c=None), connected=True, events={})
    names = {name for name, _ in fetch(exporter.port).values()}
    assert not names & {"threshold_lock_state", "threshold_temperature_celsius"}


def test_openmetrics_on_request(exporter: Exporter) -> None:
    everything(exporter)
    answer = fetch(exporter.port, accept="application/openmetrics-text; version=1.0.0")
    assert answer.kind.startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_process_metrics_before_the_first_report(exporter: Exporter) -> None:
    assert "threshold_frames_total" not in fetch(exporter.port).text
    assert "process_resident_memory_bytes" in fetch(exporter.port).text


# The server


def test_other_paths_and_methods_are_rejected(exporter: Exporter) -> None:
    assert fetch(exporter.port, "/").status == 404
    connection = http.client.HTTPConnection("127.0.0.1", exporter.port, timeout=5)
    connection.request("POST", "/metrics", body=b"x" * 10)
    assert connection.getresponse().status == 501
    connection.close()


def connected(port: int, said: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), 5)
    client.sendall(said)
    return client


def test_silent_clients_do_not_block_others(exporter: Exporter) -> None:
    """Clients that send nothing or nonsense do not delay others."""
    nonsense = (b"", b"\xff\x00 nonsense", b"GET /metrics HTTP/1.0\r\nX: " + b"x" * 10_000)
    silent = [connected(exporter.port, nonsense[number % 3]) for number in range(20)]
    assert [fetch(exporter.port).status for _ in range(3)] == [200] * 3
    for client in silent:
        client.close()


def test_bounded_number_of_connections() -> None:
    """At most eight connections are open; another one closes the oldest."""
    port = free_port()
    with Exporter(MetricsConfig(port=port), "home", deadline_s=3600.0):
        silent = [connected(port) for _ in range(20)]
        wait_until(lambda: len(select.select(silent, [], [], 0)[0]) == 12, "all but eight are hung up on")
    for client in silent:
        client.close()


def test_total_deadline_of_a_request() -> None:
    """A client that sends single bytes is disconnected, also with short pauses."""
    port = free_port()
    with Exporter(MetricsConfig(port=port), "home", deadline_s=0.2), connected(port, b"G") as slow:
        slow.settimeout(0.02)
        for _ in range(500):
            slow.sendall(b"E")
            try:
                assert slow.recv(1) == b""
                break
            except TimeoutError:
                assert fetch(port).status == 200
        else:
            pytest.fail("the slow client is still connected after ten seconds")


def test_stop_with_a_hanging_client() -> None:
    """A door that stops disconnects a client in the middle of a request."""
    port = free_port()
    with Exporter(MetricsConfig(port=port), "home", deadline_s=3600.0):
        hanging = connected(port, b"GET /metrics")
        assert fetch(port).status == 200, "connections are taken in order, so the first one has been taken"
    assert hanging.recv(12) == b""
    hanging.close()


def test_port_in_use_is_logged_once_and_retried(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.create_server(("127.0.0.1", 0)) as taker:
        port = taker.getsockname()[1]
        exporter = Exporter(MetricsConfig(port=port), "home")
        with exporter:
            for _ in range(2):
                exporter.update(HEALTH, connected=True, events={})
            assert "cannot listen on 127.0.0.1 port" in exporter.problem()
            assert [record.levelname for record in caplog.records] == ["WARNING", "DEBUG", "DEBUG"]
            taker.close()
            exporter.update(HEALTH, connected=True, events={})
            assert exporter.problem() == ""
            assert fetch(port).status == 200
        exporter.close()


def test_invalid_address_is_rejected_at_start() -> None:
    with pytest.raises(ConfigError, match="is not an IP address"):
        Exporter(MetricsConfig(listen="localhost"), "home")


def test_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "edge.runtime.prometheus", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError, match=r"pip install prometheus-client"):
        Exporter(MetricsConfig(), "home")


def test_default_address_is_local() -> None:
    assert MetricsConfig().listen == "127.0.0.1"
    assert DoorConfig(site="home", door="front").metrics is None


def test_ipv6_address() -> None:
    port = free_port()
    with Exporter(MetricsConfig(listen="::1", port=port), "home") as exporter:
        assert exporter.problem() == ""
        socket.create_connection(("::1", port), 2).close()
