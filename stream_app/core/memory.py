"""What a partition remembers between records: bounded, forgetful in a known way, and rebuilt exactly after a crash.

A `Remembered` table is two generations of a dictionary. Everything is put into the newer one; when that is full, or
as old as the horizon, it becomes the older one and the former older one is forgotten whole. So an entry lives between
one and two horizons, forgetting costs nothing per record, and it is a function of the log alone. As
nothing is put into the older one, it is kept packed where not nearly every event asks it (core/packed_table.py).

What was put since the last checkpoint is stored as one frame; the frames of the two living
generations, read back in order, give the same table again.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from stream_app.core.packed_table import PackedTable

CHUNK_BYTES: Final = 65_536
"""A stored chunk is rewritten while it is smaller than this, then closed: few fields, bounded rewriting."""

KEY_SHIFT: Final = 4
KEY_MASK: Final = 2**60 - 1
"""Keys are 64-bit hashes less four bits: Python keeps an integer of 60 bits in 32 bytes, and one more takes 48.

One that was only shifted still stands where 64 bits stood: what is kept is masked too: that makes a smaller one.
"""

Value = TypeVar("Value", tuple[int, ...], bytes)
"""What stands under a key; one that is put again and again is best one object."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[int, tuple[int, ...] | bytes]).decode


class Bound(NamedTuple):
    """How much and how long: entries per generation, and milliseconds of event time."""

    capacity: int
    horizon_ms: int


