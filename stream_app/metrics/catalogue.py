"""The catalogue: every measure, metric and window there is. Layout, exporter, API and wall are derived from it.

A new metric is one `Metric` in its family's module, with the measures it needs if no present one will do.
"""

from typing import Final

from stream_app.core.panes import DAY_MS, HOUR_MS, Window
from stream_app.core.tally import Plan
from stream_app.metrics import conversion, engagement, relevance

MEASURES: Final = (*engagement.MEASURES, *conversion.MEASURES, *relevance.MEASURES)
METRICS: Final = (*engagement.METRICS, *conversion.METRICS, *relevance.METRICS)
WINDOWS: Final = (
    Window("1m", 60_000),
    Window("5m", 300_000),
    Window("15m", 900_000),
    Window("1h", HOUR_MS),
    Window("24h", DAY_MS),
    Window("7d", 7 * DAY_MS),
    Window("28d", 28 * DAY_MS),
)

PLAN: Final = Plan.of(MEASURES)
INDEX: Final = {measure.name: index for index, measure in enumerate(MEASURES)}
"""Position of each measure in a tally."""
