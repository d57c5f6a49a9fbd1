"""The events of every benchmark: of the simulated world those that all contenders can count, encoded once.

Impressions, first clicks and conversions, or all kinds of events where asked for; the same seed gives the same bytes.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from producers.visits import is_repeated
from producers.world import World
from stream_app.core import codec
from stream_app.core.events import Click, Conversion, Event, Impression

START_MS: Final = 1_748_736_000_000
"""2025-06-01T00:00:00Z: an event time that lies before any run, so that no event comes from the future."""
SESSIONS_PER_SECOND: Final = 200.0
"""Of event time, on the mean over a week. A pane of 10 seconds of this night holds some 7,000 events."""

Counts = dict[str, dict[tuple[str, str], int]]
"""Kind (impression, click, session, conversion) -> (surface, arm) -> how many; nothing is kept of what is none."""


class Record(NamedTuple):
    """One Kafka record: the user as key, JSON as value."""

    key: bytes
    value: bytes


def records(number: int, seed: int = 1, *, has_all_kinds: bool = False) -> Iterator[Record]:
    """Yield the first `number` records."""
    events = World(seed).events(START_MS, SESSIONS_PER_SECOND)
    for event in islice(events if has_all_kinds else filter(_is_counted_by_all, events), number):
        yield Record(event.user.encode(), codec.encode(event))


def recount(values: Iterable[bytes]) -> Counts:
    """Count by surface and arm with nothing but the JSON: what every contender must find.

    No id is repeated, and every impression is clicked at most once, within a minute; a session keeps its arm.
    """
    counts: defaultdict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    sessions: set[tuple[str, str]] = set()
    for value in values:
        event = json.loads(value)
        surface, arm = event["surface"], event["arm"]
        counts[event["type"]][surface, arm] += 1
        if event["type"] == "impression" and (event["session"], surface) not in sessions:
            sessions.add((event["session"], surface))
            counts["session"][surface, arm] += 1
    return {kind: dict(of) for kind, of in counts.items()}


def _is_counted_by_all(event: Event) -> bool:
    if isinstance(event, Click):
        return not is_repeated(event)
    return isinstance(event, Impression | Conversion)
