"""The View as Prometheus sees it: gauges of closed sums, with bounds, never a sum beside its parts.

Only current state: a window whose end is older than three of its lengths vanishes, so that who does not look
at `lynceus_window_end_timestamp_seconds` still sees that it is stale. Readers aggregate servers with
`max without (instance, pod)`: every server shows the whole cluster.

Of the catalogue it has what is declared as exported; the API has everything. Totals that advance when a pane is
sealed are not here: cells are kept for 29 days, so nothing durable and monotone can be made of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from time import perf_counter
from typing import Final

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from stream_app.core.codec import REASONS
from stream_app.core.slices import ALL, OTHER
from stream_app.metrics.exposition import COUNTS, LABELS, exported_count, exported_name
from stream_app.metrics.metric import Metric as Declared
from stream_app.serving.snapshot import Snapshot, WindowView
from stream_app.serving.views import Meaning, View, largest, marginals
from stream_app.serving.watch_exporter import watch_families
from stream_app.statistics.lowering import lower

VANISHES_AFTER: Final = 3
MAX_PAIRS: Final = 200
MAX_SERIES: Final = 5_000
"""What a scrape may cost: surfaces x arms, those with most impressions, are told apart until it is spent."""


class ViewCollector(Collector):
    """Yields what the current view says, anew at every scrape. It keeps nothing."""

    def __init__(
        self,
        current: Callable[[], View | None],
        meaning: Meaning,
        currency: str,
        build: str,
        clock: Callable[[], int],
    ) -> None:
        self._current = current
        self._meaning = meaning
        self._currency = currency
        self._build = build
        self._clock = clock

    def describe(self) -> Iterable[Metric]:
        """Describe nothing beforehand: what there is depends on the view."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the families. A part that fails is left out and said so; the others stand."""
        view, now_ms = self._current(), self._clock()
        success = GaugeMetricFamily(
            "lynceus_scrape_collector_success",
            "Whether a part of this page could be made.",
            labels=["collector"],
        )
        duration = GaugeMetricFamily(
            "lynceus_scrape_collector_duration_seconds",
            "How long a part of this page took.",
            labels=["collector"],
        )
        parts: dict[str, Callable[[View], Iterable[Metric]]] = {
            "windows": lambda view: self._windows(view, now_ms),
            "pipeline": lambda view: _pipeline(view.snapshot),
            "redis": lambda view: _redis(view.snapshot),
            "watch": lambda view: watch_families(view.snapshot.watch),
        }
        for name, part in parts.items():
            began = perf_counter()
            try:
                families = list(part(view)) if view else []
            except Exception:
                structlog.get_logger("lynceus.server").exception("a part of /metrics failed", collector=name)
                families, is_made = [], False
            else:
                is_made = view is not None
            yield from families
            success.add_metric([name], float(is_made))
            duration.add_metric([name], perf_counter() - began)
        yield success
        yield duration
        build = InfoMetricFamily("lynceus_build", "The version that runs.")
        build.add_metric([], {"version": self._build})
        yield build

    def _windows(self, view: View, now_ms: int) -> Iterator[Metric]:
        index = self._meaning.index
        current = {
            name: window
            for name, window in view.snapshot.windows.items()
            if name != ALL and window.end_ms + VANISHES_AFTER * window.length_ms >= now_ms
        }
        told_apart = largest(view.pairs[ALL], index["impressions"], self._room(view))
        rows = [
            ([name, *pair], tally)
            for name in current
            for pair, tally in sorted(marginals(view.pairs[name], told_apart, len(index)).items())
            if ALL not in pair  # a sum over surfaces would otherwise count everything four times
        ]
        for count in COUNTS:
            family = GaugeMetricFamily(exported_count(count), f"The window's {count}.", labels=LABELS)
            for labels, tally in rows:
                family.add_metric(labels, tally[index[count]])
            yield family
        for metric in self._exported():
            answered = {name for name, window in current.items() if _is_answered(metric, name, window)}
            yield from self._estimates(metric, [row for row in rows if row[0][0] in answered])
        yield from _facts(current)
        yield GaugeMetricFamily(
            "lynceus_window_folded_pairs",
            "Surfaces x arms that are shown as surface other, for there are too many to tell apart.",
            value=len(view.pairs[ALL].keys() - told_apart),
        )

    def _room(self, view: View) -> int:
        """Return how many surfaces x arms may be told apart, with room left for surface other."""
        families = len(COUNTS) + sum(3 if metric.has_interval else 1 for metric in self._exported())
        room = MAX_SERIES // (families * len(self._meaning.windows)) - len({arm for _, arm in view.pairs[ALL]})
        return max(1, min(MAX_PAIRS, room))

    def _exported(self) -> list[Declared]:
        return [metric for metric in self._meaning.metrics if metric.is_exported]

    def _estimates(self, metric: Declared, rows: Sequence[tuple[list[str], Sequence[int]]]) -> Iterator[Metric]:
        value = GaugeMetricFamily(exported_name(metric, self._currency), metric.help, labels=LABELS)
        low = GaugeMetricFamily(
            exported_name(metric, self._currency, "lower"),
            f"{metric.title}: lower bound of the 95 % interval.",
            labels=LABELS,
        )
        high = GaugeMetricFamily(
            exported_name(metric, self._currency, "upper"),
            f"{metric.title}: upper bound of the 95 % interval.",
            labels=LABELS,
        )
        for labels, tally in rows:
            estimate = lower(metric, tally, self._meaning.index)
            if estimate is not None:
                value.add_metric(labels, estimate.value)
                low.add_metric(labels, estimate.low)
                high.add_metric(labels, estimate.high)
        yield from (value, low, high) if metric.has_interval else (value,)


