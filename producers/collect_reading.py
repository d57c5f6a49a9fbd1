r"""From a body to events: one object, an array, an envelope or lines; each accepted or refused by itself.

    {"id": ..., "type": ...}                         one event
    [{...}, {...}]                                   a batch
    {"events": [...], "sent_at": ms, "key": "..."}   an envelope: what the browser beacon sends
    {...}\n{...}\n                                   lines, when the content type says NDJSON

A body that cannot be taken apart is `Unreadable` as a whole; an event in it that is none is `Refused`, and its
neighbours are not.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from stream_app.core import codec
from stream_app.core.codec import Rejected
from stream_app.core.events import EARLIEST_MS, LATEST_MS, MAX_RECORD_BYTES, AnyEvent, Decision

FOREIGN: Final = "foreign"
"""The reason of what an adapter refused, beside `codec.REASONS`."""
MAX_EVENTS: Final = 1_000
"""Events in one request."""
LINES: Final = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/jsonlines"})

_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_any = msgspec.json.Decoder().decode
# What msgspec and the codec say where; the rest of the sentence is for people.
_PLACE: Final = re.compile(r" - at `\$\.?([^`]*)`$")
_MISSING: Final = re.compile(r"missing required field `([^`]+)`")
_FIELD_OF: Final = {
    "unknown_type": "type",
    "version": "v",
    "identity": "user",
    "timestamp": "ts",
    "timestamp_unit": "ts",
    "future": "ts",
}


class Refused(NamedTuple):
    """An event that was not taken: the reason (of `codec.REASONS`, or `FOREIGN`), the field at fault, more words."""

    reason: str
    field: str | None
    detail: str


class Unreadable(NamedTuple):
    """A body that cannot be taken apart: the reason (one of `codec.REASONS`), and more words."""

    reason: str
    detail: str


class Body(NamedTuple):
    """A body taken apart: one raw JSON value for each event, and what the sender says of the whole."""

    raws: Sequence[bytes]
    sent_at_ms: int | None = None
    key: str | None = None


class Ready(NamedTuple):
    """An event, and the bytes for Kafka."""

    event: AnyEvent
    raw: bytes


Outcome = AnyEvent | Refused
Adapter = Callable[[object], tuple[Sequence[AnyEvent], Sequence[tuple[str, str]]]]
"""From one parsed record of another system: its events, and (field, why) of what was not taken over. Never raises."""


def split(body: bytes, content_type: str, *, is_foreign: bool = False) -> Body | Unreadable:
    """Take a body apart. Never raises. A foreign object is one record, also if it has a field `events`."""
    if content_type in LINES:
        return _bounded(Body([line for line in body.split(b"\n") if not line.isspace() and line]))
    start = body.lstrip(b" \t\r\n")[:1]
    try:
        if start == b"[":
            return _bounded(Body([bytes(raw) for raw in _decode_array(body)]))
        if start != b"{":
            return _not_a_container(body)
        fields = _decode_object(body)
        if is_foreign or "events" not in fields or "type" in fields:
            return Body([body])
        return _envelope(fields)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return _unreadable(body, error)


def accept(raws: Sequence[bytes]) -> list[Outcome]:
    """Decode raw events by the worker's own codec, in order: each an event, or refused with field and reason."""
    return [refused(one) if isinstance(one, Rejected) else one for one in codec.decode_all(raws)]


def adapt(raws: Sequence[bytes], adapter: Adapter) -> list[Outcome]:
    """Turn raw foreign records into events, in order; what an adapter does not take over is refused."""
    outcomes: list[Outcome] = []
    for raw in raws:
        try:
            events, refusals = adapter(_decode_any(raw))
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            outcomes.append(Refused("syntax", None, str(error)))
            continue
        outcomes += events
        outcomes += [Refused(FOREIGN, field, why) for field, why in refusals]
    return outcomes


