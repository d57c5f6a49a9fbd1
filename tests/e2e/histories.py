"""What happened on one surface until a moment ago, written down at once: sessions of two arms, minute by minute.

The watch judges event time, so that an hour of a drop needs no hour of waiting.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from stream_app.core.events import Click, Impression

MINUTE_MS = 60_000
CLICK_AFTER_MS = 2_000


class Part(NamedTuple):
    """Some minutes: how many sessions each arm has in each of them, and which share of those clicks."""

    minutes: int
    sessions: Mapping[str, int]
    clicking: Mapping[str, float]


def history(surface: str, parts: Sequence[Part], ends_ms: int, seed: int = 1) -> Iterator[Impression | Click]:
    """Yield the events in the order of their times; the last minute ends at `ends_ms`."""
    chance = random.Random(seed)
    start_ms = ends_ms - MINUTE_MS * sum(part.minutes for part in parts)
    number = 0
    for part in parts:
        for _ in range(part.minutes):
            events: list[Impression | Click] = []
            for arm, sessions in part.sessions.items():
                for _ in range(sessions):
                    number += 1
                    ts = start_ms + chance.randrange(MINUTE_MS - CLICK_AFTER_MS)
                    events += _session(f"{surface}-{number}", surface, arm, ts, chance.random() < part.clicking[arm])
            yield from sorted(events, key=lambda event: event.ts)
            start_ms += MINUTE_MS


def _session(name: str, surface: str, arm: str, ts: int, is_clicking: bool) -> list[Impression | Click]:
    seen = Impression(
        id=f"i-{name}",
        ts=ts,
        user=f"u-{name}",
        session=f"s-{name}",
        surface=surface,
        arm=arm,
        device="mobile",
        decision=f"d-{name}",
        item="A1",
        position=1,
        relevance=0.5,
    )
    click = Click(
        id=f"c-{name}",
        ts=ts + CLICK_AFTER_MS,
        user=seen.user,
        session=seen.session,
        surface=surface,
        arm=arm,
        device="mobile",
        decision=seen.decision,
        item="A1",
    )
    return [seen, click] if is_clicking else [seen]
