"""A body is taken apart without loss, each event judged by itself, and a clock corrected only when it is told."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.collect_reading import (
    MAX_EVENTS,
    Body,
    Refused,
    Unreadable,
    accept,
    adapt,
    correction_ms,
    placed,
    ready,
    split,
)
from stream_app.core import codec
from stream_app.core.events import LATEST_MS, Decision, DecisionItem
from tests.timelines import LATER, at, impression

ONE = codec.encode(impression(0))
TWO = codec.encode(impression(1))


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (ONE, "application/json", Body([ONE])),
        (b" \n" + ONE, "text/plain", Body([b" \n" + ONE])),
        (b"[" + ONE + b", " + TWO + b"]", "text/plain", Body([ONE, TWO])),
        (b"[]", "application/json", Body([])),
        (ONE + b"\r\n\n" + TWO + b"\n", "application/x-ndjson", Body([ONE + b"\r", TWO])),
        (b'{"events": [' + ONE + b'], "sent_at": 1763769600000, "key": "k"}', "", Body([ONE], at(0), "k")),
        (b'{"events": []}', "", Body([])),
        (b'{"events": 1, "type": "x"}', "", Body([b'{"events": 1, "type": "x"}'])),
    ],
)
def test_a_body_is_one_event_or_many(body: bytes, content_type: str, expected: Body) -> None:
    """An object, an array, an envelope, lines: each is taken apart into the events as they were sent."""
    assert expected == split(body, content_type)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "syntax"),
        (b"{", "syntax"),
        (b"[1,", "syntax"),
        (b"1", "not_object"),
        (b"null", "not_object"),
        (b'"x"', "not_object"),
        (b"\xff{", "encoding"),
        (b"[" * 5_000, "limits"),
        (b'{"events": {}}', "not_object"),
        (b'{"events": [], "sent_at": 1763769600}', "timestamp"),
        (b'{"events": [], "sent_at": "now"}', "timestamp"),
        (b'{"events": [], "sent_at": true}', "timestamp"),
        (b'{"events": [], "key": 1}', "type"),
        (b"[" + b",".join([b"1"] * (MAX_EVENTS + 1)) + b"]", "limits"),
    ],
)
def test_what_cannot_be_taken_apart_says_why(body: bytes, reason: str) -> None:
    """A body that holds no events has one reason as a whole."""
    found = split(body, "application/json")
    assert isinstance(found, Unreadable)
    assert reason == found.reason


@given(st.binary(max_size=200), st.sampled_from(["", "application/json", "application/x-ndjson"]))
def test_nothing_makes_reading_raise(body: bytes, content_type: str) -> None:
    """Any bytes are a body or unreadable, and each event in them an event or refused by a reason of the codec."""
    parts = split(body, content_type)
    reasons = {parts.reason} if isinstance(parts, Unreadable) else {
        one.reason for one in accept(parts.raws) if isinstance(one, Refused)
    }  # fmt: skip
    assert set() == reasons - set(codec.REASONS)


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"user": None}, "type", "user"),
        ({"user": "anna@example.com"}, "identity", "user"),
        ({"ts": 1_763_769_600}, "timestamp_unit", "ts"),
        ({"ts": "yesterday"}, "timestamp", "ts"),
        ({"type": "nope"}, "unknown_type", "type"),
        ({"v": 2}, "version", "v"),
        ({"position": 0}, "limits", "position"),
        ({"consent": {"analytics": 1}}, "consent", "consent.analytics"),
        ({"decision": ...}, "type", "decision"),
        ({"type": "decision", "items": [{"item": "A"}]}, "type", "items[0].position"),
    ],
)
def test_a_refused_event_names_its_field(change: dict[str, Any], reason: str, field: str) -> None:
    """Whoever sent it is told what to mend; its neighbours are taken."""
    document = json.loads(ONE) | change
    raw = json.dumps({name: value for name, value in document.items() if value is not ...}).encode()
    first, bad, last = accept([ONE, raw, TWO])
    assert isinstance(bad, Refused)
    assert (impression(0), reason, field, impression(1)) == (first, bad.reason, bad.field, last)


@pytest.mark.parametrize(
    ("sent_at_ms", "expected"),
    [(None, 0), (at(0), 0), (at(-10), 0), (at(10), 0), (at(-10.001), 10_001), (at(3600), -3_600_000)],
)
def test_a_clock_is_corrected_only_beyond_the_bound(sent_at_ms: int | None, expected: int) -> None:
    """The correction is what the clock is off by, when that is more than 10 s; without `sent_at` there is none."""
    assert expected == correction_ms(sent_at_ms, at(0), 10_000)


def test_a_correction_moves_all_times_of_an_event() -> None:
    """Event time and context time move together: the age of the context stays."""
    items = (DecisionItem(item="A", position=1),)
    decision = Decision(id="d", ts=at(100), user="u", decision="d", items=items, context_ts=at(90))
    moved = placed(decision, -100_000, LATER)
    assert isinstance(moved, Decision)
    assert (at(0), at(-10)) == (moved.ts, moved.context_ts)


def test_what_the_worker_would_refuse_is_refused_here() -> None:
    """An event from the future, and one that the correction moves out of all bounds, are told to their sender."""
    late, far = placed(impression(61), 0, at(60)), placed(impression(0), LATEST_MS, LATER)
    assert [("future", "ts"), ("timestamp", "ts")] == [(r.reason, r.field) for r in (late, far) if type(r) is Refused]
    assert impression(60) == placed(impression(60), 0, at(60))


def test_an_event_is_written_as_the_codec_writes_it() -> None:
    """What goes to Kafka is the canonical form: unknown fields, which may hold anything, are gone."""
    (event,) = accept([ONE[:-1] + b',"email":"anna@example.com"}'])
    assert (impression(0), ONE) == ready(event)


def test_an_adapter_is_asked_for_every_record() -> None:
    """Foreign records give events, refusals with their field, or both; one that is no JSON costs only itself."""

    def adapter(record: object) -> tuple[list[Any], list[tuple[str, str]]]:
        return ([impression(record)], []) if isinstance(record, int) else ([], [("event", "not known")])

    outcomes = adapt([b"0", b'{"events": 1}', b"{", b"1"], adapter)
    reasons = [one.reason if isinstance(one, Refused) else one for one in outcomes]
    assert [impression(0), "foreign", "syntax", impression(1)] == reasons
    assert Body([b'{"events": 1}']) == split(b'{"events": 1}', "", is_foreign=True)
