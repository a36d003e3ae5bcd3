"""The one catalogue of metrics, served as Prometheus text at /metrics.

Every agent process has its own registry, so that two agents in one test process do not mix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LATENCY_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 600.0)
SCORING_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
STAGE_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
BATCH = (1, 2, 4, 8, 16, 32, 64)


class _Makers(NamedTuple):
    counter: Callable[[str, str, list[str]], Counter]
    gauge: Callable[[str, str, list[str]], Gauge]
    histogram: Callable[[str, str, tuple[float, ...], list[str]], Histogram]


class Metrics:
    """All metrics of one agent. Attributes are the metrics; `text()` is what /metrics answers."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter, gauge, histogram = self._makers()
        self.frames = counter("goodpart_frames", "Frames recorded, by what became of them", ["outcome"])
        self.verdicts = counter("goodpart_verdicts", "Verdicts recorded", ["station", "verdict"])
        self.not_inspected = counter("goodpart_not_inspected", "Frames not inspected, by reason", ["reason"])
        self.late = counter("goodpart_late", "Decisions past pipeline.decision_deadline_ms", [])
        self.latency = histogram("goodpart_latency_seconds", "From capture to the committed decision", LATENCY_S, [])
        self.stages = histogram(
            "goodpart_stage_seconds", "A frame's time in one stage, with waiting", STAGE_S, ["stage"]
        )
        self.scoring = histogram("goodpart_scoring_seconds", "Scoring time of one batch", SCORING_S, [])
        self.second_scoring = histogram(
            "goodpart_second_scoring_seconds", "Scoring time of one batch by a watch's other model", SCORING_S, []
        )
        self.second_frames = counter(
            "goodpart_second_frames", "Frames drawn for a watch, by whether its other model scored them", ["outcome"]
        )
        self.second_share = gauge("goodpart_second_share", "Share of the parts that a second model scores", ["product"])
        self.batch_size = histogram("goodpart_batch_frames", "Frames scored together", BATCH, [])
        self.in_flight_frames = gauge("goodpart_in_flight_frames", "Frames between broker and database", [])
        self.in_flight_bytes = gauge("goodpart_in_flight_bytes", "Bytes of frames, encoded and decoded, in flight", [])
        self.lag = gauge("goodpart_lag_frames", "Frames on the log that are not recorded yet", ["partition"])
        self.partitions = gauge("goodpart_partitions", "Partitions that this agent has claimed", [])
        self.fenced = counter("goodpart_fenced", "Claims lost to another agent", [])
        self.gaps = counter(
            "goodpart_data_gaps", "Stored offsets outside the log, or behind where it was cut", ["kind"]
        )
        self.blind = gauge("goodpart_blind_station", "1 while the station cannot be inspected", ["station"])
        self.camera_problem = gauge("goodpart_camera_problem", "1 while it lasts", ["station", "problem"])
        self.missed_frames = counter("goodpart_camera_missed_frames", "Lost before the broker", ["station"])
        self.deployment = gauge("goodpart_deployment", "Id of the deployment in use", ["product"])
        self.swaps = counter("goodpart_model_swaps", "Deployments taken into use", [])
        self.published = counter("goodpart_decisions_published", "Decisions acknowledged by the broker", [])
        self.dependency_up = gauge("goodpart_dependency_up", "1 while the dependency answers", ["dependency"])
        self.retries = counter("goodpart_dependency_retries", "Attempts repeated during an outage", ["dependency"])
        self.breaker = gauge("goodpart_breaker_open", "1 once the scoring engine failed on every product", [])
        self.drift_frames = counter(
            "goodpart_drift_frames", "Frames that drift watches counted", ["product", "station"]
        )
        self.drift_alarms = counter("goodpart_drift_alarms", "Drift alarms raised", ["product", "station"])
        self.alerts = gauge("goodpart_alerts_open", "Open alerts of the whole installation", ["kind"])
        self.webhooks = counter("goodpart_webhooks", "Messages to alerts.webhook, by what became of them", ["outcome"])

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)

    def _makers(self) -> _Makers:
        def counter(name: str, words: str, labels: list[str]) -> Counter:
            return Counter(name, words, labels, registry=self.registry)

        def gauge(name: str, words: str, labels: list[str]) -> Gauge:
            return Gauge(name, words, labels, registry=self.registry)

        def histogram(name: str, words: str, buckets: tuple[float, ...], labels: list[str]) -> Histogram:
            return Histogram(name, words, labels, buckets=buckets, registry=self.registry)

        return _Makers(counter, gauge, histogram)
