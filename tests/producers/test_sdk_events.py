"""What a call means is what lands in Kafka: every type, by token, pseudonym and consent; bad calls are told."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.aio import AsyncTracker
from producers.composition import Common, Composer, unique
from producers.pseudonyms import Pseudonyms
from producers.sdk import Tracker
from producers.tokens import DecisionToken
from producers.topics import ensure_topics
from producers.validity import InvalidEventError
from stream_app.core import events as e
from stream_app.core.codec import Rejected, decode
from stream_app.core.events import Consent, Event
from stream_app.errors import LynceusError
from stream_app.settings import KafkaSettings
from tests.producers import landed

NOW_MS = 1_732_300_000_000
KEY = b"k" * 32
WHERE: Common = {
    "session": "s-1",
    "surface": "home.hero",
    "arm": "personalized",
    "policy": "bts-3",
    "segment": "new",
    "channel": "web",
    "device": "phone",
}
LINES = (
    e.OrderLine(item="A7", quantity=1, price_minor=1999, decision="d-1"),
    e.OrderLine(item="B2", quantity=2, price_minor=500),
)


def decided(**fields: Any) -> dict[str, Any]:
    return {
        "user": "u-1",
        "decision": "d-1",
        "id": "e-0",
        "items": ["A7", "B2"],
        "propensities": [0.25, 0.5],
        "predicted": [0.1, 0.2],
        "policy_version": "3.1",
        "context_ts": NOW_MS - 5,
        "signal": "sig-1",
        "depth": "contextual",
        "proactive": False,
        "automation": "auto",
        "latency_ms": 12,
        "explore": True,
        "changed": True,
        "delta_topk": 0.5,
        **WHERE,
        **fields,
    }


# One call of every method, with every field that its type has: (method, token or user, arguments, fields that land).
CALLS: list[tuple[str, bool, tuple[Any, ...], dict[str, Any], type[Event], dict[str, Any]]] = [
    ("impression", True, ("B2",), {"viewable_ms": 1500, "relevance": 0.75}, e.Impression,
     {"decision": "d-1", "item": "B2", "position": 2, "viewable_ms": 1500, "relevance": 0.75, "propensity": 0.5,
      "predicted": 0.2}),
    ("click", True, ("A7",), {"kind": "play"}, e.Click,
     {"decision": "d-1", "item": "A7", "position": 1, "kind": "play"}),
    ("conversion", True, ("signup",), {"value_minor": 100, "currency": "EUR", "item": "A7", "new_customer": True},
     e.Conversion, {"goal": "signup", "value_minor": 100, "currency": "EUR", "decision": "d-1", "item": "A7",
                    "new_customer": True}),
    ("order", True, ("o-1",), {"total_minor": 2999, "currency": "EUR", "lines": LINES, "tax_minor": 1,
     "shipping_minor": 2, "discount_minor": 3, "cost_minor": 4, "new_customer": False}, e.Order,
     {"order": "o-1", "total_minor": 2999, "currency": "EUR", "lines": LINES, "tax_minor": 1, "shipping_minor": 2,
      "discount_minor": 3, "cost_minor": 4, "new_customer": False}),
    ("refund", False, ("o-1",), {"amount_minor": 500, "currency": "EUR"}, e.Refund,
     {"order": "o-1", "amount_minor": 500, "currency": "EUR"}),
    ("context_signal", False, ("weather",), {"signal": "sig-1", "strength": 0.5}, e.ContextSignal,
     {"kind": "weather", "signal": "sig-1", "strength": 0.5}),
    ("feedback", True, ("context_relevance",), {"score": 4, "timely": 1, "appropriate": -1, "sentiment": 0.5,
     "asked_prob": 0.1}, e.Feedback, {"kind": "context_relevance", "score": 4.0, "timely": 1.0, "appropriate": -1.0,
     "sentiment": 0.5, "asked_prob": 0.1, "decision": "d-1"}),
    ("page_view", False, ("/cart",), {"referrer_class": "search"}, e.PageView,
     {"page": "/cart", "referrer_class": "search"}),
    ("engagement", False, ("v-1",), {"elapsed_ms": 9000, "final": True, "next_checkin_ms": 5000, "scroll_pct": 50,
     "active_ms": 8000}, e.Engagement, {"view": "v-1", "elapsed_ms": 9000, "final": True, "next_checkin_ms": 5000,
     "scroll_pct": 50.0, "active_ms": 8000}),
    ("search", False, ("q-1",), {"results": 0}, e.Search, {"query_hash": "q-1", "results": 0}),
    ("cart", True, ("add", "A7"), {"quantity": 2, "price_minor": 1999, "currency": "EUR"}, e.Cart,
     {"action": "add", "item": "A7", "quantity": 2, "price_minor": 1999, "currency": "EUR", "decision": "d-1"}),
    ("message", False, ("m-1", "opened"), {"campaign": "c", "personalized": True}, e.Message,
     {"message": "m-1", "state": "opened", "campaign": "c", "personalized": True}),
    ("offer", True, ("off-1", "redeemed"), {}, e.Offer, {"offer": "off-1", "response": "redeemed", "decision": "d-1"}),
    ("journey_step", False, ("checkout",), {"instance": "j-1", "step": 2, "of": 4, "outcome": "done"}, e.JourneyStep,
     {"journey": "checkout", "instance": "j-1", "step": 2, "of": 4, "outcome": "done"}),
    ("feature_use", False, ("wishlist",), {}, e.FeatureUse, {"feature": "wishlist"}),
    ("account", False, ("active",), {"plan": "pro"}, e.Account, {"status": "active", "plan": "pro"}),
    ("consent_change", False, ("analytics",), {"granted": False}, e.ConsentChange,
     {"scope": "analytics", "granted": False}),
    ("assignment", False, ("hero", "holdout"), {"prob": 0.1, "salt_version": "s1"}, e.Assignment,
     {"experiment": "hero", "arm": "holdout", "prob": 0.1, "salt_version": "s1"}),
    ("api_call", False, ("/v1/rank",), {"ms": 12, "ok": True}, e.ApiCall,
     {"endpoint": "/v1/rank", "ms": 12.0, "ok": True}),
    ("profile_sync", False, (), {"source": "crm", "target": "cdp", "applied": True, "fields_filled": 3,
     "fields_total": 9, "lag_ms": 70}, e.ProfileSync, {"source": "crm", "target": "cdp", "applied": True,
     "fields_filled": 3, "fields_total": 9, "lag_ms": 70}),
]  # fmt: skip

ITEMS = (
    e.DecisionItem(item="A7", position=1, propensity=0.25, predicted=0.1),
    e.DecisionItem(item="B2", position=2, propensity=0.5, predicted=0.2),
)


def meant() -> list[Event]:
    """Return what the calls mean, written out: the decision, and one event of every other type."""
    own = {name: value for name, value in decided().items() if name not in {*WHERE, "propensities", "predicted"}}
    wanted: list[Event] = [e.Decision(ts=NOW_MS, **{**own, "items": ITEMS}, **WHERE)]
    for number, (_, _, _, _, kind, fields) in enumerate(CALLS, 1):
        wanted.append(kind(**({"id": f"e-{number}", "ts": NOW_MS, "user": "u-1"} | WHERE | fields)))
    return wanted


def calls(tracker: Any, token: DecisionToken) -> list[Any]:
    """Make all calls, and return what they return."""
    returned = []
    for number, (method, by_token, arguments, fields, _, _) in enumerate(CALLS, 1):
        said = {"id": f"e-{number}", **fields} if by_token else {"id": f"e-{number}", **WHERE, **fields}
        if method == "assignment":
            said.pop("arm")
        returned.append(getattr(tracker, method)(token if by_token else "u-1", *arguments, **said))
    return returned


def by_id(events: list[Any]) -> dict[str, Any]:
    return {event.id: event for event in events}


def test_the_calls_cover_every_type() -> None:
    """Every type of event has its method, and the round trip below takes all of them."""
    assert {e.Decision, *(kind for _, _, _, _, kind, _ in CALLS)} == set(e.EVENT_TYPES)


def test_every_type_arrives_as_it_was_meant(kafka_settings: KafkaSettings) -> None:
    """Through Tracker and a real Kafka, the worker's codec reads what was meant; the token went through text."""
    ensure_topics(kafka_settings)
    with Tracker(kafka=kafka_settings, token_keys=[KEY], clock=lambda: NOW_MS) as tracker:
        token = tracker.loads(tracker.dumps(tracker.decide(**decided())))
        ids = calls(tracker, token)
        report = tracker.flush()
    landed_events = landed.events(kafka_settings)
    assert ids == [f"e-{number}" for number in range(1, len(CALLS) + 1)]
    assert by_id(meant()) == by_id(landed_events)
    assert (len(meant()), len(meant())) == (len(landed_events), report.delivered)


