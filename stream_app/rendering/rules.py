"""Prometheus' rules: what is recorded, and what alerts, as the catalogue declares them."""

import re
from collections.abc import Sequence
from textwrap import dedent
from typing import Any, Final

from stream_app.metrics.alert import Alert, Group
from stream_app.rendering.places import Places
from stream_app.rendering.yaml_text import yaml_text

EVALUATION_S: Final = 15
"""How often rules are evaluated."""
LONGEST_LINE: Final = 70
RECORDING_FILE: Final = "lynceus.recording.yml"
ALERTS_FILE: Final = "lynceus.alerts.yml"
COMMENT: Final = "Generated from the catalogue by `lynceus render`; edit stream_app/metrics."


def recording_yml(groups: Sequence[Group]) -> str:
    """Return the file of what is recorded."""
    document = {
        "groups": [
            {
                "name": f"{group.name}.recorded",
                "rules": [{"record": each.name, "expr": expression(each.expr)} for each in group.recordings],
            }
            for group in groups
            if group.recordings
        ]
    }
    return yaml_text(COMMENT, document)


def alerts_yml(groups: Sequence[Group], places: Places) -> str:
    """Return the file of the alerts."""
    document = {
        "groups": [
            {"name": group.name, "rules": [rule(alert, places) for alert in group.alerts]}
            for group in groups
            if group.alerts
        ]
    }
    return yaml_text(COMMENT, document)


def rule(alert: Alert, places: Places) -> dict[str, Any]:
    """Return an alert as a rule of Prometheus."""
    written: dict[str, Any] = {"alert": alert.name, "expr": expression(alert.expr)}
    if alert.for_s:
        written["for"] = duration(alert.for_s)
    if alert.keep_firing_for_s:
        written["keep_firing_for"] = duration(alert.keep_firing_for_s)
    written["labels"] = labels(alert)
    written["annotations"] = annotations(alert, places)
    return written


def labels(alert: Alert) -> dict[str, str]:
    """Return the labels that an alert adds to those of its series."""
    return {"severity": alert.severity, "component": alert.component}


def annotations(alert: Alert, places: Places) -> dict[str, str]:
    """Return what an alert says, and where it leads, as templates."""
    return {
        "summary": alert.summary,
        "description": alert.description,
        "runbook_url": f"{places.runbooks}/{alert.name}.md",
        "dashboard_url": f"{places.boards}/wall{alert.board}",
    }


def expression(expr: str) -> str:
    """Return an expression without the indentation of its declaration."""
    lines = dedent(expr).strip("\n").rstrip()
    return lines + "\n" if "\n" in lines or len(lines) > LONGEST_LINE else lines


def duration(seconds: int) -> str:
    """Return a time as Prometheus writes it: `90s`, `15m`, `4h`."""
    for unit, length in (("h", 3600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def metric_names(expr: str) -> set[str]:
    """Return the names of metrics of Lynceus in an expression; what is recorded has a colon in its name."""
    without_text = re.sub(r'"[^"]*"', '""', expr)
    return set(re.findall(r"(?<![\w:])lynceus_\w+(?![\w:])", without_text))
