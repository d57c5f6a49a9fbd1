"""Real processes, real faults: after each, every stored cell equals a recount of the raw log.

test_storm.py mixes all of them.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from stream_app.core import cells as layout
from stream_app.errors import LynceusError
from stream_app.settings import KafkaSettings
from tests.conftest import unavailable
from tests.faults.ground import Ground
from tests.faults.schedule import Storm
from tests.faults.verify import Verdict
from tests.fleet import send, shop_events
from tests.recount import read

PATIENCE_S = 120.0
RECORDS = 1_000


@pytest.fixture(scope="module")
def _ground(tmp_path_factory: pytest.TempPathFactory, kafka_cache: Path) -> Iterator[Ground]:
    try:
        with Ground(1, tmp_path_factory.mktemp("ground")) as ground:
            yield ground
    except LynceusError as error:
        unavailable(error)


@pytest.fixture
def ground(_ground: Ground) -> Ground:
    """Return the ground with two workers that have counted all that was sent so far, and more on the way."""
    _ground.proxy.heal()
    _ground.replace_workers()
    caught_up(_ground)
    _ground.send(RECORDS)
    return _ground


def caught_up(ground: Ground) -> None:
    assert ground.wait_for(lambda: ground.progress() >= ground.sent, PATIENCE_S), (
        f"{ground.applied} of {ground.sent} counted",
        [worker.tail() for worker in ground.fleet.workers[-3:]],
    )


def verdict_of(ground: Ground) -> Verdict:
    """Send more, let everything be counted, and compare."""
    ground.send(RECORDS)
    caught_up(ground)
    return ground.verdict()


def assert_exact(ground: Ground) -> None:
    verdict = verdict_of(ground)
    assert (verdict.lost, verdict.doubled, verdict.differences) == (0, 0, ())


SINGLE = {
    "W2 kill worker": "kill worker",
    "W3 zombie": "zombie",
    "W3 pause worker": "pause worker",
    "K2 third worker": "third worker",
    "D1 kill Redis": "kill Redis",
    "D6 full": "Redis full",
    "D8 SCRIPT FLUSH": "SCRIPT FLUSH",
    "D8 FLUSHALL": "FLUSHALL",
    "D9 black hole": "black hole",
    "D9 slow": "slow network",
    "D9 RST": "connections reset",
    "D9 half a command": "command cut",
    "D9 refused": "connections refused",
    "D10 replies lost": "replies lost",
    "D10 requests late": "requests late",
    "K1 broker killed": "kill broker",
}


@pytest.mark.parametrize("fault", SINGLE)
def test_one_fault_costs_nothing(ground: Ground, fault: str) -> None:
    """Under load, one fault of this kind: every cell equals the recount."""
    storm = Storm(ground)
    storm.strike(SINGLE[fault])
    ground.send(RECORDS)
    ground.wait_for(lambda: storm.end_due() or not storm.is_raging, PATIENCE_S)
    assert_exact(ground)


def test_a_worker_that_is_asked_to_leave_does_so_at_once(ground: Ground) -> None:
    """W6: SIGTERM under load ends a worker with status 0; nothing is lost, nothing doubled."""
    worker = ground.running[0]
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(PATIENCE_S) == 0
    ground.replace_workers()
    assert_exact(ground)


def test_a_rollback_under_load_is_repaired(ground: Ground) -> None:
    """D2: Redis comes back as it was a moment ago, while records arrive: what is missing is counted again."""
    caught_up(ground)
    copy = ground.copy_redis()
    ground.send(RECORDS)
    caught_up(ground)
    ground.send(RECORDS)
    ground.restore_redis(copy)
    assert_exact(ground)


def test_a_rollback_of_an_idle_partition_is_noticed(ground: Ground) -> None:
    """D2: nothing arrives, Redis goes back: the owners notice without a record, and count it again."""
    caught_up(ground)
    copy = ground.copy_redis()
    ground.send(RECORDS)
    caught_up(ground)
    ground.restore_redis(copy)
    caught_up(ground)
    verdict = ground.verdict()
    assert verdict.differences == ()


def _first_pane(ground: Ground, partition: int) -> str:
    return next(iter(layout.unpack_directory(ground.fleet.stored.fields(partition)[b"@dir"])))


DAMAGE: dict[str, Callable[[Ground, str], object]] = {
    "a pane deleted": lambda g, key: g.client.hdel(key, _first_pane(g, 0)),
    "the head deleted": lambda g, key: g.client.hdel(key, "@head"),
    "the nonce deleted": lambda g, key: g.client.hdel(key, "@tok"),
    "the whole partition deleted": lambda g, key: g.client.delete(key),
    "the offset deleted": lambda g, key: g.client.hdel(key, "@off"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_state_is_counted_anew(ground: Ground, damage: str) -> None:
    """D8: whatever is missing in a partition's hash, when its owner dies: the totals are those of the recount."""
    with damaged(ground, DAMAGE[damage]):
        ground.send(RECORDS)
        caught_up(ground)
        assert ground.verdict().differences == ()


