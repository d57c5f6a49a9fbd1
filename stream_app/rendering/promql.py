"""How exported metrics are asked of Prometheus."""

from stream_app.metrics.exposition import exported_name
from stream_app.metrics.metric import Metric
from stream_app.metrics.recorded_ratios import ONCE, ratio_of_counts


def promql(metric: Metric, currency: str) -> str:
    """Return the metric of one window, of every surface and arm."""
    return f'{ONCE} ({exported_name(metric, currency)}{{window="5m"}})'


def aggregation(metric: Metric) -> str:
    """Return how it is asked over several surfaces or arms: an expression where exported counts allow one."""
    if ratio := ratio_of_counts(metric):
        above, below = (f'sum ({ONCE} ({name}{{window="5m"}}))' for name in ratio)
        return f"`{above} / {below}`"
    return "nothing: neither its sum nor its mean over surfaces or arms is the metric; ask `/v1/query`"
