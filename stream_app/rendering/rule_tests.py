"""Prometheus' own tests of the rules: every example of every alert and recording, for `promtool test rules`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote_plus

from stream_app.metrics.alert import Alert, Example, Group, Recording, Told
from stream_app.rendering import rules
from stream_app.rendering.places import Places
from stream_app.rendering.yaml_text import yaml_text

INTERVAL_M: Final = 1
_LABEL: Final = re.compile(r"\{\{ \$labels\.(\w+)( \| urlquery)? \}\}")


def rule_tests_yml(groups: Sequence[Group], places: Places) -> str:
    """Return the file of tests."""
    tests = [test for group in groups for test in _tests(group, places)]
    return yaml_text(rules.COMMENT, rule_tests([rules.RECORDING_FILE, rules.ALERTS_FILE], tests))


def rule_tests(files: Sequence[str], tests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return tests of rule files, as promtool reads them."""
    return {"rule_files": list(files), "evaluation_interval": f"{INTERVAL_M}m", "tests": list(tests)}


def alert_tests(alert: Alert, places: Places) -> Iterator[dict[str, Any]]:
    """Yield a test for each example of an alert."""
    for example in alert.examples:
        tested = [_at(alert, example.at_m, example.told, places)]
        # Nothing is true before there is anything, so nothing fires before it has had the time to.
        early_m = alert.for_s // 60 - INTERVAL_M
        if early_m >= 0:
            tested.insert(0, _at(alert, early_m, (), places))
        yield {
            "name": f"{alert.name}: {example.what}",
            "interval": f"{INTERVAL_M}m",
            "input_series": _input(example),
            "alert_rule_test": tested,
        }


def _tests(group: Group, places: Places) -> Iterator[dict[str, Any]]:
    for recording in group.recordings:
        yield {
            "name": recording.name,
            "interval": f"{INTERVAL_M}m",
            "input_series": _input(recording),
            "promql_expr_test": [
                {
                    # Quotients are not exact, and promtool compares every digit.
                    "expr": f"round(1000 * {recording.name})",
                    "eval_time": f"{recording.at_m}m",
                    "exp_samples": [
                        {"labels": _sample(each.labels), "value": 1000 * each.value} for each in recording.expected
                    ],
                }
            ],
        }
    for alert in group.alerts:
        yield from alert_tests(alert, places)


def _at(alert: Alert, at_m: int, told: Sequence[Told], places: Places) -> dict[str, Any]:
    expected = [
        {"exp_labels": dict(each.labels) | rules.labels(alert), "exp_annotations": _said(alert, each, places)}
        for each in told
    ]
    asked: dict[str, Any] = {"eval_time": f"{at_m}m", "alertname": alert.name}
    return asked | ({"exp_alerts": expected} if expected else {})


def _said(alert: Alert, told: Told, places: Places) -> dict[str, str]:
    def label(found: re.Match[str]) -> str:
        value = told.labels[found[1]]
        return quote_plus(value) if found[2] else value

    said = {name: _LABEL.sub(label, text) for name, text in rules.annotations(alert, places).items()}
    return said | ({"description": told.words} if told.words else {})


def _input(example: Example | Recording) -> list[dict[str, str]]:
    return [{"series": series, "values": values} for series, values in example.series.items()]


def _sample(labels: Mapping[str, str]) -> str:
    matchers = ", ".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{{{matchers}}}"
