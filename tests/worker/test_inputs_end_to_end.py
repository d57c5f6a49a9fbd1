"""What is told on the command line comes out of `lynceus query`: real commands, a real worker, a real Redis."""

import json
import time
from pathlib import Path

import pytest
import redis as redis_client

from stream_app.core import codec
from stream_app.core.cells import inputs_key
from stream_app.core.events import Impression, Order
from stream_app.embedded import MockKafka
from stream_app.settings import KafkaSettings, Settings, environment
from tests.commands import run
from tests.fleet import fleet, make_settings, send
from tests.recount import read


@pytest.fixture
def settings(mock_kafka: MockKafka, mock_kafka_settings: KafkaSettings, redis_url: str) -> Settings:
    del mock_kafka
    return make_settings(mock_kafka_settings, redis_url, partitions=8)


def events() -> list[bytes]:
    """Return five impressions and two orders of new customers, of just now."""
    now = time.time_ns() // 1_000_000
    shown = [Impression(id=f"i{n}", ts=now, user=f"u{n}", decision="d", item=f"A{n}", position=1) for n in range(5)]
    orders = [
        Order(id=f"o{n}", ts=now, user=f"u{n}", order=f"o{n}", currency="EUR", total_minor=1, new_customer=True)
        for n in range(2)
    ]
    return [codec.encode(each) for each in (*shown, *orders)]


def test_what_is_told_is_in_the_answer(settings: Settings, tmp_path: Path) -> None:
    """Told, told again, and with another worker: the customers cost what was said, and the hash stays as it was."""
    given = environment(settings)
    work = tmp_path / "work"
    work.mkdir()
    words = ("input", "cost", "1000", "--scope", "acquisition", "--from", "2020-01-01", "--to", "2090-01-01")
    bad = run((*words, "--currency", "EUR"), given, work)
    kafka, key = settings.kafka, inputs_key(settings.app)
    with fleet(settings, tmp_path) as running, redis_client.Redis.from_url(settings.redis.url) as stored:
        first = running.start()
        told = run((*words, "--author", "finance"), given, work)
        running.wait(lambda: stored.hlen(key) == 2, "the input is stored")
        running.wait_applied(send(settings.kafka, events()))
        answered = run(("query", "cac", "--window", "24h", "--json"), given, work)
        before = stored.hgetall(key)
        [raw] = [value for name, value in before.items() if not name.startswith(b"@")]
        send(settings.kafka, [raw, raw], settings.kafka.inputs_topic)
        send(settings.kafka, [b"no input"], settings.kafka.inputs_topic)
        running.wait(lambda: bool(stored.hexists(key, "@refused:0")), "all of it is read")
        first.stop()
        running.start()
        more = run(("input", "margin_rate", "0.5", *words[5:], "--author", "finance"), given, work)
        # It is the last record of the topic, so the new worker has read everything before it again.
        running.wait(lambda: stored.hlen(key) == 4, "the next worker follows")
        again = run(("query", "cac", "--window", "24h", "--json"), given, work)
        after = stored.hgetall(key)
        letters = read(kafka.bootstrap, kafka.dead_letters_topic)
        assert first.wait(0) == 0
        assert ("Traceback", "Unclosed") == tuple(
            word for word in ("Traceback", "Unclosed") if word not in running.log()
        )
    assert (1, True) == (bad.status, "author" in bad.stderr)
    assert (0, True) == (told.status, "by finance" in told.stdout)
    found, later = json.loads(answered.stdout), json.loads(again.stdout)
    cost = 1_000 * (found["end_ms"] - found["start_ms"]) / (json.loads(raw)["to_ts"] - json.loads(raw)["from_ts"])
    assert pytest.approx(cost / 2) == found["estimate"]["value"]
    assert ["finance"] == found["told"][0]["authors"]
    assert (raw, found["told"]) == (after[json.loads(raw)["id"].encode()], [later["told"][0] | found["told"][0]])
    assert ([b"no input"], 0) == ([value for values in letters.values() for value in values], more.status)
