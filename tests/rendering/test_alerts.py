"""Alerts: declared whole, rendered for Prometheus and Alertmanager, checked by their own tools."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
import yaml
from prometheus_client import generate_latest

from producers.collect_metrics import CollectorMetrics
from stream_app import cli
from stream_app.errors import LynceusError
from stream_app.metrics.alert import Alert, Inhibitor
from stream_app.metrics.alerts import ALERTS, GROUPS, RECORDINGS
from stream_app.metrics.alerts_data import DOUBTS
from stream_app.metrics.alerts_processes import HEARTBEAT
from stream_app.metrics.alerts_visibility import EDGE
from stream_app.metrics.catalogue import METRICS
from stream_app.rendering.alertmanager import alertmanager_yml, inhibit_rules
from stream_app.rendering.generated import alerting
from stream_app.rendering.places import PLACES, Places
from stream_app.rendering.rules import EVALUATION_S, duration, expression, metric_names
from stream_app.serving.exporter import ViewCollector
from stream_app.worker.instruments import Instruments
from tests.conftest import unavailable
from tests.rendering import promtool
from tests.rendering.mutate import survivors
from tests.serving.stored import HOME, NOW_MS
from tests.serving.viewing import MEANING, view_of

ROOT = Path(__file__).parents[2]
BY_NAME = {alert.name: alert for alert in ALERTS}
CONCLUSIONS = [a for a in ALERTS if "lynceus_verdict_active" in a.expr and a.name != "LynceusSampleRatioMismatch"]


@pytest.fixture(scope="module", autouse=True)
def _promtool() -> None:
    if not promtool.path():
        unavailable(LynceusError("promtool is not on PATH", "Debian: apt-get install prometheus"))


@pytest.fixture
def amtool() -> str:
    """Return the path of Alertmanager's tool."""
    if (path := shutil.which("amtool")) is None:
        unavailable(LynceusError("amtool is not on PATH", "Debian: apt-get install prometheus-alertmanager"))
    return path


def exported() -> set[str]:
    """Return every name of a series that worker, server and collector may have."""
    view = view_of((NOW_MS, HOME, 100, 7))
    server = ViewCollector(lambda: view, MEANING, "EUR", "0.1.0", lambda: NOW_MS)
    collector = CollectorMetrics(SimpleNamespace(in_flight_records=0, in_flight_bytes=0, is_up=True))
    families = [*Instruments().registry.collect(), *server.collect(), *collector.registry.collect()]
    series = {
        "counter": ("_total",),
        "info": ("_info",),
        "histogram": ("_bucket", "_count", "_sum"),
    }
    return {family.name + end for family in families for end in series.get(family.type, ("",))}


def test_promtool_accepts_the_rules() -> None:
    """`promtool check rules` finds nothing wrong."""
    folder = ROOT / "deploy" / "prometheus"
    assert 0 == promtool.ran("check", "rules", "lynceus.recording.yml", "lynceus.alerts.yml", folder=folder)[0]


def test_every_alert_and_recording_does_what_its_examples_say(tmp_path: Path) -> None:
    """`promtool test rules` passes, on the files as they are generated."""
    for each in alerting(PLACES):
        place = tmp_path / Path(each.path).name
        place.write_text(each.content, encoding="utf-8")
    code, said = promtool.ran("test", "rules", "lynceus.test.yml", folder=tmp_path)
    assert (0, True) == (code, "SUCCESS" in said), said


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_no_mutant_survives(alert: Alert, tmp_path: Path) -> None:
    """Whichever comparison is turned round, whichever threshold is moved: an example of the alert notices."""
    assert [] == survivors(alert, tmp_path)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_has_examples_of_both_kinds(alert: Alert) -> None:
    """One in which it fires and one in which it does not; the heartbeat always fires."""
    fires = {bool(example.told) for example in alert.examples}
    assert ({True} if alert.name == HEARTBEAT else {True, False}) == fires


def test_every_name_in_a_rule_is_exported() -> None:
    """No rule waits for a series that nobody has, and what was still to come has not arrived unnoticed."""
    exprs = [alert.expr for alert in ALERTS] + [recording.expr for recording in RECORDINGS]
    asked = set().union(*map(metric_names, exprs))
    assert set() == asked - exported()


def test_every_recorded_name_in_a_rule_is_recorded() -> None:
    """What a rule reads with a colon in its name is recorded under that name."""
    exprs = [alert.expr for alert in ALERTS] + [recording.expr for recording in RECORDINGS]
    asked = {name for expr in exprs for name in re.findall(r"\b[a-z_]+:\w+:\w+", expr)}
    assert set() == asked - {recording.name for recording in RECORDINGS}