def refused(rejected: Rejected) -> Refused:
    """Name the field that the codec's sentence is about."""
    detail = rejected.detail
    place = match.group(1) if (match := _PLACE.search(detail)) else ""
    if missing := _MISSING.search(detail):
        place = f"{place}.{missing.group(1)}" if place else missing.group(1)
    return Refused(rejected.reason, place or _FIELD_OF.get(rejected.reason), detail)


def correction_ms(sent_at_ms: int | None, received_ms: int, bound_ms: int) -> int:
    """Return what to add to the times of a request whose sender's clock is off by more than `bound_ms`, else 0.

    A sender that does not say when it sent is not corrected: nothing is guessed. Network time is in the
    difference, and stays far below any sensible bound.
    """
    if sent_at_ms is None:
        return 0
    skew_ms = received_ms - sent_at_ms
    return skew_ms if abs(skew_ms) > bound_ms else 0


def placed(event: Outcome, by_ms: int, latest_ms: int) -> Outcome:
    """Move an event's times by `by_ms`, and refuse it if it then is later than `latest_ms` or out of bounds.

    The worker would refuse such an event as well, but could not tell its sender.
    """
    if isinstance(event, Refused):
        return event
    if by_ms:
        at_ms = event.ts + by_ms
        if not EARLIEST_MS <= at_ms <= LATEST_MS:
            return Refused("timestamp", "ts", f"{event.ts} corrected by {by_ms} ms is no event time")
        changes: dict[str, Any] = {"ts": at_ms}
        # The same clock wrote both: moving one of them would change the age of the context.
        if isinstance(event, Decision) and event.context_ts is not None:
            changes["context_ts"] = min(max(event.context_ts + by_ms, EARLIEST_MS), LATEST_MS)
        event = msgspec.structs.replace(event, **changes)
    if event.ts > latest_ms:
        return Refused("future", "ts", f"{event.ts} is {event.ts - latest_ms} ms later than may be")
    return event


def ready(event: Outcome) -> Ready | Refused:
    """Encode an event in its canonical form, which may be a little longer than what was sent."""
    if isinstance(event, Refused):
        return event
    raw = codec.encode(event)
    if len(raw) > MAX_RECORD_BYTES:
        return Refused("limits", None, f"{len(raw)} bytes; at most {MAX_RECORD_BYTES} are read")
    return Ready(event, raw)


def is_sent_at(value: object) -> bool:
    """Say whether `value` can be a time of sending: an integer of milliseconds since the epoch."""
    return type(value) is int and EARLIEST_MS <= value <= LATEST_MS


def _envelope(fields: dict[str, msgspec.Raw]) -> Body | Unreadable:
    sent_at = _decode_any(fields["sent_at"]) if "sent_at" in fields else None
    if sent_at is not None and not is_sent_at(sent_at):
        return Unreadable("timestamp", "sent_at is an integer of milliseconds since the epoch")
    key = _decode_any(fields["key"]) if "key" in fields else None
    if key is not None and not isinstance(key, str):
        return Unreadable("type", "key is a string")
    return _bounded(Body([bytes(raw) for raw in _decode_array(fields["events"])], sent_at, key))


def _bounded(body: Body) -> Body | Unreadable:
    if len(body.raws) > MAX_EVENTS:
        return Unreadable("limits", f"{len(body.raws)} events; at most {MAX_EVENTS} in one request")
    return body


def _not_a_container(body: bytes) -> Unreadable:
    try:
        found = type(_decode_any(body)).__name__
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return _unreadable(body, error)
    return Unreadable("not_object", f"a JSON {found}; an event is an object, a batch an array of objects")


def _unreadable(body: bytes, error: Exception) -> Unreadable:
    if isinstance(error, msgspec.ValidationError):
        return Unreadable("not_object", "events is an array of objects")
    if isinstance(error, RecursionError):
        return Unreadable("limits", "nested too deeply")
    try:
        body.decode()
    except UnicodeDecodeError as cause:
        return Unreadable("encoding", f"not UTF-8 at byte {cause.start}")
    return Unreadable("syntax", str(error) if body else "the body is empty")
