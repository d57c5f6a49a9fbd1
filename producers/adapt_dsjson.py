"""Azure Personalizer and Vowpal Wabbit: decisions as they are logged in dsjson.

https://github.com/VowpalWabbit/vowpal_wabbit/wiki/DSJSON, https://learn.microsoft.com/azure/ai-services/personalizer/
(Rank, Reward, Activate). A record is one line: one decision, whose reward has been joined to it.

    {"_label_cost": -1, "_label_probability": 0.8, "_label_Action": 2, "EventId": "...", "Timestamp": "...Z",
     "a": [2, 1, 3], "p": [0.8, 0.1, 0.1], "c": {..., "_multi": [{"_tag": "news", ...}, ...]}}

`a` is the ranking, actions counted from 1; `p` is its probabilities in the same order. There is nobody in it: every
decision has a pseudo-user of its own, so rates and off-policy estimates can be had, and nothing about people.
"""

from collections.abc import Iterator
from typing import Any, Final

from producers.fields import Fields
from producers.foreign import Pseudonym, Refused, adapting, part_of, shortened
from producers.listing import MAX_DECIDED
from stream_app.core.events import Click, Decision, DecisionItem, Event, Impression

Made = Iterator[Event | Refused]
_MAX_ACTIONS: Final = 10_000


@adapting
def from_dsjson(record: dict[str, Any], pseudonym: Pseudonym) -> Made:
    """Yield the decision of one line, its impression, and its click when there was a reward."""
    del pseudonym  # nobody is named
    fields = Fields(record)
    context = fields.within("c")
    if "_outcomes" in record or "_slots" in context.values:
        raise fields.unfit("_outcomes", "several slots in one line are not read")
    event_id = fields.required("EventId")
    at_ms = fields.iso_ms("Timestamp")
    if at_ms is None:
        raise fields.unfit("Timestamp", "is missing")
    ranked = _ranking(fields, _names(context))
    common: dict[str, Any] = {"ts": at_ms, "user": event_id}
    if len(ranked) > MAX_DECIDED:
        yield Refused("a", f"{len(ranked)} actions: a decision has at most {MAX_DECIDED}, the impression is kept")
    else:
        yield Decision(
            **common,
            id=part_of(event_id, "d"),
            decision=event_id,
            items=tuple(ranked),
            policy_version=fields.within("VWState").identifier("m"),
        )
    if fields.get("DeferredAction") is True:
        return  # ranked ahead, and never reported as shown
    top = ranked[0]
    yield Impression(
        **common,
        id=part_of(event_id, "i"),
        decision=event_id,
        item=top.item,
        position=1,
        propensity=fields.share("_label_probability") or top.propensity,
    )
    cost = fields.decimal("_label_cost")
    if cost is not None and cost < 0:
        # The log joins the reward to the decision and drops its time; how much it was worth is the shop's secret.
        yield Click(**common, id=part_of(event_id, "k"), decision=event_id, item=top.item, position=1)


def _names(context: Fields) -> list[str]:
    """Return what the actions are called: by tag, by the id that Personalizer adds, else by number from 1."""
    actions = list(context.each("_multi"))
    inner = [action.within("i") if isinstance(action.get("i"), dict) else Fields({}) for action in actions]
    return [
        action.identifier("_tag") or named.identifier("id") or str(number)
        for number, (action, named) in enumerate(zip(actions, inner, strict=True), 1)
    ]


def _ranking(fields: Fields, names: list[str]) -> list[DecisionItem]:
    actions, chances = fields.get("a"), fields.get("p")
    if not isinstance(actions, list) or not actions:
        raise fields.unfit("a", "an array of actions was expected")
    if chances is not None and (not isinstance(chances, list) or len(chances) != len(actions)):
        raise fields.unfit("p", "as many probabilities as actions were expected")
    ranked = []
    for place, number in enumerate(actions, 1):
        one = Fields({"a": number, "p": chances[place - 1] if chances else None})
        action = one.integer("a", 1, len(names) or _MAX_ACTIONS)
        if action is None:
            raise fields.unfit("a", "an array of actions was expected")
        name = names[action - 1] if names else str(action)
        ranked.append(DecisionItem(item=shortened(name), position=place, propensity=one.share("p")))
    return ranked
