"""A whole Lynceus to be watched: real processes that have counted nothing yet."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import pytest

from stream_app.errors import LynceusError
from stream_app.stack import Stack
from tests.conftest import unavailable

_ANY_PORT = {"LYNCEUS_SERVER__PORT": "0", "LYNCEUS_WORKER__METRICS_PORT": "0"}


@contextmanager
def started(settings: Mapping[str, str]) -> Iterator[Stack]:
    """Yield Kafka, Redis, a worker and a server with these settings."""
    with ExitStack() as opened:
        with pytest.MonkeyPatch.context() as environ:
            for name, value in {**_ANY_PORT, **settings}.items():
                environ.setenv(name, value)
            try:
                stack = opened.enter_context(Stack(is_apache=False, say=lambda _: None))
            except LynceusError as error:
                unavailable(error)
        yield stack


def targets(stack: Stack) -> dict[str, list[str]]:
    """Return of each job of Prometheus the processes that it scrapes."""
    worker = stack.settings.worker
    return {
        "lynceus-worker": [f"{worker.metrics_host}:{worker.metrics_port}"],
        "lynceus-server": [stack.url.removeprefix("http://")],
    }
