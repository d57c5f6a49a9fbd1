"""The watch as Prometheus sees it: evidence beside its threshold, what is open, and how verdicts travel."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric

from stream_app.serving.watch_view import SurfaceWatch, WatchView
from stream_app.statistics.verdicts import KPIS, Cause, Kpi

EXPLAINING: Final[tuple[Cause, ...]] = ("instrumentation", "mismatch", "context")
TOLD: Final[tuple[tuple[Kpi, Cause], ...]] = (
    *((kpi, cause) for kpi in KPIS for cause in ("drop", *EXPLAINING)),
    *(("surface", cause) for cause in (*EXPLAINING, "site_wide", "traffic", "not_enough")),
)
"""What always has a series for each surface, 1 or 0: an alert must not depend on a series that may be absent."""


def watch_families(watch: WatchView) -> Iterator[Metric]:
    """Yield the families of the watch; those of surfaces have no rows while none is watched."""
    evidence = GaugeMetricFamily(
        "lynceus_drop_log_evidence",
        "Log of the evidence that personalization does worse against the holdout than it should.",
        labels=["surface", "kpi"],
    )
    threshold = GaugeMetricFamily(
        "lynceus_drop_log_threshold", "Log of the evidence that is an alarm.", labels=["surface", "kpi"]
    )
    active = GaugeMetricFamily(
        "lynceus_drop_active", "Whether a drop is open, 1 or 0: evidence begins anew then.", labels=["surface", "kpi"]
    )
    verdicts = GaugeMetricFamily(
        "lynceus_verdict_active", "Whether a verdict is open, 1 or 0.", labels=["surface", "kpi", "cause"]
    )
    mismatch = GaugeMetricFamily(
        "lynceus_experiment_srm_pvalue",
        "Chance of shares as far from those promised to the arms, valid at any time; an experiment is a surface.",
        labels=["experiment"],
    )
    paused = GaugeMetricFamily(
        "lynceus_watch_paused", "Whether no evidence is gathered, 1 or 0; the API says why.", labels=["surface"]
    )
    until = GaugeMetricFamily(
        "lynceus_watch_end_timestamp_seconds", "Until when minutes were judged, event time.", labels=["surface"]
    )
    for each in watch.surfaces:
        for meter in each.meters:
            labels = [each.surface, meter.kpi]
            evidence.add_metric(labels, meter.log_evidence)
            threshold.add_metric(labels, meter.log_threshold)
            active.add_metric(labels, meter.is_active)
        for (kpi, cause), is_open in _verdicts(each).items():
            verdicts.add_metric([each.surface, kpi, cause], is_open)
        if each.mismatch_p_value is not None:
            mismatch.add_metric([each.surface], each.mismatch_p_value)
        paused.add_metric([each.surface], bool(each.paused))
        until.add_metric([each.surface], each.until_ms / 1000)
    yield from (evidence, threshold, active, verdicts, mismatch, paused, until)
    for name, text, value in (
        ("lynceus_watch_held", "Whether the watch as a whole stands still, 1 or 0.", bool(watch.held_because)),
        ("lynceus_watch_surfaces", "Surfaces that are watched.", len(watch.surfaces)),
        ("lynceus_watch_unwatched_surfaces", "Surfaces that found no place in the watch.", watch.unwatched),
        ("lynceus_watch_gone_seconds", "Time that was gone before it was judged.", watch.gone_minutes * 60),
        ("lynceus_verdicts_waiting", "Verdicts that Kafka does not have yet.", watch.waiting),
        ("lynceus_verdicts_unsent", "Verdicts that were given up, for too many waited for Kafka.", watch.unsent),
        ("lynceus_verdicts_kafka_up", "Whether Kafka took the last verdict that this server sent, 1 or 0.",
         watch.is_publishing),
    ):  # fmt: skip
        yield GaugeMetricFamily(name, text, value=float(value))


def _verdicts(watched: SurfaceWatch) -> dict[tuple[Kpi, Cause], bool]:
    open_: dict[tuple[Kpi, Cause], bool] = dict.fromkeys(TOLD, False)
    return open_ | {(verdict.kpi, verdict.cause): True for verdict in watched.open}
