"""Real workers over a real Apache Kafka and a real Redis: the totals are those of an independent recount."""

import json
import random
import re
import urllib.request
from pathlib import Path

import pytest

from producers.topics import ensure_topics
from stream_app.settings import KafkaSettings, Settings
from tests.fleet import Fleet, fleet, make_settings, send, shop_events
from tests.recount import RECOUNTED_FAMILIES, known, read, recount


def assert_exact(running: Fleet) -> None:
    """Compare every total by surface and arm, and the outcomes, with a recount of the raw log."""
    kafka = running.settings.kafka
    expected, outcomes = recount(read(kafka.bootstrap, kafka.events_topic))
    assert known(running.stored.totals()) == expected
    assert running.stored.outcomes() == outcomes


@pytest.fixture
def settings(kafka_settings: KafkaSettings, redis_url: str):  # Settings, of the fixture's own making
    made = make_settings(kafka_settings, redis_url, families=RECOUNTED_FAMILIES)
    ensure_topics(made.kafka)
    return made


def test_a_worker_killed_in_the_middle_counts_exactly(settings: Settings, tmp_path: Path) -> None:
    """Kill -9 in the middle of 100,000 events, start it again: every total equals the recount."""
    sent = send(settings.kafka, shop_events(100_000))
    with fleet(settings, tmp_path) as running:
        first = running.start()
        running.wait(lambda: 0 < running.stored.applied(), "something counted")
        first.kill()
        in_the_middle = running.stored.applied()
        assert 0 < in_the_middle < sent
        running.start()
        running.wait_applied(sent)
        assert_exact(running)


def test_two_workers_share_and_take_over(settings: Settings, tmp_path: Path) -> None:
    """Two workers share four partitions; one dies, the other counts on; the totals stay exact."""
    raws = shop_events(60_000, seed=2)
    with fleet(settings, tmp_path) as running:
        first = running.start()
        running.wait(lambda: len(running.stored.owners()) == 4, "four partitions claimed")
        running.start()
        running.wait(lambda: len(set(running.stored.owners().values())) == 2, "both own some")
        sent = send(settings.kafka, raws[:30_000])
        running.wait_applied(sent)
        owners = set(running.stored.owners().values())
        sent += send(settings.kafka, raws[30_000:])
        first.kill()
        running.wait_applied(sent)
        running.wait(lambda: len(set(running.stored.owners().values())) == 1, "one owns all")
        assert set(running.stored.owners().values()) < owners
        assert_exact(running)


def test_garbage_is_counted_kept_and_survived(settings: Settings, tmp_path: Path) -> None:
    """5 % garbage: counted by reason, each in the dead letters as it was, no restart, totals exact."""
    seed = 3
    chance = random.Random(seed)
    events = shop_events(20_000, seed)
    garbage = [b"{", b"", b"\xff\xfe", b"[1]", b'{"type":"nope"}', b"null", b'{"type":"click"}', None]
    known = set(events)
    raws: list[bytes | None] = []
    for event in events:
        raws.append(event)
        if chance.random() < 0.05:
            raws.append(chance.choice(garbage))
    bad = [raw or b"" for raw in raws if raw not in known]
    sent = send(settings.kafka, raws)
    with fleet(settings, tmp_path) as running:
        worker = running.start()
        running.wait_applied(sent)
        assert_exact(running)
        assert running.stored.rejected().total() == len(bad)
        letters = [
            v for values in read(settings.kafka.bootstrap, settings.kafka.dead_letters_topic).values() for v in values
        ]
        assert sorted(letters) == sorted(bad)
        assert worker.is_running
        assert len(running.workers) == 1


def test_the_same_events_again_are_duplicates(settings: Settings, tmp_path: Path) -> None:
    """Sent twice, counted once."""
    raws = shop_events(5_000, seed=4)
    with fleet(settings, tmp_path) as running:
        running.start()
        sent = send(settings.kafka, raws)
        running.wait_applied(sent)
        once = running.stored.totals()
        sent += send(settings.kafka, raws)
        running.wait_applied(sent)
        assert running.stored.totals() == once
        assert running.stored.outcomes()["duplicate"] == len(raws)


def test_sigterm_leaves_nothing_uncounted_and_nothing_to_replay(settings: Settings, tmp_path: Path) -> None:
    """A worker that is asked to leave writes once more; the next one finds every fetched record counted."""
    raws = shop_events(30_000, seed=5)
    sent = send(settings.kafka, raws)
    with fleet(settings, tmp_path) as running:
        first = running.start()
        running.wait(lambda: running.stored.applied() > 0, "something counted")
        first.stop()
        assert first.wait(0) == 0
        running.start()
        running.wait_applied(sent)
        assert_exact(running)
        assert "flush_refused" not in running.log()


def test_other_rules_are_refused_and_nothing_is_written(settings: Settings, tmp_path: Path) -> None:
    """State counted under one configuration is never continued under another."""
    sent = send(settings.kafka, shop_events(1_000, seed=6))
    with fleet(settings, tmp_path) as running:
        first = running.start()
        running.wait_applied(sent)
        first.stop()
        before = [running.stored.fields(partition) for partition in range(4)]
        running.start({"LYNCEUS_COUNTING__CLICK_WINDOW_S": "60"})
        running.wait(lambda: running.log().count("partition refused") == 4, "four refusals")
        assert [running.stored.fields(partition) for partition in range(4)] == before


def test_a_recreated_topic_is_not_taken_for_the_old_one(settings: Settings, tmp_path: Path) -> None:
    """When the record before the stored offset is another one, the partition halts and says so."""
    from confluent_kafka.admin import AdminClient

    kafka = settings.kafka
    sent = send(kafka, shop_events(4_000, seed=7))
    with fleet(settings, tmp_path) as running:
        first = running.start()
        running.wait_applied(sent)
        first.stop()
        before = running.stored.totals()
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
        admin.delete_topics([kafka.events_topic])[kafka.events_topic].result(30)
        running.wait(lambda: kafka.events_topic not in admin.list_topics(timeout=10).topics, "topic deleted")
        ensure_topics(kafka)
        send(kafka, shop_events(8_000, seed=8))
        running.start()
        running.wait(lambda: running.log().count("another log") == 4, "four partitions halted")
        assert running.stored.totals() == before


def test_the_worker_shows_its_vitals(settings: Settings, tmp_path: Path) -> None:
    """/metrics adds up to what is stored, /livez and /readyz answer, label sets are there from the start."""
    sent = send(settings.kafka, shop_events(2_000, seed=9))
    with fleet(settings, tmp_path) as running:
        running.start()
        running.wait_applied(sent)
        (started,) = [json.loads(line) for line in running.log().splitlines() if "worker starting" in line]

        def get(path: str) -> str:
            with urllib.request.urlopen(f"http://{started['metrics']}{path}", timeout=10) as answer:
                return str(answer.read().decode())

        assert (get("/livez"), get("/readyz")) == ("alive\n", "ready\n")
        page = get("/metrics")
        shown = sum(float(v) for v in re.findall(r"^lynceus_impressions_total\{.*\} (.+)$", page, re.MULTILINE))
        assert shown == sum(counts.get("impressions", 0) for counts in running.stored.totals().values())
        assert 'lynceus_dead_letters_total{reason="syntax"} 0.0' in page
        assert "_created" not in page
