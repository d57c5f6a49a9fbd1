"""What a worker tells Prometheus about itself: plain process-scoped counters and gauges, on a registry of their own.

The names are a contract (docs/operations.md); windows and rates over event time are the server's business.
"""

import time
from collections import Counter as Counted
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final

from faust.types import TP
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from stream_app.core.codec import REASONS
from stream_app.core.events import EVENT_TYPES
from stream_app.core.processor import LATE, BatchReport
from stream_app.core.tally import name_of
from stream_app.metrics.catalogue import COUNTERS
from stream_app.worker.claims import Claim
from stream_app.worker.memory import Memory

REFUSALS: Final = ("fenced", "conflict", "missing", "no reply", "refused", "fetch failed", "set apart", "other")
MAX_PAIRS: Final = 300
"""Distinct (surface, arm) label pairs of a worker's counters; further surfaces are counted under `other`."""
_TAGS: Final = {kind: str(kind.__struct_config__.tag) for kind in EVENT_TYPES}


class Instruments:
    """The worker's metrics. Mutable state: the registry, and what readiness is decided from."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client does not annotate it
        registry = self.registry = CollectorRegistry()

        def counter(name: str, help_: str, *labels: str) -> Counter:
            return Counter(name, help_, labels, registry=registry)

        def gauge(name: str, help_: str, *labels: str) -> Gauge:
            return Gauge(name, help_, labels, registry=registry)

        self._slices = {
            name: counter(f"lynceus_{name}", f"{name.capitalize()} counted.", "surface", "arm") for name in COUNTERS
        }
        self._pairs: set[tuple[str, str]] = set()
        self._overflow = counter("lynceus_label_overflow", "Counts whose surface was labelled other.")
        self._consumed = counter("lynceus_events_consumed", "Events decoded.", "event")
        self._duplicates = counter("lynceus_duplicate_events", "Events dropped by their id.", "event")
        self._late = counter("lynceus_late_events", "Events whose pane was sealed.", "disposition")
        self._dead = counter("lynceus_dead_letters", "Records refused.", "reason")
        # One look-up each, not one per run of records.
        self._consumed_of = {kind: self._consumed.labels(tag) for kind, tag in _TAGS.items()}
        self._duplicates_of = {kind: self._duplicates.labels(tag) for kind, tag in _TAGS.items()}
        for reason in REASONS:
            self._dead.labels(reason)
        self._late.labels("dropped")
        self._processing = Histogram(
            "lynceus_processing_seconds",
            "Time to count one run of records.",
            ("step",),
            registry=registry,
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
        )
        self._counting = self._processing.labels("count")
        self._commands = Histogram(
            "lynceus_redis_command_seconds",
            "Time until Redis answered.",
            ("command",),
            registry=registry,
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
        )
        self._visible = Histogram(
            "lynceus_event_visible_seconds",
            "From a record's arrival at the broker until it is in the stored state.",
            registry=registry,
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
        )
        where = ("topic", "partition")
        self._lag = gauge("lynceus_consumer_lag_records", "Records in the log that are not counted yet.", *where)
        self._watermark = gauge("lynceus_watermark_timestamp_seconds", "Watermark of the partition.", *where)
        self._checkpoint = gauge("lynceus_checkpoint_timestamp_seconds", "Time of the last checkpoint.", *where)
        self._refused = counter("lynceus_flush_refused", "Checkpoints that were not taken.", "reason")
        for reason in REFUSALS:
            self._refused.labels(reason)
        self._state_lost = counter("lynceus_state_lost", "Partitions whose state was gone while Kafka knew of one.")
        self._gap = counter("lynceus_gap_offsets", "Offsets that retention removed before they were counted.")
        self._forgotten = gauge(
            "lynceus_forgotten_entries",
            "Entries of the held partitions' memory that made room while they could still matter.",
            "table",
        )
        self._rebalances = counter("lynceus_rebalances", "Assignments received.")
        self._assigned = gauge("lynceus_assigned_partitions", "Partitions assigned.")
        self._claimed = gauge("lynceus_claimed_partitions", "Partitions whose state this worker holds.")
        self._redis = gauge("lynceus_redis_up", "Whether the last command was answered.")
        self._resident = gauge("lynceus_resident_memory_bytes", "Resident memory of the worker.")
        self._cap = gauge("lynceus_memory_cap_bytes", "Resident memory at which the worker leaves in order.")
        self._scarce = gauge("lynceus_memory_scarce", "Whether less is fetched ahead for want of memory.")
        self._inputs = counter("lynceus_inputs", "Inputs that this worker stored, or set apart.", "outcome")
        for outcome in ("told", "refused"):
            self._inputs.labels(outcome)
        self._log_messages = counter("lynceus_log_messages", "Log messages.", "level")
        for level in ("warning", "error"):
            self._log_messages.labels(level)
        build = gauge("lynceus_build_info", "Version of this process.", "version", "role")
        build.labels(version("lynceus"), "worker").set(1)
        self._labelled: dict[TP, tuple[str, str]] = {}
        self.is_redis_up = False
        self.redis_refusal = ""
        self.is_over_memory = False
        self.refusal = ""
        self.has_assignment = False

    # -- counting ---------------------------------------------------------------------------------------------------

    @contextmanager
    def redis_command(self, name: str) -> Iterator[None]:
        """Time a command."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._commands.labels(name).observe(time.perf_counter() - began)

    def processed(self, report: BatchReport, seconds: float) -> None:
        """Take note of a run of records."""
        self._counting.observe(seconds)
        for kind, number in report.events.items():
            self._consumed_of[kind].inc(number)
        for kind, number in report.duplicates.items():
            self._duplicates_of[kind].inc(number)
        for (outcome, reason), number in Counted((apart.outcome, apart.reason) for apart in report.apart).items():
            if outcome == LATE:
                self._late.labels("dropped").inc(number)
            else:
                self._dead.labels(reason).inc(number)

    def flushed(self, claim: Claim, moved: Mapping[int, list[int]], visible_after_s: float) -> None:
        """Take note of a checkpoint: what it moved, where the partition stands, how long its oldest record waited."""
        if visible_after_s:
            self._visible.observe(max(0.0, visible_after_s))
        slices = claim.state.slices.slices
        plan = claim.state.plan
        counters = [self._slices[name_of(plan.columns[place])] for place in plan.counters]
        for number, amounts in moved.items():
            surface, arm = self._pair(slices[number].surface, slices[number].arm)
            for counter, amount in zip(counters, amounts, strict=True):
                if amount > 0:
                    counter.labels(surface, arm).inc(amount)
        where = self._labelled[claim.tp] = (claim.tp.topic, str(claim.tp.partition))
        self._lag.labels(*where).set(max(0, claim.end - claim.position))
        self._watermark.labels(*where).set(claim.state.watermark.at_ms / 1000)
        self._checkpoint.labels(*where).set(claim.advanced_ms / 1000)

    def _pair(self, surface: str, arm: str) -> tuple[str, str]:
        pair = surface, arm
        if pair not in self._pairs:
            if len(self._pairs) >= MAX_PAIRS:
                self._overflow.inc()
                return "other", arm
            self._pairs.add(pair)
        return pair

    # -- state ------------------------------------------------------------------------------------------------------

    def assigned(self, partitions: int) -> None:
        """Take note of an assignment, or of its end; the gauges of partitions that are gone go with it."""
        for gauge in (self._lag, self._watermark, self._checkpoint):
            for where in self._labelled.values():
                gauge.remove(*where)
        self._labelled.clear()
        self._assigned.set(partitions)
        self.has_assignment = partitions > 0
        self.refusal = ""
        if partitions:
            self._rebalances.inc()

    def claimed(self, partitions: int, refusal: str) -> None:
        """Take note of how many partitions are held, and why one cannot be without an operator, if so."""
        self._claimed.set(partitions)
        self.refusal = refusal

    def forgot(self, entries: Mapping[str, int]) -> None:
        """Take note of how many entries each remembered table dropped for want of room."""
        for table, number in entries.items():
            self._forgotten.labels(table).set(number)

    def flush_refused(self, reason: str) -> None:
        """Count a checkpoint that was not taken."""
        known = next((name for name in REFUSALS if name in reason), "other")
        self._refused.labels(known).inc()

    def redis_up(self, is_up: bool, refusal: str = "") -> None:
        """Take note of whether Redis obeys; `refusal` is what it answered instead, if it did."""
        self.is_redis_up = is_up
        self.redis_refusal = refusal
        self._redis.set(is_up)

    def memory(self, resident: int, cap: int, state: Memory) -> None:
        """Take note of the resident memory, in bytes, and of what it calls for."""
        self._resident.set(resident)
        self._cap.set(cap)
        self._scarce.set(state is not Memory.ENOUGH)
        self.is_over_memory = state is Memory.OVER

    def state_lost(self) -> None:
        """Count a partition whose state was gone."""
        self._state_lost.inc()

    def gap(self, offsets: int) -> None:
        """Count offsets that cannot be counted any more."""
        self._gap.inc(offsets)

    def told(self) -> None:
        """Count an input that was stored."""
        self._inputs.labels("told").inc()

    def refused_input(self, reason: str) -> None:
        """Count a record of the inputs' topic that was set apart."""
        self._inputs.labels("refused").inc()
        self._dead.labels(reason).inc()

    def logged(self, level: str) -> None:
        """Count a log message of level warning or error."""
        self._log_messages.labels(level).inc()

    def unready_because(self) -> str:
        """Return why the worker is not ready, or an empty string when it is."""
        if self.refusal:
            return f"a partition is refused: {self.refusal}"
        if self.is_over_memory:
            return "memory is over the cap: this worker is leaving"
        if not self.has_assignment:
            return "no partition is assigned yet"
        if self.is_redis_up:
            return ""
        return f"Redis refuses: {self.redis_refusal}" if self.redis_refusal else "Redis does not answer"
