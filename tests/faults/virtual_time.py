"""An event loop whose time is counted, not waited for: everything that sleeps wakes in order, at once."""

import asyncio
from typing import Any


class DeadlockError(Exception):
    """Nothing is ready and nothing will be: everybody waits for somebody else."""


class _NoSelector:
    """Where the loop would wait for sockets, time is moved on instead."""

    def __init__(self, loop: "VirtualTime") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise DeadlockError
        self._loop.now_s += timeout
        return []


class VirtualTime(asyncio.BaseEventLoop):
    """A loop without sockets and threads. Mutable state: what time it is, besides the loop's own."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # typeshed does not annotate it
        self.now_s = 0.0
        self._selector = _NoSelector(self)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self.now_s

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass
