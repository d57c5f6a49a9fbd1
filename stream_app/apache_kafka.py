"""A real Apache Kafka of one process (KRaft: broker and controller together), where no imitation will do.

The jars come from Maven once and stay in a cache folder; the broker is a child process on loopback. It can be
stopped, killed and started again on the same data and port, which is what the fault tests are made of.
"""

import base64
import os
import secrets
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

VERSION: Final = "4.3.1"

_POM: Final = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>lynceus</groupId>
  <artifactId>embedded-kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""
_REMEDY: Final = "LYNCEUS_KAFKA__BOOTSTRAP names a running broker instead"
_DOWNLOAD_TIMEOUT_S: Final = 900.0
_START_TIMEOUT_S: Final = 90.0
_STOP_TIMEOUT_S: Final = 20.0
_ATTEMPTS: Final = 3

# One node, one replica of everything, few threads: the smallest broker that is still a real one.
_PROPERTIES: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # A test does not wait for members that will not come, nor for a dead broker to be noticed.
    "group.initial.rebalance.delay.ms": "0",
    "broker.heartbeat.interval.ms": "300",
    "broker.session.timeout.ms": "1500",
    "num.network.threads": "1",
    "num.io.threads": "2",
    "background.threads": "2",
    "log.cleaner.dedupe.buffer.size": "2097152",
}


class ApacheKafka:
    """One Apache Kafka on a free loopback port, with its data in `directory` (or in a temporary one)."""

    def __init__(
        self,
        cache: Path,
        *,
        directory: Path | None = None,
        properties: Mapping[str, str] | None = None,
        heap_mb: int = 512,
    ) -> None:
        """`cache` keeps the jars; `properties` are added to, or replace, those of the broker.

        Raises LynceusError when Java or Maven is missing or the jars cannot be fetched.
        """
        self._java = _program("java", "Install a JDK of version 17 or later")
        self._jars = resolve(cache)
        self._temporary = (
            tempfile.TemporaryDirectory(prefix="lynceus-kafka-", ignore_cleanup_errors=True)
            if directory is None
            else None
        )
        self._folder = Path(self._temporary.name if self._temporary else directory or "").resolve()
        self._properties = dict(properties or {})
        self._heap_mb = heap_mb
        self._port = 0
        self._controller_port = 0
        self._child: Child | None = None

    @property
    def bootstrap(self) -> str:
        """Where the broker is, as `LYNCEUS_KAFKA__BOOTSTRAP` wants it; the same after a restart."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The process id of the broker that was started last."""
        assert self._child is not None, "start comes first"
        return self._child.pid

    @property
    def is_running(self) -> bool:
        """Whether the broker process has not ended."""
        return self._child is not None and self._child.is_running

    def start(self) -> Self:
        """Start the broker, again on the same data and port, and return when it answers requests.

        Raises LynceusError with the broker's own last words.
        """
        assert not self.is_running, "one broker at a time"
        for _ in range(1 if self._port else _ATTEMPTS):
            port, controller_port = self._port or free_port(), self._controller_port or free_port()
            self._child = self._launch(port, controller_port)
            if self._child.wait_until(partial(_answers, port), _START_TIMEOUT_S):
                self._port, self._controller_port = port, controller_port
                return self
            self._child.kill()
        last_words = self._child.tail() if self._child else ""
        raise LynceusError(f"Apache Kafka did not start: {last_words}", _REMEDY)

    def stop(self) -> None:
        """Ask the broker to end (SIGTERM): it closes its logs and hands over its groups."""
        if self._child is not None:
            self._child.stop(_STOP_TIMEOUT_S)

    def kill(self) -> None:
        """End the broker without asking (SIGKILL), as a power cut does."""
        if self._child is not None:
            self._child.kill()

    def close(self) -> None:
        """End the broker and remove its data if they were temporary. Again is allowed."""
        if self._temporary is None:
            self.stop()
        else:
            self.kill()  # nobody will read these data: no need to wait for an orderly end
            self._temporary.cleanup()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:  # also Ctrl-C while the broker starts: `__exit__` is not called then
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _launch(self, port: int, controller_port: int) -> Child:
        self._folder.mkdir(parents=True, exist_ok=True)
        configuration = self._folder / "server.properties"
        listeners = f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}"
        properties = {
            **_PROPERTIES,
            "listeners": listeners,
            "advertised.listeners": listeners,
            "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
            "log.dirs": str(self._folder / "data"),
            **self._properties,
        }
        configuration.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        _format(self._folder / "data")
        return Child(
            [
                self._java,
                f"-Xms{min(128, self._heap_mb)}m",
                f"-Xmx{self._heap_mb}m",
                "-XX:+UseSerialGC",  # the fastest to start, and the smallest, on a machine of few cores
                "-XX:TieredStopAtLevel=1",
                "-XX:-UsePerfData",  # no file outside the folder
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-cp",
                f"{self._jars}{os.sep}*",
                "kafka.Kafka",
                str(configuration),
            ],
            self._folder / "server.log",
            self._folder,
        )


def resolve(cache: Path) -> Path:
    """Return the folder of the broker's jars, fetched by Maven into `cache` if they are not there yet.

    An interrupted download leaves nothing behind that could be taken for the whole: the jars arrive in a
    temporary folder, which becomes the final one by a rename. Raises LynceusError.
    """
    cache = cache.resolve()
    jars = cache / f"apache-kafka-{VERSION}"
    if jars.is_dir():
        return jars
    maven = _program("mvn", "Install Maven: it fetches the broker")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=cache, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "pom.xml").write_text(_POM)
        arriving = folder / "jars"
        command = [maven, "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={arriving}"]
        fetching = Child(command, folder / "maven.log", folder)
        try:
            status = fetching.wait(_DOWNLOAD_TIMEOUT_S)
        finally:
            fetching.kill()
        if status != 0:
            outcome = f"took more than {_DOWNLOAD_TIMEOUT_S:g} s" if status is None else f"ended with {status}"
            raise LynceusError(f"fetching Apache Kafka {VERSION} with Maven {outcome}: {fetching.tail()}", _REMEDY)
        try:
            arriving.rename(jars)
        except OSError:
            # Another process was faster: its jars are the same.
            if not jars.is_dir():
                raise
    return jars


def _program(name: str, remedy: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise LynceusError(f"Apache Kafka needs {name}, which is not on PATH", f"{remedy}, or {_REMEDY}")
    return found


def _format(data: Path) -> None:
    """Write what `kafka-storage format` would, which takes a JVM of its own and a second and a half."""
    description = data / "meta.properties"
    if not description.exists():
        data.mkdir(parents=True, exist_ok=True)
        description.write_text(f"version=1\nnode.id=1\ncluster.id={_uuid()}\ndirectory.id={_uuid()}\n")


def _uuid() -> str:
    """Return an id as Kafka writes it: 16 random bytes in URL-safe base64. It must not begin with a dash."""
    while (text := base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")).startswith("-"):
        pass
    return text


def _answers(port: int) -> bool:
    """Whether the broker answers ApiVersions (key 18, version 0), which only its request threads do."""
    correlation = 7
    header = (18).to_bytes(2) + (0).to_bytes(2) + correlation.to_bytes(4) + (-1).to_bytes(2, signed=True)
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
            connection.settimeout(1.0)
            connection.sendall(len(header).to_bytes(4) + header)
            answer = connection.recv(8)
            return answer[4:] == correlation.to_bytes(4)
    except OSError:
        return False
