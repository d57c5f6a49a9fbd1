"""Foreign records: what every adapter gives back, and the small steps that all of them share.

An adapter is a pure function from one parsed JSON value of another system to canonical events. What it cannot take
over is a `Refused` with the field, as the source names it, and the reason; what a source does not say is absent from
the event, never guessed. Every event has been through the worker's own codec before it is handed on, so whatever an
adapter gives is what the worker will count.

Inside an adapter a field that does not fit raises `UnfitError`, which `adapting` turns into a `Refused`: it never
leaves an adapter.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, Final, NamedTuple, Protocol, cast

from stream_app.core import codec
from stream_app.core.codec import Rejected
from stream_app.core.events import AnyEvent, Arm, Event

ARMS: Final[dict[str, Arm]] = {
    "personalized": "personalized",
    "context_blind": "context_blind",
    "holdout": "holdout",
}
"""Experiment variants that are arms. Any other name is somebody else's experiment."""
MAX_ID: Final = 64
MAX_REASON: Final = 300
_DIGEST_BYTES: Final = 16

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


class UnfitError(Exception):
    """A field of the source does not fit."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.refused = Refused(field, reason[:MAX_REASON])


def as_given(user: str) -> str:
    """Return a user id that is a pseudonym already. The codec refuses e-mail addresses and phone numbers."""
    return user


class Adapter(Protocol):
    """From one parsed JSON value to canonical events. Never raises, whatever it is given."""

    def __call__(self, record: object, pseudonym: Pseudonym = as_given) -> Adapted:
        """Return the events of `record`; user ids go through `pseudonym`."""


Parse = Callable[[dict[str, Any], Pseudonym], Iterable[Event | Refused]]


def adapting(parse: Parse) -> Adapter:
    """Make an adapter of a function that yields the events of a JSON object, and refusals, or raises UnfitError."""

    @wraps(parse)
    def adapter(record: object, pseudonym: Pseudonym = as_given) -> Adapted:
        events: list[AnyEvent] = []
        refused: list[Refused] = []
        try:
            for made in parse(_object(record, "record"), pseudonym):
                checked = made if isinstance(made, Refused) else _checked(made)
                if isinstance(checked, Refused):
                    refused.append(checked)
                else:
                    events.append(checked)
        except UnfitError as unfit:
            refused.append(unfit.refused)
        except RecursionError:
            refused.append(Refused("record", "is nested too deeply"))
        return Adapted(tuple(events), tuple(refused))

    return adapter


def each(
    records: object, field: str, parse: Callable[[dict[str, Any]], Iterable[Event | Refused]]
) -> Iterator[Event | Refused]:
    """Yield what `parse` makes of every record of a batch; one that does not fit costs the others nothing."""
    if not isinstance(records, list):
        raise UnfitError(field, f"an array was expected, not {_kind(records)}")
    for number, record in enumerate(records):
        path = f"{field}[{number}]"
        try:
            for made in parse(_object(record, "")):
                yield _within(path, made) if isinstance(made, Refused) else made
        except UnfitError as unfit:
            yield _within(path, unfit.refused)


def user_key(user: str, field: str, pseudonym: Pseudonym) -> str:
    """Return the key of a user. One longer than 64 characters is hashed, unless it looks like an address."""
    known = pseudonym(user)
    if len(known) <= MAX_ID:
        return known
    if "@" in known:
        raise UnfitError(field, "looks like an e-mail address; send a pseudonym")
    return digest(known)


def shortened(name: str, most: int = MAX_ID) -> str:
    """Return a name of at most `most` characters: itself, or its beginning and a digest of the whole of it."""
    return name if len(name) <= most else f"{name[: most - 2 * _DIGEST_BYTES - 1]}~{digest(name)}"


def digest(*parts: object) -> str:
    """Return 32 hexadecimal digits that stand for these JSON values, in this order."""
    # JSON keeps ("ab", "c") and ("a", "bc") apart, and sorted keys make equal objects equal.
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def part_of(event_id: str, part: str) -> str:
    """Return the id of one of several events that are made of one foreign event; the same every time."""
    return f"{event_id}.{part}" if len(event_id) + len(part) < MAX_ID else f"{digest(event_id, part)}.{part}"


def _checked(event: Event) -> AnyEvent | Refused:
    """Return the event as the worker will read it, or why the worker would refuse it."""
    kind = str(type(event).__struct_config__.tag)
    try:
        raw = codec.encode(event)
    except (UnicodeError, OverflowError, RecursionError) as error:
        return Refused(kind, f"cannot be written as JSON: {error}"[:MAX_REASON])
    decoded = codec.decode(raw)
    if isinstance(decoded, Rejected):
        return Refused("user" if decoded.reason == "identity" else kind, f"{decoded.reason}: {decoded.detail}")
    return decoded


def _within(path: str, refused: Refused) -> Refused:
    return refused._replace(field=f"{path}.{refused.field}" if refused.field else path)


def _object(value: object, field: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    raise UnfitError(field, f"a JSON object was expected, not {_kind(value)}")


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__
