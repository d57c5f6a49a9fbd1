"""How a metric is declared: as data. Exporter, API, wall and docs/metrics.md are derived from it.

`statistics.lowering` turns the declaration and a tally into an Estimate.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from stream_app.core.inputs import Figure
from stream_app.core.slices import DIMENSIONS
from stream_app.core.tally import Binned, Measure
from stream_app.metrics.methods import Arms, Method, arms, figures, needs
from stream_app.metrics.windows import EVERY_WINDOW

Honesty = Literal["exact", "estimate", "input"]
"""How far a settled window can be trusted.

- `exact`: all of it was counted; the interval says only what chance would do to such traffic.
- `estimate`: a sample, a model or an answer stands for what it is about.
- `input`: some figure in it was told by people, and is no better than they know.
"""

Settling = Literal["at_once", "click_window", "conversion_window", "session_close", "four_weeks", "cohort_age"]
"""When a pane of it changes no more, late events aside: what its maturity is the share of.

- `at_once`: it says what happened in the pane, and waits for nothing.
- `click_window`, `conversion_window`: what is credited to an impression may come as long after it.
- `session_close`: the session is over, 30 minutes after its last event.
- `four_weeks`: refunds, or what becomes of a lead, may come as long after it.
- `cohort_age`: it is told when those it is about are `cohort_days` old, so there are no others in any window.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """An answer derived from measures, read from a window's tally.

    `help` says what it tells; `formula` is how it is computed, in words of the field; `caveat` says what it does not
    tell, and which popular formula it is not. `unit` is "ratio", "currency" (major units of the reporting currency),
    "seconds", or the plural of what is counted. All answers lie between `lowest` and `highest`: one beyond is no data,
    because a wrong number must not look like a right one. With fewer than `at_least` observations there is no estimate.

    Nobody may ask for it by other `dimensions` or in other `windows` than these. `is_up_good` is None where neither
    way is. Few are `is_exported`, to Prometheus and into every view: each costs series by window, surface and arm. All
    else is computed when the API is asked for it.
    """

    name: str
    title: str
    help: str
    unit: str
    formula: str
    caveat: str
    method: Method
    honesty: Honesty
    settles: Settling
    is_up_good: bool | None
    is_exported: bool = False
    lowest: float | None = 0.0
    highest: float | None = None
    at_least: int = 1
    cohort_days: int = 0
    dimensions: tuple[str, ...] = DIMENSIONS
    windows: tuple[str, ...] = EVERY_WINDOW

    @property
    def needs(self) -> tuple[str, ...]:
        """The measures that it reads."""
        return needs(self.method)

    @property
    def figures(self) -> tuple[Figure, ...]:
        """What people must tell before it can be answered."""
        return figures(self.method)

    @property
    def arms(self) -> Arms | None:
        """The arms that it reads by itself."""
        return arms(self.method)

    @property
    def has_interval(self) -> bool:
        """Say whether its bounds are more than its value once again."""
        return bool(self.method.interval)


class Family(NamedTuple):
    """Metrics that belong together, and the measures and histograms that they were the first to need."""

    name: str
    title: str
    help: str
    measures: tuple[Measure, ...]
    metrics: tuple[Metric, ...]
    histograms: tuple[Binned, ...] = ()
