"""What the worker uses of Faust and aiokafka below their public surface, name by name.

Neither promises these names. An upgrade that moves one of them fails here, where it is said what is missing and which
of our functions used it, and not as a worker that silently counts nothing.
"""

import ast
import inspect
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.consumer.fetcher import Fetcher, FetchError, FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords
from faust.stores.base import Store
from faust.streams import Stream
from faust.tables.manager import TableManager
from faust.tables.table import Table
from faust.transport.drivers import aiokafka as driver

from stream_app.worker import store, tables, transport

WORKER = Path(transport.__file__).parent

# (class, attribute) -> where it is used
USED: dict[tuple[type, str], str] = {
    (driver.AIOKafkaConsumerThread, "_consumer"): "transport.ConsumerThread._watch_coordinator",
    (driver.AIOKafkaConsumerThread, "_ensure_consumer"): "transport.ConsumerThread.seek_epoch, committed, _commit",
    (driver.Consumer, "_thread"): "transport.Consumer.thread",
    (driver.Producer, "_ensure_producer"): "sending.Producer._gather, _send_gathered",
    (AIOKafkaProducer, "partitions_for"): "sending.Producer._send_gathered",
    (AIOKafkaProducer, "create_batch"): "sending.Producer._gather",
    (AIOKafkaProducer, "send_batch"): "sending.Producer._send_gathered",
    (driver.Consumer, "_read_offset"): "transport.Consumer.__init__",
    (driver.Consumer, "_acked"): "transport.Consumer._forget_acknowledgements",
    (driver.Consumer, "_acked_index"): "transport.Consumer._forget_acknowledgements",
    (driver.Consumer, "_committed_offset"): "transport.Consumer.force_commit",
    (AIOKafkaConsumer, "_isolation_level"): "transport.ConsumerThread._create_worker_consumer",
    (AIOKafkaConsumer, "_closed"): "transport.ConsumerThread._watch_coordinator, _fetch_records",
    (AIOKafkaConsumer, "_coordinator"): "transport.ConsumerThread._watch_coordinator",
    (AIOKafkaConsumer, "_fetcher"): "transport.ConsumerThread._fetch_records",
    (GroupCoordinator, "check_errors"): "transport.ConsumerThread._watch_coordinator",
    (GroupCoordinator, "_coordination_task"): "transport.ConsumerThread._watch_coordinator",
    (Fetcher, "_closed"): "transport.ConsumerThread._fetch_records",
    (Fetcher, "_subscriptions"): "transport.ConsumerThread._fetch_records",
    (SubscriptionState, "fetch_context"): "transport.ConsumerThread._fetch_records",
    (Fetcher, "_create_fetch_waiter"): "transport.ConsumerThread._fetch_records",
    (Fetcher, "_records"): "transport.ConsumerThread._drain",
    (Fetcher, "_notify"): "transport.ConsumerThread._drain",
    (Fetcher, "_wait_consume_future"): "transport.ConsumerThread._drain",
    (FetchError, "_error"): "transport.ConsumerThread._drain",
    (FetchResult, "check_assignment"): "transport.ConsumerThread._unpack",
    (FetchResult, "has_more"): "transport.ConsumerThread._unpack",
    (FetchResult, "_partition_records"): "transport.ConsumerThread._unpack",
    (FetchResult, "_update_position"): "transport.ConsumerThread._unpack",
    (PartitionRecords, "_records"): "transport.ConsumerThread._unpack",
    (PartitionRecords, "_check_crcs"): "transport.ConsumerThread._unpack",
    (PartitionRecords, "next_fetch_offset"): "transport.ConsumerThread._unpack",
    (PartitionRecords, "_isolation_level"): "transport.ConsumerThread._is_skipped",
    (PartitionRecords, "_consume_aborted_up_to"): "transport.ConsumerThread._is_skipped",
    (PartitionRecords, "_contains_abort_marker"): "transport.ConsumerThread._is_skipped",
    (PartitionRecords, "_aborted_producers"): "transport.ConsumerThread._is_skipped",
    (MemoryRecords, "has_next"): "transport.ConsumerThread._unpack",
    (MemoryRecords, "next_batch"): "transport.ConsumerThread._unpack",
    (DefaultRecordBatch, "validate_crc"): "transport.ConsumerThread._unpack",
    (DefaultRecordBatch, "next_offset"): "transport.ConsumerThread._unpack, _span",
    (DefaultRecordBatch, "base_offset"): "transport.ConsumerThread._is_skipped, _span",
    (DefaultRecordBatch, "producer_id"): "transport.ConsumerThread._is_skipped",
    (DefaultRecordBatch, "is_control_batch"): "transport.ConsumerThread._is_skipped",
    (DefaultRecordBatch, "is_transactional"): "transport.ConsumerThread._is_skipped",
    (DefaultRecordBatch, "max_timestamp"): "transport._span",
    (TableManager, "_update_channels"): "tables.StateTables.on_start",
    (TableManager, "recovery"): "tables.StateTables.on_start",
}

