"""Open Bandit rows: as an adapter the same events as in a replay."""

import csv
import gzip
from itertools import islice
from typing import Any

import pytest

from producers.adapt_open_bandit import from_open_bandit
from producers.foreign import Adapted
from producers.open_bandit import DATA, events, scan
from stream_app.core.events import Click, Impression
from tests.foreign import records

RECORDS = records("open-bandit")
ROWS = 1_000
NOON_MS = 1_574_596_800_000
CLICKED: dict[str, Any] = {
    "user": "ob-men-bts-000007", "surface": "men", "arm": "personalized", "policy": "bts",
    "decision": "ob-men-bts-000007", "item": "7", "position": 3,
}  # fmt: skip


def test_a_row_is_an_impression_and_its_click() -> None:
    """The click comes a second after the impression, as everywhere with these data."""
    expected = (
        Impression(**CLICKED, id="ob-men-bts-000007-i", ts=NOON_MS + 1_500, propensity=0.25),
        Click(**CLICKED, id="ob-men-bts-000007-c", ts=NOON_MS + 2_500),
    )
    assert Adapted(expected, ()) == from_open_bandit(RECORDS["clicked"])


def test_a_policy_that_was_not_published_is_no_arm() -> None:
    """It has its label, and nothing is guessed."""
    (event,) = from_open_bandit(RECORDS["not_clicked"]).events
    assert ("epsilon", None) == (event.policy, event.arm)


def test_the_selection_gives_the_events_of_the_replay() -> None:
    """Row by row, the files that come with Lynceus give exactly the events of a replay that is not moved."""
    logs = scan(DATA)
    replayed = {event.id: event for event in events(DATA, ends_at_ms=max(log.last_ms for log in logs))}
    made = []
    for log in logs:
        with gzip.open(log.path, "rt", encoding="utf-8") as lines:
            for number, row in enumerate(islice(csv.DictReader(lines), ROWS)):
                named = row | {"campaign": log.campaign, "policy": log.policy, "row": number}
                made += from_open_bandit(named).events
    assert [replayed[event.id] for event in made] == made
    assert len(made) > len(logs) * ROWS  # all the impressions, and some clicks


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"campaign": None}, "campaign"),
        ({"policy": "p" * 21}, "policy"),
        ({"timestamp": "2019-11-24 12:00:00"}, "timestamp"),
        ({"row": None}, "row"),
        ({"item_id": ""}, "item_id"),
        ({"position": "0"}, "position"),
        ({"click": "2"}, "click"),
        ({"propensity_score": "0"}, "propensity_score"),
    ],
)
def test_a_refusal_names_the_field(change: dict[str, Any], field: str) -> None:
    """Whatever is wrong with a row, exactly one refusal names the column."""
    adapted = from_open_bandit(RECORDS["clicked"] | change)
    assert ((), [field]) == (adapted.events, [refused.field for refused in adapted.refused])
