"""Under which names metrics are exported to Prometheus."""

from typing import Final, Literal

from stream_app.metrics.metric import Metric

LABELS: Final = ("window", "surface", "arm")
"""What exported values are told apart by."""
COUNTS: Final = ("impressions", "clicks", "conversions")
"""Measures that are exported as they are, so that rates over several surfaces or arms can be made of them."""


def exported_name(metric: Metric, currency: str, bound: Literal["", "lower", "upper"] = "") -> str:
    """Return the name of the family of a metric's values or, with `bound`, of that bound of its interval.

    A metric in money has its currency as its unit: `lynceus_window_revenue_per_session_eur`.
    """
    unit = currency.lower() if metric.unit == "currency" else metric.unit
    return f"lynceus_window_{metric.name}_{f'ci_{bound}_' if bound else ''}{unit}"


def exported_count(measure: str) -> str:
    """Return the name of the family of one of `COUNTS`."""
    return f"lynceus_window_{measure}"
