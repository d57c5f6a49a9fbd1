"""The catalogue: every family, and so all measures, histograms and metrics. Layout, exporter, API, wall, docs follow.

A new metric is one `Metric` in its family's module, with the measures it needs if no present one will do; a new family
is a module with a `FAMILY`, named here. docs/adding-a-metric.md shows the way.
"""

import difflib
from collections.abc import Sequence
from typing import Final

from stream_app.core.tally import Plan
from stream_app.metrics import (
    accuracy,
    attention,
    carts,
    context_response,
    conversion,
    customers,
    decisions,
    engagement,
    feedback,
    goals,
    messages,
    offers,
    order_value,
    people,
    presence,
    ranking,
    reactions,
    relevance,
    returns,
    spending,
    surveys,
    vigilance,
    visits,
    windows,
)

FAMILIES: Final = (
    engagement.FAMILY,
    conversion.FAMILY,
    relevance.FAMILY,
    visits.FAMILY,
    attention.FAMILY,
    messages.FAMILY,
    offers.FAMILY,
    presence.FAMILY,
    context_response.FAMILY,
    decisions.FAMILY,
    feedback.FAMILY,
    reactions.FAMILY,
    goals.FAMILY,
    order_value.FAMILY,
    spending.FAMILY,
    carts.FAMILY,
    ranking.FAMILY,
    accuracy.FAMILY,
    people.FAMILY,
    customers.FAMILY,
    surveys.FAMILY,
    returns.FAMILY,
    vigilance.FAMILY,
)
MEASURES: Final = tuple(measure for family in FAMILIES for measure in family.measures)
METRICS: Final = tuple(metric for family in FAMILIES for metric in family.metrics)
WINDOWS: Final = windows.WINDOWS
HISTOGRAMS: Final = tuple(histogram for family in FAMILIES for histogram in family.histograms)

PLAN: Final = Plan.of(MEASURES, HISTOGRAMS)
INDEX: Final = {measure.name: index for index, measure in enumerate(MEASURES)}
"""Position of each measure in a tally."""
FAMILY_OF: Final = {metric.name: family for family in FAMILIES for metric in family.metrics}
"""The family of each metric, by the metric's name."""


def plan_of(names: Sequence[str]) -> Plan:
    """Return what the families of these names count, with what is counted in any case: what was shown, and clicks.

    Raises ValueError for a name that no family has; it names the nearest.
    """
    known = {family.name: family for family in FAMILIES}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.0)[0]
            raise ValueError(f"no family of metrics is called {name!r}; the nearest is {near!r}")
    chosen = [family for family in FAMILIES if family.name in names or family is FAMILIES[0]]
    measures = [measure for family in chosen for measure in family.measures]
    return Plan.of(measures, [histogram for family in chosen for histogram in family.histograms])
