"""A world's events through a real Kafka, worker and Redis, and every counter against its ledger, to the unit.

    python -m benchmarks.truth [--events N] [--scenario TEXT ...] [--json FILE]

By default garbage and duplicates are among the events. The estimates beside the truth are for looking at: one run says
little about intervals; 200 seeds do, in tests/producers/test_truth.py.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Final

import redis
from confluent_kafka import Producer

from producers import truth
from producers.ledger import MEASURES, Ledger
from producers.producing import phases
from producers.topics import ensure_topics
from producers.transit import records
from producers.world import World
from stream_app import settings as configuration
from stream_app.apache_kafka import ApacheKafka
from stream_app.child import Child
from stream_app.core import cells as layout
from stream_app.embedded import RedisServer
from stream_app.metrics.catalogue import INDEX, METRICS
from stream_app.settings import KafkaSettings, RedisSettings, Settings, WorkerSettings
from stream_app.statistics.lowering import lower

START_MS: Final = 1_748_768_400_000
"""2025-06-01T09:00:00Z: before any run, so that nothing comes from the future."""
RATE: Final = 20.0
"""Sessions a second: a million records are about 47 minutes, so that few conversions are still to come at the end."""
PARTITIONS: Final = 4
PATIENCE_S: Final = 600.0
POLL_S: Final = 0.2
Totals = dict[tuple[str, ...], dict[str, int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--events", type=int, default=1_000_000, help="records sent (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenario", action="append", help="as of `lynceus produce`; may be repeated")
    parser.add_argument("--json", type=Path, help="write the result there as well")
    chosen = parser.parse_args()
    texts = chosen.scenario or ["duplicates=0.02", "malformed=0.01"]
    world, ledger = World(chosen.seed, phases(texts, START_MS)), Ledger()
    began = time.monotonic()
    totals, outcomes = through_everything(world, ledger, chosen.events)
    seconds = time.monotonic() - began
    told = {key: {name: n for name, n in of.items() if name in MEASURES} for key, of in totals.items()}
    differences = compare({key: of for key, of in told.items() if of}, ledger.totals()) + compare(
        {("outcomes",): outcomes}, {("outcomes",): ledger.outcomes}
    )
    amounts = sum(len(of) for of in ledger.totals().values())
    estimates = beside_the_truth(totals, world)
    for row in estimates:
        print("{surface:<16}{arm:<15}{metric:<20}{value:.5f} ({low:.5f} to {high:.5f})  true {true:.5f}".format(**row))
    print(f"{chosen.events:,} records, scenarios {', '.join(texts)}: {dict(ledger.outcomes)}; {seconds:.0f} s in all")
    print(f"{amounts:,} totals in {len(ledger.totals())} slices compared, {len(differences)} differ")
    for line in differences[:20]:
        print(line)
    if chosen.json:
        result = {
            "events": chosen.events, "seed": chosen.seed, "scenarios": texts, "outcomes": dict(ledger.outcomes),
            "slices": len(ledger.totals()), "totals_compared": amounts, "differences": differences,
            "estimates": estimates,
        }  # fmt: skip
        chosen.json.write_text(json.dumps(result, indent=2) + "\n")
    sys.exit(1 if differences else 0)


def through_everything(world: World, ledger: Ledger, number: int) -> tuple[Totals, Counter[str]]:
    """Send that many records, wait until all are applied, and return what is stored."""
    with ExitStack() as open_:
        folder = Path(tempfile.mkdtemp(prefix="lynceus-truth-"))
        open_.callback(shutil.rmtree, folder, ignore_errors=True)
        broker = open_.enter_context(ApacheKafka(Path(__file__).parent.parent / ".cache" / "kafka"))
        server = open_.enter_context(RedisServer())
        settings = Settings(
            app="truth",
            log_format="json",
            kafka=KafkaSettings(bootstrap=broker.bootstrap, partitions=PARTITIONS),
            redis=RedisSettings(url=server.url),
            worker=WorkerSettings(metrics_port=0),
        )
        ensure_topics(settings.kafka)
        environ = {**os.environ, **configuration.environment(settings)}
        child = Child([sys.executable, "-m", "stream_app", "worker"], folder / "worker.log", Path.cwd(), environ)
        open_.callback(child.stop)
        send(settings.kafka, world, ledger, number)
        client = open_.enter_context(redis.Redis.from_url(server.url))
        keys = [layout.partition_key(settings.app, settings.kafka.events_topic, number) for number in range(PARTITIONS)]
        deadline, heads = time.monotonic() + PATIENCE_S, list[layout.Head]()
        while sum(head.applied for head in heads) < number:
            assert child.is_running, child.tail()
            assert time.monotonic() < deadline, f"{heads}. {child.tail()}"
            time.sleep(POLL_S)  # a poll of our own child: there is nothing to be woken by
            found = [client.hget(key, layout.HEAD) for key in keys]
            heads = [layout.unpack_head(head) for head in found if isinstance(head, bytes)]
        return stored(client, keys), +sum((Counter(head.outcomes) for head in heads), Counter[str]())


def send(kafka: KafkaSettings, world: World, ledger: Ledger, number: int) -> None:
    """Produce by a fast client; keys keep everything of a user in one partition."""
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap, "linger.ms": 20, "compression.type": "lz4", "enable.idempotence": True}
    )
    for sent, record in enumerate(islice(records(world, world.happenings(START_MS, RATE), ledger), number)):
        while True:
            try:
                producer.produce(kafka.events_topic, record.value, record.key)
                break
            except BufferError:
                producer.poll(0.1)
        if sent % 1_000 == 0:
            producer.poll(0)
    left = producer.flush(60)
    assert left == 0, f"{left} records were not delivered"


def stored(client: "redis.Redis", keys: list[str]) -> Totals:
    """Return all that is stored, added up by slice, zeros left out."""
    sums: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for key in keys:
        fields = {name.decode(): value for name, value in client.hgetall(key).items()}  # type: ignore[union-attr]
        slices = layout.unpack_slices(fields[layout.SLICES])
        for name in filter(layout.holds_tallies, layout.unpack_directory(fields[layout.DIRECTORY])):
            for number, tally in layout.unpack_rows(fields[name]).items():
                sums[tuple(slices[number])].update({measure: tally[at] for measure, at in INDEX.items() if tally[at]})
    return {key: dict(of) for key, of in sums.items() if of}


def compare(counted: Any, happened: Any) -> list[str]:
    """Return a line for everything that is not equal."""
    return [
        f"{'/'.join(key)} {name}: counted {mine}, happened {its}"
        for key in sorted(counted.keys() | happened.keys())
        for name in sorted(counted.get(key, {}).keys() | happened.get(key, {}).keys())
        if (mine := counted.get(key, {}).get(name, 0)) != (its := happened.get(key, {}).get(name, 0))
    ]


def beside_the_truth(totals: Totals, world: World) -> list[dict[str, Any]]:
    """Return what is estimated of each surface and arm, beside the truth of the steady world in the first hour."""
    sums: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for key, of in totals.items():
        sums[key[0], key[1]].update({name: of.get(name, 0) for name in MEASURES})
    rows = []
    for surface, by_arm in truth.rates(world.population).items():
        for arm, true in by_arm.items():
            tally = [sums[surface, arm][name] for name in INDEX]
            for metric in METRICS:
                estimate = lower(metric, tally, INDEX) if metric.name in true else None
                minor = 100 if metric.unit == "currency" else 1
                if estimate is not None:
                    rows.append(
                        {
                            "surface": surface, "arm": arm, "metric": metric.name, "value": estimate.value,
                            "low": estimate.low, "high": estimate.high, "true": true[metric.name] / minor,
                        }
                    )  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
