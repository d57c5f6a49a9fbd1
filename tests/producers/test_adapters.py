"""What holds for every adapter: it never raises, and whatever it gives is what the worker will count."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import KafkaConsumer, TopicPartition

from producers.adapters import ADAPTERS, named
from producers.foreign import Adapted, Refused, part_of, shortened
from producers.pseudonyms import Pseudonyms
from producers.publisher import Publisher
from producers.topics import ensure_topics
from stream_app.core import codec
from stream_app.core.events import AnyEvent
from stream_app.errors import LynceusError
from stream_app.settings import KafkaSettings
from tests.foreign import FOLDER, records
from tests.timelines import feed, partition, total

SOURCES = [source for source in ADAPTERS if source != "rudderstack"]  # the same adapter as segment
RECORDED = [(source, record) for source in SOURCES for record in records(source).values()]

JOINED: dict[str, tuple[tuple[str, ...], int, int, int]] = {
    "segment": (("product_list_viewed", "product_clicked", "order_completed"), 2, 1, 1),
    "snowplow": (("list_view", "list_click", "promo_view", "promo_click", "transaction"), 3, 2, 1),
    "ga4": (("view_item_list", "select_item", "view_promotion", "select_promotion", "purchase"), 3, 2, 1),
    "aws-personalize": (("click", "impression_without_recommendation", "purchase"), 5, 2, 1),
    "google-retail": (("search", "detail-page-view", "purchase-complete"), 2, 1, 1),
    "dsjson": (("rewarded", "not_rewarded"), 2, 1, 0),
    "open-bandit": (("clicked", "not_clicked"), 2, 1, 0),
}
"""Records that tell one story, and its impressions, clicks and conversions."""

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=80),
    st.sampled_from(["", "USD", "2020-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "1e999", "\ud800", "[", "a@b.c"]),
)  # fmt: skip
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=5),
    max_leaves=25,
)


@st.composite
def damaged(draw: Callable[[Any], Any]) -> tuple[str, Any]:
    """Return a documented record with a few of its values replaced by anything, at any depth."""
    source, record = draw(st.sampled_from(RECORDED))
    record = json.loads(json.dumps(record))
    for _ in range(draw(st.integers(1, 3))):
        spot = record
        while True:
            keys = list(spot) if isinstance(spot, dict) else list(range(len(spot)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(spot[key], dict | list) and spot[key] and draw(st.booleans()):
                spot = spot[key]
                continue
            spot[key] = draw(json_values)
            break
    return source, record


def is_sound(adapted: Adapted) -> bool:
    """Say whether every event is what the worker will read, and every refusal says something."""
    assert [codec.decode(codec.encode(event)) for event in adapted.events] == list(adapted.events)
    return all(refused.field and refused.reason for refused in adapted.refused)


@pytest.mark.parametrize("source", SOURCES)
@settings(max_examples=60)
@given(record=json_values)
def test_no_adapter_raises_whatever_it_is_given(source: str, record: Any) -> None:
    """Arbitrary JSON gives events that pass the codec, and refusals that name a field; never an exception."""
    assert is_sound(ADAPTERS[source](record))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("record", [None, 0, "text", [], {}, [{}]])
def test_nothing_is_dropped_in_silence(source: str, record: Any) -> None:
    """What says nothing is refused, not ignored."""
    adapted = ADAPTERS[source](record)
    assert ((), 1) == (adapted.events, len(adapted.refused))


@settings(max_examples=150)
@given(given_record=damaged())
def test_a_damaged_record_never_gives_a_broken_event(given_record: tuple[str, Any]) -> None:
    """Documented records with anything in any place: still only events that the worker will count, and refusals."""
    source, record = given_record
    assert is_sound(ADAPTERS[source](record, Pseudonyms({"k1": b"0123456789abcdef"}, "k1").of))


def test_a_record_that_is_nested_without_end_is_refused() -> None:
    """Depth costs a refusal, not a stack."""
    deep: Any = {}
    for _ in range(20_000):
        deep = {"a": deep}
    record = {"eventType": "search", "visitorId": "v", "eventTime": "2020-01-01T00:00:00Z", "attributes": deep}
    assert (Refused("record", "is nested too deeply"),) == ADAPTERS["google-retail"](record).refused


@pytest.mark.parametrize("source", SOURCES)
def test_a_record_gives_the_same_events_every_time(source: str) -> None:
    """Ids depend on the record alone, so that what is imported twice is counted once."""
    read = records(source)
    twice = [[ADAPTERS[source](record) for record in read.values()] for _ in range(2)]
    assert twice[0] == twice[1]


@pytest.mark.parametrize("source", SOURCES)
def test_the_events_of_one_record_have_ids_of_their_own(source: str) -> None:
    """No event of a record is taken for a duplicate of another one of it."""
    ids = [[event.id for event in ADAPTERS[source](record).events] for record in records(source).values()]
    assert [len(of_one) for of_one in ids] == [len(set(of_one)) for of_one in ids]


def test_every_source_cites_where_its_records_are_documented() -> None:
    """Each file of records names public pages, and each source has one."""
    notes = {path.stem: json.loads(path.read_text(encoding="utf-8"))["note"] for path in FOLDER.glob("*.json")}
    assert set(SOURCES) == set(notes)
    assert [] == [source for source, note in notes.items() if "https://" not in " ".join(note)]


def test_an_unknown_source_is_answered_with_the_nearest_names() -> None:
    """A typing error costs one look."""
    with pytest.raises(LynceusError, match=r"no adapter for 'segmnt'. Did you mean segment\?"):
        named("segmnt")
    with pytest.raises(LynceusError, match="There are segment, rudderstack"):
        named("zzz")


@given(name=st.text(min_size=1, max_size=300))
def test_a_shortened_name_keeps_its_difference(name: str) -> None:
    """At most 64 characters, itself when it is short, and never the same as that of a longer one."""
    short = shortened(name)
    assert len(short) <= 64
    assert (short == name) == (len(name) <= 64)
    assert short != shortened(name + "x")


@given(
    event_id=st.text(min_size=1, max_size=64), parts=st.lists(st.sampled_from(["d", "i1", "i200", "k1"]), unique=True)
)
def test_the_parts_of_an_event_have_ids_of_their_own(event_id: str, parts: list[str]) -> None:
    """Ids of parts fit, differ from each other, and end in what they are."""
    ids = [part_of(event_id, part) for part in parts]
    assert len(ids) == len(set(ids))
    assert all(len(one) <= 64 and one.endswith(f".{part}") for one, part in zip(ids, parts, strict=True))


@pytest.mark.parametrize(("source", "story"), JOINED.items())
def test_what_was_shown_clicked_and_bought_is_joined(source: str, story: tuple[tuple[str, ...], int, int, int]) -> None:
    """A list, a click on it and a purchase, each in a record of its own, meet in the worker's own attribution."""
    names, *expected = story
    # The documentation shows all its calls under one id; here each has its own.
    own = {"segment": "messageId", "snowplow": "event_id"}.get(source, "-")
    told = [{**records(source)[name], own: name} for name in names]
    made = [event for record in told for event in ADAPTERS[source](record).events]
    state = partition()
    report = feed(state, *made)
    totals = total(state)
    assert {"counted": len(made)} == dict(report.outcomes)
    assert expected == [totals.get(measure, 0) for measure in ("impressions", "clicks", "conversions")]