# (our class, method) -> the class whose method it replaces, and the parameters that the caller there passes
REPLACED: dict[tuple[type, str], tuple[type, tuple[str, ...]]] = {
    (transport.ConsumerThread, "on_thread_stop"): (driver.AIOKafkaConsumerThread, ()),
    (transport.ConsumerThread, "_create_worker_consumer"): (driver.AIOKafkaConsumerThread, ("transport",)),
    (transport.ConsumerThread, "_fetch_records"): (
        driver.AIOKafkaConsumerThread,
        ("consumer", "active_partitions", "timeout", "max_records"),
    ),
    (transport.ConsumerThread, "_commit"): (driver.AIOKafkaConsumerThread, ("offsets",)),
    (transport.Consumer, "_new_consumer_thread"): (driver.Consumer, ()),
    (transport.Consumer, "_to_message"): (driver.Consumer, ("tp", "record")),
    (transport.Consumer, "_add_gap"): (driver.Consumer, ("tp", "offset_from", "offset_to")),
    (transport.Consumer, "seek_to_committed"): (driver.Consumer, ()),
    (transport.Consumer, "force_commit"): (driver.Consumer, ("topics", "start_new_transaction")),
    (transport.Consumer, "_commit_handler"): (driver.Consumer, ()),
    (transport.Consumer, "_commit_livelock_detector"): (driver.Consumer, ()),
    (tables.StateTable, "on_key_get"): (Table, ("key",)),
    (tables.StateTable, "on_key_set"): (Table, ("key", "value")),
    (tables.StateTable, "on_key_del"): (Table, ("key",)),
    (tables.StateTable, "on_start"): (Table, ()),
    (tables.StateTables, "add"): (TableManager, ("table",)),
    (tables.StateTables, "on_start"): (TableManager, ()),
    (store.RedisStore, "__post_init__"): (Store, ()),
    (store.RedisStore, "apply_changelog_batch"): (Store, ("batch", "to_key", "to_value")),
    (store.RedisStore, "persisted_offset"): (Store, ("tp",)),
    (store.RedisStore, "reset_state"): (Store, ()),
    (store.RedisStore, "backup_partition"): (Store, ("tp", "flush", "purge", "keep")),
    (store.RedisStore, "restore_backup"): (Store, ("tp", "latest", "backup_id")),
}

OWN = {"transport": {"_watch", "_is_claim_due"}, "sending": {"_gathered", "_sending"}}
"""Private attributes of our own, by module."""


def has(kind: type, name: str) -> bool:
    """Whether instances have the attribute: defined or annotated by a class, or assigned to self in its code."""
    for base in kind.__mro__:
        if name in vars(base) or name in getattr(base, "__annotations__", {}):
            return True
        try:
            if re.search(rf"self\.{name}\b(: [^=\n]+)? = ", inspect.getsource(base)):
                return True
        except (OSError, TypeError):  # no Python source: compiled classes show their attributes themselves
            continue
    return False


def installed() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("faust-streaming", "aiokafka", "mode-streaming"))


@pytest.mark.parametrize(("kind", "name"), USED, ids=lambda one: getattr(one, "__name__", one))
def test_what_is_used_is_there(kind: type, name: str) -> None:
    """The installed versions have every attribute that we use below their public surface."""
    where = USED[kind, name]
    assert has(kind, name), (
        f"{kind.__module__}.{kind.__name__} has no {name!r} in {installed()}; it is used in stream_app.worker.{where}: "
        "read that function against the new version before raising the bound in pyproject.toml"
    )


@pytest.mark.parametrize(("ours", "name"), REPLACED, ids=lambda one: getattr(one, "__name__", one))
def test_what_is_replaced_is_called_as_before(ours: type, name: str) -> None:
    """Every method that we put in another's place is still there, and still called with the same parameters."""
    base, expected = REPLACED[ours, name]
    theirs = getattr(base, name, None)
    assert theirs is not None, (
        f"{base.__module__}.{base.__name__} has no {name!r} in {installed()}: {ours.__module__}.{ours.__name__}.{name} "
        "replaces nothing any more"
    )
    parameters = tuple(inspect.signature(theirs).parameters)[1:]
    assert expected == parameters, f"{base.__module__}.{base.__name__}.{name} is called otherwise in {installed()}"


@pytest.mark.parametrize("module", ["transport", "sending", "tables", "store"])
def test_the_list_is_whole(module: str) -> None:
    """Every private attribute that the module reads of others is in the list above, and nothing else."""
    tree = ast.parse((WORKER / f"{module}.py").read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute) and re.match("_(?!_)", node.attr)}
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    own |= OWN.get(module, set())
    listed = {name for (_, name), where in USED.items() if re.match("_(?!_)", name) and where.startswith(f"{module}.")}
    assert listed == read - own


def test_faust_reads_offsets_where_we_replaced_them() -> None:
    """Faust asks its read offsets by __getitem__ and __setitem__, and drops what has another generation."""
    poll: Any = inspect.getsource(driver.Consumer._drain_messages)
    stream = inspect.getsource(Stream)
    assert ("_read_offset.__getitem__" in poll, "_read_offset.__setitem__" in poll, "generation_id" in stream) == (
        True,
        True,
        True,
    ), f"Faust drops messages by other rules in {installed()}: see transport._NoReadOffsets and Consumer._to_message"
