"""The stored layout of one partition: what the worker writes and the server reads, and all that they share.

One Redis hash per partition, `lynceus:{app:topic:partition}`:

    @off    next offset to apply, decimal         @tok    owner nonce, random at every claim
    @cfg    fingerprint of all that changes what a record contributes
    @log    identity of the log                   @inc    incarnation of this state
    @head   Head, packed: outcomes, watermark, floor, progress
    @dir    directory: field of a pane or hour -> sequence number of its last change
    @slices the partition's slices in order of their numbers
    @layout columns of the measures, in the order of the vector, then those of the histograms
    @alive  Alive, packed: heartbeat of the owner, also when nothing is counted
    p:<start> h:<start>    rows of a pane, of an hour: slice number -> tally, absolute values; deflated once it is old
    d:<start>              rows of a day, of what is told a day at a time; it may lie ahead
    bp:<start> bh:<start>  bins of its histograms: bin key (core/histograms.py) -> [amount], absolute values
    j:<table>:<generation>:<chunk>    what the partition remembers (core/memory.py)

One more hash, `lynceus:{app}:inputs`, has what people told, whatever the partition: the id of an input -> its canonical
JSON, and @change, a nonce, random at every write of one; @refused:<partition>, the offset of the last
record of their topic that was set apart.

What the server keeps lies under other names, `<app>:v1:`, of which none begins like those above; `<app>:v1:watch:` is
what the watch over personalization knows, shared by all servers (serving/watch_store.py):

    watch:<surface>:state  hash: `last`, start of the last minute that was judged (ms); `state`, the evidence, packed
    watch:progress         hash: surface -> its `last`; who is in it is watched
    watch:history          list: verdicts, JSON, the newest first, bounded
    watch:outbox           list: verdicts that Kafka does not have yet, the oldest first, bounded
    watch:sender           which server sends them now; expires
    watch:tallies          hash: what has happened to the watch, counted
    <surface>:guard        JSON: whether personalization may be relied on there; expires with the servers

A field is part of the state only if the directory (p:, h:, d:, bp:, bh:) or the head (j:) says so; anything else is a
leftover.
"""

import hashlib
import zlib
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from stream_app.core.slices import Slice

LAYOUT_VERSION: Final = 2
OFFSET, TOKEN, CONFIG, LOG, INCARNATION = "@off", "@tok", "@cfg", "@log", "@inc"
HEAD, DIRECTORY, SLICES, LAYOUT, ALIVE = "@head", "@dir", "@slices", "@layout", "@alive"

CHANGE: Final = "@change"

ANY_LOG: Final = "*"
"""Value of `@log` by which an operator lets the state continue on whatever log is there."""

OUTCOMES: Final = ("counted", "duplicate", "late", "future", "unmatched", "rejected")
"""Each record ends in exactly one of these."""

_encode = msgspec.msgpack.Encoder().encode


class Generation(msgspec.Struct, array_like=True, frozen=True):
    """Where a remembered table stands."""

    number: int
    started_ms: int
    forgotten: int


class Head(msgspec.Struct, array_like=True, kw_only=True):
    """What is known of a partition at `@off`.

    `applied` is the number of records that led there from `first_offset`, `skipped_offsets` the number of offsets that
    held none; `anchor` is the fingerprint of the last record applied, at `anchor_offset`. `lost_offsets` were removed
    by retention before they were counted: windows that begin before `gap_ms` (wall clock, when that was found) may
    lack some. Until `@off` reaches `replay_to`, a state that was lost, or went back, is being counted anew.
    `partitions` is how many the topic had when the partition was last claimed. When there were more at a claim, keys
    had moved to others: what happened before `rekeyed_ms` (wall clock) cannot be joined with what came after it.
    `since` says of measures that came to the catalogue later, by column, from which event time on they are counted.
    """

    applied: int = 0
    newest_ms: int = 0
    floor_ms: int = 0
    outcomes: dict[str, int] = {}  # msgspec copies an empty mutable default
    rejected: dict[str, int] = {}  # as above
    remembered: dict[str, Generation] = {}  # as above
    overflowed: int = 0
    first_offset: int = 0
    skipped_offsets: int = 0
    written_ms: int = 0
    anchor_offset: int = 0
    anchor: int = 0
    lost_offsets: int = 0
    gap_ms: int = 0
    replay_to: int = 0
    partitions: int = 0
    rekeyed_ms: int = 0
    since: dict[str, int] = {}  # as above


class Alive(msgspec.Struct, array_like=True, frozen=True):
    """The owner's heartbeat: when (wall clock), who, the log's end as it knew it, and when it last advanced."""

    at_ms: int
    worker: str
    end_offset: int
    advanced_ms: int


def partition_key(app: str, topic: str, partition: int) -> str:
    """Return the name of the hash of one partition; braces keep a Redis Cluster from splitting it."""
    return f"lynceus:{{{app}:{topic}:{partition}}}"


def inputs_key(app: str) -> str:
    """Return the name of the hash of what people told."""
    return f"lynceus:{{{app}}}:inputs"


class WatchKeys(NamedTuple):
    """The names of what all servers know of the watch, surfaces apart."""

    progress: str
    history: str
    outbox: str
    sender: str
    tallies: str


def watch_keys(app: str) -> WatchKeys:
    """Return the names of what the servers of an app share of the watch."""
    return WatchKeys(*(f"{app}:v1:watch:{part}" for part in WatchKeys._fields))


