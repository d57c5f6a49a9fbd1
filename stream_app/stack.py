"""A whole Lynceus on one machine: Kafka, Redis, a worker and a server, as far as the environment names none.

The mock cluster lives in this process; the worker, the server and Redis are children that end with it. What is started
here is gone when the `with` block ends: no process, no port, no file.
"""

import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import redis

from producers.topics import ensure_topics, require_topics
from stream_app import settings as configuration
from stream_app.apache_kafka import ApacheKafka
from stream_app.child import Child
from stream_app.core import cells as layout
from stream_app.embedded import KAFKA_API_VERSION, MockKafka, RedisServer
from stream_app.errors import LynceusError
from stream_app.ports import free_port, is_free
from stream_app.serving import reader
from stream_app.settings import KafkaSettings, RedisSettings, Settings

STALLED_S: Final = 60.0
STARTED_S: Final = 60.0
IMPATIENT: Final = {
    "LYNCEUS_COUNTING__OUT_OF_ORDERNESS_S": "5",
    "LYNCEUS_COUNTING__LATENESS_S": "5",
    "LYNCEUS_VERDICTS__BUDGET_A_YEAR": "365",
    "LYNCEUS_VERDICTS__SETTLE_S": "3300",
    "LYNCEUS_VERDICTS__SURFACES": "5",
}
"""Where counting begins with us: nobody is late here, nobody watches for a day before something happens, and
one false alarm a day is nothing to who watches for an hour."""


class Progressed(NamedTuple):
    """What the stored state says of all partitions together."""

    applied: int
    outcomes: Counter[str]


class Stack:
    """Kafka, Redis, a worker and a server, as far as the environment does not name them. Mutable: the children."""

    def __init__(self, is_apache: bool, say: Callable[[str], None]) -> None:
        self._say = say
        self._is_apache = is_apache
        self._open = ExitStack()
        self.settings: Settings
        self.url = ""
        self.children: list[Child] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _start(self) -> None:
        began = time.monotonic()
        # An empty variable is one that is not set, to us as to `configuration.load`.
        environ = {name: value for name, value in os.environ.items() if value or not name.startswith("LYNCEUS_")}
        # What is wrong with what the environment names is said before anything is started.
        named = configuration.load(environ)
        for name, host, port, preferred in (
            ("LYNCEUS_SERVER__PORT", named.server.host, named.server.port, 8080),
            ("LYNCEUS_WORKER__METRICS_PORT", named.worker.metrics_host, named.worker.metrics_port, 9101),
        ):
            environ[name] = str(_chosen_port(name, host, port, None if name in environ else preferred))
        if "LYNCEUS_KAFKA__BOOTSTRAP" in environ:
            self._prepare_kafka(named.kafka)
        if "LYNCEUS_REDIS__URL" in environ:
            asyncio.run(_look_at_redis(named.redis))
        folder = Path(tempfile.mkdtemp(prefix="lynceus-demo-"))
        self._open.callback(shutil.rmtree, folder, ignore_errors=True)
        self._start_kafka(environ)
        if "LYNCEUS_REDIS__URL" not in environ:
            for name, value in IMPATIENT.items():
                environ.setdefault(name, value)
            environ["LYNCEUS_REDIS__URL"] = self._open.enter_context(RedisServer()).url
        self.settings = configuration.load(environ)
        server = self.settings.server
        self.url = f"http://{server.host}:{server.port}"
        worker = self._child("worker", folder, environ)
        serving = self._child("serve", folder, environ)
        for child, ready in (
            (worker, f"http://{self.settings.worker.metrics_host}:{self.settings.worker.metrics_port}/readyz"),
            (serving, f"{self.url}/readyz"),
        ):
            if not child.wait_until(lambda ready=ready: _answers(ready), STARTED_S):  # type: ignore[misc]
                raise _ended(child, "did not start")
        self.check()
        self._say(f"up in {time.monotonic() - began:.1f} s")

    def _start_kafka(self, environ: dict[str, str]) -> None:
        if "LYNCEUS_KAFKA__BOOTSTRAP" in environ:
            return
        if self._is_apache:
            cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lynceus" / "kafka"
            self._say("starting Apache Kafka (the first time its jars are fetched with Maven)")
            environ["LYNCEUS_KAFKA__BOOTSTRAP"] = self._open.enter_context(ApacheKafka(cache)).bootstrap
            self._prepare_kafka(configuration.load(environ).kafka)
            return
        kafka = KafkaSettings()
        single = (kafka.dead_letters_topic, kafka.late_topic, kafka.inputs_topic, kafka.verdicts_topic)
        mock = MockKafka({kafka.events_topic: kafka.partitions, **dict.fromkeys(single, 1)})
        environ["LYNCEUS_KAFKA__BOOTSTRAP"] = self._open.enter_context(mock).bootstrap
        environ["LYNCEUS_KAFKA__API_VERSION"] = KAFKA_API_VERSION
        # The mock cluster lets a member that comes back wait for the session of the one that went.
        environ.setdefault("LYNCEUS_KAFKA__SESSION_TIMEOUT_S", "3")

    def _prepare_kafka(self, kafka: KafkaSettings) -> None:
        """Create the topics, or only look for them where a broker is so old that it must be told its version."""
        if kafka.api_version is not None:
            require_topics(kafka, (kafka.events_topic, kafka.dead_letters_topic, kafka.late_topic))
            return
        for topic in ensure_topics(kafka):
            self._say(f"created topic {topic}")

    def _child(self, command: str, folder: Path, environ: dict[str, str]) -> Child:
        child = Child([sys.executable, "-m", "stream_app", command], folder / f"{command}.log", folder, environ)
        self._open.callback(child.stop, 5.0)
        self.children.append(child)
        return child

    def progressed(self) -> Progressed:
        """Read from Redis how far the worker is. Raises LynceusError when Redis does not answer."""
        settings = self.settings
        keys = (
            layout.partition_key(settings.app, settings.kafka.events_topic, number)
            for number in range(settings.kafka.partitions)
        )
        password = settings.redis.password
        try:
            with redis.Redis.from_url(
                settings.redis.url,
                username=settings.redis.username,
                password=password.get_secret_value() if password else None,
                socket_timeout=settings.redis.timeout_s,
            ) as client:
                packed = [client.hget(key, layout.HEAD) for key in keys]
        except redis.RedisError as error:
            raise LynceusError(
                f"Redis at {settings.redis.url} does not answer any more ({type(error).__name__})", "Start again"
            ) from None
        heads = [layout.unpack_head(head) for head in packed if isinstance(head, bytes)]
        outcomes = Counter[str]()
        for head in heads:
            outcomes.update(head.outcomes)
        return Progressed(sum(head.applied for head in heads), outcomes)

    def check(self) -> None:
        """Raise LynceusError when a part has ended."""
        for child in self.children:
            if not child.is_running:
                raise _ended(child, "has ended")

    @contextmanager
    def watched(self, stop: threading.Event) -> Iterator[None]:
        """Set `stop` when a part ends while the block runs."""
        left = threading.Event()

        def watch() -> None:
            while not left.wait(1.0):
                if not all(child.is_running for child in self.children):
                    stop.set()

        watcher = threading.Thread(target=watch, name="watch", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            left.set()
            watcher.join()

    def wait_for(self, applied: int) -> None:
        """Return when that many records are counted. Raises LynceusError when nothing moves any more."""
        last, since = -1, time.monotonic()
        while (now := self.progressed().applied) < applied:
            self.check()
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > STALLED_S:
                raise LynceusError(f"counting stands still at {now} of {applied} records", self.children[0].tail())
            time.sleep(0.02)  # a poll of our own stack: there is nothing to be woken by

    def query(self, **parameters: str) -> dict[str, Any]:
        """Ask the server."""
        return self._get(f"/v1/query?{urllib.parse.urlencode(parameters)}")

    def _get(self, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:  # noqa: S310  # our own server
                return dict(json.load(answer))
        except OSError as error:
            self.check()
            raise LynceusError(f"the server at {self.url} does not answer: {error}", "Start again") from None

    def wait_until_shown(self, applied: int) -> None:
        """Return when the server's view has caught up with what is stored."""
        deadline = time.monotonic() + STALLED_S
        while time.monotonic() < deadline:
            if self._get("/v1/view")["pipeline"]["records"] >= applied:
                return
            time.sleep(0.05)  # as above
        raise LynceusError("the server does not show what is stored", self.children[1].tail())


def _chosen_port(name: str, host: str, named: int, preferred: int | None) -> int:
    """Return the port that was named; where none was, the preferred one, or any other if that is taken.

    Raises LynceusError when the one that was named is taken: whoever answers there is not ours.
    """
    if preferred is not None:
        return preferred if is_free("127.0.0.1", preferred) else free_port()
    if named and not is_free(host, named):
        raise LynceusError(
            f"{name}={named}: this port is in use on {host}", "Stop what listens there, or name another (0 = any)"
        )
    return named or free_port()


async def _look_at_redis(settings: RedisSettings) -> None:
    async with reader.connect(settings) as client:
        await reader.check_store(client, settings)


def _ended(child: Child, what: str) -> LynceusError:
    """Return the error of a part that is not running: its own last line, where that is one of ours."""
    line = child.tail().rsplit(" | ", 1)[-1]
    own = re.match(r"lynceus(?: worker)?: (.+)", line)
    if own:
        return LynceusError(own[1])
    return LynceusError(f"a part {what}: {child.tail()}", "LYNCEUS_LOG_LEVEL=debug tells more")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  # our own children on loopback
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
