"""What is written for people holds in the code: settings, metric names, commands, endpoints, links."""

import re
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from producers.collect_api import Api as CollectorApi
from producers.collect_metrics import CollectorMetrics
from producers.collector import foreign
from producers.foreign import as_given
from stream_app import cli, settings
from stream_app.core.codec import decode
from stream_app.core.events import Click, Impression
from stream_app.metrics.catalogue import METRICS
from stream_app.serving.api import Api
from stream_app.serving.exporter import Exporter, ViewCollector
from stream_app.serving.stream import Stream
from stream_app.settings import CollectorSettings
from stream_app.worker.instruments import Instruments
from tests.serving.stored import HOME, NOW_MS
from tests.serving.viewing import MEANING, view_of

ROOT = Path(__file__).parent.parent
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """Return the text below a heading of docs/operations.md."""
    return OPERATIONS.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def commands(group: click.Group, prefix: str = "lynceus") -> list[str]:
    found = []
    for name, command in group.commands.items():
        full = f"{prefix} {name}"
        found += commands(command, full) if isinstance(command, click.Group) else [full]
    return found


def test_the_example_of_settings_is_fresh() -> None:
    """`.env.example` is what `lynceus config --example` prints."""
    assert settings.example() == (ROOT / ".env.example").read_text(encoding="utf-8")


def test_the_example_of_settings_changes_nothing() -> None:
    """Loading `.env.example` as it stands gives the defaults, and it names every setting."""
    lines = [line.partition("=") for line in settings.example().splitlines() if line and not line.startswith("#")]
    example = {name: value for name, _, value in lines}
    assert (set(settings.names()), settings.load({})) == (set(example), settings.load(example))


def test_every_setting_is_documented_with_its_default() -> None:
    """The table of settings has every name in the order of the code, and the default that is in effect."""
    defaults = settings.environment(settings.load({}))
    rows = re.findall(r"^\| `(LYNCEUS_\w+)` \| (?:`(.*?)`)? ?\|", section("Settings"), re.MULTILINE)
    assert [(name, defaults.get(name, "")) for name in settings.names()] == rows


def test_every_command_is_documented() -> None:
    """The table of commands has every command and no other."""
    rows = re.findall(r"^\| `(lynceus [a-z ]+?)` \|", section("Commands"), re.MULTILINE)
    assert sorted(commands(cli.main)) == sorted(rows)


def test_every_metric_name_is_documented() -> None:
    """The tables of metrics have every family that worker, server and collector export, and no other."""
    view = view_of((NOW_MS, HOME, 100, 7))
    server = ViewCollector(lambda: view, MEANING, "EUR", "0.1.0", lambda: NOW_MS)
    collector = CollectorMetrics(SimpleNamespace(in_flight_records=0, in_flight_bytes=0, is_up=True))
    families = [*Instruments().registry.collect(), *server.collect(), *collector.registry.collect()]
    suffix = {"counter": "_total", "info": "_info"}
    exported = {family.name + suffix.get(family.type, "") for family in families}
    rows = [line for line in section("Prometheus").splitlines() if line.startswith("| `lynceus_")]
    documented = {name for row in rows for name in re.findall(r"`(lynceus_\w+)`", row.partition(" | ")[0])}
    assert exported == documented


def test_every_endpoint_is_documented() -> None:
    """The table of endpoints has every path that the server answers, but the wall's files."""
    collector = ViewCollector(lambda: None, MEANING, "EUR", "0.1.0", lambda: NOW_MS)
    stream = Stream("0.1.0", lambda: None, lambda: NOW_MS)
    app = Api(lambda: None, MEANING, stream, Exporter(collector), lambda: NOW_MS).application(None)
    served = {resource.canonical for resource in app.router.resources()} - {"/", "/static/{name}"}
    server_table = section("Endpoints").partition("| worker | answers |")[0]
    rows = [line for line in server_table.splitlines() if line.startswith("| `/")]
    documented = {path for row in rows for path in re.findall(r"`(/[\w/{}]+)`", row.rsplit(" | ", 1)[0])}
    assert served == documented


def test_every_endpoint_of_the_collector_is_documented() -> None:
    """The table of the collector's endpoints has every path that it answers, on either port."""
    api = CollectorApi(
        CollectorSettings(),
        0,
        SimpleNamespace(in_flight_records=0, in_flight_bytes=0, is_up=True),
        b"",
        foreign(as_given),
    )
    served = {
        resource.canonical
        for app in (api.application(), api.inner_application())
        for resource in app.router.resources()
    }
    rows = section("Endpoints").partition("| collector | answers |")[2].partition("\n\n")[0].splitlines()
    documented = {path for row in rows for path in re.findall(r"`(/[\w/.]+)`", row.rpartition(" | ")[0])}
    assert served == documented


def test_every_metric_of_the_catalogue_is_explained() -> None:
    """The README has a row for each metric that is exported, by its title; docs/metrics.md has all of them."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [] == [metric.name for metric in METRICS if metric.is_exported and f"| {metric.title} " not in readme]


def test_the_events_of_the_readme_are_events() -> None:
    """What the README shows as an event is accepted as one."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = [decode(text.encode()) for text in re.findall(r'\{"type": .+?\}', readme, re.DOTALL)]
    assert [Impression, Click] == [type(event) for event in shown]


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/operations.md",
        "docs/collecting.md",
        "docs/context.md",
        "docs/decisions.md",
        "docs/inputs.md",
        "docs/metrics.md",
        "docs/planning.md",
        "docs/adding-a-metric.md",
        "docs/runbooks/README.md",
        "CHANGELOG.md",
    ],
)
def test_links_lead_somewhere(page: str) -> None:
    """Every relative link of a page names a file of the repository."""
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    folder = (ROOT / page).parent
    assert [] == [t for t in targets if t and "://" not in t and not (folder / t).exists()]
