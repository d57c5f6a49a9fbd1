"""What is recorded of the windows: ratios over several surfaces or arms, for every metric that exported counts give.

A metric's value of one surface and arm is exported; over several it is neither the sum nor the mean of those values,
but the ratio of two sums. Boards and ad-hoc questions should not have to write that again.
"""

from collections.abc import Iterator
from typing import Final

from stream_app.metrics.alert import Group, Recorded, Recording, of_server
from stream_app.metrics.catalogue import METRICS
from stream_app.metrics.exposition import COUNTS, exported_count
from stream_app.metrics.methods import Proportion
from stream_app.metrics.metric import Metric

ONCE: Final = "max without (instance, pod)"
"""Every server shows the whole cluster, so of several the largest is taken, not the sum."""


def ratio_of_counts(metric: Metric) -> tuple[str, str] | None:
    """Return the exported counts whose ratio is the metric, above and below; None where they do not give it."""
    method = metric.method
    if isinstance(method, Proportion) and {method.successes, method.trials} <= set(COUNTS):
        return exported_count(method.successes), exported_count(method.trials)
    return None


def _recordings() -> Iterator[Recording]:
    for metric in METRICS:
        ratio = ratio_of_counts(metric)
        if ratio is None or not metric.is_exported:
            continue
        above, below = ratio
        for kept, summed in (("surface", "arm"), ("arm", "surface")):
            values = {"window": "5m", kept: "x"}
            yield Recording(
                name=f"window_{kept}:lynceus_{metric.name}:ratio",
                expr=f"""
                    sum without ({summed}) ({ONCE} ({above}))
                    /
                    sum without ({summed}) ({ONCE} ({below}))
                """,
                series={
                    of_server(above, **values, **{summed: "y"}): "1x10",
                    of_server(above, **values, **{summed: "z"}): "2x10",
                    of_server(below, **values, **{summed: "y"}): "10x10",
                    of_server(below, **values, **{summed: "z"}): "50x10",
                    of_server(below, **values, **{summed: "z"}, instance="b"): "50x10",
                },
                at_m=5,
                expected=(Recorded({"job": "lynceus-server"} | values, 0.05),),
            )


GROUP: Final = Group("lynceus.windows", "What windows say over several surfaces or arms", tuple(_recordings()), ())
