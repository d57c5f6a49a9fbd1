"""CloudEvents: the envelope fills what the event inside leaves out, in both modes of Kafka."""

import base64
import json
from typing import Any

import pytest

from producers.adapt_cloudevents import from_cloudevents, unpacked
from producers.foreign import Adapted, digest
from producers.pseudonyms import Pseudonyms
from stream_app.core import codec
from stream_app.core.events import Click, Impression
from tests.foreign import records

RECORDS = records("cloudevents")
CLICK = Click(
    id=f"ce-{digest('/shop/web', 'A234-1234-1234')}", ts=1_522_949_460_000, user="u-1", decision="d-1", item="A7"
)
BINARY = [
    ("ce_specversion", b"1.0"),
    ("ce_type", b"com.example.click"),
    ("ce_source", b"/shop/web"),
    ("ce_id", b"A234-1234-1234"),
    ("ce_time", b"2018-04-05T17:31:00Z"),
    ("content-type", b"application/json; charset=utf-8"),
]


def test_the_envelope_fills_what_the_event_leaves_out() -> None:
    """Type, time and id come from the envelope; source and id are unique together."""
    assert Adapted((CLICK,), ()) == from_cloudevents(RECORDS["click"])


def test_what_the_event_says_stands() -> None:
    """A whole event inside is taken as it is."""
    expected = Impression(id="i-1", ts=1_732_300_000_000, user="u-1", decision="d-1", item="A7", position=1)
    assert Adapted((expected,), ()) == from_cloudevents(RECORDS["whole_event"])


def test_binary_and_structured_records_are_the_same_event() -> None:
    """A Kafka record in either mode of the binding gives the same event."""
    envelope = RECORDS["click"]
    structured = unpacked(
        [("content-type", b"application/cloudevents+json; charset=UTF-8")], json.dumps(envelope).encode()
    )
    binary = unpacked(BINARY, json.dumps(envelope["data"]).encode())
    assert [Adapted((CLICK,), ())] * 2 == [from_cloudevents(structured), from_cloudevents(binary)]


def test_packed_content_is_unpacked() -> None:
    """`data_base64` holds the same JSON."""
    envelope = {key: value for key, value in RECORDS["click"].items() if key != "data"}
    envelope["data_base64"] = base64.b64encode(json.dumps(RECORDS["click"]["data"]).encode()).decode()
    assert Adapted((CLICK,), ()) == from_cloudevents(envelope)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"specversion": None}, "specversion"),
        ({"specversion": "0.1"}, "specversion"),
        ({"type": "com.github.pull_request.opened"}, "type"),
        ({"datacontenttype": "text/xml"}, "datacontenttype"),
        ({"data": None}, "data"),
        ({"data": "text"}, "data"),
        ({"data_base64": "%"}, "data_base64"),
        ({"data": {"decision": "d", "item": "a"}}, "data.user"),
        ({"time": None}, "time"),
        ({"source": None}, "source"),
        ({"id": None}, "id"),
        ({"data": {"user": "u-1", "decision": "d-1"}}, "data"),
        ({"data": {"user": "jane@example.com", "decision": "d-1", "item": "a"}}, "data"),
    ],
)
def test_a_refusal_names_the_field(change: dict[str, Any], field: str) -> None:
    """Whatever is wrong with an envelope, exactly one refusal names the attribute."""
    adapted = from_cloudevents(RECORDS["click"] | change)
    assert ((), [field]) == (adapted.events, [refused.field for refused in adapted.refused])


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"[]", b"{"])
def test_a_record_that_is_no_cloudevent_is_refused(value: bytes | None) -> None:
    """Whatever a Kafka record holds, unpacking it gives something that can be judged."""
    adapted = [from_cloudevents(unpacked(headers, value)) for headers in ([], BINARY)]
    assert [0, 0] == [len(one.events) for one in adapted]
    assert [1, 1] == [len(one.refused) for one in adapted]


def test_the_user_goes_through_the_pseudonym() -> None:
    """The event inside is a foreign one as far as people are concerned."""
    pseudonym = Pseudonyms({"k1": b"0123456789abcdef"}, "k1").of
    (event,) = from_cloudevents(RECORDS["click"], pseudonym).events
    assert (pseudonym("u-1"), event) == (event.user, codec.decode(codec.encode(event)))
