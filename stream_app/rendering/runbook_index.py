"""docs/runbooks/README.md: every alert with who hears of it, and what to do about it."""

from collections.abc import Sequence
from typing import Final

from stream_app.metrics.alert import Alert, Group, Severity
from stream_app.rendering.rules import duration

_HEARD: Final[dict[Severity, str]] = {
    "critical": "page",
    "warning": "ticket",
    "info": "wall",
    "none": "heartbeat",
}
_INTRODUCTION: Final = """\
<!-- Generated from the catalogue by `lynceus render`; edit stream_app/metrics instead. -->
# Runbooks

What each alert means, what to look at, what to do. *Told as* says who hears of it: a page wakes somebody, a ticket
waits for the morning, the rest only shows. *After* is how long it must have been so. *Kept back by*: while one of these
fires (of the same surface or job, where that is said), this one is not sent, for it could not be believed or would only
repeat it.
"""


def runbook_index(groups: Sequence[Group]) -> str:
    """Return the page."""
    return "\n".join([_INTRODUCTION, *(_section(group) for group in groups if group.alerts)])


def _section(group: Group) -> str:
    rows = [
        f"| [{alert.name}]({alert.name}.md) | {_HEARD[alert.severity]} | {duration(alert.for_s)} | {alert.summary} "
        f"| {_kept_back(alert)} |"
        for alert in group.alerts
    ]
    head = "| alert | told as | after | says | kept back by |\n|---|---|---|---|---|"
    return f"## {group.title}\n\n{head}\n" + "\n".join(rows) + "\n"


def _kept_back(alert: Alert) -> str:
    return ", ".join(
        each.alert + (f" (same {' and '.join(each.same)})" if each.same else "") for each in alert.inhibited_by
    )