def watch_key(app: str, surface: str) -> str:
    """Return the name of the hash of one surface's evidence; its ending keeps it apart from every guard."""
    return f"{app}:v1:watch:{surface}:state"


def refused_field(partition: int) -> str:
    """Return the field of the last record of a partition of the inputs' topic that was set apart."""
    return f"@refused:{partition}"


class Prefixes(NamedTuple):
    """What the fields of panes, of hours and of days begin with."""

    pane: str
    hour: str
    day: str


TALLIES: Final = Prefixes("p:", "h:", "d:")
BINS: Final = Prefixes("bp:", "bh:", "bd:")


def pane_field(start_ms: int) -> str:
    """Return the field of the pane that starts at `start_ms`."""
    return f"{TALLIES.pane}{start_ms}"


def hour_field(start_ms: int) -> str:
    """Return the field of the hour that starts at `start_ms`."""
    return f"{TALLIES.hour}{start_ms}"


def holds_tallies(field: str) -> bool:
    """Say whether a field of the directory has tallies, not bins."""
    return field.startswith(tuple(TALLIES))


def field_start(field: str) -> int:
    """Return the start that a pane's, hour's or day's field names."""
    return int(field.partition(":")[2])


def fingerprint(meaning: Iterable[tuple[str, object]]) -> str:
    """Return a hash of the rules of counting and of this layout: counts under different ones are never mixed.

    The catalogue is not among them. Each measure's column says what it means, so one that is new changes no other.
    """
    parts = [f"layout={LAYOUT_VERSION}", *(f"{name}={value}" for name, value in sorted(meaning))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def pack_rows(rows: dict[int, list[int]]) -> bytes:
    """Pack the rows of a pane or hour. Amounts beyond 64 bits are kept as decimal strings: sums never wrap."""
    try:
        return _encode(rows)
    except OverflowError:
        wide = {n: [a if -(2**63) <= a < 2**64 else str(a) for a in tally] for n, tally in rows.items()}
        return _encode(wide)


_decode_rows = msgspec.msgpack.Decoder(dict[int, list[int]]).decode
_decode_wide = msgspec.msgpack.Decoder(dict[int, list[int | str]]).decode


_split_rows = msgspec.msgpack.Decoder(dict[int, msgspec.Raw]).decode
_decode_row = msgspec.msgpack.Decoder(list[int]).decode
_decode_wide_row = msgspec.msgpack.Decoder(list[int | str]).decode

_ZLIB: Final = b"\x78"
"""What deflated rows begin with, and no map of MessagePack does."""
_WORTH_DEFLATING: Final = 1_024


def deflate(packed: bytes, *, is_sparse: bool) -> bytes:
    """Return packed rows deflated, a fifth as long and still to be unpacked by `unpack_rows`; few of them as they are.

    `is_sparse` says that they are mostly zeros: then looking for runs alone takes less time, and finds more.
    """
    if len(packed) < _WORTH_DEFLATING or packed[:1] == _ZLIB:
        return packed
    if not is_sparse:
        return zlib.compress(packed, 1)
    deflating = zlib.compressobj(1, strategy=zlib.Z_RLE)
    return deflating.compress(packed) + deflating.flush()


def _inflate(packed: bytes) -> bytes:
    """Undo `deflate`. Raises ValueError where that is damaged."""
    try:
        return zlib.decompress(packed) if packed[:1] == _ZLIB else packed
    except zlib.error as error:
        raise ValueError(f"deflated rows that cannot be read: {error}") from None


def unpack_rows(packed: bytes) -> dict[int, list[int]]:
    """Undo `pack_rows`, and `deflate`. Raises ValueError (msgspec's errors are such) where these are no rows."""
    inflated = _inflate(packed)
    try:
        return _decode_rows(inflated)
    except msgspec.ValidationError:
        return {n: [int(amount) for amount in tally] for n, tally in _decode_wide(inflated).items()}


def split_rows(packed: bytes) -> dict[int, msgspec.Raw]:
    """Return packed rows, deflated or not, one by one: a tenth of what `unpack_rows` takes."""
    return _split_rows(_inflate(packed))


def unpack_row(packed: msgspec.Raw) -> list[int]:
    """Return one of the rows of `split_rows`."""
    try:
        return _decode_row(packed)
    except msgspec.ValidationError:
        return [int(amount) for amount in _decode_wide_row(packed)]


_decode_head = msgspec.msgpack.Decoder(Head).decode
_decode_alive = msgspec.msgpack.Decoder(Alive).decode
_decode_directory = msgspec.msgpack.Decoder(dict[str, int]).decode
_decode_slices = msgspec.msgpack.Decoder(list[Slice]).decode
_decode_layout = msgspec.msgpack.Decoder(list[str]).decode


def pack(value: Head | Alive | dict[str, int] | list[Slice] | list[str]) -> bytes:
    """Pack a head, a heartbeat, a directory, a slice table or a layout."""
    return _encode(value)


def unpack_head(packed: bytes) -> Head:
    """Undo `pack` of a head."""
    return _decode_head(packed)


def unpack_alive(packed: bytes) -> Alive:
    """Undo `pack` of a heartbeat."""
    return _decode_alive(packed)


def unpack_directory(packed: bytes) -> dict[str, int]:
    """Undo `pack` of a directory."""
    return _decode_directory(packed)


def unpack_slices(packed: bytes) -> list[Slice]:
    """Undo `pack` of a slice table."""
    return _decode_slices(packed)


def unpack_layout(packed: bytes) -> list[str]:
    """Undo `pack` of the columns of the measures."""
    return _decode_layout(packed)
