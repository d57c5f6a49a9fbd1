"""What is wrong around Lynceus is said in one line that names it and what to do; nothing is started or left behind."""

import json
import os
import re
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis as redis_client
from click.testing import CliRunner

from stream_app.child import Child
from stream_app.cli import main
from stream_app.embedded import KAFKA_API_VERSION, MockKafka, RedisServer
from stream_app.ports import free_port
from stream_app.settings import KafkaSettings, environment
from tests.commands import PATIENCE_S, Ran, environ_of, lynceus, run, run_all
from tests.fleet import Stored, make_settings, send, shop_events

pytestmark = pytest.mark.redis

SOON_S = 30.0
"""A second or two on a machine that is not busy."""
CANARY = "canary-5ac7e1"
"""A password: whatever shows it anywhere tells a secret."""

READING = ("worker", "serve", "demo --once")
SENDING = ("topics ensure", "produce", "replay", "collect")

# fault: the commands that meet it, the settings that make it, and what the line says of offender and remedy
FAULTS: dict[str, tuple[tuple[str, ...], dict[str, str], tuple[str, ...]]] = {
    "Kafka is out of reach": (
        ("worker", "demo --once", *SENDING),
        {"KAFKA__BOOTSTRAP": "127.0.0.1:{closed}"},
        ("Kafka", "127.0.0.1:{closed}", "LYNCEUS_KAFKA__BOOTSTRAP"),
    ),
    "Kafka does not speak SASL": (
        ("worker", "produce"),
        {
            "KAFKA__SECURITY": "SASL_PLAINTEXT",
            "KAFKA__USERNAME": "lynceus",
            "KAFKA__PASSWORD": CANARY,
            "KAFKA__API_VERSION": "",
        },
        ("Kafka", "{kafka}", "LYNCEUS_KAFKA__BOOTSTRAP"),
    ),
    "the certificates cannot be read": (
        ("worker", "topics ensure"),
        {"KAFKA__SECURITY": "SSL", "KAFKA__CA_FILE": "/nowhere/ca.pem"},
        ("LYNCEUS_KAFKA__CA_FILE", "/nowhere/ca.pem", "No such file", "Name a readable file"),
    ),
    "a topic is missing": (
        ("worker", "demo --once", "produce", "replay", "collect"),
        {"KAFKA__BOOTSTRAP": "{bare}"},
        ("{bare}", "has no topic", "lynceus.events", "lynceus topics ensure"),
    ),
    "Redis is out of reach": (
        READING,
        {"REDIS__URL": "redis://127.0.0.1:{closed}/0"},
        ("redis://127.0.0.1:{closed}/0", "LYNCEUS_REDIS__URL"),
    ),
    "Redis evicts": (
        READING,
        {"REDIS__URL": "{evicting}"},
        ("{evicting}", "maxmemory-policy", "allkeys-lru", "CONFIG SET maxmemory-policy noeviction"),
    ),
    "Redis wants a password": (
        READING,
        {"REDIS__URL": "{locked}"},
        ("{locked}", "wants a password", "LYNCEUS_REDIS__PASSWORD"),
    ),
    "Redis wants another password": (
        ("worker", "serve"),
        {"REDIS__URL": "{locked}", "REDIS__PASSWORD": f"not-{CANARY}"},
        ("{locked}", "refuses the user name or the password", "LYNCEUS_REDIS__PASSWORD"),
    ),
    "Redis is a replica": (
        ("worker", "demo --once"),
        {"REDIS__URL": "{replica}"},
        ("{replica}", "is a slave", "Point LYNCEUS_REDIS__URL at the master"),
    ),
    "the server's port is in use": (
        ("serve", "demo --once"),
        {"SERVER__PORT": "{held}"},
        ("{held}", "in use", "LYNCEUS_SERVER__PORT"),
    ),
    "the worker's port is in use": (
        ("worker", "demo --once"),
        {"WORKER__METRICS_PORT": "{held}"},
        ("{held}", "in use", "LYNCEUS_WORKER__METRICS_PORT"),
    ),
    "the collector's port is in use": (
        ("collect",),
        {"COLLECTOR__PORT": "{held}"},
        ("{held}", "in use", "LYNCEUS_COLLECTOR__PORT"),
    ),
    "the data are not there": (
        ("demo --once --data missing", "replay missing"),
        {},
        ("missing", "Name "),
    ),
}


