"""What people tell on the command line: `lynceus input` sends a figure, `lynceus inputs` lists those that are known."""

import hashlib
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, get_args, get_type_hints

import msgspec

from producers.publisher import Publisher
from stream_app.core import codec
from stream_app.core.cells import inputs_key
from stream_app.core.events import BusinessInput
from stream_app.core.inputs import fault_of, read
from stream_app.errors import LynceusError
from stream_app.serving.reader import check_store, connect
from stream_app.settings import KafkaSettings, Settings

KEYS: Final[tuple[str, ...]] = get_args(get_type_hints(BusinessInput)["key"])
IN_MONEY: Final = ("cost", "unit_cost")
"""Keys whose values are in a currency: the reporting one, unless another is named."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Said(NamedTuple):
    """A figure as it was typed."""

    key: str
    value: float
    starts: str
    ends: str
    scope: str | None = None
    currency: str | None = None
    author: str | None = None
    source: str | None = None
    id: str | None = None


def moment_ms(text: str) -> int:
    """Return a time: ISO 8601 with its zone, a date (midnight UTC), or milliseconds since the epoch.

    Raises LynceusError for anything else.
    """
    if text.isdigit() and len(text) > 8:  # 20260131 is a date
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is not None and at.tzinfo is None and (at.hour, at.minute, at.second, at.microsecond) == (0, 0, 0, 0):
        at = at.replace(tzinfo=UTC)
    if at is None or at.tzinfo is None:
        raise LynceusError(f"{text!r} is no time", "Write 2026-01-31, 2026-01-31T08:00:00Z, or milliseconds")
    return (at - _EPOCH) // timedelta(milliseconds=1)


def input_of(said: Said, currency: str, at_ms: int) -> BusinessInput:
    """Return the input that was said at `at_ms`, in `currency` where it is money and none was named.

    Without an id of its own it is known by what it is about: key, scope, currency and time. Told again, it replaces
    what was told before. Raises LynceusError for what makes no sense.
    """
    in_currency = said.currency or (currency if said.key in IN_MONEY else None)
    starts_ms, ends_ms = moment_ms(said.starts), moment_ms(said.ends)
    about = json.dumps([said.key, said.scope or "", in_currency, starts_ms, ends_ms])
    fields: dict[str, Any] = {
        "type": "business_input",
        "id": said.id or f"{said.key}-{hashlib.sha256(about.encode()).hexdigest()[:16]}",
        "ts": at_ms,
        "key": said.key,
        "value": said.value,
        "from_ts": starts_ms,
        "to_ts": ends_ms,
        "currency": in_currency,
        "scope": said.scope,
        "author": said.author,
        "source": said.source,
    }
    told = codec.decode_input(msgspec.json.encode({name: value for name, value in fields.items() if value is not None}))
    fault = told.detail if isinstance(told, codec.Rejected) else fault_of(told)
    if fault:
        raise LynceusError(f"this cannot be told: {fault}", "See `lynceus input --help`")
    assert isinstance(told, BusinessInput)
    return told


def tell(settings: Settings, said: Said) -> BusinessInput:
    """Send what was said, and return it when Kafka has it. Raises LynceusError when it cannot be told or sent."""
    told = input_of(said, settings.counting.currency, time.time_ns() // 1_000_000)
    kafka: KafkaSettings = settings.kafka
    with Publisher(kafka, topic=kafka.inputs_topic) as publisher:
        publisher.send(told)
        delivery = publisher.flush()
    if not delivery.is_complete:
        raise LynceusError(
            f"Kafka at {kafka.bootstrap} did not take it ({delivery.first_error})", "Look at the brokers, and try again"
        )
    return told


async def known(settings: Settings) -> list[BusinessInput]:
    """Return what is stored in Redis of what was told, in the order of keys, scopes and times."""
    async with connect(settings.redis) as redis:
        await check_store(redis, settings.redis)
        fields: dict[Any, Any] = await redis.hgetall(inputs_key(settings.app))
    inputs = [each for each in read(fields).values() if isinstance(each, BusinessInput)]
    return sorted(inputs, key=lambda each: (each.key, each.scope or "", each.from_ts, each.id))


def shown(inputs: list[BusinessInput], *, as_json: bool) -> str:
    """Return them as JSON, or a line each: figure, of what, for when, told when and by whom."""
    if as_json:
        return msgspec.json.format(msgspec.json.encode(inputs), indent=2).decode()
    return "\n".join(map(line, inputs)) or "nothing is told"


def line(told: BusinessInput) -> str:
    """Return one input in words."""
    of = " ".join(filter(None, (told.key, told.scope)))
    value = " ".join(filter(None, (f"{told.value:,.10g}", told.currency)))
    source = f", from {told.source}" if told.source else ""
    return (
        f"{of}  {value}  {_time(told.from_ts)} to {_time(told.to_ts)}  "
        f"told {_time(told.ts)} by {told.author}{source}  [{told.id}]"
    )


def _time(at_ms: int) -> str:
    at = _EPOCH + timedelta(milliseconds=at_ms)
    return at.strftime("%Y-%m-%d" if at_ms % 86_400_000 == 0 else "%Y-%m-%d %H:%M:%SZ")
