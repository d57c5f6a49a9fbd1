"""Decoding never raises, names its reason, and the schema says the same as the decoder."""

import json
import re

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core import codec, events
from stream_app.core.codec import REASONS, Rejected
from tests.timelines import T0, impression

GOOD = codec.encode(impression(0, relevance=0.5))
VALIDATOR = jsonschema.Draft202012Validator(codec.schema())

EXAMPLES: dict[str, dict[str, object]] = {
    "decision": {"decision": "d", "items": [{"item": "A", "position": 1, "propensity": 0.5}]},
    "impression": {"decision": "d", "item": "A", "position": 1},
    "click": {"decision": "d", "item": "A"},
    "page_view": {"page": "/"},
    "engagement": {"view": "v", "elapsed_ms": 10, "final": False},
    "search": {"query_hash": "h"},
    "cart": {"action": "add", "item": "A"},
    "conversion": {"goal": "signup"},
    "order": {"order": "o", "currency": "EUR", "total_minor": 100},
    "refund": {"order": "o", "currency": "EUR", "amount_minor": 100},
    "message": {"message": "m", "state": "sent"},
    "offer": {"offer": "o", "response": "shown"},
    "feedback": {"kind": "nps"},
    "context_signal": {"signal": "s", "kind": "weather"},
    "journey_step": {"journey": "j", "instance": "i", "step": 1, "of": 3},
    "feature_use": {"feature": "f"},
    "account": {"status": "active"},
    "consent_change": {"scope": "analytics", "granted": True},
    "assignment": {"experiment": "e", "arm": "holdout"},
    "api_call": {"endpoint": "/rank", "ms": 1.5, "ok": True},
    "profile_sync": {"source": "a", "target": "b", "applied": True},
    "business_input": {"key": "cost", "value": 10.5, "from_ts": T0, "to_ts": T0 + 1},
    "programme_record": {"kind": "audit", "value": 1},
}
COMMON = {"id": "e1", "ts": T0, "user": "u1"}


def example(kind: str) -> dict[str, object]:
    common = COMMON if kind not in ("business_input", "programme_record") else {"id": "e1", "ts": T0}
    return {"type": kind, **common, **EXAMPLES[kind]}


def decode_any(raw: bytes) -> object:
    event = codec.decode(raw)
    return codec.decode_input(raw) if isinstance(event, Rejected) and event.reason == "unknown_type" else event


def test_every_type_has_an_example() -> None:
    """The examples below cover the whole contract."""
    tags = {kind.__struct_config__.tag for kind in (*events.EVENT_TYPES, *events.INPUT_TYPES)}
    assert tags == set(EXAMPLES)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_minimal_event_is_read_and_fits_the_schema(kind: str) -> None:
    """The required fields are enough, for the decoder and for the schema."""
    document = example(kind)
    event = decode_any(json.dumps(document).encode())
    assert not isinstance(event, Rejected), event
    VALIDATOR.validate(document)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_an_event_survives_its_own_encoding(kind: str) -> None:
    """Encode and decode are inverse."""
    event = decode_any(json.dumps(example(kind)).encode())
    assert isinstance(event, events.Event | events.Input)
    assert decode_any(codec.encode(event)) == event


@pytest.mark.parametrize("kind", EXAMPLES)
def test_without_a_required_field_both_refuse(kind: str) -> None:
    """Decoder and schema agree on what is required."""
    for name in example(kind):
        document = {key: value for key, value in example(kind).items() if key != name}
        assert isinstance(decode_any(json.dumps(document).encode()), Rejected), name
        assert not VALIDATOR.is_valid(document), name


ENCODABLE = st.sampled_from(sorted(EXAMPLES))
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**80), 2**80), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=80), st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.none()),
)  # fmt: skip


@given(ENCODABLE, st.data())
def test_decoder_and_schema_agree(kind: str, data: st.DataObject) -> None:
    """Whatever one field is replaced with, the decoder takes it exactly when the schema does.

    Three things only the decoder knows: identities, the version, and numbers that JSON cannot tell from integers.
    """
    document = example(kind)
    known = {field.name for type_ in (*events.EVENT_TYPES, *events.INPUT_TYPES)
             if type_.__struct_config__.tag == kind for field in msgspec.structs.fields(type_)}  # fmt: skip
    name = data.draw(st.sampled_from(sorted(known)))
    document[name] = data.draw(JUNK)
    result = decode_any(json.dumps(document).encode())
    if isinstance(result, Rejected) and result.reason in ("identity", "version"):
        return
    if isinstance(document[name], float) and float(document[name]).is_integer():
        return
    if isinstance(document[name], str) and any(0xD800 <= ord(c) <= 0xDFFF for c in document[name]):
        return
    assert isinstance(result, Rejected) != VALIDATOR.is_valid(document), (document, result)


