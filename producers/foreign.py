"""Foreign records: what every adapter gives back, and the conversions that all of them share.

An adapter is a pure function from one parsed JSON value of another system to canonical events. What it cannot take
over is a `Refused` with the field, as the source names it, and the reason; what a source does not say is absent from
the event, never guessed. Every event has been through the worker's own codec before it is handed on, so whatever an
adapter gives is what the worker will count.

Inside an adapter a field that does not fit raises `UnfitError`, which `adapting` turns into a `Refused`: it never
leaves an adapter.
"""

import hashlib
import hmac
import math
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, Final, NamedTuple, Protocol

from stream_app.core import codec
from stream_app.core.codec import Rejected
from stream_app.core.events import EARLIEST_MS, LATEST_MS, AnyEvent, DecisionItem, Event

MAX_ID: Final = 64
MAX_ITEMS: Final = 100
"""Of a decision. A longer list still has its impressions."""
MAX_POSITION: Final = 10_000
MAX_REASON: Final = 300
_MICROS_A_MS: Final = 1_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

Pseudonym = Callable[[str], str]
"""From a user id of the source to the key under which Lynceus knows the user."""


class Refused(NamedTuple):
    """What was not taken over: the field as the source names it, and why."""

    field: str
    reason: str


class Adapted(NamedTuple):
    """What became of one foreign record. It may give events and refuse a part all the same."""

    events: tuple[AnyEvent, ...] = ()
    refused: tuple[Refused, ...] = ()


class Adapter(Protocol):
    """From one parsed JSON value to canonical events. Never raises, whatever it is given."""

    def __call__(self, record: object, pseudonym: Pseudonym = ...) -> Adapted:
        """Return the events of `record`; user ids go through `pseudonym`."""


class UnfitError(Exception):
    """A field of the source does not fit."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.refused = Refused(field, reason[:MAX_REASON])


def as_given(user: str) -> str:
    """Return a user id that is a pseudonym already. The codec refuses e-mail addresses and phone numbers."""
    return user


def keyed(key: bytes) -> Pseudonym:
    """Return the pseudonym of RFC 2104: the first 128 bits of HMAC-SHA256, in hexadecimal digits."""

    def pseudonym(user: str) -> str:
        return hmac.digest(key, user.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]

    return pseudonym


def adapting(parse: Callable[[dict[str, Any], Pseudonym], Iterable[Event | Refused]]) -> Adapter:
    """Make an adapter of a function that yields the events of a JSON object, and refusals, or raises UnfitError."""

    @wraps(parse)
    def adapter(record: object, pseudonym: Pseudonym = as_given) -> Adapted:
        events: list[AnyEvent] = []
        refused: list[Refused] = []
        try:
            for made in parse(mapping(record, "record"), pseudonym):
                checked = made if isinstance(made, Refused) else _checked(made)
                if isinstance(checked, Refused):
                    refused.append(checked)
                else:
                    events.append(checked)
        except UnfitError as unfit:
            refused.append(unfit.refused)
        return Adapted(tuple(events), tuple(refused))

    return adapter


def each(
    records: Iterable[tuple[str, object]], parse: Callable[[dict[str, Any]], Iterable[Event | Refused]]
) -> Iterator[Event | Refused]:
    """Yield what `parse` makes of every record of a batch; one that does not fit costs the others nothing."""
    for path, record in records:
        try:
            yield from parse(mapping(record, path))
        except UnfitError as unfit:
            yield Refused(f"{path}.{unfit.refused.field}" if unfit.refused.field != path else path, unfit.refused.reason)


def _checked(event: Event) -> AnyEvent | Refused:
    """Return the event as the worker will read it, or why the worker would refuse it."""
    try:
        raw = codec.encode(event)
    except (UnicodeError, OverflowError) as error:
        return Refused("record", f"cannot be written as JSON: {error}"[:MAX_REASON])
    decoded = codec.decode(raw)
    if isinstance(decoded, Rejected):
        tag = type(event).__struct_config__.tag
        return Refused("user" if decoded.reason == "identity" else str(tag), f"{decoded.reason}: {decoded.detail}")
    return decoded


def mapping(value: object, field: str) -> dict[str, Any]:
    """Return a JSON object. Raises UnfitError for anything else."""
    if not isinstance(value, dict):
        raise UnfitError(field, f"a JSON object was expected, not {type(value).__name__}")
    return value
