"""What consent leaves of an event: all of it, its part in the totals, or nothing.

Without `analytics`, whatever tells people apart goes: the user becomes a throwaway key, the session and the segment
go, and types that only say something about one person over time are withheld. The throwaway key of an event that
belongs to a decision is derived from the decision, so that impression and click still meet in one partition; any
other one is random. A change of consent is always sent as it is: without the user, nobody could obey it.

Without `personalization` an event is complete, and flagged; what not to show is the application's business.
"""

import hashlib
from typing import Final, TypeVar

from stream_app.core.events import Account, Assignment, ConsentChange, ContextSignal, Event, JourneyStep

WITHHELD: Final[tuple[type[Event], ...]] = (Account, Assignment, ContextSignal, JourneyStep)
"""Types that are about one person over time: without `analytics` they are not sent at all."""

E = TypeVar("E", bound=Event)


def lawful(event: E, decision: str | None, throwaway: str) -> E | None:
    """Return what may be sent of an event, or None when it is withheld.

    `decision` is the decision that it belongs to, `throwaway` a key that nothing else has.
    """
    if event.consent is None or event.consent.analytics or isinstance(event, ConsentChange):
        return event
    if isinstance(event, WITHHELD):
        return None
    key = hashlib.sha256(decision.encode()).hexdigest()[:32] if decision else throwaway
    kept = {name: getattr(event, name) for name in event.__struct_fields__ if name not in ("session", "segment")}
    return type(event)(**(kept | {"user": f"anon.{key}"}))
