"""The Faust app: its settings, its one table, its one agent, and the task that keeps the checkpoints going."""

import asyncio
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Sequence
from typing import Any, Final, cast

import faust
import structlog
from faust.app.base import BootStrategy
from faust.types import TP

from stream_app.core import cells as layout
from stream_app.core.rules import Rules
from stream_app.core.tally import Plan
from stream_app.errors import LynceusError
from stream_app.metrics.catalogue import PLAN, plan_of
from stream_app.settings import CountingSettings, Settings
from stream_app.worker import broker, memory, store
from stream_app.worker.agents import Counting, Kept
from stream_app.worker.checkpoint import Checkpoints
from stream_app.worker.inputs import Following, Register
from stream_app.worker.instruments import Instruments
from stream_app.worker.memory import Memory
from stream_app.worker.sending import Producer
from stream_app.worker.tables import StateTable, StateTables
from stream_app.worker.transport import Consumer
from stream_app.worker.vitals import Vitals

log = structlog.get_logger("lynceus.worker")

ALL_FAMILIES: Final = "all"
CLAIM_EVERY_S: Final = 0.1
HEARTBEAT_S: Final = 1.0
METADATA_MAX_AGE_MS: Final = 5_000
NEVER: Final = 2**53
STALLED_MS: Final = 30_000
"""With records waiting and none counted for so long, the process ends: a supervisor starts another."""
STALLED_STATUS: Final = 70
WATCH_REDIS_EVERY_S: Final = 2.0
WATCH_MEMORY_EVERY_S: Final = 0.5
OVER_MEMORY_STATUS: Final = 71
LEAVE_WITHIN_S: Final = 10.0


class _Boot(BootStrategy):
    """Never start Faust's own web server: it listens everywhere and shows what is in the tables."""

    enable_web = False


class _RawSchema(faust.Schema):
    """Hands a RecordBatch through untouched: no codec, no headers, no reply-to."""

    def compile(self, app: Any, **_: Any) -> Any:
        """Return the decoder that does not decode."""

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            del propagate
            return app.create_event(None, message.value, {}, message)

        return decode


class App(faust.App):
    """Faust's app, with what the transport, the store and the command line ask of it.

    Nothing is connected and nothing listens until it is started.
    """

    BootStrategy = _Boot

    def __init__(self, settings: Settings) -> None:
        kafka = settings.kafka
        super().__init__(
            settings.app,
            broker=broker.urls(kafka),
            broker_client_id=f"lynceus-worker-{os.getpid()}",
            broker_commit_interval=settings.worker.flush_interval_s,
            broker_commit_every=NEVER,
            broker_session_timeout=kafka.session_timeout_s,
            broker_heartbeat_interval=min(HEARTBEAT_S, kafka.session_timeout_s / 3),
            broker_request_timeout=max(40.0, kafka.session_timeout_s * 2),
            # Where to read is the checkpoint's business; a reset by the client would hide a gap.
            consumer_auto_offset_reset="none",
            # Partitions that are added to the topic are noticed within this time; the default is five minutes.
            consumer_metadata_max_age_ms=METADATA_MAX_AGE_MS,
            store=settings.redis.url,
            Table=StateTable,
            TableManager=StateTables,
            table_standby_replicas=0,
            topic_allow_declare=False,
            topic_disable_leader=True,
            # Both bound what waits to be counted: eight messages, each what one fetch brings for a partition.
            stream_buffer_maxsize=8,
            consumer_max_fetch_size=512 * 1024,
            stream_wait_empty=False,
            stream_recovery_delay=0.0,
            producer_max_batch_size=256 * 1024,
            web_enabled=False,
            worker_redirect_stdouts=False,
            **broker.credentials(kafka),
        )
        self.settings = settings
        self.exit_status = 0
        self.events_topic = kafka.events_topic
        self.isolation_level = kafka.isolation
        self.instruments = Instruments()
        self.redis = store.connect(settings.redis)
        self.vitals = Vitals(self.instruments, settings.worker.metrics_host, settings.worker.metrics_port)
        rules = rules_of(settings.counting)
        self.checkpoints = Checkpoints(
            lambda: self.redis,
            lambda: cast(Consumer, self.consumer),
            self.instruments,
            app=settings.app,
            worker=f"{socket.gethostname()}-{os.getpid()}",
            plan=counted(settings.counting),
            rules=rules,
            configuration=layout.fingerprint(rules._asdict().items()),
            now_ms=now_ms,
            clock_s=time.monotonic,
        )

    async def on_first_start(self) -> None:
        """Look at the surroundings before joining the group; what is wrong is one line, and the end."""
        try:
            await self.preflight()
        except LynceusError as error:
            sys.stderr.write(f"lynceus worker: {error}\n")
            raise SystemExit(1) from None
        # What is loaded by now stays: the collector need not look at it again.
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)

    async def preflight(self) -> None:
        """Open /metrics, and check Redis and Kafka. Raises LynceusError."""
        port = self.vitals.start()
        warning = await store.check(self.redis, self.settings.redis.url)
        if warning:
            log.warning(warning)
        self.checkpoints.cluster = await broker.cluster_id(self.settings.kafka)
        self.instruments.redis_up(True)
        log.info(
            "worker starting",
            app=self.settings.app,
            kafka=self.settings.kafka.bootstrap,
            redis=self.settings.redis.url,
            metrics=f"{self.settings.worker.metrics_host}:{port}",
        )

    async def on_shutdown(self) -> None:
        """Close what `preflight` opened, when everything else has stopped."""
        await super().on_shutdown()
        self.vitals.stop()
        await self.redis.aclose()
        if self.exit_status:
            # Faust knows one status for an orderly end; a supervisor that restarts on failure must see another.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self.exit_status)


