"""docs/metrics.md: every metric and measure of the catalogue, for people."""

from collections.abc import Sequence
from typing import Final

from stream_app.core.slices import DIMENSIONS
from stream_app.core.tally import Binned, Measure
from stream_app.metrics.exposition import exported_name
from stream_app.metrics.metric import Family, Metric
from stream_app.metrics.windows import EVERY_WINDOW
from stream_app.rendering.promql import aggregation, promql
from stream_app.rendering.words import HONEST, contrast, good, interval, occasion, settled

FIRST_LINE: Final = "<!-- Generated from the catalogue by `lynceus render`; edit stream_app/metrics instead. -->"
_INTRODUCTION: Final = """\
# Metrics

What Lynceus counts, and what it means. `lynceus metrics` prints the same, `lynceus query METRIC` answers it from Redis,
`/v1/query` from a server. [adding-a-metric.md](adding-a-metric.md) shows how to add one.

Every answer is an estimate: value, 95 % bounds, and the number of observations behind it; "not enough data" is no
value, never 0. Unless a table says otherwise, a metric is asked by all six dimensions and in every window. *Settles*
says when a pane of it changes no more, late events aside; the share of a window that has settled is its maturity.
*Against* says what `--against ARM` gives: the difference between two arms, and how many times as high the metric is.
*Honest* says how far a settled window can be trusted: **exact** (all of it was counted; the interval says what chance
would do to such traffic), **estimate** (a sample, a model or an answer stands for what it is about), **input** (some
figure in it was told by people).
"""


def metrics_page(families: Sequence[Family], currency: str) -> str:
    """Return the page; the names of exported money end with `currency`."""
    parts = [FIRST_LINE, _INTRODUCTION, _contents(families)]
    for family in families:
        parts.append(f"## {family.title}\n\n{family.help}\n")
        parts += [_section(metric, currency) for metric in family.metrics]
    parts += [_exported(families, currency), _measures(families)]
    return "\n".join(parts)


def _contents(families: Sequence[Family]) -> str:
    rows = [
        f"| [`{m.name}`](#{m.name}) | {m.title} | {family.title} | {m.unit} | {m.honesty} | {_yes(m.is_exported)} |"
        for family in families
        for m in family.metrics
    ]
    return _table("metric | title | family | unit | honest | exported", rows)


def _section(metric: Metric, currency: str) -> str:
    rows = [
        ("formula", metric.formula),
        ("unit", f"{metric.unit}{_range(metric)}"),
        ("honest", HONEST[metric.honesty]),
        ("interval", interval(metric)),
        ("settles", settled(metric)),
        ("against", contrast(metric)),
        ("good", good(metric)),
        ("needs", ", ".join(f"`{name}`" for name in metric.needs)),
    ]
    if metric.figures:
        rows.append(("told", ", ".join(f"`{figure.text}`" for figure in metric.figures) + ": [inputs.md](inputs.md)"))
    if metric.arms:
        rows.append(("arms", " against ".join(filter(None, metric.arms))))
    if metric.at_least > 1:
        rows.append(("at least", f"{metric.at_least} observations"))
    if metric.dimensions != DIMENSIONS:
        rows.append(("dimensions", ", ".join(metric.dimensions)))
    if metric.windows != EVERY_WINDOW:
        rows.append(("windows", " ".join(metric.windows)))
    if metric.is_exported:
        rows.append(("PromQL", f"`{promql(metric, currency)}`"))
    table = _table(" | ", [f"| {name} | {text} |" for name, text in rows])
    return f"### {metric.name}\n\n**{metric.title}.** {metric.help}\n\n{table}\n{metric.caveat}\n"


def _exported(families: Sequence[Family], currency: str) -> str:
    rows = [
        f"| `{exported_name(metric, currency)}` | {_bounds(metric, currency)} | {aggregation(metric)} |"
        for family in families
        for metric in family.metrics
        if metric.is_exported
    ]
    return (
        "## Exported to Prometheus\n\n"
        "By `window`, `surface` and `arm`; all else is asked of the API. Every server shows the whole cluster, hence\n"
        "`max without (instance, pod)`, never a sum over servers. Money ends with the reporting currency.\n\n"
        + _table("family | bounds | over several surfaces or arms, aggregate with", rows)
    )


def _measures(families: Sequence[Family]) -> str:
    counts: list[Measure | Binned] = []
    for family in families:
        counts += [*family.measures, *family.histograms]
    rows = [f"| `{counted.name}` | {counted.help} | {counted.unit} | {occasion(counted)} |" for counted in counts]
    return (
        "## Measures\n\n"
        "What is added: integers, kept by pane and slice. Each grows on its occasion, in the pane that is credited.\n\n"
        + _table("measure | counts | unit | occasion", rows)
    )


def _table(head: str, rows: Sequence[str]) -> str:
    columns = head.count("|") + 1
    return "\n".join([f"| {head} |", f"|{'---|' * columns}", *rows, ""])


def _range(metric: Metric) -> str:
    # Four cases: bounded on both sides, on one, on the other, or on neither.
    if metric.lowest is not None and metric.highest is not None:
        return f", {metric.lowest:g} to {metric.highest:g}"
    if metric.lowest is not None:
        return f", from {metric.lowest:g}"
    return "" if metric.highest is None else f", up to {metric.highest:g}"


def _bounds(metric: Metric, currency: str) -> str:
    if not metric.has_interval:
        return ""
    return f"`{exported_name(metric, currency, 'lower')}` `{exported_name(metric, currency, 'upper')}`"


def _yes(is_so: bool) -> str:
    return "yes" if is_so else ""