async def test_both_faces_send_the_same(kafka_settings: KafkaSettings) -> None:
    """Through AsyncTracker the same calls, awaited, land as the same events."""
    await asyncio.to_thread(ensure_topics, kafka_settings)
    async with AsyncTracker(kafka=kafka_settings, clock=lambda: NOW_MS) as tracker:
        token = await tracker.decide(**decided())
        ids = [await call for call in calls(tracker, token)]
        report = await tracker.flush()
    landed_events = await asyncio.to_thread(landed.events, kafka_settings)
    assert ids == [f"e-{number}" for number in range(1, len(CALLS) + 1)]
    assert by_id(meant()) == by_id(landed_events)
    assert (report.is_complete, report.adds_up) == (True, True)


class Sent:
    """Composes as a tracker does and keeps what would be sent."""

    def __init__(self, **options: Any) -> None:
        self.composer = Composer(clock=lambda: NOW_MS, **options)

    def __call__(self, kind: type[Event], who: Any, common: Common | None = None, /, **own: Any) -> Any:
        record = self.composer.compose(kind, who, common or {}, own).record
        return record and decode(record.value)


REFUSES = Consent(analytics=False)
TOKEN = DecisionToken(decision="d-1", user="u-1", items=(e.DecisionItem(item="A7", position=1),))


