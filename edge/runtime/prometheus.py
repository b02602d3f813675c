"""Prometheus metrics of a door: its health report and its events by kind, without names of people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from edge import __version__
from edge.events.schema import CameraState, EventKind, Health, LockState


class DoorCollector(Collector):
    """Latest metrics of a door and its process. One thread may update while another reads."""

    def __init__(self, site: str) -> None:
        self._site = site
        self._latest: tuple[Health, bool, Mapping[EventKind, int]] | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def update(self, health: Health, connected: bool, events: Mapping[EventKind, int]) -> None:
        """Replace the values.

        Args:
            health: latest health report.
            connected: whether the broker is connected.
            events: number of stored events of each kind since the start.
        """
        self._latest = (health, connected, events)

    def text(self, accept: str) -> tuple[str, bytes]:
        """Content type and text of the metrics for the Accept header of an HTTP client."""
        encode, kind = choose_encoder(accept)
        return kind, encode(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Metric families; called by prometheus-client."""
        return build_metrics(self._site, *self._latest) if self._latest else ()


def build_metrics(site: str, health: Health, connected: bool, events: Mapping[EventKind, int]) -> Iterator[Metric]:
    """Metric families, with names and base units by the conventions of Prometheus."""
    gallery = health.gallery.version if health.gallery else ""
    about = {"site": site, "door": health.door, "version": __version__, "gallery": gallery}
    yield InfoMetricFamily("threshold_door", "Site, door, version and gallery", about)
    models = InfoMetricFamily("threshold_model", "Models in use", labels=["model"])
    for model, sha256 in health.models.items():
        models.add_metric([model], {"sha256": sha256})
    yield models

    measured_s = datetime.fromisoformat(health.at).timestamp()
    yield _gauge("threshold_health_timestamp_seconds", "Time of these values, Unix time", measured_s)
    yield _gauge("threshold_uptime_seconds", "Time since the door started", health.uptime_s)
    yield _gauge("threshold_problems", "Number of current problems; the health topic lists them", len(health.problems))
    yield _gauge("threshold_broker_connected", "1 while the MQTT broker is connected", connected)
    yield _gauge("threshold_outbox_events", "Events that the broker has not acknowledged", health.outbox_depth)
    yield _state("threshold_camera_state", "1 for the current state of the camera", CameraState, health.camera)
    if health.lock is not None:
        yield _state("threshold_lock_state", "1 for the current state of the relay", LockState, health.lock)
    if health.temperature_c is not None:
        yield _gauge("threshold_temperature_celsius", "Temperature of the processor", health.temperature_c)
    for name, share in (("median", "Median"), ("p95", "95th percentile")):
        yield _labelled_counter(
            GaugeMetricFamily(f"threshold_stage_{name}_seconds", f"{share} of a stage, last report", labels=["stage"]),
            (((stage,), getattr(timing, f"{name}_ms") / 1e3) for stage, timing in health.stages.items()),
        )

    yield CounterMetricFamily("threshold_frames", "Frames processed", health.frames)
    yield CounterMetricFamily(
        "threshold_frames_dropped", "Frames skipped because a newer one was available", health.dropped
    )
    yield _labelled_counter(
        CounterMetricFamily(
            "threshold_samples_rejected", "Samples of faces that were rejected", labels=["stage", "reason"]
        ),
        (((stage, why), count) for stage, reasons in health.rejects.items() for why, count in reasons.items()),
    )
    yield _labelled_counter(
        CounterMetricFamily("threshold_liveness_outcomes", "Outcomes of liveness checks", labels=["outcome"]),
        (((outcome,), count) for outcome, count in health.liveness.items()),
    )
    yield _labelled_counter(
        CounterMetricFamily("threshold_events", "Events stored since the start", labels=["kind"]),
        (((kind,), events.get(kind, 0)) for kind in EventKind),
    )


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=float(value))


def _state(name: str, help_text: str, states: type[StrEnum], current: StrEnum) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=["state"])
    return _labelled_counter(family, (((state,), float(state is current)) for state in states))


def _labelled_counter(
    family: GaugeMetricFamily | CounterMetricFamily, values: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    for labels, value in values:
        family.add_metric(labels, value)
    return family
