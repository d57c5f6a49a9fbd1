"""Amazon Personalize: item interactions as they are sent to PutEvents.

https://docs.aws.amazon.com/personalize/latest/dg/API_UBS_PutEvents.html and API_UBS_Event.html. A record is the body
of one request. Event types are the shop's own words; those of Amazon's own use cases are known here.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal

from producers.fields import Fields
from producers.foreign import Pseudonym, Refused, adapting, digest, each, shortened, user_key
from producers.listing import Shown, decision_key, session_key, shown
from stream_app.core.events import Cart, Click, Conversion, Event

Made = Iterator[Event | Refused]
_KINDS: Final[dict[str, Literal["click", "add", "purchase"]]] = {
    "click": "click",
    "addtocart": "add",
    "purchase": "purchase",
}
"""Event types, without case and separators."""


@adapting
def from_personalize(record: dict[str, Any], pseudonym: Pseudonym) -> Made:
    """Yield what the events of one request say."""
    request = Fields(record)
    # Before somebody logs in there is only a session, and Personalize itself takes it for the user.
    who = "userId" if request.get("userId") not in (None, "") else "sessionId"
    raw = request.long_identifier(who)
    if raw is None:
        raise request.unfit("userId", "neither userId nor sessionId")
    user = user_key(raw, who, pseudonym)
    session = session_key("ap", user, request.identifier("sessionId"))
    return each(record.get("eventList"), "eventList", lambda event: _events(Fields(event), user, session))


def _events(fields: Fields, user: str, session: str | None) -> Made:
    # Seconds, as the API counts; boto3's own files write ISO 8601.
    at = fields.get("sentAt")
    at_ms = fields.iso_ms("sentAt") if isinstance(at, str) and "-" in at else fields.epoch_ms("sentAt", 1)
    if at_ms is None:
        raise fields.unfit("sentAt", "is missing")
    event_id = fields.identifier("eventId") or f"ap-{digest(user, session, fields.values)}"
    common: dict[str, Any] = {"id": event_id, "ts": at_ms, "user": user, "session": session}
    impression = _impression(fields)
    decision = fields.identifier("recommendationId")
    if decision is None and impression:
        decision = decision_key("ap", user, session, *(one.item for one in impression))
    if decision is not None and impression:
        # Every event on a list repeats the list: its impressions are made of the list, so they are made once.
        listed = common | {"id": f"ap-{digest(user, decision, impression)}"}
        yield from shown(listed, decision, impression, fields.where("impression"))
    yield from _interaction(fields, common, decision, {one.item: one.position for one in impression})


def _interaction(fields: Fields, common: dict[str, Any], decision: str | None, places: dict[str, int]) -> Made:
    word = fields.text("eventType")
    if word is None:
        raise fields.unfit("eventType", "is missing")
    kind = _KINDS.get("".join(letter for letter in word.lower() if letter.isalnum()))
    if kind is None:
        if places and fields.get("itemId") is None:
            return  # the list was all that this event had to say
        raise fields.unfit("eventType", f"no event of ours says {word[:40]!r}: eventValue has no unit to go by")
    item = fields.required("itemId")
    if kind == "click":
        if decision is None:
            raise fields.unfit("recommendationId", "is missing, and so is impression: nothing says what was clicked on")
        yield Click(**common, decision=decision, item=item, position=places.get(item))
    elif kind == "add":
        yield Cart(**common, action="add", item=item, decision=decision)
    else:
        # eventValue may be the price, in a currency that nobody names: the value is absent.
        yield Conversion(**common, goal="purchase", item=item, decision=decision)


def _impression(fields: Fields) -> list[Shown]:
    listed = fields.get("impression")
    if listed is None:
        return []
    if not isinstance(listed, list) or not all(isinstance(item, str) and item for item in listed):
        raise fields.unfit("impression", "an array of item ids was expected")
    # "The sequence of items you have shown": the order is the place.
    return [Shown(shortened(item), place) for place, item in enumerate(listed, 1)]