def test_without_analytics_nobody_is_recognised() -> None:
    """User, session and segment go, events of one decision keep one throwaway key, others have one each."""
    sent = Sent()
    common: Common = {**WHERE, "consent": REFUSES}
    shown, clicked = (sent(kind, TOKEN, common, item="A7") for kind in (e.Impression, e.Click))
    views = [sent(e.PageView, "u-1", common, page="/") for _ in range(2)]
    assert {shown.user, clicked.user} == {shown.user}
    assert len({shown.user, views[0].user, views[1].user, "u-1"}) == 4
    assert {(event.session, event.segment) for event in (shown, clicked, *views)} == {(None, None)}
    assert (shown.surface, shown.arm, shown.consent) == ("home.hero", "personalized", REFUSES)


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        (e.Account, {"status": "active"}),
        (e.Assignment, {"experiment": "x", "arm": "holdout"}),
        (e.ContextSignal, {"signal": "s", "kind": "weather"}),
        (e.JourneyStep, {"journey": "j", "instance": "i", "step": 1, "of": 2}),
    ],
)
def test_without_analytics_what_is_only_about_a_person_is_withheld(kind: type[Event], own: dict[str, Any]) -> None:
    """Types that mean nothing without the person are not sent; a bad argument is told all the same."""
    assert Sent()(kind, "u-1", {"consent": REFUSES}, **own) is None
    with pytest.raises(InvalidEventError):
        Sent()(kind, "joe@example.com", {"consent": REFUSES}, **own)


