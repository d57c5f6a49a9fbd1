"""What the collector tells Prometheus about itself, on a registry of its own; the names are in docs/operations.md."""

from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from producers.collect_delivery import Delivery
from producers.collect_reading import FOREIGN
from stream_app.core.codec import REASONS
from stream_app.core.events import EVENT_TYPES

STATUSES: Final = ("200", "207", "400", "401", "403", "404", "405", "408", "413", "415", "429", "500", "503")
_TAGS: Final = {kind: str(kind.__struct_config__.tag) for kind in EVENT_TYPES}


class CollectorMetrics:
    """Counters of events and requests. Mutable state: the registry."""

    def __init__(self, delivery: Delivery) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client does not annotate it
        registry = self.registry = CollectorRegistry()

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"lynceus_collector_{name}", meaning, labels, registry=registry)

        accepted = counter("accepted_events", "Events that Kafka has acknowledged.", "event")
        rejected = counter("rejected_events", "Events that are none, by reason.", "reason")
        requests = counter("requests", "Requests with events, by the status of the answer.", "status")
        self._accepted = {kind: accepted.labels(tag) for kind, tag in _TAGS.items()}
        self._rejected = {reason: rejected.labels(reason) for reason in (*REASONS, FOREIGN)}
        self._requests = {status: requests.labels(status) for status in (*STATUSES, "other")}
        self._unpromised = counter("unpromised_events", "Events whose sender was told to send them again.")
        self._corrected = counter("corrected_events", "Events whose times were moved, for the sender's clock was off.")
        self._seconds = Histogram(
            "lynceus_collector_request_seconds",
            "Time to answer a request with events.",
            registry=registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )

        def gauge(name: str, meaning: str) -> Gauge:
            return Gauge(f"lynceus_collector_{name}", meaning, registry=registry)

        gauge("in_flight_events", "Events handed to Kafka and not acknowledged yet.").set_function(
            lambda: delivery.in_flight_records
        )
        gauge("in_flight_bytes", "What they occupy.").set_function(lambda: delivery.in_flight_bytes)
        gauge("kafka_up", "Whether Kafka acknowledges.").set_function(lambda: delivery.is_up)
        build = Gauge("lynceus_build_info", "Version of this process.", ("version", "role"), registry=registry)
        build.labels(version("lynceus"), "collector").set(1)

    def accepted(self, kind: type) -> None:
        """Take note of an acknowledged event."""
        self._accepted[kind].inc()

    def rejected(self, reason: str) -> None:
        """Take note of a refused event; `reason` is one of `codec.REASONS`, or `FOREIGN`."""
        self._rejected[reason].inc()

    def unpromised(self, count: int) -> None:
        """Take note of events that Kafka did not acknowledge in time."""
        self._unpromised.inc(count)

    def corrected(self, count: int) -> None:
        """Take note of events whose times were moved."""
        self._corrected.inc(count)

    def answered(self, status: int, seconds: float) -> None:
        """Take note of an answer."""
        self._requests.get(str(status), self._requests["other"]).inc()
        self._seconds.observe(seconds)