def test_the_promise_of_visibility_has_its_edge() -> None:
    """The histogram has a bucket that ends where the promise does."""
    assert f'lynceus_event_visible_seconds_bucket{{le="{EDGE}"}}' in _page_of_a_worker()


def test_nothing_fires_at_once() -> None:
    """Every alert waits for two evaluations, and goes on a while; the heartbeat does neither."""
    hasty = [a.name for a in ALERTS if a.for_s < 2 * EVALUATION_S or a.keep_firing_for_s < 2 * EVALUATION_S]
    assert [HEARTBEAT] == hasty


def test_who_is_paged() -> None:
    """A drop of personalization pages, and what stops counting or alerting; every other verdict is a ticket."""
    assert (
        ["LynceusPersonalizationDrop"],
        ["LynceusSiteWideChange", "LynceusTrafficChange", "LynceusInstrumentationBroken", "LynceusContextPipeBroken"],
        "warning",
    ) == (
        [a.name for a in CONCLUSIONS if a.severity == "critical"],
        [a.name for a in CONCLUSIONS if a.severity == "warning"],
        BY_NAME["LynceusSampleRatioMismatch"].severity,
    )


def test_conclusions_are_kept_back_by_doubts() -> None:
    """Each conclusion is inhibited by everything that makes the data untrustworthy."""
    assert [DOUBTS] * 5 == [alert.inhibited_by for alert in CONCLUSIONS]


def test_a_doubt_comes_before_the_conclusion() -> None:
    """What keeps an alert back is an alert, and does not wait longer than what it keeps back."""
    late = [
        (alert.name, doubt.alert)
        for alert in ALERTS
        for doubt in alert.inhibited_by
        if BY_NAME[doubt.alert].for_s > alert.for_s
    ]
    assert [] == late


def test_what_keeps_back_outlasts_what_follows_from_it() -> None:
    """When a cause is mended, what followed from it ends a little later: it must not be told in between.

    A conclusion is no consequence of what makes it doubtful, and is told if it still holds afterwards.
    """
    between = [
        (alert.name, cause.alert)
        for alert in ALERTS
        for cause in alert.inhibited_by
        if alert.component != "personalization"
        and BY_NAME[cause.alert].keep_firing_for_s < alert.keep_firing_for_s + 120
    ]
    assert [] == between


def test_nothing_keeps_itself_back() -> None:
    """Inhibition has no circles: two alerts that keep each other back would tell nobody anything."""
    above = {alert.name: {each.alert for each in alert.inhibited_by} for alert in ALERTS}

    def reached(names: set[str]) -> set[str]:
        further = names.union(*(above[name] for name in names))
        return names if further == names else reached(further)

    assert [] == [name for name in above if name in reached(above[name])]


def test_nobody_looks_at_point_values_of_a_metric() -> None:
    """No alert compares what a window's metric is: of the windows they read only what they say of themselves."""
    of_windows = {name for alert in ALERTS for name in metric_names(alert.expr) if name.startswith("lynceus_window_")}
    assert {
        "lynceus_window_complete",
        "lynceus_window_end_timestamp_seconds",
        "lynceus_window_gapped",
        "lynceus_window_impressions",  # whether there is traffic that nobody watches
    } == of_windows


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_a_runbook_says_what_to_do(alert: Alert) -> None:
    """Every alert has a runbook of three parts, with commands; it is as short as somebody who was woken needs it."""
    text = (ROOT / "docs" / "runbooks" / f"{alert.name}.md").read_text(encoding="utf-8")
    assert (f"# {alert.name}", ["What it means", "What to look at", "What to do"], True, True) == (
        text.splitlines()[0],
        re.findall(r"^## (.+)$", text, re.MULTILINE),
        15 <= len(text.splitlines()) <= 45,
        bool(re.search(r"^    (lynceus|curl|kafka|redis-cli|amtool|promtool|docker)", text, re.MULTILINE)),
    )


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_the_commands_of_a_runbook_exist(alert: Alert) -> None:
    """Every `lynceus ...` that a runbook says is a command with such options; every metric that it asks for exists."""
    text = (ROOT / "docs" / "runbooks" / f"{alert.name}.md").read_text(encoding="utf-8")
    wrong = [
        words
        for words in re.findall(r"(?:^    |`)lynceus((?: [a-zA-Z./-][^ `|\n]*)+)", text, re.MULTILINE)
        if not _is_command(words.split())
    ]
    assert [] == wrong


def test_there_is_no_runbook_without_an_alert() -> None:
    """Every page below docs/runbooks is an alert's, or the index."""
    pages = {page.stem for page in (ROOT / "docs" / "runbooks").glob("*.md")}
    assert {*BY_NAME, "README"} == pages


def test_links_are_those_of_the_installation() -> None:
    """Runbooks and boards are where `Places` says, with the surface where an alert is of one."""
    text = dict(alerting(Places(runbooks="https://git.example/runbooks", boards="https://wall.example")))
    groups = yaml.safe_load(text["prometheus/lynceus.alerts.yml"])["groups"]
    drop = {r["alert"]: r["annotations"] for g in groups for r in g["rules"]}["LynceusPersonalizationDrop"]
    assert (
        "https://git.example/runbooks/LynceusPersonalizationDrop.md",
        "https://wall.example/wall?surface={{ $labels.surface | urlquery }}",
    ) == (drop["runbook_url"], drop["dashboard_url"])


def test_inhibitions_are_gathered() -> None:
    """Alerts that are kept back by the same ones share a rule; labels are compared only where they are declared."""
    (base,) = (a for a in ALERTS if a.name == "LynceusRedisDown")
    made = [_kept(base, "A", Inhibitor("X"), Inhibitor("Y", ("job",))), _kept(base, "B", Inhibitor("X"))]
    assert [
        {"source_matchers": ['alertname =~ "X"'], "target_matchers": ['alertname =~ "A|B"']},
        {"source_matchers": ['alertname =~ "Y"'], "target_matchers": ['alertname =~ "A"'], "equal": ["job"]},
    ] == inhibit_rules(made)


def test_amtool_accepts_the_configuration(amtool: str) -> None:
    """`amtool check-config` finds nothing wrong."""
    assert 0 == _ran(amtool, "check-config", "deploy/alertmanager/alertmanager.yml")[0]


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        (("alertname=LynceusPersonalizationDrop", "severity=critical", "surface=home.hero"), "wall,page"),
        (("alertname=LynceusSiteWideChange", "severity=warning", "surface=home.hero"), "wall,ticket"),
        (("alertname=LynceusWatchPaused", "severity=info", "surface=home.hero"), "wall"),
        (("alertname=Foreign",), "wall,ticket"),
        ((f"alertname={HEARTBEAT}", "severity=none"), "watchdog"),
    ],
)
def test_everybody_hears_of_an_alert_once(amtool: str, labels: Sequence[str], receivers: str) -> None:
    """The wall has everything; beside it a page or a ticket, never both; the heartbeat has a receiver of its own."""
    config = "deploy/alertmanager/alertmanager.yml"
    assert receivers == _ran(amtool, "config", "routes", "test", f"--config.file={config}", *labels)[1].strip()


def test_receivers_are_those_of_the_installation() -> None:
    """Every webhook is the one that `Places` has; by default they lead nowhere."""
    urls = {
        receiver["name"]: receiver["webhook_configs"][0]["url"]
        for receiver in yaml.safe_load(alertmanager_yml(ALERTS, PLACES))["receivers"]
    }
    assert {name: f"http://alerts.invalid/{name}" for name in ("page", "ticket", "wall", "watchdog")} == urls


def test_times_and_expressions_are_written_as_prometheus_does() -> None:
    """The largest whole unit; no indentation of the declaration's; a long expression is a block."""
    assert ["1h", "2m", "90s", "0h"] == [duration(seconds) for seconds in (3600, 120, 90, 0)]
    assert ("a > 1", "a\n> 1\n") == (expression("a > 1"), expression("\n        a\n        > 1\n    "))


def test_groups_have_different_names() -> None:
    """No group, alert or recording has the name of another."""
    names = [each.name for each in (*GROUPS, *ALERTS, *RECORDINGS)]
    assert sorted(set(names)) == sorted(names)


def _is_command(words: list[str]) -> bool:
    command: click.Command = cli.main
    while isinstance(command, click.Group):
        if words[0] not in command.commands:
            return False
        command, words = command.commands[words[0]], words[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    asked = [word for word in words if word.startswith("--")]
    return set(asked) <= known and (command.name != "query" or words[0] in {metric.name for metric in METRICS})


def _kept(alert: Alert, name: str, *by: Inhibitor) -> Alert:
    return replace(alert, name=name, inhibited_by=by)


def _page_of_a_worker() -> str:
    return generate_latest(Instruments().registry).decode()


def _ran(*words: str) -> tuple[int, str]:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout
