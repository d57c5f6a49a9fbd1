"""Personalizer and Vowpal Wabbit: a ranking with its probabilities, and whether it was rewarded."""

from typing import Any

import pytest

from producers.adapt_dsjson import from_dsjson
from producers.foreign import Adapted, shortened
from stream_app.core.events import Click, Decision, DecisionItem, Event, Impression
from tests.foreign import records

RECORDS = records("dsjson")
AT_MS = 1_508_803_215_516
FIRST, SECOND = "0074434d3a3a46529f65de8a59631939", "fa68cd9a71764118a635fd3d7a908634"
MODEL = shortened("096200c6c41e42bbb879c12830247637/0639c12bea464192828b250ffc389657")


def said(event_id: str) -> dict[str, Any]:
    """Return what the events of one line share: nobody is named, so each decision is its own pseudo-user."""
    return {"ts": AT_MS, "user": event_id, "decision": event_id}


EXPECTED: dict[str, tuple[Event, ...]] = {
    # Ranked second, first, third; the last with a probability of 0, of which there is nothing to say.
    "rewarded": (
        Decision(
            **said(FIRST), id=f"{FIRST}.d", policy_version=MODEL,
            items=(
                DecisionItem(item="sports", position=1, propensity=0.816666663),
                DecisionItem(item="news", position=2, propensity=0.183333333),
                DecisionItem(item="music", position=3),
            ),
        ),
        Impression(**said(FIRST), id=f"{FIRST}.i", item="sports", position=1, propensity=0.8166667),
        Click(**said(FIRST), id=f"{FIRST}.k", item="sports", position=1),
    ),
    "not_rewarded": (
        Decision(**said(SECOND), id=f"{SECOND}.d", items=(DecisionItem(item="1", position=1, propensity=1.0),)),
        Impression(**said(SECOND), id=f"{SECOND}.i", item="1", position=1, propensity=1.0),
    ),
    "never_shown": (
        Decision(
            **said("e-3"), id="e-3.d",
            items=(
                DecisionItem(item="news", position=1, propensity=0.5),
                DecisionItem(item="music", position=2, propensity=0.5),
            ),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_a_line_is_a_decision_and_what_came_of_it(name: str) -> None:
    """A line gives its decision, the impression unless it was deferred, and a click if there was a reward."""
    assert Adapted(EXPECTED[name], ()) == from_dsjson(RECORDS[name])  # type: ignore[arg-type]  # tuples of events


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"EventId": None}, "EventId"),
        ({"Timestamp": None}, "Timestamp"),
        ({"Timestamp": "2017-10-24T00:00:15.516"}, "Timestamp"),
        ({"a": None}, "a"),
        ({"a": []}, "a"),
        ({"a": [4]}, "p"),
        ({"a": [0, 1, 2]}, "a"),
        ({"a": [1, 2, 4]}, "a"),
        ({"p": [1.0, 0.5, 1.5]}, "p"),
        ({"p": [1.0]}, "p"),
        ({"c": []}, "c"),
        ({"_outcomes": []}, "_outcomes"),
    ],
)
def test_a_refusal_names_the_field(change: dict[str, Any], field: str) -> None:
    """Whatever is wrong with a line, exactly one refusal names the field."""
    adapted = from_dsjson(RECORDS["rewarded"] | change)
    assert ((), [field]) == (adapted.events, [refused.field for refused in adapted.refused])
