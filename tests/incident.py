"""A shop in which personalization breaks: one surface, two arms of half the sessions each, first clicks alone.

Small enough to be counted in a second, and plain enough to say what must be found: until `breaks` a session clicks with
the rates of `CLICKS`, from then on the personalized arm's are `left` of that.
"""

import random
from collections.abc import Iterator

from stream_app.core.codec import encode
from stream_app.core.events import AnyEvent, Arm
from tests.timelines import at, click, impression

CLICKS: dict[Arm, float] = {"personalized": 0.4, "holdout": 0.3}
SESSIONS_A_MINUTE = 40
PLACES: dict[Arm, tuple[float, ...]] = {"personalized": (0.22, 0.2, 0.05, 0.04), "holdout": (0.12, 0.1, 0.08, 0.07)}
"""How often a session clicks first on each position of a list of four."""


def happened(
    minutes: int, breaks: int, left: float = 0.1, surface: str = "home", a_minute: float = SESSIONS_A_MINUTE
) -> Iterator[AnyEvent]:
    """Yield the events of so many minutes, in order."""
    chance = random.Random(1)
    for number in range(int(minutes * a_minute)):
        seconds = number * 60 / a_minute
        arm: Arm = "personalized" if chance.random() < 0.5 else "holdout"
        device = "phone" if chance.random() < 0.5 else "desktop"
        rate = CLICKS[arm] * (left if arm == "personalized" and seconds >= breaks * 60 else 1)
        who = {"user": f"u{number}", "session": f"s{number}", "decision": f"d{number}"}
        where = {"surface": surface, "arm": arm, "device": device}
        yield impression(seconds, **who, **where)
        if chance.random() < rate:
            yield click(seconds + 0.5, **who, **where)


def listed(minutes: int, breaks: int, left: dict[int, float], a_minute: int = 60) -> Iterator[AnyEvent]:
    """Yield the same for lists of four: of some positions less is `left`, from the minute on in which it breaks."""
    chance = random.Random(2)
    for number in range(minutes * a_minute):
        seconds = number * 60 / a_minute
        arm: Arm = "personalized" if chance.random() < 0.5 else "holdout"
        is_broken = arm == "personalized" and seconds >= breaks * 60
        who = {"user": f"u{number}", "session": f"s{number}", "decision": f"d{number}"}
        where = {"surface": "home", "arm": arm, "device": "phone" if chance.random() < 0.5 else "desktop"}
        for position in range(1, 5):
            yield impression(seconds, item=f"at{position}", position=position, **who, **where)
        drawn = chance.random()
        for position, rate in enumerate(PLACES[arm], 1):
            drawn -= rate
            if drawn < 0:
                if chance.random() < (left.get(position, 1) if is_broken else 1):
                    yield click(seconds + 0.5, item=f"at{position}", **who, **where)
                break


def values(minutes: int, breaks: int, **more: object) -> list[bytes]:
    """Return the same as records."""
    return [encode(event) for event in happened(minutes, breaks, **more)]  # type: ignore[arg-type]  # as `happened`


BEGAN_MS = at(0)
