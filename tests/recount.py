"""An independent recount of a topic: reads the raw log with librdkafka and applies the documented rules by itself.

It shares no code with the worker, nor a driver: plain JSON, plain dictionaries, one partition after the other in log
order. It knows the rules that the simulated shop exercises: ids counted once, one click per impression, sessions per
surface and arm, conversions and orders at the quoted decision and item. Events of other kinds it only checks off.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

Totals = dict[tuple[str, str], dict[str, int]]
Key = Callable[[dict[str, Any]], Any]
"""From an impression to what its counts are kept under."""

RECOUNTED = (
    "impressions", "clicks", "repeat_clicks", "sessions", "conversions", "converted_sessions", "revenue_minor",
    "foreign_revenue_events",
)  # fmt: skip
"""The measures that the recount knows."""
RECOUNTED_FAMILIES = "conversion"
"""The families of those measures: where nothing else is looked at, a worker need not count the whole catalogue."""


def known(totals: Mapping[Any, Mapping[str, int]]) -> Totals:
    """Return of stored totals what the recount knows: its measures, of keys where there is something of them."""
    own = {key: {name: counts[name] for name in RECOUNTED if counts.get(name)} for key, counts in totals.items()}
    return {key: counts for key, counts in own.items() if counts}


def by_surface_and_arm(impression: dict[str, Any]) -> tuple[str, str]:
    """Return where an impression was shown, and to which arm."""
    return impression.get("surface", "none"), impression.get("arm", "none")


def read(
    bootstrap: str,
    topic: str,
    start: Mapping[int, int] | None = None,
    *,
    isolation_level: str = "read_uncommitted",
    at_least: float = inf,
) -> dict[int, list[bytes | None]]:
    """Return the values of every record, by partition, in log order; of a partition in `start` from that offset on.

    Of more than `at_least`, that many and some thousands. Raises KafkaException, also for an offset that the
    log does not have (any more).
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "recount",  # the client wants one; nothing is committed
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "isolation.level": isolation_level,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,  # that it is the end is said after an empty answer
            "log_level": 0,
        }
    )
    try:
        log: dict[int, list[bytes | None]] = {
            number: [] for number in sorted(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
        }
        begins = dict.fromkeys(log, OFFSET_BEGINNING) | dict(start or {})
        consumer.assign([TopicPartition(topic, number, begins[number]) for number in log])
        unread = set(log)
        while unread and sum(map(len, log.values())) < at_least:
            for message in consumer.consume(10_000, timeout=0.1):
                error = message.error()
                if error is None:
                    log[message.partition()].append(message.value())
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())
                else:
                    raise KafkaException(error)
        return log
    finally:
        consumer.close()


def recount(
    log: Mapping[int, list[bytes | None]], key: Key = by_surface_and_arm
) -> tuple[dict[Any, dict[str, int]], Counter[str]]:
    """Return the totals by `key` of the impression that earned them, and the outcomes."""
    counted = Recount(key)
    counted.take(log)
    return counted.totals(), counted.outcomes


class Recount:
    """A recount that can go on when the log does. Mutable state: what was counted, and each partition's memory."""

    def __init__(self, key: Key = by_surface_and_arm) -> None:
        """`key` says of an impression where what it earns is counted."""
        self._key = key
        self._totals: defaultdict[Any, Counter[str]] = defaultdict(Counter)
        self._partitions: defaultdict[int, _Memory] = defaultdict(_Memory)
        self.outcomes: Counter[str] = Counter()

    def take(self, log: Mapping[int, list[bytes | None]]) -> None:
        """Count what follows in each partition."""
        for number, values in log.items():
            self._count(values, self._partitions[number])

    def totals(self) -> dict[Any, dict[str, int]]:
        """Return the totals so far, zeros left out."""
        return {key: dict(+counts) for key, counts in self._totals.items()}

    def _count(self, values: list[bytes | None], memory: "_Memory") -> None:
        totals, outcomes, key = self._totals, self.outcomes, self._key
        seen, shown, sessions = memory.seen, memory.shown, memory.sessions
        clicked, converted = memory.clicked, memory.converted
        for value in values:
            try:
                event = json.loads(value or b"")
                kind, ident = event["type"], event["id"]
            except (ValueError, KeyError, TypeError):
                outcomes["rejected"] += 1
                continue
            if ident in seen:
                outcomes["duplicate"] += 1
                continue
            seen.add(ident)
            if kind == "impression":
                where = key(event)
                totals[where]["impressions"] += 1
                session = (event.get("session") or event["user"], *by_surface_and_arm(event))
                if session not in sessions:
                    sessions[session] = where
                    totals[where]["sessions"] += 1
                shown.setdefault((event["decision"], event["item"]), event)
                outcomes["counted"] += 1
                continue
            if kind not in ("click", "conversion", "order"):
                outcomes["counted"] += 1
                continue
            line = next((line for line in event.get("lines", ()) if "decision" in line), event)
            quoted = (line.get("decision", ""), line.get("item", ""))
            impression = shown.get(quoted)
            if impression is None:
                outcomes["unmatched"] += 1
                continue
            outcomes["counted"] += 1
            where = key(impression)
            if kind == "click":
                totals[where]["repeat_clicks" if quoted in clicked else "clicks"] += 1
                clicked.add(quoted)
            else:
                totals[where]["conversions"] += 1
                value = event.get("value_minor", 0) + event.get("total_minor", 0)
                value -= event.get("tax_minor", 0) + event.get("shipping_minor", 0)
                is_home = event.get("currency", "EUR") == "EUR"  # else counted, and never added
                totals[where]["revenue_minor"] += value if is_home else 0
                totals[where]["foreign_revenue_events"] += bool(value and not is_home)
                session = (impression.get("session") or impression["user"], *by_surface_and_arm(impression))
                if session not in converted:
                    converted.add(session)
                    totals[sessions[session]]["converted_sessions"] += 1


class _Memory:
    """What a partition's events so far leave behind for those that follow. Mutable state: all of it."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.shown: dict[tuple[str, str], dict[str, Any]] = {}
        self.clicked: set[tuple[str, str]] = set()
        self.sessions: dict[tuple[str, str, str], Any] = {}
        self.converted: set[tuple[str, str, str]] = set()
