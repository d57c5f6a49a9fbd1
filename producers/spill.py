"""The spill: where events wait on disk while Kafka is away, and outlive the process.

    <folder>/lane-0/lock                 held by the one process that uses this lane
    <folder>/lane-0/000000000007.jsonl   a segment: lines, oldest events first; full at 1 MiB

A line is a JSON array of the CRC-32 and the length of an event, both hexadecimal, and the event itself, so a line that
was being written when the process died is recognised. A segment is removed when all of it is delivered; one that was
delivered in part is delivered again after a restart, and the ids of its events make that harmless. Several processes
may share a folder: each has its lane, and takes over what dead ones left. Locks are POSIX `flock`.
"""

import contextlib
import fcntl
import json
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from producers.broker import reason
from producers.composition import Record
from stream_app.errors import LynceusError

SEGMENT_BYTES: Final = 1 << 20
_PREFIX: Final = len('["00000000","00000000",')
_MAX_LANES: Final = 1_000


class Read(NamedTuple):
    """The records of a segment, in order, and the number of lines that are none."""

    records: list[Record]
    torn: int


class Spill:
    """One lane of a spill folder. Mutable state: the segments by number, and the one that is open for appending.

    Used by one thread. Numbers order the segments; one that was reserved may be written later than a higher one.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Take a lane and whatever lanes without a process left. `max_bytes` bounds what this one writes.

        Raises LynceusError when the folder cannot be used.
        """
        self._max_bytes = max_bytes
        self._sizes: dict[int, int] = {}
        self._open: int | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock, self._lane = _take_lane(folder)
            for number, path in _segments(self._lane):
                self._sizes[number] = path.stat().st_size
            self._next = max(self._sizes, default=0) + 1
            self._adopt(folder)
        except OSError as error:
            raise LynceusError(
                f"spill_to={str(folder)!r}: {reason(error)}", "Name a folder that this process may write to"
            ) from None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is on disk."""
        return not self._sizes

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        return sum(self._sizes.values())

    def survey(self) -> tuple[int, int]:
        """Return how many events and how many torn lines are on disk. Reads all of it. Raises OSError."""
        events = torn = 0
        for number in self._sizes:
            read = self.read(number)
            events += len(read.records)
            torn += read.torn
        return events, torn

    def reserve(self) -> int:
        """Return a number for a segment that may be written later, but stands before all that are begun from now."""
        self._open = None
        number, self._next = self._next, self._next + 1
        return number

    def append(self, records: Sequence[Record], number: int | None = None) -> int:
        """Write records and return how many of the first ones are on disk: fewer when the bound is reached.

        With a reserved `number` they become that segment, all of them or none. Raises OSError when the disk does
        not take them; then none of them is there.
        """
        room = self._max_bytes - self.size_bytes
        lines: list[bytes] = []
        for record in records:
            text = line(record.value)
            room -= len(text)
            if room < 0:
                break
            lines.append(text)
        if number is not None and len(lines) < len(records):
            return 0
        if lines:
            self._write(self._appendable() if number is None else number, b"".join(lines))
        return len(lines)

    def first(self) -> int | None:
        """Return the number of the oldest segment and end its writing; None when nothing is on disk."""
        if not self._sizes:
            return None
        number = min(self._sizes)
        if number == self._open:
            self._open = None
        return number

    def read(self, number: int) -> Read:
        """Return the records of a segment. Raises OSError."""
        return parse(self._path(number).read_bytes())

    def remove(self, number: int) -> None:
        """Forget a segment that is delivered. Raises OSError."""
        self._path(number).unlink(missing_ok=True)
        del self._sizes[number]

    def close(self) -> None:
        """Leave the lane; what is in it is for the next process. Again is allowed."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _appendable(self) -> int:
        if self._open is None or self._sizes.get(self._open, 0) >= SEGMENT_BYTES:
            self._open, self._next = self._next, self._next + 1
        return self._open

    def _write(self, number: int, text: bytes) -> None:
        size = self._sizes.get(number, 0)
        with self._path(number).open("ab") as segment:
            try:
                segment.write(text)
                segment.flush()
                os.fsync(segment.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    segment.truncate(size)
                raise
        self._sizes[number] = size + len(text)

    def _path(self, number: int) -> Path:
        return self._lane / f"{number:012d}.jsonl"

    def _adopt(self, folder: Path) -> None:
        """Move the segments of lanes that no process holds behind our own."""
        for lane in sorted(folder.glob("lane-*")):
            if lane == self._lane or (lock := _lock(lane)) is None:
                continue
            try:
                for _, path in _segments(lane):
                    number = self.reserve()
                    size = path.stat().st_size
                    path.rename(self._path(number))
                    self._sizes[number] = size
            finally:
                os.close(lock)


def line(value: bytes) -> bytes:
    """Return an event as a line of a segment."""
    return b'["%08x","%08x",%b]\n' % (zlib.crc32(value), len(value), value)


def parse(text: bytes) -> Read:
    """Return the records of a segment's text; a line that is not whole, or no event, is counted as torn."""
    records: list[Record] = []
    torn = 0
    for written in text.split(b"\n"):
        if not written:
            continue
        value = written[_PREFIX:-1]
        if line(value) == written + b"\n" and (user := _user(value)):
            records.append(Record(user, value))
        else:
            torn += 1
    return Read(records, torn)


def _user(value: bytes) -> bytes | None:
    """Return the key of an event, whichever release wrote it; None when it is none."""
    try:
        return str(json.loads(value)["user"]).encode()
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _segments(lane: Path) -> Iterable[tuple[int, Path]]:
    return sorted((int(path.stem), path) for path in lane.glob("*.jsonl") if path.stem.isdigit())


def _take_lane(folder: Path) -> tuple[int, Path]:
    for number in range(_MAX_LANES):
        lane = folder / f"lane-{number}"
        lane.mkdir(exist_ok=True)
        if (lock := _lock(lane)) is not None:
            return lock, lane
    raise LynceusError(f"{_MAX_LANES} processes spill to {str(folder)!r}", "Give some of them another folder")


def _lock(lane: Path) -> int | None:
    """Return a file descriptor that holds the lane, or None when another process, or another tracker, does."""
    lock = os.open(lane / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