class Remembered(Generic[Value]):
    """A bounded table from 60-bit keys to short values. Mutable state: all of it, owned by one partition.

    What is fresh is the end of the newer generation, for dictionaries keep their order, and what was replaced there:
    so nothing has to be noted of what is put once, which is nearly all.
    """

    __slots__ = (
        "_at_of",
        "_chunk",
        "_replaced",
        "_sealed",
        "_stale",
        "_stored",
        "_tail",
        "_unwritten",
        "bound",
        "capacity",
        "followers",
        "forgotten",
        "generation",
        "name",
        "needed_since_ms",
        "newer",
        "now_ms",
        "older",
        "packs_older",
        "started_ms",
    )

    def __init__(self, name: str, bound: Bound, at_of: Callable[[Value], int], *, packs_older: bool = False) -> None:
        """`at_of` tells the event time of a value.

        With `packs_older` the older generation takes a quarter of the room, and a look into it ten times the time; it
        has an order of its own.
        """
        self.name = name
        self.packs_older = packs_older
        self._at_of: Callable[[Value], int] = at_of
        self.bound = bound
        self.capacity = bound.capacity
        self.newer: dict[int, Value] = {}
        self.older: Mapping[int, Value] = {}
        self.generation = 0
        self.started_ms = 0
        self.forgotten = 0
        self.followers: tuple[Remembered[Any], ...] = ()
        """Tables whose entries mean nothing without ours: they begin a generation whenever we do."""
        self._chunk = 0
        self._tail = b""
        self._unwritten: dict[str, bytes] = {}
        self._sealed = 0
        self._replaced: dict[int, Value] = {}
        self._stored: dict[int, set[str]] = {}
        self._stale: list[str] = []
        self.now_ms = self.needed_since_ms = 0

    def __len__(self) -> int:
        return len(self.newer) + len(self.older)

    def __contains__(self, key: int) -> bool:
        return key in self.newer or key in self.older

    def get(self, key: int) -> Value | None:
        """Return what is remembered under `key`, or None."""
        value = self.newer.get(key)
        return self.older.get(key) if value is None else value

    def put(self, key: int, value: Value) -> None:
        """Remember `value` under `key`; a later value replaces an earlier one."""
        newer = self.newer
        if key in newer:
            self._replaced[key] = value
        elif len(newer) >= self.capacity:
            self.rotate()
            newer = self.newer
        newer[key] = value

    def advance(self, now_ms: int, needed_since_ms: int) -> None:
        """Tell the table the watermark, and since when an entry's event time still matters."""
        self.remind(now_ms, needed_since_ms)
        if not self.started_ms:
            self.started_ms = now_ms
        elif self.newer and now_ms - self.started_ms >= self.bound.horizon_ms:
            self.rotate()

    def remind(self, now_ms: int, needed_since_ms: int) -> None:
        """Tell a restored table what it was last told: nothing is forgotten by that."""
        self.now_ms, self.needed_since_ms = now_ms, needed_since_ms

    def rotate(self) -> None:
        """Begin a new generation, and forget the one before the last.

        It happens at a record, never at a checkpoint, so that it does not depend on when the worker wrote.
        """
        since, at_of = self.needed_since_ms, self._at_of
        self.forgotten += sum(at_of(value) >= since for value in self.older.values())
        self._begin_generation()
        for follower in self.followers:
            follower._begin_generation()  # noqa: SLF001  # one of us

    def _begin_generation(self) -> None:
        self._seal_fresh()
        self.older, self.newer, self._sealed = self._kept(self.newer), {}, 0
        self.generation += 1
        self.started_ms = self.now_ms
        self._chunk, self._tail = 0, b""
        self._stale += sorted(self._stored.pop(self.generation - 2, ()))

    # -- storage: field names and frames ----------------------------------------------------------------------------

    def take_fresh(self) -> dict[str, bytes]:
        """Return the fields to write so that everything put so far is stored; empty when nothing is fresh."""
        self._seal_fresh()
        fields, self._unwritten = self._unwritten, {}
        return fields

    def take_stale(self) -> list[str]:
        """Return the stored fields of forgotten generations, to be deleted some time after the next checkpoint."""
        stale, self._stale = self._stale, []
        return stale

    def _seal_fresh(self) -> None:
        fresh = _latest(self.newer, len(self.newer) - self._sealed)
        self._sealed = len(self.newer)
        if self._replaced:
            fresh |= self._replaced
            self._replaced = {}
        if not fresh:
            return
        frame = _encode(fresh)
        self._tail += len(frame).to_bytes(4, "big") + frame
        field = f"j:{self.name}:{self.generation}:{self._chunk}"
        self._unwritten[field] = self._tail
        self._stored.setdefault(self.generation, set()).add(field)
        if len(self._tail) >= CHUNK_BYTES:
            self._chunk, self._tail = self._chunk + 1, b""

    def restore(self, generation: int, started_ms: int, forgotten: int, chunks: dict[tuple[int, int], bytes]) -> None:
        """Rebuild the table from the stored chunks, keyed by (generation, chunk)."""
        self.generation, self.started_ms, self.forgotten = generation, started_ms, forgotten
        # Equal values are one object again, as when they were put: else a restart would need more memory.
        values: dict[Any, Any] = {}
        older: dict[int, Value] = {}
        for (owner, number), content in sorted(chunks.items()):
            field = f"j:{self.name}:{owner}:{number}"
            if owner not in (generation, generation - 1):
                self._stale.append(field)
                continue
            self._stored.setdefault(owner, set()).add(field)
            target = self.newer if owner == generation else older
            for frame in _frames(content):
                entries = _decode(frame)
                target.update((key, values.setdefault(value, value)) for key, value in entries.items())
            if owner == generation:
                is_closed = len(content) >= CHUNK_BYTES
                self._chunk, self._tail = (number + 1, b"") if is_closed else (number, content)
        self._sealed = len(self.newer)
        self.older = self._kept(older)

    def _kept(self, older: dict[int, Value]) -> Mapping[int, Value]:
        """Return a generation that nothing is put into any more as it is kept."""
        return PackedTable(older) if older and self.packs_older else older


def _latest(table: dict[int, Value], number: int) -> dict[int, Value]:
    """Return the entries put last, in their order."""
    if number * 3 > len(table):
        return dict(islice(table.items(), len(table) - number, None))
    # Few of many: from the end, so that a quiet partition does not walk over all it remembers at every checkpoint.
    return dict(reversed(list(islice(reversed(table.items()), number))))


def _frames(content: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        yield content[at + 4 : at + 4 + length]
        at += 4 + length
