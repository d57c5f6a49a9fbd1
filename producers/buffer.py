"""The buffer between those who record events and the courier that delivers them: bounded, and it keeps the report."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, Literal, NamedTuple

from producers.composition import Record
from producers.report import DeliveryReport
from stream_app.errors import LynceusError

_BATCH_EVENTS: Final = 2_000
_BATCH_BYTES: Final = 1 << 20


class DeliveryRules(NamedTuple):
    """What to do when Kafka is slow or away. Seconds, events, bytes."""

    when_away: Literal["raise", "spill"] = "raise"
    spill_to: Path | None = None
    spill_after_s: float = 5.0
    max_spill_bytes: int = 256 << 20
    block_s: float = 5.0
    max_events: int = 10_000
    max_bytes: int = 32 << 20
    delivery_timeout_s: float = 60.0

    def require_sound(self) -> None:
        """Raise LynceusError that names the rule that cannot be followed."""
        if self.when_away not in ("raise", "spill"):
            raise LynceusError(f"when_away={self.when_away!r} is no policy", 'It is "raise" or "spill"')
        if (self.when_away == "spill") != (self.spill_to is not None):
            raise LynceusError(
                f"when_away={self.when_away!r} with spill_to={self.spill_to!r}",
                "Spilling needs a folder, and a folder is only for spilling",
            )
        for name in ("spill_after_s", "max_spill_bytes", "max_events", "max_bytes", "delivery_timeout_s"):
            if not getattr(self, name) > 0:
                raise LynceusError(f"{name}={getattr(self, name)!r} is too small", "It is greater than 0")


class BufferFullError(LynceusError):
    """An event was not taken: for `block_s` seconds there was no room for it."""


class Buffer:
    """Takes records from any thread.

    Mutable state, all under one lock: the records, their bytes, the report, who waits for room, and when to end.
    A record keeps its room until the courier says what became of it, also while it is on its way.
    """

    def __init__(self, rules: DeliveryRules, address: str) -> None:
        """`address` is where events go, for the words of an error."""
        self._rules = rules
        self._address = address
        self._changed = threading.Condition()
        self._waiting: deque[Record] = deque()
        self._size_bytes = 0
        self._report = DeliveryReport()
        self._room_wanted: list[Callable[[], None]] = []
        self._is_open = False
        self._closing_at: float | None = None
        self._pid = os.getpid()

    def put(self, record: Record) -> None:
        """Take a record; wait for room for at most `block_s` seconds. Raises BufferFullError, LynceusError."""
        deadline = time.monotonic() + self._rules.block_s
        with self._changed:
            while not self._take(record):
                if time.monotonic() >= deadline:
                    raise self._full()
                self._changed.wait(deadline - time.monotonic())

    def offer(self, record: Record) -> bool:
        """Take a record if there is room now, and return whether there was. Raises LynceusError."""
        with self._changed:
            return self._take(record)

    def when_room(self, call: Callable[[], None]) -> None:
        """Call once, from another thread, when an offer may be worth repeating."""
        with self._changed:
            self._room_wanted.append(call)

    def refuse(self, call: Callable[[], None]) -> BufferFullError:
        """Count an event whose offers were in vain, stop waiting for room, and return what to raise."""
        with self._changed:
            if call in self._room_wanted:
                self._room_wanted.remove(call)
            return self._full()

    def withhold(self) -> None:
        """Count an event that is not sent for want of consent. Raises LynceusError."""
        with self._changed:
            self._require_open()
            self._count(sent=1, withheld=1)

    def report(self) -> DeliveryReport:
        """Return the report so far."""
        with self._changed:
            return self._report

    def wait_empty(self, timeout_s: float) -> DeliveryReport:
        """Return the report once nothing is pending or spilled. Raises LynceusError after `timeout_s` seconds."""
        with self._changed:
            if self._changed.wait_for(lambda: not (self._report.pending or self._report.spilled), timeout_s):
                return self._report
            report = self._report
        raise LynceusError(
            f"{report.pending + report.spilled} of {report.sent + report.recovered} events are not delivered to "
            f"Kafka at {self._address} after {timeout_s:g} s" + (f" ({report.trouble})" if report.trouble else ""),
            "Look at the brokers, or allow more time",
        )

    # What follows is for the courier.

    @property
    def closing_at(self) -> float | None:
        """When to have ended, by the monotonic clock; None while nobody closes."""
        return self._closing_at

    @property
    def is_pressed(self) -> bool:
        """Whether more than half of the room is taken by records that wait."""
        with self._changed:
            rules = self._rules
            return 2 * len(self._waiting) > rules.max_events or 2 * self._size_bytes > rules.max_bytes

    def open(self, recovered: int, torn: int) -> None:
        """Take records from now on; so many were found in the spill."""
        with self._changed:
            self._count(recovered=recovered, spilled=recovered, torn=torn)
            self._is_open = True

    def close(self, closing_at: float) -> None:
        """Take no more; the first time that is said counts."""
        with self._changed:
            if self._closing_at is None:
                self._closing_at = closing_at
            self._changed.notify_all()

    def wait_for_work(self) -> None:
        """Return when a record waits, or when it is closing."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing_at is not None)

    @property
    def has_records(self) -> bool:
        """Whether a record waits."""
        return bool(self._waiting)

    def head(self) -> list[Record]:
        """Return a batch of the oldest records, which stay."""
        with self._changed:
            batch = list(islice(self._waiting, _BATCH_EVENTS))
        size = 0
        for number, record in enumerate(batch):
            size += len(record.value)
            if size > _BATCH_BYTES:
                return batch[: max(number, 1)]
        return batch

    def take(self, count: int) -> None:
        """Let the courier have the `count` oldest records; their room stays taken."""
        with self._changed:
            for _ in range(count):
                self._waiting.popleft()

    def became(self, records: Sequence[Record], *, trouble: str | None, **changes: int) -> None:
        """Free the room of taken records that reached a state; `changes` are those of the report."""
        with self._changed:
            self._size_bytes -= sum(len(record.value) for record in records)
            self._count(**changes)
            self._report = self._report._replace(trouble=trouble)
            self._wake()

    def note(self, *, trouble: str | None = None, failure: str | None = None) -> None:
        """Keep why nothing is delivered, and why the first event failed."""
        with self._changed:
            report = self._report
            self._report = report._replace(
                trouble=trouble or report.trouble, first_failure=report.first_failure or failure
            )

    def give_up(self, hand: Sequence[Record]) -> None:
        """Count what the courier holds and what still waits as failed, and keep it for whoever closes."""
        with self._changed:
            left = [*hand, *self._waiting]
            self._waiting.clear()
            self._size_bytes = 0
            self._is_open = False
            self._count(pending=-len(left), failed=len(left))
            self._report = self._report._replace(undelivered=tuple(record.value for record in left))
            self._wake()

    # What follows is called with the lock held.

    def _take(self, record: Record) -> bool:
        self._require_open()
        size, pending = len(record.value), self._report.pending
        if pending >= self._rules.max_events or (pending and self._size_bytes + size > self._rules.max_bytes):
            return False
        self._waiting.append(record)
        self._size_bytes += size
        self._count(sent=1, pending=1)
        self._changed.notify_all()
        return True

    def _require_open(self) -> None:
        if self._pid != os.getpid():
            raise LynceusError("this tracker belongs to the process before the fork", "Make one in each process")
        if self._closing_at is not None or not self._is_open:
            raise LynceusError("this tracker is closed, or was not started", "Record between `start` and `close`")

    def _full(self) -> BufferFullError:
        self._count(sent=1, refused=1)
        report = self._report
        return BufferFullError(
            f"the event was not taken: {report.pending} wait for Kafka at {self._address}, and for "
            f"{self._rules.block_s:g} s there was no room" + (f" ({report.trouble})" if report.trouble else ""),
            'Look at the brokers; when_away="spill" keeps events on disk, up to max_spill_bytes',
        )

    def _count(self, **changes: int) -> None:
        report = self._report
        self._report = report._replace(**{name: getattr(report, name) + by for name, by in changes.items()})

    def _wake(self) -> None:
        wanted, self._room_wanted = self._room_wanted, []
        for call in wanted:
            call()
        self._changed.notify_all()
