"""The command line: what it prints is whole, can be read by programs, and shows no secret."""

import json
import os
import signal
import subprocess
from collections import Counter
from importlib.metadata import entry_points, version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Consumer

from stream_app.cli import main
from stream_app.core import codec
from stream_app.metrics.catalogue import METRICS
from stream_app.metrics.description import described
from stream_app.rendering.generated import generated
from stream_app.settings import KafkaSettings, environment, load
from tests.commands import PATIENCE_S, environ_of, lynceus, run
from tests.fleet import make_settings, shop_events
from tests.recount import read, recount

CANARY = "canary-5ac7e1"


def invoke(*words: str, **given: str) -> Result:
    """Run a command that starts nothing, with these settings and no others."""
    none_of_ours = dict.fromkeys(name for name in os.environ if name.startswith("LYNCEUS_"))
    return CliRunner().invoke(main, words, env={**none_of_ours, **given})


def commands(group: click.Group, *path: str) -> list[tuple[str, ...]]:
    """Return every command, with those above it."""
    found = []
    for name, command in group.commands.items():
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += commands(command, *path, name)
    return found


def test_help_lists_the_commands() -> None:
    """Every command is listed, the demonstration first, each with a line of what it does."""
    printed = invoke("--help").stdout
    listed = [line.split(None, 1) for line in printed.partition("Commands:\n")[2].splitlines()]
    assert list(main.commands) == [name for name, _ in listed]
    assert ("demo", True) == (listed[0][0], "LYNCEUS_*" in printed)


@pytest.mark.parametrize("path", commands(main), ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    """`--help` and `-h` work everywhere, and need no settings."""
    asked = [invoke(*path, flag, LYNCEUS_KAFKA__PARTITIONS="many") for flag in ("--help", "-h")]
    assert [0, 0] == [answer.exit_code for answer in asked]
    assert asked[0].stdout == asked[1].stdout != ""


def test_the_version_is_that_of_the_package() -> None:
    """One version, however one asks, and `lynceus` is this command line."""
    (script,) = entry_points(group="console_scripts", name="lynceus")
    assert f"lynceus, version {version('lynceus')}\n" == invoke("--version").stdout
    assert script.load() is main


def test_the_schema_is_the_codecs() -> None:
    """`lynceus schema` prints what the decoder was made from."""
    assert json.loads(json.dumps(codec.schema())) == json.loads(invoke("schema").stdout)


def test_the_settings_in_effect_can_be_used_again() -> None:
    """`lynceus config` shows every setting, as lines and as JSON; both load as the same settings, secrets apart."""
    given = {"LYNCEUS_APP": "shop", "LYNCEUS_KAFKA__BOOTSTRAP": "kafka.example:9092", "LYNCEUS_REDIS__PASSWORD": CANARY}
    as_json = json.loads(invoke("config", "--json", **given).stdout)
    as_lines = dict(line.split("=", 1) for line in invoke("config", **given).stdout.splitlines())
    secrets = {name: CANARY for name, value in as_lines.items() if value == "***"}
    assert as_json == as_lines
    assert {"LYNCEUS_REDIS__PASSWORD": CANARY} == secrets
    assert load(given) == load(as_lines | secrets)


def test_json_goes_with_once() -> None:
    """A demonstration that runs until interrupted has no one object to print."""
    refused = invoke("demo", "--json")
    assert (2, True) == (refused.exit_code, "--json goes with --once" in refused.stderr)


def test_the_truth_needs_no_kafka() -> None:
    """`lynceus produce --events 0 --truth -` prints what is true of the world, the same for the same seed."""
    options = ("produce", "--events", "0", "--truth", "-", "--scenario", "drop=0.5@60s")
    one, again, other = (json.loads(invoke(*options, "--seed", seed).stdout) for seed in ("1", "1", "2"))
    rates = [told["steady"]["rates"] for told in (one, again, other)]
    assert (rates[0], False) == (rates[1], rates[0] == rates[2])
    assert [("drop", 60_000, 0.5)] == [
        (phase["scenario"], phase["from_ms"] - one["start_ms"], phase["changes"]["to"]) for phase in one["phases"]
    ]


def test_a_world_is_written_with_its_truth(tmp_path: Path) -> None:
    """JSON lines of one seed and start are the same bytes, and the ledger beside them is what the lines add up to."""
    work = tmp_path / "work"
    work.mkdir()
    options = ("produce", "--events", "3000", "--seed", "4", "--start-ms", "1748768400000", "--scenario", "duplicates")
    ran = [run((*options, "--truth", "truth.json", "--out", name), {}, work) for name in ("one.jsonl", "two.jsonl")]
    raws, again = ((work / name).read_bytes().split(b"\n")[:-1] for name in ("one.jsonl", "two.jsonl"))
    totals, outcomes = recount({0: list(raws)})
    happened = json.loads((work / "truth.json").read_text())["happened"]
    shown: Counter[tuple[str, str]] = Counter()
    for row in happened["totals"]:
        shown[row["surface"], row["arm"]] += row.get("impressions", 0)
    assert [(0, {"written": 3000})] * 2 == [(each.status, json.loads(each.stdout)) for each in ran]
    assert (raws, 3000) == (again, len(raws))
    assert dict(outcomes) == happened["outcomes"]
    assert {key: of["impressions"] for key, of in totals.items()} == {key: n for key, n in shown.items() if n}


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--scenario", "flood"), "one of steady, drop"),
        (("--start-ms", "1748768400000"), "--start-ms goes with --out"),
        (("--control", "x", "--out", "-"), "--control follows a world that runs in real time"),
    ],
)
def test_a_world_that_cannot_be_is_refused(options: tuple[str, ...], what: str) -> None:
    """What does not go together, or is no scenario, is said before anything is connected."""
    refused = invoke("produce", *options)
    assert (True, True) == (refused.exit_code != 0, what.lower() in refused.stderr.lower())


