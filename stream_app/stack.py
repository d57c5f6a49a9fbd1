"""A whole Lynceus on one machine: Kafka, Redis, a worker and a server, as far as the environment names none.

The mock cluster lives in this process; the worker, the server and Redis are children that end with it. What is started
here is gone when the `with` block ends: no process, no port, no file.
"""

import json
import os
import shutil
import socket
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

from producers.sdk import ensure_topics
from stream_app import settings as configuration
from stream_app.apache_kafka import ApacheKafka
from stream_app.child import Child, free_port
from stream_app.core import cells as layout
from stream_app.embedded import KAFKA_API_VERSION, MockKafka, RedisServer
from stream_app.errors import LynceusError
from stream_app.settings import KafkaSettings, Settings

STALLED_S: Final = 60.0
STARTED_S: Final = 60.0


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
        environ = dict(os.environ)
        configuration.load(environ)  # what is wrong there is said before anything is started
        folder = Path(tempfile.mkdtemp(prefix="lynceus-demo-"))
        self._open.callback(shutil.rmtree, folder, ignore_errors=True)
        self._start_kafka(environ)
        if "LYNCEUS_REDIS__URL" not in environ:
            environ["LYNCEUS_REDIS__URL"] = self._open.enter_context(RedisServer()).url
        environ.setdefault("LYNCEUS_SERVER__PORT", str(_preferred_port(8080)))
        environ.setdefault("LYNCEUS_WORKER__METRICS_PORT", str(_preferred_port(9101)))
        self.settings = configuration.load(environ)
        ensured = [] if "LYNCEUS_KAFKA__API_VERSION" in environ else ensure_topics(self.settings.kafka)
        for topic in ensured:
            self._say(f"created topic {topic}")
        server = self.settings.server
        self.url = f"http://{server.host}:{server.port}"
        worker = self._child("worker", folder, environ)
        serving = self._child("serve", folder, environ)
        for child, ready in (
            (worker, f"http://{self.settings.worker.metrics_host}:{self.settings.worker.metrics_port}/readyz"),
            (serving, f"{self.url}/readyz"),
        ):
            if not child.wait_until(lambda ready=ready: _answers(ready), STARTED_S):  # type: ignore[misc]
                raise LynceusError(f"a part did not start: {child.tail()}", "What it printed is above")
        self._say(f"up in {time.monotonic() - began:.1f} s")

    def _start_kafka(self, environ: dict[str, str]) -> None:
        if "LYNCEUS_KAFKA__BOOTSTRAP" in environ:
            return
        if self._is_apache:
            cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lynceus" / "kafka"
            self._say("starting Apache Kafka (the first time its jars are fetched with Maven)")
            environ["LYNCEUS_KAFKA__BOOTSTRAP"] = self._open.enter_context(ApacheKafka(cache)).bootstrap
            return
        kafka = KafkaSettings()
        mock = MockKafka({kafka.events_topic: kafka.partitions, kafka.dead_letters_topic: 1, kafka.late_topic: 1})
        environ["LYNCEUS_KAFKA__BOOTSTRAP"] = self._open.enter_context(mock).bootstrap
        environ["LYNCEUS_KAFKA__API_VERSION"] = KAFKA_API_VERSION
        # The mock cluster lets a member that comes back wait for the session of the one that went.
        environ.setdefault("LYNCEUS_KAFKA__SESSION_TIMEOUT_S", "3")

    def _child(self, command: str, folder: Path, environ: dict[str, str]) -> Child:
        child = Child([sys.executable, "-m", "stream_app", command], folder / f"{command}.log", folder, environ)
        self._open.callback(child.stop, 5.0)
        self.children.append(child)
        return child

    def progressed(self) -> Progressed:
        """Read from Redis how far the worker is."""
        applied, outcomes = 0, Counter[str]()
        password = self.settings.redis.password
        with redis.Redis.from_url(
            self.settings.redis.url,
            username=self.settings.redis.username,
            password=password.get_secret_value() if password else None,
        ) as client:
            for number in range(self.settings.kafka.partitions):
                key = layout.partition_key(self.settings.app, self.settings.kafka.events_topic, number)
                packed = client.hget(key, layout.HEAD)
                if isinstance(packed, bytes):
                    head = layout.unpack_head(packed)
                    applied += head.applied
                    outcomes.update(head.outcomes)
        return Progressed(applied, outcomes)

    def check(self) -> None:
        """Raise LynceusError when a part has ended."""
        for child in self.children:
            if not child.is_running:
                raise LynceusError(f"a part has ended: {child.tail()}", "What it printed is above")

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
        url = f"{self.url}/v1/query?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  # our own server on loopback
            return dict(json.load(answer))

    def wait_until_shown(self, applied: int) -> None:
        """Return when the server's view has caught up with what is stored."""
        deadline = time.monotonic() + STALLED_S
        while time.monotonic() < deadline:
            with urllib.request.urlopen(f"{self.url}/v1/view", timeout=10) as answer:  # noqa: S310  # as above
                if json.load(answer)["pipeline"]["records"] >= applied:
                    return
            time.sleep(0.05)  # as above
        raise LynceusError("the server does not show what is stored", self.children[1].tail())


def _preferred_port(port: int) -> int:
    """Return `port` if it is free, else any that is."""
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return free_port()
    return port


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  # our own children on loopback
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
