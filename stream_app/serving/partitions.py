"""One partition as it is read from its hash: what is known of it, what must be read again, and what changed.

Pure: bytes in, changes out. The reader asks Redis; an `Attempt` decides what to ask for. Each answer is one
HMGET of the partition's own fields (META) and some of its cells, so it is of one checkpoint; when the worker
writes between two answers, the directory of the later one says which cells must be asked for again.

    answer 1   META                    -> directory: p:10 @4, p:20 @7     missing: p:10, p:20
    answer 2   META + p:10, p:20       -> directory: p:10 @4, p:20 @8, p:30 @8
                                          p:10 and p:20 belong to it      missing: p:30
    answer 3   META + p:30             -> directory unchanged             missing: nothing, done
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from stream_app.core import cells
from stream_app.core.cells import Alive, Head
from stream_app.core.histograms import read_key
from stream_app.core.slices import Slice
from stream_app.core.tally import has_place, name_of

META: Final = (
    cells.OFFSET,
    cells.HEAD,
    cells.DIRECTORY,
    cells.SLICES,
    cells.LAYOUT,
    cells.ALIVE,
    cells.INCARNATION,
    cells.CONFIG,
)
"""The fields that every answer begins with, in this order."""

NEVER: Final = 1 << 62
"""Later than any event time."""

Answer = Sequence[bytes | None]


class PartitionState(NamedTuple):
    """Where a partition stands. `fault` says why its cells may not be whole; empty = they are.

    `since` says from which event time on a measure is counted here, by name, if not from the beginning: `NEVER` where
    the worker does not know it.
    """

    partition: int
    is_claimed: bool = False
    offset: int = 0
    head: Head = Head()  # never written to: a decoded head replaces it
    alive: Alive | None = None
    fault: str = ""
    since: Mapping[str, int] = {}  # never written to


class Change(NamedTuple):
    """What is new in the cells of a partition: packed rows by field, None = gone.

    With `is_reset`, all that was known of the partition before is void.
    """

    partition: int
    is_reset: bool
    slices: tuple[Slice, ...]
    fields: Mapping[str, bytes | None]


class Known(NamedTuple):
    """What was read of a partition so far; the cells themselves are with whoever took the changes."""

    identity: tuple[bytes | None, ...] = ()
    offset: int = 0
    directory: bytes = b""
    packed_slices: bytes = b""
    slices: tuple[Slice, ...] = ()
    sequences: Mapping[str, int] = {}  # never written to
    sequence: int = 0
    state: PartitionState | None = None


class Attempt:
    """One attempt at reading a partition. Mutable state: all of it, for the time of one refresh.

    Every method raises ValueError (msgspec's errors are such) when stored bytes are not what they should be.
    """

    def __init__(self, partition: int, known: Known, columns: Sequence[str]) -> None:
        self._partition = partition
        self._known = known
        self._columns = tuple(columns)
        self._staged: dict[str, tuple[int, bytes]] = {}
        self._torn: set[str] = set()
        self._next = known
        self._is_reset = False
        self.missing: list[str] = []

    def observe(self, answer: Answer, fields: Sequence[str] = ()) -> None:
        """Take one answer of Redis into account: META, then the cells `fields`."""
        known, before = self._known, self._next
        self._next = self._read_meta(answer[: len(META)])
        if self._next.identity != before.identity or self._next.sequence < before.sequence:
            self._staged.clear()
            self._torn.clear()
        self._is_reset = self._contradicts(known)
        sequences = self._next.sequences
        positions = _positions(self._next.identity[-1], self._columns)
        for field, packed in zip(fields, answer[len(META) :], strict=True):
            if field not in sequences:
                continue
            if packed is None:
                self._torn.add(field)
            else:
                check = _check_bins if field.startswith(tuple(cells.BINS)) else _conform
                self._staged[field] = sequences[field], check(packed, positions, len(self._next.slices))
        base = {} if self._is_reset else known.sequences
        self.missing = []
        if sequences is not base:
            self.missing = [
                field
                for field, sequence in sequences.items()
                if base.get(field) != sequence
                and field not in self._torn
                and self._staged.get(field, (-1,))[0] != sequence
            ]

    def conclude(self) -> tuple[Known, Change | None]:
        """Return what is known now, and what changed (None: nothing). Call it when nothing is missing."""
        new, known = self._next, self._known
        torn = self._torn & new.sequences.keys()
        if torn and new.state:
            fault = f"{len(torn)} of its cells are missing"
            # What is torn is not held, and the directory not known: both will be read again next time.
            held = {field: sequence for field, sequence in new.sequences.items() if field not in torn}
            new = new._replace(sequences=held, directory=b"", state=new.state._replace(fault=fault))
        fields: dict[str, bytes | None] = {}
        if not self._is_reset and new.sequences is not known.sequences:
            fields = dict.fromkeys(field for field in known.sequences if field not in new.sequences)
        fields |= {field: packed for field, (_, packed) in self._staged.items() if field in new.sequences}
        has_changed = bool(fields) or (self._is_reset and bool(known.sequences))
        return new, Change(self._partition, self._is_reset, new.slices, fields) if has_changed else None

    def _read_meta(self, meta: Answer) -> Known:
        offset, head, directory, slices, layout, alive, incarnation, config = meta
        before = self._next
        read = cells.unpack_head(head) if head else Head()
        state = PartitionState(
            self._partition,
            any(field is not None for field in meta),
            int(offset or 0),
            read,
            cells.unpack_alive(alive) if alive else None,
            since=_since(read, layout, self._columns),
        )
        # Unpacking what is as it was would be most of the work of a quiet refresh.
        is_same = directory is not None and directory == before.directory
        is_numbered = slices is not None and slices == before.packed_slices
        if is_same:
            sequences, sequence = before.sequences, before.sequence
        else:
            sequences = cells.unpack_directory(directory) if directory else {}
            sequence = max(sequences.values(), default=0)
        return Known(
            (incarnation, config, layout),
            state.offset,
            directory or b"",
            slices or b"",
            before.slices if is_numbered else tuple(cells.unpack_slices(slices) if slices else ()),
            sequences,
            sequence,
            state,
        )

    def _contradicts(self, known: Known) -> bool:
        """Say whether what is stored does not continue what is known: another life of the partition."""
        if not known.identity:
            return False
        new = self._next
        return (
            new.identity != known.identity
            or new.offset < known.offset
            or new.sequence < known.sequence
            or (new.slices is not known.slices and new.slices[: len(known.slices)] != known.slices)
        )


def _since(head: Head, layout: bytes | None, columns: tuple[str, ...]) -> Mapping[str, int]:
    """Return by the names of measures from when on they are counted, where not from the beginning."""
    stored = frozenset(cells.unpack_layout(layout)) if layout else frozenset(columns)
    since = {column: head.since.get(column, 0) if column in stored else NEVER for column in columns}
    return {name_of(column): at_ms for column, at_ms in since.items() if at_ms}


def _positions(layout: bytes | None, columns: tuple[str, ...]) -> list[int] | int:
    """Return where in a stored tally each column stands (-1: nowhere), or the width if all are in place."""
    wanted = [column for column in columns if has_place(column)]
    stored = [column for column in cells.unpack_layout(layout) if has_place(column)] if layout else wanted
    if stored == wanted:
        return len(stored)
    at = {column: position for position, column in enumerate(stored)}
    return [at.get(column, -1) for column in wanted]


def _conform(packed: bytes, positions: list[int] | int, slices: int) -> bytes:
    """Return packed rows in the order of our own measures; raise ValueError unless they are readable."""
    rows = cells.unpack_rows(packed)
    if rows and not 0 <= min(rows) <= max(rows) < slices:
        raise ValueError(f"rows of slice {max(rows)}, of {slices} slices")
    if isinstance(positions, int):
        if any(len(tally) != positions for tally in rows.values()):
            raise ValueError(f"tallies that have not {positions} measures")
        return packed
    try:
        mapped = {n: [tally[at] if at >= 0 else 0 for at in positions] for n, tally in rows.items()}
    except IndexError:
        raise ValueError("tallies shorter than their layout") from None
    return cells.pack_rows(mapped)


def _check_bins(packed: bytes, _positions: list[int] | int, slices: int) -> bytes:
    """Return packed bins as they are; raise ValueError unless they are readable."""
    rows = cells.unpack_rows(packed)
    if rows and not 0 <= read_key(min(rows)).slice_number <= read_key(max(rows)).slice_number < slices:
        raise ValueError(f"bins of slice {read_key(max(rows)).slice_number}, of {slices} slices")
    if any(len(amounts) != 1 for amounts in rows.values()):
        raise ValueError("bins that have not 1 amount")
    return packed