@pytest.mark.kafka
def test_topics_are_created_once(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    """`lynceus topics ensure` says what it has created, and then that all is there."""
    settings = environment(make_settings(kafka_settings, "redis://127.0.0.1:6379/0"))
    said = [run(("topics", "ensure"), settings, tmp_path) for _ in range(2)]
    wanted = (
        kafka_settings.events_topic,
        kafka_settings.dead_letters_topic,
        kafka_settings.late_topic,
        kafka_settings.inputs_topic,
        kafka_settings.verdicts_topic,
    )
    assert [(0, f"created {', '.join(wanted)}\n", ""), (0, "all topics are there\n", "")] == [ran[:3] for ran in said]


def test_a_replay_says_what_it_sent(mock_kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    """JSON lines are sent as they are; a line that is no event is named and left out."""
    work = tmp_path / "work"
    work.mkdir()
    lines = shop_events(50, seed=30)
    lines.insert(10, b"{}")
    (work / "events.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    ran = run(("replay", "events.jsonl"), environment(make_settings(mock_kafka_settings, "redis://127.0.0.1/0")), work)
    report = {"events": 50, "sent": 50, "delivered": 50, "failed": 0, "refused_lines": 1}
    assert (0, report, True) == (ran.status, json.loads(ran.stdout), "events.jsonl:11: unknown_type" in ran.stderr)


def test_the_world_sends_until_it_is_asked_to_stop(mock_kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    """`lynceus produce` leaves at SIGTERM, and says that everything it sent was delivered."""
    settings = make_settings(mock_kafka_settings, "redis://127.0.0.1/0")
    consumer = Consumer(
        {"bootstrap.servers": settings.kafka.bootstrap, "group.id": settings.app, "auto.offset.reset": "latest"}
    )
    before = sum(map(len, _log(settings.kafka).values()))
    process = subprocess.Popen(
        lynceus("produce", "--rate", "50"),
        env=environ_of(environment(settings), tmp_path / "temporary"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        consumer.subscribe([settings.kafka.events_topic])
        assert consumer.poll(PATIENCE_S) is not None, "nothing was sent"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        consumer.close()
    report = json.loads(out)
    sent = sum(map(len, _log(settings.kafka).values())) - before
    assert (0, b"", {"sent": sent, "delivered": sent, "failed": 0}) == (process.returncode, err, report)


def _log(kafka: KafkaSettings) -> dict[int, list[bytes | None]]:
    return read(kafka.bootstrap, kafka.events_topic)


def test_the_metrics_are_those_of_the_catalogue() -> None:
    """`lynceus metrics` has a line for each, of one family on demand, and all about one; JSON has the declaration."""
    lines = [line.split()[0] for line in invoke("metrics").stdout.splitlines() if line.startswith("  ")]
    family = invoke("metrics", "--family", "relevance").stdout
    one = invoke("metrics", "ctr", LYNCEUS_COUNTING__CURRENCY="SEK").stdout
    assert [metric.name for metric in METRICS] == lines
    assert (True, False) == ("  relevance " in family, "  ctr " in family)
    assert (True, True) == ("clicks / impressions" in one, "lynceus_window_ctr_ratio" in one)
    assert [described(metric) for metric in METRICS] == json.loads(invoke("metrics", "--json").stdout)
    assert described(METRICS[0]) == json.loads(invoke("metrics", METRICS[0].name, "--json").stdout)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("metrics", "crt"), "unknown metric 'crt'; there is ctr"),
        (("metrics", "--family", "relevant"), "unknown family 'relevant'; there is relevance"),
        (("query", "conversio"), "unknown metric 'conversio'; there is conversion"),
        (("query", "ctr", "--surfaec", "home"), "No such option: --surfaec"),
    ],
)
def test_what_does_not_exist_has_neighbours(words: tuple[str, ...], message: str) -> None:
    """A metric, family or dimension that does not exist is refused with what is near, and exit code 2."""
    refused = invoke(*words)
    assert (2, True) == (refused.exit_code, message in refused.stderr)


def test_what_is_generated_is_written_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`lynceus render` writes what is missing or stale, `--check` only says so; outside of a checkout, neither."""
    monkeypatch.chdir(tmp_path)
    elsewhere = invoke("render")
    for folder in ("stream_app/metrics", "docs"):
        (tmp_path / folder).mkdir(parents=True)
    missing, written, fresh = invoke("render", "--check"), invoke("render"), invoke("render", "--check")
    assert [1, 1, 0, 0] == [ran.exit_code for ran in (elsewhere, missing, written, fresh)]
    assert "no checkout" in elsewhere.stderr
    assert "deploy/alertmanager/alertmanager.yml. Run `lynceus render`" in missing.stderr
    assert [(each.path, each.content) for each in generated()] == [
        (each.path, (tmp_path / each.path).read_text(encoding="utf-8")) for each in generated()
    ]


def test_alerting_is_written_for_an_installation(tmp_path: Path) -> None:
    """`lynceus render --to` needs no checkout, and puts in the addresses that it is given; they go with --to alone."""
    written = invoke("render", "--to", str(tmp_path), "--page", "https://pager.example/hook/", "--boards", "https://w")
    alone = invoke("render", "--page", "https://pager.example/hook")
    receivers = (tmp_path / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8")
    rules = (tmp_path / "prometheus" / "lynceus.alerts.yml").read_text(encoding="utf-8")
    assert (0, 2, True, True) == (
        written.exit_code,
        alone.exit_code,
        "url: https://pager.example/hook\n" in receivers,
        "dashboard_url: https://w/wall\n" in rules,
    )
    assert "--page goes with --to" in alone.stderr