def test_a_change_of_consent_is_sent_whole() -> None:
    """Who withdraws consent is named, or nobody could obey."""
    event = Sent()(e.ConsentChange, "u-1", {"consent": REFUSES}, scope="analytics", granted=False)
    assert (event.user, event.granted) == ("u-1", False)


def test_without_personalization_an_event_is_whole_and_flagged() -> None:
    """The flag travels with the event."""
    event = Sent()(e.PageView, "u-1", {"session": "s-1", "consent": Consent(personalization=False)}, page="/")
    assert (event.user, event.session, event.consent) == ("u-1", "s-1", Consent(personalization=False))


def test_consent_is_asked_for_by_the_applications_own_name() -> None:
    """The callback gets the user as the call named them; what the call says itself goes before it."""
    asked: list[str] = []

    def consent_of(user: str) -> Consent:
        asked.append(user)
        return REFUSES

    sent = Sent(consent=consent_of, pseudonyms=Pseudonyms({"k1": KEY}, "k1"))
    by_callback = sent(e.PageView, "joe@example.com", page="/")
    by_call = sent(e.PageView, "joe@example.com", {"consent": Consent()}, page="/")
    assert (asked, by_callback.consent) == (["joe@example.com"], REFUSES)
    assert by_call.user == Pseudonyms({"k1": KEY}, "k1").of("joe@example.com")


def test_a_token_of_somebody_who_refuses_carries_no_identity(mock_kafka_settings: KafkaSettings) -> None:
    """The decision, its token and its click are anonymous, withheld events are counted, and the report adds up."""
    with Tracker(kafka=mock_kafka_settings, consent=lambda _user: REFUSES) as tracker:
        token = tracker.decide(user="u-9", items=["A7"], session="s-9")
        tracker.click(token, "A7")
        tracker.account("u-9", "active")
        arm = tracker.assign("u-9", "hero", {"holdout": 1})
        report = tracker.flush()
    mine = [event for event in landed.events(mock_kafka_settings) if event.user == token.user]
    assert "u-9" not in tracker.dumps(token)
    assert (len(mine), arm) == (2, "holdout")
    assert (report.sent, report.delivered, report.withheld, report.adds_up) == (4, 2, 2, True)


def test_an_assignment_is_recorded_once(mock_kafka_settings: KafkaSettings) -> None:
    """Asking again gives the same arm and no second event; who refuses personalization has no arm."""
    with Tracker(kafka=mock_kafka_settings) as tracker:
        arms = {tracker.assign("u-5", "hero", {"personalized": 9, "holdout": 1}, salt="s1") for _ in range(5)}
        none = tracker.assign("u-6", "hero", {"holdout": 1}, consent=Consent(personalization=False))
        report = tracker.flush()
    assert (len(arms), none, report.sent) == (1, None, 1)


