"""Every file of the repository that is generated from the catalogue."""

from collections.abc import Sequence
from typing import NamedTuple

from stream_app.metrics.alerts import ALERTS, GROUPS
from stream_app.metrics.catalogue import FAMILIES
from stream_app.rendering.alertmanager import alertmanager_yml
from stream_app.rendering.metrics_page import metrics_page
from stream_app.rendering.places import PLACES, Places
from stream_app.rendering.rule_tests import rule_tests_yml
from stream_app.rendering.rules import ALERTS_FILE, RECORDING_FILE, alerts_yml, recording_yml
from stream_app.rendering.runbook_index import runbook_index
from stream_app.rendering.scraping import prometheus_yml


class Generated(NamedTuple):
    """A file: its path in the repository, and what it holds. Its first line says that it is generated."""

    path: str
    content: str


def generated(currency: str = "EUR") -> Sequence[Generated]:
    """Return the files, for a shop that reports in `currency`."""
    return (
        Generated("docs/metrics.md", metrics_page(FAMILIES, currency)),
        Generated("docs/runbooks/README.md", runbook_index(GROUPS)),
        Generated("deploy/prometheus/prometheus.yml", prometheus_yml()),
        *(each._replace(path=f"deploy/{each.path}") for each in alerting(PLACES)),
    )


def alerting(places: Places) -> Sequence[Generated]:
    """Return what alerts, and what tells: the files that differ from one installation to the next."""
    return (
        Generated(f"prometheus/{RECORDING_FILE}", recording_yml(GROUPS)),
        Generated(f"prometheus/{ALERTS_FILE}", alerts_yml(GROUPS, places)),
        Generated("prometheus/lynceus.test.yml", rule_tests_yml(GROUPS, places)),
        Generated("alertmanager/alertmanager.yml", alertmanager_yml(ALERTS, places)),
    )