@pytest.fixture(scope="module")
def places() -> Iterator[dict[str, str]]:
    """Yield where the good and the bad surroundings are."""
    topics = KafkaSettings()
    ours = {topics.events_topic: 1, topics.dead_letters_topic: 1, topics.late_topic: 1, topics.inputs_topic: 1}
    with (
        MockKafka(ours) as kafka,
        MockKafka({}) as bare,
        RedisServer() as sound,
        RedisServer({"maxmemory-policy": "allkeys-lru"}) as evicting,
        RedisServer({"requirepass": CANARY}) as locked,
        RedisServer() as replica,
        redis_client.Redis.from_url(replica.url) as of_replica,
        socket.socket() as held,
    ):
        of_replica.execute_command("REPLICAOF", "127.0.0.1", "1")
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield {
            "kafka": kafka.bootstrap,
            "bare": bare.bootstrap,
            "sound": sound.url,
            "evicting": evicting.url,
            "locked": locked.url,
            "replica": replica.url,
            "held": str(held.getsockname()[1]),
            "closed": str(free_port()),
        }


def given(places: dict[str, str], changed: dict[str, str]) -> dict[str, str]:
    """Return the settings of good surroundings, with those that make a fault."""
    sound = {
        "KAFKA__BOOTSTRAP": "{kafka}",
        "KAFKA__API_VERSION": KAFKA_API_VERSION,
        "KAFKA__CONNECT_TIMEOUT_S": "1",
        "REDIS__URL": "{sound}",
        "SERVER__PORT": "0",
        "WORKER__METRICS_PORT": "0",
    }
    return {f"LYNCEUS_{name}": value.format(**places) for name, value in (sound | changed).items()}


def faults_of(ran: Ran, expected: tuple[str, ...]) -> list[str]:
    """Return what is wrong with how a command said what is wrong."""
    lines = ran.stderr.splitlines()
    found = [f"says nothing of {word}" for word in expected if word not in ran.stderr]
    found += [] if ran.status == 1 else [f"status {ran.status}"]
    found += [] if len(lines) == 1 and ran.stderr.startswith("lynceus") else [f"{len(lines)} lines: {ran.stderr}"]
    found += [f"prints {ran.stdout}"] if ran.stdout else []
    found += ["a traceback"] if "Traceback" in ran.stderr else []
    found += ["the password"] if CANARY in ran.words else []
    found += [f"{ran.seconds:.0f} s"] if ran.seconds > SOON_S else []
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_one_clear_line(fault: str, places: dict[str, str], tmp_path: Path) -> None:
    """Every command that meets the fault says so soon, in one line with offender and remedy, and leaves nothing."""
    commands, changed, words = FAULTS[fault]
    expected = tuple(word.format(**places) for word in words)
    directory = tmp_path / "work"
    directory.mkdir()
    ran = run_all(commands, given(places, changed), directory)
    wrong = {command: found for command, done in ran.items() if (found := faults_of(done, expected))}
    left = [path for folder in ("work", "temporary") for path in (tmp_path / folder).iterdir()]
    assert ({}, []) == (wrong, left)


def test_a_broken_file_is_named_with_its_line(places: dict[str, str], tmp_path: Path) -> None:
    """A file that cannot be replayed is named with line, value and remedy; nothing is started."""
    directory = tmp_path / "work"
    folder = directory / "logs"
    folder.mkdir(parents=True)
    rows = [
        "timestamp,item_id,position,click,propensity_score",
        "2024-01-01 00:00:00+00:00,A,1,0,0.5",
        "2024-01-01 00:00:01+00:00,A,1,perhaps,0.5",
    ]
    (folder / "women-bts.csv").write_text("\n".join(rows) + "\n")
    ran = run_all(("demo --once --json --data logs", "replay logs"), given(places, {}), directory)
    expected = ("logs/women-bts.csv, line 3", "click 'perhaps'", "A click is 0 or 1")
    wrong = {command: found for command, done in ran.items() if (found := faults_of(done, expected))}
    assert ({}, []) == (wrong, list((tmp_path / "temporary").iterdir()))


@pytest.mark.parametrize("command", [*READING, *SENDING])
@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("LYNCEUS_REDIS__PASSWROD", CANARY, "unknown setting {name}. Did you mean LYNCEUS_REDIS__PASSWORD?"),
        (
            "LYNCEUS_KAFKA__PARTITIONS",
            "many",
            "{name}='many': Input should be a valid integer, unable to parse string as an integer. {remedy}",
        ),
    ],
)
def test_a_wrong_setting_is_refused_by_every_command(command: str, name: str, value: str, line: str) -> None:
    """No command does anything before it understands its settings."""
    remedy = "`lynceus config` shows every setting"
    none_of_ours = dict.fromkeys(name for name in os.environ if name.startswith("LYNCEUS_"))
    ran = CliRunner().invoke(main, command.split(), env={**none_of_ours, name: value})
    assert (1, "", f"lynceus: {line.format(name=name, remedy=remedy)}\n") == (ran.exit_code, ran.stdout, ran.stderr)