CASES = [
    (None, "tombstone"),
    (b"", "syntax"),
    (b"{", "syntax"),
    (GOOD + b"x", "syntax"),
    (b"[1]", "not_object"),
    (b"null", "not_object"),
    (b"\xff\xfe{}", "encoding"),
    (b"\xef\xbb\xbf" + GOOD, "encoding"),
    (GOOD.decode().encode("utf-16"), "encoding"),
    (GOOD.replace(b"u1", rb"\ud800"), "encoding"),
    (b"[" * 1000, "limits"),
    (b'{"a":' * 5000, "limits"),
    (GOOD[:-1] + b',"pad":"' + b"x" * 70_000 + b'"}', "limits"),
    (GOOD.replace(b'"u1"', b'"' + b"u" * 65 + b'"'), "limits"),
    (GOOD.replace(b'"position":1', b'"position":1' + b"0" * 30), "limits"),
    (GOOD.replace(b"0.5", b"NaN"), "number"),
    (GOOD.replace(b"0.5", b"Infinity"), "number"),
    (GOOD.replace(b"0.5", b"1.5"), "limits"),
    (GOOD.replace(b"0.5", b'"high"'), "type"),
    (b'{"type":"nope"}', "unknown_type"),
    (b"{}", "unknown_type"),
    (GOOD[:-1] + b',"v":2}', "version"),
    (GOOD.replace(str(T0).encode(), str(T0 // 1000).encode()), "timestamp_unit"),
    (GOOD.replace(str(T0).encode(), str(T0 * 1000).encode()), "timestamp_unit"),
    (GOOD.replace(str(T0).encode(), b'"2025-11-22"'), "timestamp"),
    (GOOD.replace(b'"u1"', b'"jane@example.org"'), "identity"),
    (GOOD.replace(b'"u1"', b'"+49 170 1234567"'), "identity"),
    (GOOD[:-1] + b',"consent":"yes"}', "consent"),
    (json.dumps(example("order") | {"currency": "eur"}).encode(), "currency"),
    (json.dumps(example("order") | {"total_minor": 9.99}).encode(), "amount"),
    (json.dumps(example("order") | {"total_minor": -1}).encode(), "amount"),
]


@pytest.mark.parametrize(("raw", "reason"), CASES)
def test_a_refusal_names_its_reason(raw: bytes | None, reason: str) -> None:
    """Each kind of bad input has its word."""
    result = codec.decode(raw)
    assert isinstance(result, Rejected)
    assert result.reason == reason, result


@pytest.mark.parametrize("user", ["170123456789", "a@b", "u-12-34", "00000000-0000-4000-8000-000000000000", "9 lives"])
def test_pseudonyms_are_not_taken_for_identities(user: str) -> None:
    """Numbers and hashes are keys like any other."""
    assert not isinstance(codec.decode(GOOD.replace(b'"u1"', json.dumps(user).encode())), Rejected)


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise(raw: bytes) -> None:
    """Any bytes are an event or a refusal with a known reason."""
    result = codec.decode(raw)
    assert not isinstance(result, Rejected) or result.reason in REASONS


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_no_mutation_makes_it_raise(position: int, byte: int) -> None:
    """One wrong byte in a good event is an event or a refusal with a known reason, and a short detail."""
    result = codec.decode(GOOD[:position] + bytes([byte]) + GOOD[position + 1 :])
    assert not isinstance(result, Rejected) or (result.reason in REASONS and len(result.detail) <= codec.MAX_DETAIL)


def test_unknown_fields_are_ignored() -> None:
    """A producer may say more than is read."""
    assert not isinstance(codec.decode(GOOD[:-1] + b',"colour":"red"}'), Rejected)


def test_reasons_are_words_for_labels() -> None:
    """They are label values, so they stay plain."""
    assert all(re.fullmatch("[a-z_]+", reason) for reason in REASONS)


@given(st.lists(st.sampled_from([GOOD, GOOD, *(raw for raw, _ in CASES)]), max_size=6))
def test_decoding_together_is_decoding_one_by_one(raws: list[bytes | None]) -> None:
    """However good and bad records are mixed, each becomes what it becomes alone."""
    assert codec.decode_all(raws) == [codec.decode(raw) for raw in raws]
