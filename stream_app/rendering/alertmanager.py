"""alertmanager.yml: who hears of which alert, and which alerts are kept back while others fire."""

from collections.abc import Sequence
from typing import Any, Final

from stream_app.metrics.alert import Alert
from stream_app.metrics.alerts_processes import HEARTBEAT
from stream_app.rendering.places import Places
from stream_app.rendering.rules import COMMENT
from stream_app.rendering.yaml_text import yaml_text

GROUP_BY: Final = ("alertname", "surface")
"""One message for an alert of one surface, of however many KPIs, windows, roles or instances it is."""


def alertmanager_yml(alerts: Sequence[Alert], places: Places) -> str:
    """Return the file, with the webhooks of `places`."""
    document = {
        "global": {"resolve_timeout": "5m"},
        "route": _route(),
        "inhibit_rules": inhibit_rules(alerts),
        "receivers": [
            _receiver("page", places.page),
            _receiver("ticket", places.ticket),
            _receiver("wall", places.wall),
            _receiver("watchdog", places.watchdog, send_resolved=False),
        ],
    }
    return yaml_text(COMMENT, document)


def inhibit_rules(alerts: Sequence[Alert]) -> list[dict[str, Any]]:
    """Return the inhibitions: one for every set of alerts that are kept back by the same ones, by the same labels.

    `equal` compares labels that both lack as equal, so it names only what the inhibitor is declared to share.
    """
    kept_back: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for alert in alerts:
        by_labels: dict[tuple[str, ...], list[str]] = {}
        for inhibitor in alert.inhibited_by:
            by_labels.setdefault(inhibitor.same, []).append(inhibitor.alert)
        for same, sources in by_labels.items():
            kept_back.setdefault((tuple(sources), same), []).append(alert.name)
    return [
        {
            "source_matchers": [_any_of(sources)],
            "target_matchers": [_any_of(targets)],
            **({"equal": list(same)} if same else {}),
        }
        for (sources, same), targets in kept_back.items()
    ]


def _route() -> dict[str, Any]:
    return {
        "receiver": "ticket",
        "group_by": list(GROUP_BY),
        # Long enough for what doubts the data to arrive before what is concluded from it.
        "group_wait": "30s",
        "group_interval": "5m",
        "repeat_interval": "12h",
        "routes": [
            {
                "matchers": [f'alertname = "{HEARTBEAT}"'],
                "receiver": "watchdog",
                "group_wait": "0s",
                "group_interval": "1m",
                # Asked once a minute, and then a minute must have passed.
                "repeat_interval": "50s",
            },
            # The wall shows everything; whoever else is to hear of it follows.
            {"receiver": "wall", "group_wait": "5s", "group_interval": "30s", "continue": True},
            {"matchers": ['severity = "critical"'], "receiver": "page", "repeat_interval": "4h"},
            {"matchers": ['severity !~ "info|none"'], "receiver": "ticket"},
        ],
    }


def _receiver(name: str, url: str, send_resolved: bool = True) -> dict[str, Any]:
    return {"name": name, "webhook_configs": [{"url": url, "send_resolved": send_resolved}]}


def _any_of(names: Sequence[str]) -> str:
    return f'alertname =~ "{"|".join(names)}"'
