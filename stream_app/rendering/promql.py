"""How exported metrics are asked of Prometheus."""

from stream_app.metrics.exposition import COUNTS, exported_count, exported_name
from stream_app.metrics.methods import Proportion
from stream_app.metrics.metric import Metric

ONCE = "max without (instance, pod)"
"""Every server shows the whole cluster, so of several the largest is taken, not the sum."""


def promql(metric: Metric, currency: str) -> str:
    """Return the metric of one window, of every surface and arm."""
    return f'{ONCE} ({exported_name(metric, currency)}{{window="5m"}})'


def aggregation(metric: Metric) -> str:
    """Return how it is asked over several surfaces or arms: an expression where exported counts allow one."""
    method = metric.method
    if isinstance(method, Proportion) and {method.successes, method.trials} <= set(COUNTS):
        above, below = (
            f'sum ({ONCE} ({exported_count(name)}{{window="5m"}}))' for name in (method.successes, method.trials)
        )
        return f"`{above} / {below}`"
    return "nothing: neither its sum nor its mean over surfaces or arms is the metric; ask `/v1/query`"