Call = Callable[[Tracker], object]
BAD: list[tuple[Call, str]] = [
    (lambda t: t.page_view("joe@example.com", "/"), r"page_view\.user = 'jo\.\.\.om': .*e-mail.*pseudonym"),
    (lambda t: t.page_view("+49 170 1234567", "/"), r"page_view\.user = '\+4\.\.\.67'"),
    (lambda t: t.page_view("u" * 65, "/"), r"page_view\.user = 'uuu.*length <= 64.*hashed"),
    (lambda t: t.page_view("", "/"), r"user = '' is nobody"),
    (lambda t: t.page_view("u", "/", id="i" * 65), r"page_view\.id = 'iii.*length <= 64"),
    (lambda t: t.page_view("u", "/", ts=1_732_300_000), r"page_view\.ts = 1732300000: .*not seconds"),
    (lambda t: t.page_view("u", "/", srface="x"), r"no field 'srface'\. Did you mean surface"),  # type: ignore[call-arg]
    (lambda t: t.page_view("u", None), r"page_view: .*page"),  # type: ignore[arg-type]
    (lambda t: t.page_view("u", "\ud800"), r"page_view\.page = '\\ud800'.*surrogate"),
    (lambda t: t.page_view("u", "/", arm="control"), r"page_view\.arm = 'control'"),  # type: ignore[arg-type]
    (lambda t: t.order("u", "o", total_minor=1, currency="eur"), r"order\.currency = 'eur'.*ISO 4217"),
    (lambda t: t.order("u", "o", total_minor=-1, currency="EUR"), r"order\.total_minor = -1.*minor units"),
    (lambda t: t.feedback("u", "nps", score=float("nan")), r"feedback\.score = nan.*finite"),
    (lambda t: t.click(TOKEN, "Z9"), r"click\.item = 'Z9' is not in decision 'd-1'\. It decided A7 \(1\)"),
    (lambda t: t.impression(TOKEN, "A7", position=2), r"impression\.item = 'A7' .* at position 2"),
    (lambda t: t.decide(user="u", items=[]), r"decision\.items = \(\).*length >= 1"),
    (lambda t: t.decide(user="u", items=["a"], propensities=[0.5, 0.5]), r"propensities has 2 values for 1 items"),
    (lambda t: t.decide(user="u", items=["a"], propensities=[0.0]), r"decision\.items\[0\]\.propensity = 0.0: .* > 0"),
    (lambda t: t.decide(user="u", items=["a"], plicy="x"), r"no field 'plicy'"),  # type: ignore[call-arg]
]  # fmt: skip


@pytest.fixture(scope="module")
def tracker(mock_kafka: Any) -> Any:
    with Tracker(kafka=KafkaSettings(bootstrap=mock_kafka.bootstrap, api_version="2.0")) as one:
        yield one


@pytest.mark.parametrize(("call", "message"), BAD)
def test_a_bad_argument_is_told_at_the_call(tracker: Tracker, call: Call, message: str) -> None:
    """The error names field, value and remedy on one line, and nothing is sent."""
    before = tracker.report().sent
    with pytest.raises(InvalidEventError, match=message) as caught:
        call(tracker)
    assert (tracker.report().sent, "\n" in str(caught.value)) == (before, False)


anything = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70) | st.lists(st.text(), max_size=2)
)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from([*WHERE, "id", "ts", "bot", "value_minor", "currency", "item"]), anything))
def test_what_is_composed_is_what_the_codec_takes(fields: dict[str, Any]) -> None:
    """Whatever is said, it is refused by name or the worker will read an equal event: there is nothing in between."""
    common: Any = {name: value for name, value in fields.items() if name in Common.__optional_keys__}
    own = {name: value for name, value in fields.items() if name not in common}
    try:
        composed = Composer(clock=lambda: NOW_MS).compose(e.Conversion, "u", common, {"goal": "g", **own})
    except InvalidEventError:
        return
    assert composed.record is not None
    read = decode(composed.record.value)
    assert not isinstance(read, Rejected)
    assert read == composed.event


def test_ids_are_unique_and_sort_by_time() -> None:
    """Ten thousand ids of one millisecond differ; a later millisecond sorts after."""
    ids = {unique(NOW_MS) for _ in range(10_000)}
    assert (len(ids), {len(one) for one in ids}, max(ids) < unique(NOW_MS + 1)) == (10_000, {32}, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"when_away": "spill"}, "Spilling needs a folder"),
        ({"when_away": "drop"}, "is no policy"),
        ({"max_events": 0}, "max_events=0 is too small"),
        ({"token_keys": [b"short"]}, "a token key has 5 bytes"),
        ({"bootstrp": "x:1"}, "Did you mean bootstrap"),
        ({"bootstrap": "127.0.0.1:1", "kafka": KafkaSettings(connect_timeout_s=0.3)}, "no Kafka broker at 127.0.0.1:1"),
    ],
)
def test_bad_options_are_told(options: dict[str, Any], message: str) -> None:
    """An option that cannot be followed is an error when the tracker is made."""
    with pytest.raises(LynceusError, match=message):
        Tracker(**options)
