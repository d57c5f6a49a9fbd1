"""Which metrics can be held against another arm, and why the others cannot: a property of how they are declared."""

from stream_app.metrics.list_methods import AgainstReference, Distinct
from stream_app.metrics.metric import Metric


def refusal(metric: Metric) -> str | None:
    """Return why no interval can be had of how a metric differs between arms; None where one can.

    Six cases: it reads its arms by itself, it does not tell arms apart, half of it is told by people, it is held
    against the holdout already, it grows with the size of the arm, or it claims nothing beyond what was counted.
    """
    if metric.arms:
        return f"it reads its arms by itself: {' against '.join(filter(None, metric.arms))}"
    if "arm" not in metric.dimensions:
        return "it does not tell arms apart"
    if metric.figures:
        return "it rests on what people told, and what is told is no sample"
    if isinstance(metric.method, AgainstReference):
        return "it is held against the holdout already"
    if isinstance(metric.method, Distinct):
        return "it grows with the traffic of the arm, so a difference says how large the arms are"
    if not metric.has_interval:
        return "it says what was counted and claims nothing beyond, so nothing says how far a difference is chance"
    return None


def has_ratio(metric: Metric) -> bool:
    """Say whether "times as high" means anything: not of what may be negative, such as a net score."""
    return refusal(metric) is None and metric.lowest is not None and metric.lowest >= 0