def get(url: str, status: int = 200) -> str | None:
    """Return what is answered, or None while nobody does, or answers with another status."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            found, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        found, text = error.code, error.read().decode()
    except OSError:
        return None
    return text if found == status else None


def logged(child: Child, event: str, name: str) -> str:
    """Return a field of the first log line of an event; wait for the line."""

    def lines() -> list[dict[str, str]]:
        said = (json.loads(line) for line in child.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in said if line["event"] == event]

    assert child.wait_until(lambda: bool(lines()), PATIENCE_S), child.tail()
    return lines()[0][name]


def test_a_password_is_shown_nowhere(mock_kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    """Not in logs (debug, also when Redis dies), on no page, in no output: the passwords of Redis and Kafka."""
    with RedisServer({"requirepass": CANARY}) as redis:
        settings = make_settings(mock_kafka_settings, redis.url, partitions=8)
        secret = {"LYNCEUS_REDIS__PASSWORD": CANARY, "LYNCEUS_KAFKA__PASSWORD": CANARY, "LYNCEUS_LOG_LEVEL": "debug"}
        environ = environ_of(environment(settings) | secret | {"LYNCEUS_SERVER__PORT": "0"}, tmp_path / "temporary")
        worker, server = (
            Child(lynceus(one), tmp_path / f"{one}.log", tmp_path, environ) for one in ("worker", "serve")
        )
        try:
            of_worker, of_server = (
                f"http://{logged(worker, 'worker starting', 'metrics')}",
                logged(server, "serving", "url"),
            )
            assert worker.wait_until(lambda: get(f"{of_worker}/readyz") is not None, PATIENCE_S), worker.tail()
            pages = [get(f"{of_worker}/metrics"), get(f"{of_server}/metrics")]
            pages += [get(f"{of_server}{path}") for path in ("/v1/view", "/v1/catalogue", "/wall", "/readyz")]
            redis.kill()
            for child, url in ((worker, of_worker), (server, of_server)):
                assert child.wait_until(lambda url=url: get(f"{url}/readyz", 503) is not None, PATIENCE_S), child.tail()
            pages += [get(f"{of_worker}/readyz", 503), get(f"{of_server}/readyz", 503), get(f"{of_server}/v1/view")]
        finally:
            for child in (worker, server):
                child.stop()
    shown = run(("config",), environment(settings) | secret, tmp_path)
    words = [*pages, worker.log.read_text(), server.log.read_text(), shown.words]
    assert (9, [], "***") == (
        len(list(filter(None, pages))),
        [word for word in words if CANARY in str(word)],
        re.findall("LYNCEUS_REDIS__PASSWORD=(.*)", shown.stdout)[0],
    )


@pytest.mark.parametrize("flags", [("--without-web",), ()], ids=["without-web", "no flag"])
def test_faust_itself_can_run_the_worker(
    flags: tuple[str, ...], mock_kafka_settings: KafkaSettings, places: dict[str, str], tmp_path: Path
) -> None:
    """`faust -A stream_app.app worker` counts, listens for /metrics only, and leaves at SIGTERM."""
    settings = make_settings(mock_kafka_settings, places["sound"], partitions=8)
    folder = tmp_path / "work"
    folder.mkdir()
    command = [sys.executable, "-m", "faust", "-A", "stream_app.app", "worker", *flags]
    stored = Stored(settings)
    sent = send(settings.kafka, shop_events(1_000))
    child = Child(command, tmp_path / "faust.log", folder, environ_of(environment(settings), tmp_path / "temporary"))
    try:
        assert child.wait_until(lambda: stored.applied() >= sent, PATIENCE_S), child.tail()
        listening = psutil.Process(child.pid).net_connections("tcp")
        ports = [one.laddr.port for one in listening if one.status == psutil.CONN_LISTEN]
        pages = [get(f"http://127.0.0.1:{port}/livez") for port in ports]
        began = time.monotonic()
        os.kill(child.pid, signal.SIGTERM)
        status = child.wait(SOON_S)
        print(f"ended {time.monotonic() - began:.1f} s after SIGTERM")  # noqa: T201  # a figure to look at
    finally:
        child.kill()
        stored.close()
    assert (["alive\n"], False, 0, []) == (pages, 6066 in ports, status, list(folder.iterdir()))
