"""Where recorded events come from: a file, or a topic as far as it goes now. Each feeds a `Backtest` and closes it."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from rich.console import Console

from producers import broker
from producers.record_files import RecordFile, opened
from stream_app.backtest import Account, Backtest
from stream_app.core.panes import HOUR_MS
from stream_app.core.rules import Rules
from stream_app.errors import LynceusError
from stream_app.progress import Bar
from stream_app.settings import KafkaSettings
from stream_app.statistics.watch import Policy

LINES: Final = 2_000
"""Read at a time."""
MAX_LEAD_MS: Final = HOUR_MS
"""How far one partition may be ahead of another: what lies between is held."""
POLL_MS: Final = 500
FETCH_BYTES: Final = 16 * 1024 * 1024
"""Fetched at a time; all of it is taken at once."""
EVERYTHING: Final = 10**9
SILENCE_S: Final = 30.0
"""A broker that gives nothing for so long, although records are there, is said to have failed."""


def over_file(path: Path, rules: Rules, policy: Policy, now_ms: int) -> tuple[Backtest, Account]:
    """Run the watch over a file of JSON lines, plain or gzip, as if all of it were one partition.

    Event times after `now_ms` are refused, as a worker refuses what comes from the future. Raises LynceusError for a
    file that cannot be read.
    """
    if path.is_dir():
        raise LynceusError(f"{path} is a folder", "Name a file of JSON lines: one event a line, plain or gzip")
    backtest = Backtest(rules, policy)
    with opened(path) as file, Bar(Console(stderr=True), file.size, f"watching {path.name}", is_bytes=True) as bar:
        lines = _records(file)
        for values in iter(lambda: list(islice(lines, LINES)), []):
            backtest.feed(0, values, now_ms)
            bar(file.position)
        return backtest, backtest.close(is_whole=True)


def over_topic(
    kafka: KafkaSettings, topic: str, rules: Rules, policy: Policy, clock: Callable[[], float]
) -> tuple[Backtest, Account]:
    """Run the watch over a topic, from its beginning to where it ends when this begins.

    Raises LynceusError when there is no broker or no such topic, and when it stops giving what it has.
    """
    broker.silence()
    try:
        consumer = KafkaConsumer(
            **broker.connection(kafka),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=kafka.isolation,
            fetch_max_bytes=FETCH_BYTES,
        )
    except KafkaError as error:
        raise broker.unreachable(kafka, error) from None
    try:
        return _read(consumer, topic, rules, policy, clock)
    except KafkaError as error:
        raise LynceusError(f"{topic} cannot be read: {broker.reason(error)}", "Is the broker well?") from None
    finally:
        with suppress(KafkaError):
            consumer.close()


def _read(
    consumer: Any, topic: str, rules: Rules, policy: Policy, clock: Callable[[], float]
) -> tuple[Backtest, Account]:
    numbers = sorted(consumer.partitions_for_topic(topic) or ())
    if not numbers:
        raise LynceusError(f"there is no topic {topic!r}", "`lynceus topics ensure` creates those of the settings")
    partitions = {number: TopicPartition(topic, number) for number in numbers}
    consumer.assign(list(partitions.values()))
    begins = consumer.beginning_offsets(list(partitions.values()))
    ends = consumer.end_offsets(list(partitions.values()))
    backtest = Backtest(rules, policy, numbers)
    total = sum(ends[each] - begins[each] for each in partitions.values())
    reading, heard_s = set(numbers), clock()
    with Bar(Console(stderr=True), total, f"watching {topic}") as bar:
        while True:
            at = {number: consumer.position(each) for number, each in partitions.items()}
            bar(sum(min(at[number], ends[each]) - begins[each] for number, each in partitions.items()))
            for number in [number for number in reading if at[number] >= ends[partitions[number]]]:
                # Also where the end is no record but the mark of a transaction.
                reading.discard(number)
                backtest.finish(number)
                consumer.pause(partitions[number])
            if not reading:
                return backtest, backtest.close(is_whole=False)
            for number in reading:
                is_ahead = backtest.lead_ms(number) > MAX_LEAD_MS
                (consumer.pause if is_ahead else consumer.resume)(partitions[number])
            # A partition that is paused while some of what was parsed of it is left gives nothing any more once it is
            # resumed (kafka-python 3.0), so nothing is left.
            polled = consumer.poll(timeout_ms=POLL_MS, max_records=EVERYTHING)
            for each, records in polled.items():
                known = [record for record in records if record.offset < ends[each]]
                if known:
                    arrived_ms = max(record.timestamp for record in known)
                    backtest.feed(each.partition, [record.value for record in known], arrived_ms)
            heard_s = clock() if polled else heard_s
            if clock() - heard_s > SILENCE_S:
                raise LynceusError(f"{topic} gives nothing for {SILENCE_S:g} s", "Is the broker well?")


def _records(file: RecordFile) -> Iterator[bytes | None]:
    """Yield the lines that say something; None for one that is longer than allowed: it is refused, and counted."""
    return (line for _, line in file.lines() if line is None or line.strip())
