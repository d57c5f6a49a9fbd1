"""CloudEvents: canonical events in CNCF's envelope, structured or as a Kafka record in binary mode.

https://github.com/cloudevents/spec/blob/main/cloudevents/spec.md and bindings/kafka-protocol-binding.md. `data` is a
canonical event. The envelope fills what `data` leaves out: `type` from the last word of its own ("com.example.click"),
`ts` from `time`, and `id` from `source` and `id`, which are unique together. The user must be in `data`: `subject` is
what the event is about, and need not be a person.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from producers.fields import Fields
from producers.foreign import Pseudonym, Refused, adapting, digest, user_key
from stream_app.core import codec
from stream_app.core.codec import Rejected
from stream_app.core.events import EVENT_TYPES, Event

_TYPES: Final = frozenset(str(kind.__struct_config__.tag) for kind in EVENT_TYPES)
_JSON: Final = ("application/json", "text/json")
_STRUCTURED: Final = "application/cloudevents+json"


@adapting
def from_cloudevents(record: dict[str, Any], pseudonym: Pseudonym) -> Iterator[Event | Refused]:
    """Yield the event of one CloudEvent in the JSON format."""
    envelope = Fields(record)
    if (version := envelope.text("specversion")) != "1.0":
        raise envelope.unfit("specversion", f"{str(version)[:20]!r} is not 1.0")
    content = Fields(_content(envelope), "data")
    kind = content.text("type") or (envelope.text("type") or "").rpartition(".")[2]
    if kind not in _TYPES:
        raise envelope.unfit("type", f"{kind[:40]!r} is no type of event")
    user = content.long_identifier("user")
    if user is None:
        raise content.unfit("user", "is missing")
    said = {name: value for name, value in content.values.items() if value is not None}
    said |= {"type": kind, "user": user_key(user, "data.user", pseudonym)}
    if "ts" not in said:
        said["ts"] = envelope.iso_ms("time")
        if said["ts"] is None:
            raise envelope.unfit("time", "is missing, and so is data.ts")
    if "id" not in said:
        source, number = envelope.long_identifier("source"), envelope.long_identifier("id")
        if source is None or number is None:
            raise envelope.unfit("source" if source is None else "id", "is missing")
        said["id"] = f"ce-{digest(source, number)}"
    yield _decoded(said)


def unpacked(headers: Iterable[tuple[str, bytes]], value: bytes | None) -> dict[str, Any]:
    """Return a Kafka record in either mode as a CloudEvent in the JSON format, for `from_cloudevents` to judge.

    Headers are those of kafka-python. What is no CloudEvent comes out without `specversion`.
    """
    named: Mapping[str, str] = {
        name.lower(): raw.decode("utf-8", "replace") for name, raw in headers if raw is not None
    }
    media = named.get("content-type", "").partition(";")[0].strip().lower()
    if media == _STRUCTURED or (not media and "ce_specversion" not in named):
        body = _parsed(value)
        return body if isinstance(body, dict) else {"data": body}
    envelope: dict[str, Any] = {name[3:]: text for name, text in named.items() if name.startswith("ce_")}
    if media:
        envelope["datacontenttype"] = media
    envelope["data"] = _parsed(value)
    return envelope


def _content(envelope: Fields) -> object:
    media = (envelope.text("datacontenttype") or "application/json").partition(";")[0].strip().lower()
    if media not in _JSON and not media.endswith("+json"):
        raise envelope.unfit("datacontenttype", f"{media[:40]!r} is not JSON")
    if (packed := envelope.text("data_base64")) is None:
        return envelope.get("data")
    try:
        return _parsed(base64.b64decode(packed, validate=True))
    except (binascii.Error, ValueError):
        raise envelope.unfit("data_base64", "is not base64") from None


def _parsed(raw: bytes | None) -> Any:
    try:
        return None if raw is None else json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _decoded(said: dict[str, Any]) -> Event | Refused:
    try:
        event = codec.decode(json.dumps(said).encode())
    except (ValueError, RecursionError) as error:
        return Refused("data", f"cannot be written as JSON: {error}")
    return Refused("data", f"{event.reason}: {event.detail}") if isinstance(event, Rejected) else event