REFUSED: dict[str, Callable[[Ground, str], object]] = {
    "the configuration deleted": lambda g, key: g.client.hdel(key, "@cfg"),
    "another type": lambda g, key: g.client.set(key, b"not a hash"),
}


@pytest.mark.parametrize("damage", REFUSED)
def test_what_cannot_be_state_is_refused(ground: Ground, damage: str) -> None:
    """D8: counts of unknown rules, or no counts at all: the partition is refused, and left as it is."""
    told = ground.fleet.log().count("partition refused")
    with damaged(ground, REFUSED[damage]):
        assert ground.wait_for(lambda: ground.fleet.log().count("partition refused") > told, PATIENCE_S)


@contextmanager
def damaged(ground: Ground, damage: Callable[[Ground, str], object]) -> Iterator[None]:
    """Damage partition 0 and kill all owners; if it did not come right, put back what was there."""
    caught_up(ground)
    key = layout.partition_key(ground.settings.app, ground.settings.kafka.events_topic, 0)
    kept, before = ground.client.dump(key), ground.client.hget(key, "@inc")
    damage(ground, key)
    for worker in ground.running:
        worker.kill()
    ground.replace_workers()
    try:
        yield
    finally:
        if ground.client.type(key) != b"hash" or ground.client.hget(key, "@inc") == before:
            for worker in ground.running:
                worker.kill()
            ground.client.restore(key, 0, kept, replace=True)


def test_the_groups_offsets_are_only_a_witness(ground: Ground) -> None:
    """K6: the committed offsets are set to zero and to the end while nobody is there; counting goes on at `@off`."""
    caught_up(ground)
    ground.send(RECORDS)
    for worker in ground.running:
        worker.kill()
    kafka = ground.settings.kafka
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    offsets = [TopicPartition(kafka.events_topic, p, 0 if p % 2 else 2**31) for p in range(kafka.partitions)]
    wanted = [ConsumerGroupTopicPartitions(ground.settings.app, offsets)]

    def is_reset() -> bool:  # the group has to notice first that its members are dead
        try:
            done = [future.result(10) for future in admin.alter_consumer_group_offsets(wanted).values()]
        except Exception:  # confluent_kafka has one class for every refusal
            return False
        return all(not p.error for result in done for p in result.topic_partitions)

    assert ground.wait_for(is_reset, PATIENCE_S)
    ground.replace_workers()
    assert_exact(ground)


def test_time_that_is_not_in_order_changes_no_count(ground: Ground) -> None:
    """T2 T3: a fifth of all impressions again, and events from ten years ahead: duplicates, future, no count."""
    caught_up(ground)
    before, cells = ground.fleet.stored.outcomes(), ground.fleet.stored.totals()
    kafka: KafkaSettings = ground.settings.kafka
    ahead = [
        raw.replace(b'"id":"', b'"id":"ahead-') for raw in shop_events(100, 3, int(time.time() * 1000) + 315 * 10**9)
    ]
    log = read(kafka.bootstrap, kafka.events_topic)
    again = [raw for values in log.values() for raw in values if b'"type":"impression"' in (raw or b"")][::5]
    ground.sent += send(kafka, [*ahead, *again])
    caught_up(ground)
    expected = before + Counter(future=len(ahead), duplicate=len(again))
    assert (ground.fleet.stored.outcomes(), ground.fleet.stored.totals()) == (expected, cells)
