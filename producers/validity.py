"""Bad arguments are told at the call, by the rules of the codec: the field, its value, and what to do about it."""

import difflib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NoReturn, TypeVar

from stream_app.core import codec
from stream_app.core.events import MAX_RECORD_BYTES, Event, FeatureUse
from stream_app.errors import LynceusError

E = TypeVar("E", bound=Event)

_MAX_SHOWN: Final = 60
_REMEDIES: Final = {
    "encoding": "Text is Unicode without lone surrogates",
    "number": "Numbers are finite",
    "limits": "Keep within the bound; what is longer can be hashed",
    "timestamp": "Times are whole milliseconds since the epoch, UTC",
    "timestamp_unit": "Times are milliseconds since the epoch, UTC: not seconds, not microseconds",
    "amount": "Money is a whole number of minor units, e.g. cents",
    "currency": "Currencies are three capital letters (ISO 4217), e.g. EUR",
    "identity": "Send a pseudonym, or let the tracker make it: Tracker(pseudonyms=...)",
    "version": "Leave `v` out",
}
_DEFAULT_REMEDY: Final = "`lynceus schema` prints what each field may hold"


class InvalidEventError(LynceusError, ValueError):
    """An event that the codec would refuse: nothing was queued."""


def checked(event: E) -> bytes:
    """Return the canonical JSON of an event that the worker's codec will accept.

    Raises InvalidEventError that names the field, its value and the remedy.
    """
    try:
        raw = codec.encode(event)
    except Exception as error:  # TypeError, ValueError, OverflowError, the encoder's own: all say "this is no JSON"
        _refuse(event, _unwritable(event), str(error), "encoding" if isinstance(error, UnicodeError) else "type")
    answer = codec.decode(raw)
    if isinstance(answer, codec.Rejected):
        if len(raw) > MAX_RECORD_BYTES:
            raise InvalidEventError(
                f"{_type(event)}: {answer.detail}", f"An event has at most {MAX_RECORD_BYTES} bytes of JSON"
            )
        path = "user" if answer.reason == "identity" else _path(answer.detail)
        _refuse(event, path, answer.detail.partition(" - at ")[0], answer.reason)
    if codec.encode(answer) != raw:
        _compare(event, raw, codec.encode(answer))
    return raw


def require_known(fields: Collection[str], known: Collection[str], what: str) -> None:
    """Raise InvalidEventError that names the first field that is not known, and the one that was probably meant."""
    for name in fields:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            remedy = f"Did you mean {near[0]}?" if near else f"It takes {', '.join(sorted(known))}"
            raise InvalidEventError(f"{what} has no field {name!r}", remedy)


def _compare(event: Event, raw: bytes, kept: bytes) -> None:
    """Refuse an event of which the codec kept less than was said: a NaN became null, a nested field was ignored.

    An int for a float, or a mapping in another order, says the same.
    """
    said: Mapping[str, object] = json.loads(raw)
    read: Mapping[str, object] = json.loads(kept)
    for name, value in said.items():
        if name not in read or read[name] != value:
            _refuse(event, name, "the schema does not know all of it, or it is no finite number", "type")


def _refuse(event: Event, path: str, why: str, reason: str) -> NoReturn:
    value = repr(_value(event, path))
    if reason == "identity":
        # The message may end up in a log, where an address does not belong either.
        value = f"{value[:3]}...{value[-3:]}"
    elif len(value) > _MAX_SHOWN:
        value = f"{value[:_MAX_SHOWN]}..."
    where = f"{_type(event)}.{path} = {value}" if path else _type(event)
    raise InvalidEventError(f"{where}: {why}", _REMEDIES.get(reason, _DEFAULT_REMEDY))


def _type(event: Event) -> str:
    return str(event.__struct_config__.tag)


def _path(detail: str) -> str:
    match = re.search(r"`\$\.([^`]+)`$", detail)
    return match.group(1) if match else ""


def _value(event: Event, path: str) -> object:
    """Return what stands at a path like `items[3].item`; None where nothing does."""
    value: object = event
    for name, index in re.findall(r"([a-z_]+)|\[(\d+)\]", path):
        if index and isinstance(value, Sequence):
            value = value[int(index)]
        elif isinstance(value, Mapping):
            value = value.get(name)
        else:
            value = getattr(value, name, None)
    return value


def _unwritable(event: Event) -> str:
    """Return the first field that cannot be written as JSON."""
    for field in event.__struct_fields__:
        try:
            codec.encode(FeatureUse(id="", ts=0, user="", feature=getattr(event, field)))
        except Exception:  # as above
            return field
    return ""
