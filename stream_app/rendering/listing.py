"""The catalogue on a terminal: a line for each metric, or all about one."""

from collections.abc import Sequence

from stream_app.core.slices import DIMENSIONS
from stream_app.metrics.metric import Family, Metric
from stream_app.rendering.promql import promql
from stream_app.rendering.words import HONEST, contrast, good, interval, settled


def listing(families: Sequence[Family]) -> str:
    """Return the metrics of the families, a line of name, unit, honesty and formula for each."""
    metrics = [metric for family in families for metric in family.metrics]
    name, unit, honest = (max((len(w) for w in words), default=0) for words in _columns(metrics))
    lines = []
    for family in families:
        lines += ["", family.title]
        lines += [f"  {m.name:{name}}  {m.unit:{unit}}  {m.honesty:{honest}}  {m.formula}" for m in family.metrics]
    return "\n".join(lines[1:])


def definition(metric: Metric, family: Family, currency: str) -> str:
    """Return everything that is declared of a metric."""
    rows = [
        ("family", family.title),
        ("formula", metric.formula),
        ("unit", metric.unit),
        ("honest", HONEST[metric.honesty]),
        ("interval", interval(metric)),
        ("settles", settled(metric)),
        ("against", contrast(metric)),
        ("good", good(metric)),
        ("needs", ", ".join(metric.needs)),
        ("dimensions", ", ".join(metric.dimensions) if metric.dimensions != DIMENSIONS else "all"),
        ("windows", " ".join(metric.windows)),
    ]
    if metric.figures:
        rows.append(("told", ", ".join(figure.text for figure in metric.figures)))
    if metric.arms:
        rows.append(("arms", " against ".join(filter(None, metric.arms))))
    if metric.is_exported:
        rows.append(("PromQL", promql(metric, currency)))
    table = "\n".join(f"  {name:11} {text}" for name, text in rows)
    return f"{metric.title} ({metric.name})\n{metric.help}\n\n{table}\n\n{metric.caveat}"


def _columns(metrics: Sequence[Metric]) -> tuple[list[str], list[str], list[str]]:
    return [m.name for m in metrics], [m.unit for m in metrics], [m.honesty for m in metrics]