def now_ms() -> int:
    """Return the wall clock."""
    return time.time_ns() // 1_000_000


def rules_of(counting: CountingSettings) -> Rules:
    """Return the rules of counting that the settings describe."""
    return Rules(
        currency=counting.currency,
        click_window_ms=counting.click_window_s * 1000,
        view_conversion_window_ms=counting.view_conversion_window_s * 1000,
        click_conversion_window_ms=counting.click_conversion_window_s * 1000,
        session_gap_ms=counting.session_gap_s * 1000,
        out_of_orderness_ms=counting.out_of_orderness_s * 1000,
        lateness_ms=counting.lateness_s * 1000,
        future_ms=counting.future_s * 1000,
        max_slices=counting.max_slices,
        max_remembered=counting.max_remembered,
    )


def counted(counting: CountingSettings) -> Plan:
    """Return what is counted. Raises LynceusError for a family that does not exist."""
    if counting.families == ALL_FAMILIES:
        return PLAN
    try:
        return plan_of(counting.families.split(","))
    except ValueError as error:
        raise LynceusError(str(error), "LYNCEUS_COUNTING__FAMILIES; `lynceus metrics` lists them by family") from None


def create_app(settings: Settings) -> App:
    """Return the worker's app, with its table and its agent."""
    app = App(settings)
    # partition -> Partition: the state held by this worker, out of the store named `redis`.
    partitions = app.Table("partitions", key_type=int, help="state of the partitions held by this worker")
    topic = app.topic(settings.kafka.events_topic, schema=_RawSchema(), internal=True)

    async def send(topic: str, records: Sequence[Kept]) -> Sequence[Awaitable[object]]:
        return await cast(Producer, app.producer).send_together(topic, records)

    async def reread(partition: TP, offset: int, epoch: int) -> None:
        await cast(Consumer, app.consumer).seek_epoch(partition, offset, epoch)

    counting = Counting(
        partitions,
        app.checkpoints,
        app.instruments,
        send,
        reread,
        dead_letters_topic=settings.kafka.dead_letters_topic,
        late_topic=settings.kafka.late_topic,
    )

    @app.agent(topic, name="counting")
    async def count(stream: Any) -> None:
        await counting.run(stream)

    @app.on_partitions_revoked.connect
    async def let_go(*_: Any, **__: Any) -> None:
        await app.checkpoints.release()

    @app.task
    async def keep_claims() -> None:
        """Claim what is wanted, and show that the owners live."""
        checkpoints = app.checkpoints
        while not app.should_stop:
            await app.sleep(CLAIM_EVERY_S)
            await checkpoints.claim_wanted()
            await checkpoints.verify()
            app.instruments.claimed(len(checkpoints.claims), checkpoints.refusal())
            if stalled := checkpoints.stalled(now_ms(), STALLED_MS):
                # A loop that does not get on cannot be trusted to stop in order. All that counts is in Redis.
                log.critical("no progress", partition=stalled.tp.partition, waiting=stalled.end - stalled.position)
                os._exit(STALLED_STATUS)

    inputs = Register(lambda: app.redis, layout.inputs_key(settings.app), app.instruments)
    following = Following(settings.kafka, inputs, send, app.instruments)
    app.task(following.run)
    app.task(_watch_redis)
    app.task(_watch_memory)
    return app


async def _watch_redis(app: App) -> None:
    """Stop counting while Redis is not what the state of record must be."""
    is_refused = False
    while not app.should_stop:
        await app.sleep(WATCH_REDIS_EVERY_S)
        app.instruments.forgot(app.checkpoints.forgotten())
        try:
            await store.check(app.redis, app.settings.redis.url)
        except store.UnreachableError:
            continue  # the claims find that out by themselves
        except LynceusError as error:
            is_refused = True
            app.checkpoints.halt_all(error.message, error.remedy)
        else:
            if is_refused:
                is_refused = False
                app.checkpoints.look_again()


async def _watch_memory(app: App) -> None:
    """Fetch less ahead while memory is scarce; leave in order before the kernel would do it without asking."""
    cap = app.settings.worker.memory_mb * 2**20
    before = Memory.ENOUGH
    while not app.should_stop:
        await app.sleep(WATCH_MEMORY_EVERY_S)
        resident, now = memory.look(cap, before)
        cast(Consumer, app.consumer).thread.backlog.is_scarce = now is not Memory.ENOUGH
        app.instruments.memory(resident, cap, now)
        if now is Memory.SCARCE and before is Memory.ENOUGH:
            log.warning("memory is scarce, fetching less ahead", resident_mb=resident >> 20, cap_mb=cap >> 20)
        elif now is Memory.OVER:
            log.critical(
                "memory is over the cap, leaving in order",
                resident_mb=resident >> 20,
                cap_mb=cap >> 20,
                partitions=len(app.checkpoints.claims),
                remedy="start more workers, raise LYNCEUS_WORKER__MEMORY_MB, or lower LYNCEUS_COUNTING__MAX_REMEMBERED",
            )
            app.exit_status = OVER_MEMORY_STATUS
            asyncio.get_running_loop().call_later(LEAVE_WITHIN_S, os._exit, OVER_MEMORY_STATUS)
            # The way of SIGTERM: a last checkpoint, the partitions given back at once.
            os.kill(os.getpid(), signal.SIGTERM)
            return
        before = now
