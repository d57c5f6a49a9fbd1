"""An independent recount of a topic: reads the raw log with kafka-python and applies the documented rules by itself.

It shares no code with the worker: plain JSON, plain dictionaries, one partition after the other in log order. It knows
the rules that the simulated shop exercises: ids counted once, one click per impression, sessions per surface and
arm, conversions and orders at the quoted decision and item. Events of other kinds it only checks off.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition

Totals = dict[tuple[str, str], dict[str, int]]
Key = Callable[[dict[str, Any]], Any]
"""From an impression to what its counts are kept under."""

RECOUNTED = ("impressions", "clicks", "repeat_clicks", "sessions", "conversions", "converted_sessions", "revenue_minor")
"""The measures that the recount knows."""


def known(totals: Mapping[Any, Mapping[str, int]]) -> Totals:
    """Return of stored totals what the recount knows: its measures, of keys where there is something of them."""
    own = {key: {name: counts[name] for name in RECOUNTED if counts.get(name)} for key, counts in totals.items()}
    return {key: counts for key, counts in own.items() if counts}


def by_surface_and_arm(impression: dict[str, Any]) -> tuple[str, str]:
    """Return where an impression was shown, and to which arm."""
    return impression.get("surface", "none"), impression.get("arm", "none")


def read(bootstrap: str, topic: str, **options: Any) -> dict[int, list[bytes | None]]:
    """Return the values of every record, by partition, in log order."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, group_id=None, **options)
    try:
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        log: dict[int, list[bytes | None]] = {tp.partition: [] for tp in partitions}
        while any(consumer.position(tp) < ends[tp] for tp in partitions):
            for tp, records in consumer.poll(timeout_ms=1000, max_records=50_000).items():
                log[tp.partition] += [record.value for record in records]
        return log
    finally:
        consumer.close()


def recount(
    log: dict[int, list[bytes | None]], key: Key = by_surface_and_arm
) -> tuple[dict[Any, dict[str, int]], Counter[str]]:
    """Return the totals by `key` of the impression that earned them, and the outcomes."""
    totals: dict[Any, Counter[str]] = defaultdict(Counter)
    outcomes: Counter[str] = Counter()
    for values in log.values():
        _recount_partition(values, totals, outcomes, key)
    return {key: dict(+counts) for key, counts in totals.items()}, outcomes


def _recount_partition(
    values: list[bytes | None], totals: dict[Any, Counter[str]], outcomes: Counter[str], key: Key
) -> None:
    seen: set[str] = set()
    shown: dict[tuple[str, str], dict[str, Any]] = {}
    clicked: set[tuple[str, str]] = set()
    sessions: dict[tuple[str, str, str], Any] = {}
    converted: set[tuple[str, str, str]] = set()
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
            totals[where]["revenue_minor"] += event.get("value_minor", 0)
            totals[where]["revenue_minor"] += event.get("total_minor", 0)
            totals[where]["revenue_minor"] -= event.get("tax_minor", 0) + event.get("shipping_minor", 0)
            session = (impression.get("session") or impression["user"], *by_surface_and_arm(impression))
            if session not in converted:
                converted.add(session)
                totals[sessions[session]]["converted_sessions"] += 1
