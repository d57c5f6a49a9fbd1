"""The ground of the chaos: a Kafka and a Redis of its own, a proxy before the Redis, workers, and a shop that sends.

shop --> Kafka <-- workers --> proxy --> Redis (AOF, everysec)
                                            ^-- the verifier reads here, past the proxy
"""

import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from typing import Self

import redis

from producers.topics import ensure_topics
from producers.world import World
from stream_app.apache_kafka import ApacheKafka
from stream_app.child import Child
from stream_app.core import codec
from stream_app.embedded import RedisServer
from stream_app.settings import CountingSettings, KafkaSettings, RedisSettings, Settings, WorkerSettings
from tests.faults.proxy import Proxy
from tests.faults.verify import Verdict, Verifier
from tests.fleet import Fleet, producer_of, send

KAFKA_CACHE = Path(__file__).parent.parent.parent / ".cache" / "kafka"
SESSION_S = 3.0
REDIS_TIMEOUT_S = 1.0
SESSIONS_PER_S = 5.0
"""Of event time: so slow that no impression is forgotten before its last conversion, which a recount never does."""
AGO_MS = 10 * 86_400_000
"""The events begin so long ago that they never overtake the clock, however fast they are sent."""
DUPLICATES, GARBAGE = 0.05, 0.01
LAST_WORDS = 600
_BAD = (b"{", b"", b"\xff\xfe", b"[1]", b'{"type":"nope"}', b"null", b'{"type":"click"}', None)


def traffic(seed: int) -> Iterator[bytes | None]:
    """Yield records for ever: a shop's events in time order, 5 % of them again, and 1 % garbage."""
    chance = random.Random(f"traffic {seed}")
    recent: list[bytes] = []
    start_ms = time.time_ns() // 1_000_000 - AGO_MS
    for event in World(seed).events(start_ms - start_ms % 3_600_000, SESSIONS_PER_S):
        raw = codec.encode(event)
        yield raw
        recent = [*recent[-199:], raw]
        if chance.random() < DUPLICATES:
            yield chance.choice(recent)
        if chance.random() < GARBAGE:
            yield chance.choice(_BAD)


class Ground:
    """Everything that faults are done to. Mutable state: the workers, what was sent, when counting last advanced."""

    def __init__(self, seed: int, directory: Path, workers: int = 2, session_s: float = SESSION_S) -> None:
        self._session_s = session_s
        self.chance = random.Random(f"faults {seed}")
        self.directory = directory
        self._traffic = traffic(seed)
        self._wanted = workers
        self.sent = 0
        self.applied = 0
        self.longest_stall_s = 0.0
        self._advanced_s = time.monotonic()
        self._stack = ExitStack()
        self._copies = 0
        self.last_words: dict[int, str] = {}
        """By process id: with what status a worker ended by itself, and what it said last."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.broker = stack.enter_context(
                ApacheKafka(KAFKA_CACHE, properties={"group.min.session.timeout.ms": "1000"})
            )
            self.data = self.directory / "redis"
            self.data.mkdir()
            directives = {
                "dir": str(self.data), "appendonly": "yes", "appendfsync": "everysec",
                "auto-aof-rewrite-percentage": "0",
            }  # fmt: skip
            self.redis = stack.enter_context(RedisServer(directives))
            port = int(self.redis.url.split(":")[2].split("/")[0])
            self.proxy = stack.enter_context(Proxy("127.0.0.1", port))
            self.settings = Settings(
                app="chaos",
                log_format="json",
                kafka=KafkaSettings(bootstrap=self.broker.bootstrap, partitions=4, session_timeout_s=self._session_s),
                redis=RedisSettings(url=self.redis.url, timeout_s=REDIS_TIMEOUT_S),
                counting=CountingSettings(),
                worker=WorkerSettings(flush_interval_s=0.1, metrics_port=0),
            )
            ensure_topics(self.settings.kafka)
            self._producer = producer_of(self.settings.kafka)
            self.fleet = stack.enter_context(Fleet(self.settings, self.directory))
            self._verifier = Verifier(self.settings, self.fleet.stored)
            self.client: redis.Redis = stack.enter_context(
                redis.Redis.from_url(self.redis.url, socket_timeout=5, socket_connect_timeout=5)
            )
            for _ in range(self._wanted):
                self.start_worker()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # -- workers ----------------------------------------------------------------------------------------------------

    @property
    def running(self) -> list[Child]:
        """The workers that have not ended."""
        return [worker for worker in self.fleet.workers if worker.is_running]

    def start_worker(self) -> Child:
        """Start one more, whose Redis is the proxy."""
        return self.fleet.start({"LYNCEUS_REDIS__URL": f"redis://127.0.0.1:{self.proxy.port}/0"})

    def replace_workers(self) -> int:
        """Do what a supervisor does: start another for each that ended by itself; return how many."""
        missing = self._wanted - len(self.running)
        for worker in self.fleet.workers:
            status = worker.wait(0)
            if status is not None and status > 0 and worker.pid not in self.last_words:
                self.last_words[worker.pid] = f"status {status}: {worker.tail()[-LAST_WORDS:]}"
        for _ in range(missing):
            self.start_worker()
        return max(0, missing)

    # -- traffic ----------------------------------------------------------------------------------------------------

    def send(self, records: int) -> None:
        """Send the next records."""
        self.sent += send(self.settings.kafka, islice(self._traffic, records), by=self._producer)

    def progress(self) -> int:
        """Return how many records are counted, as far as Redis can be asked; note how long nothing was."""
        applied = self.applied
        with suppress(redis.RedisError, OSError):
            applied = self.fleet.stored.applied()
        now = time.monotonic()
        if applied != self.applied or self.applied >= self.sent:
            self._advanced_s = now
        self.longest_stall_s = max(self.longest_stall_s, now - self._advanced_s)
        self.applied = applied
        return applied

    def wait_for(self, is_true: Callable[[], bool], patience_s: float) -> bool:
        """Return True once `is_true()`, False after a while."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if is_true():
                return True
            time.sleep(0.02)  # what is stored is polled: Redis has nothing to wake us with
        return False

    # -- Redis on disk ----------------------------------------------------------------------------------------------

    def copy_redis(self) -> Path:
        """Return a copy of what Redis has on disk now: the same as a replica that is behind, a moment later."""
        self._copies += 1
        copy = Path(tempfile.mkdtemp(prefix="copy-", dir=self.directory))
        shutil.copytree(self.data / "appendonlydir", copy / "appendonlydir")
        return copy

    def restore_redis(self, copy: Path) -> None:
        """Kill Redis, and start it from a copy."""
        self.redis.kill()
        shutil.rmtree(self.data / "appendonlydir")
        shutil.copytree(copy / "appendonlydir", self.data / "appendonlydir")
        self.redis.start()

    # -- what became of it ------------------------------------------------------------------------------------------

    def verdict(self) -> Verdict:
        """Compare every cell with a recount of everything that was ever sent."""
        return self._verifier.verdict()

    def drops(self) -> Counter[str]:
        """Return why claims were dropped, from the workers' logs."""
        import json

        reasons: Counter[str] = Counter()
        for line in self.fleet.log().splitlines():
            with suppress(ValueError):
                told = json.loads(line)
                if isinstance(told, dict) and told.get("event") in _TOLD:
                    reasons[str(told.get("reason") or told["event"]).replace(self.settings.redis.url, "it")[:48]] += 1
        return reasons


_TOLD = (
    "claim dropped, claiming again", "state lost, counting anew from the log's start", "partition halted",
    "partition refused: nothing is written, nothing is counted", "no progress", "hole in the log",
)  # fmt: skip
