"""What a metric is, as plain values: for readers that are programs."""

import re

from stream_app.metrics.catalogue import FAMILY_OF
from stream_app.metrics.contrasting import has_ratio, refusal
from stream_app.metrics.metric import Metric


def method_name(metric: Metric) -> str:
    """Return the name of the metric's method: ClusteredMean is `clustered_mean`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(metric.method).__name__).lower()


def described(metric: Metric) -> dict[str, object]:
    """Return all of a metric's declaration, as values that JSON has."""
    return {
        "name": metric.name,
        "title": metric.title,
        "help": metric.help,
        "unit": metric.unit,
        "is_up_good": metric.is_up_good,
        "family": FAMILY_OF[metric.name].name,
        "formula": metric.formula,
        "caveat": metric.caveat,
        "honesty": metric.honesty,
        "method": method_name(metric),
        "interval": metric.method.interval or None,
        "needs": list(metric.needs),
        "told": [figure.text for figure in metric.figures],
        "contrast": [*(["difference"] if refusal(metric) is None else []), *(["ratio"] if has_ratio(metric) else [])],
        "arms": list(filter(None, metric.arms or ())),
        "lowest": metric.lowest,
        "highest": metric.highest,
        "at_least": metric.at_least,
        "settles": metric.settles,
        "cohort_days": metric.cohort_days,
        "dimensions": list(metric.dimensions),
        "windows": list(metric.windows),
        "is_exported": metric.is_exported,
    }