def read_back(settings: KafkaSettings, count: int) -> list[tuple[bytes, bytes]]:
    """Return key and value of the first `count` records of the events topic."""
    consumer = KafkaConsumer(
        bootstrap_servers=settings.bootstrap, consumer_timeout_ms=20_000, auto_offset_reset="earliest"
    )
    try:
        topic = settings.events_topic
        consumer.assign([TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)])
        return [(record.key, record.value) for _, record in zip(range(count), consumer, strict=False)]
    finally:
        consumer.close()


def test_what_adapters_give_survives_kafka(kafka_settings: KafkaSettings) -> None:
    """The events of all sources, through a real Kafka and the worker's own codec, are the events that went in."""
    ensure_topics(kafka_settings)
    sent: list[AnyEvent] = [event for source, record in RECORDED for event in ADAPTERS[source](record).events]
    with Publisher(kafka_settings) as publisher:
        for event in sent:
            publisher.send(event)
        delivery = publisher.flush()
    received = read_back(kafka_settings, len(sent))
    decoded = [codec.decode(value) for _, value in received]
    assert (len(sent), 0) == (delivery.delivered, delivery.failed)
    assert sorted(map(str, sent)) == sorted(map(str, decoded))
    assert {(event.user.encode(), codec.encode(event)) for event in sent} == set(received)


def test_every_adapter_is_documented() -> None:
    """docs/adapters.md has a section for each source."""
    page = (Path(__file__).parent.parent.parent / "docs" / "adapters.md").read_text(encoding="utf-8")
    assert set(ADAPTERS) == set(re.findall(r"^## .*?`([a-z0-9-]+)`", page, re.MULTILINE)) | {"rudderstack"}