def _is_answered(metric: Declared, name: str, window: WindowView) -> bool:
    return name in metric.windows and metric.name not in window.not_yet


def _facts(current: dict[str, WindowView]) -> Iterator[Metric]:
    """Yield what there is to say about each window as a whole."""
    facts: tuple[tuple[str, str, Callable[[WindowView], float]], ...] = (
        (
            "lynceus_window_end_timestamp_seconds",
            "Where the window ends, event time.",
            lambda w: w.end_ms / 1000,
        ),
        (
            "lynceus_window_length_seconds",
            "From the window's start to its end.",
            lambda w: w.length_ms / 1000,
        ),
        (
            "lynceus_window_maturity_ratio",
            "Share of the window's impressions that had their whole click window.",
            lambda w: w.maturity,
        ),
        (
            "lynceus_window_complete",
            "Whether the window has all there is, 1 or 0.",
            lambda w: float(w.complete),
        ),
        (
            "lynceus_window_gapped",
            "Whether the window reaches back to records that were lost before they were counted, 1 or 0.",
            lambda w: float(w.gapped),
        ),
        (
            "lynceus_window_rekeyed",
            "Whether the window reaches back to before partitions were added, 1 or 0.",
            lambda w: float(w.rekeyed),
        ),
    )
    for name, text, read in facts:
        family = GaugeMetricFamily(name, text, labels=["window"])
        for window, view in current.items():
            family.add_metric([window], read(view))
        yield family


def _pipeline(snapshot: Snapshot) -> Iterator[Metric]:
    """Yield what became of all records that the stored state has seen.

    Gauges, for they can fall: an unmatched click is counted when its impression comes, and a state can begin anew.
    """
    yield GaugeMetricFamily(
        "lynceus_replaying",
        "Whether a partition's state was lost, or went back, and is being counted anew, 1 or 0.",
        value=float(snapshot.replaying),
    )
    records = GaugeMetricFamily(
        "lynceus_stored_records", "Records in the stored state, by what became of them.", labels=["outcome"]
    )
    for outcome, number in snapshot.pipeline.outcomes.items():
        records.add_metric([outcome], number)
    yield records
    counts = dict.fromkeys((*REASONS, OTHER), 0)
    for reason, number in snapshot.pipeline.rejected.items():
        counts[reason if reason in counts else OTHER] += number
    rejected = GaugeMetricFamily(
        "lynceus_stored_rejected_records", "Rejected records in the stored state, by reason.", labels=["reason"]
    )
    for reason, number in counts.items():
        rejected.add_metric([reason], number)
    yield rejected


def _redis(snapshot: Snapshot) -> Iterator[Metric]:
    redis = snapshot.pipeline.redis
    yield GaugeMetricFamily("lynceus_redis_up", "Whether Redis answered the last refresh, 1 or 0.", value=redis.up)
    yield GaugeMetricFamily("lynceus_redis_used_memory_bytes", "Memory that Redis uses.", value=redis.used_memory_bytes)
    yield GaugeMetricFamily(
        "lynceus_redis_max_memory_bytes",
        "Memory that Redis may use; 0 = no limit.",
        value=redis.max_memory_bytes,
    )


class Exporter:
    """Renders `/metrics` on a registry of its own."""

    def __init__(self, collector: Collector) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(collector)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the page and its content type, as `accept` wishes. Takes a while: not for the event loop."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self._registry), content_type
