"""How an alert is declared: as data. Prometheus rules, their tests, Alertmanager's inhibitions are rendered from it.

Rules look at the exporters thousands of times a day, so none may rest on a point value of what is watched: they gate
on what a worker or a server says of itself, and on verdicts and p-values that are valid at any time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

Severity = Literal["critical", "warning", "info", "none"]
"""Who hears of it: `critical` pages, `warning` writes a ticket, `info` shows on the wall, `none` is a heartbeat."""
ENOUGH: Final = 10
"""Bad ones behind a share that somebody is told of: where few come, one of them is a large share."""
Component = Literal["personalization", "data", "counting", "collecting", "processes"]


class Told(NamedTuple):
    """An alert as it is expected to fire: the labels of its series.

    `words` is its description, where that has more in it than the labels.
    """

    labels: Mapping[str, str]
    words: str = ""


class Example(NamedTuple):
    """What would be scraped, and which alerts then fire `at_m` minutes after the first sample: none, one, several.

    `series` are values by selector, in promtool's notation, a minute apart.
    """

    what: str
    series: Mapping[str, str]
    at_m: int
    told: tuple[Told, ...] = ()


def of_server(name: str, **labels: str) -> str:
    """Return the selector of a series that a server exports, as it is stored after a scrape."""
    return series_of(name, {"job": "lynceus-server", "instance": "a"} | labels)


def of_worker(name: str, **labels: str) -> str:
    """Return the selector of a series that a worker exports."""
    return series_of(name, {"job": "lynceus-worker", "instance": "a"} | labels)


def of_collector(name: str, **labels: str) -> str:
    """Return the selector of a series that a collector exports."""
    return series_of(name, {"job": "lynceus-collector", "instance": "a"} | labels)


class Inhibitor(NamedTuple):
    """An alert during which another is not sent: where both have the same values of the labels `same`."""

    alert: str
    same: tuple[str, ...] = ()


class Recorded(NamedTuple):
    """A value that a recording is expected to have, by its labels, when its example's time has come."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """An expression that Prometheus computes beforehand, under a name `level:metric:operation`.

    `series` as in an `Example`; `expected` is what it then is after `at_m` minutes.
    """

    name: str
    expr: str
    series: Mapping[str, str]
    at_m: int
    expected: tuple[Recorded, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A condition that somebody should hear of, when it has held for `for_s` seconds.

    It goes on for `keep_firing_for_s` after the condition ended, so that what flickers is one alert, and what keeps
    others back does so until they are over too. `summary` is a
    sentence without values; `description` may use Prometheus' templates. `board` is the wall's query that shows it.
    The runbook is docs/runbooks/<name>.md.
    """

    name: str
    expr: str
    for_s: int
    keep_firing_for_s: int
    severity: Severity
    component: Component
    summary: str
    description: str
    examples: tuple[Example, ...]
    inhibited_by: tuple[Inhibitor, ...] = ()
    board: str = ""


class Group(NamedTuple):
    """Alerts that belong together, and what is recorded for them; Prometheus evaluates a group in this order."""

    name: str
    title: str
    recordings: tuple[Recording, ...]
    alerts: tuple[Alert, ...]


def series_of(name: str, labels: Mapping[str, str]) -> str:
    """Return the selector of the series of that name with these labels."""
    matchers = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{matchers}}}"
