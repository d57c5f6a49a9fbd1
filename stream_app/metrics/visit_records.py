"""A visit: what somebody did from coming until leaving, as a record that ends the same in whatever order it is told.

    page_view   search   click      (40 min of silence)      page_view
    |------ one visit, at home where it began ------|        |---- another, where no session id says otherwise

Which events belong together:

- With a session id: all of one user that carry it, however long the silence, and across midnight. Who tells ids says
  when a visit ends.
- Without: all of one user between which no silence is longer than `GAP_MS`, across midnight as well. The silence is
  that between the event and the latest one that came before it in the log. So where events arrive out of order by up to
  d, visits are those of the sorted log unless some silence lies between GAP_MS - d and GAP_MS; then one may be cut
  in two, and no page is counted twice or lost.

At home, as every record, in the pane and slice of the event that *arrived* first. What a server does by itself (a
decision), what happens elsewhere (a message, a refund) and an impression, which follows from a page, is no part of it.
A heartbeat, an order and a conversion add to a visit but make none: a page may be closed, and the back office may book,
hours after everybody has left.
"""

from functools import lru_cache
from typing import Final, NamedTuple

from stream_app.core.events import Cart, Click, Conversion, Engagement, Event, Order, PageView, Search
from stream_app.core.records import Kind

GAP_MS: Final = 1_800_000
"""A longer silence begins another visit: 30 minutes, as in most web analytics.

It is the same everywhere, whatever `session_gap_s` says of sessions at a surface.
"""
_BETWEEN: Final = "\x1f"


class Visit(NamedTuple):
    """What a visit has come to: `span_ms` from its first sign of life to its last, which is at `last_ms`.

    `is_seen` is 1 once there is a page, a search, a click or something about the cart. `clicks` counts every click,
    swipe, expansion, play and addition to a list, also repeated ones; `views_left` the views that said that they were
    over, and `active_ms` how long those were looked at.
    """

    span_ms: int = 0
    is_seen: int = 0
    pages: int = 0
    searches: int = 0
    clicks: int = 0
    cart_adds: int = 0
    purchases: int = 0
    views_left: int = 0
    active_ms: int = 0
    last_ms: int = 0

    @property
    def interactions(self) -> int:
        """What was acted on: clicks of every kind, and additions to the cart."""
        return self.clicks + self.cart_adds

    @property
    def points(self) -> int:
        """The engagement score before it is divided by `MOST_POINTS`."""
        return _points(self.pages, self.searches, self.clicks, self.cart_adds, self.purchases)


class Action(NamedTuple):
    """What counts towards the engagement score: a count of a visit, what each weighs, and how many count at most."""

    counted: str
    weight: int
    cap: int


ACTIONS: Final = (
    Action("pages", 1, 10),
    Action("searches", 2, 3),
    Action("clicks", 3, 5),
    Action("cart_adds", 5, 3),
    Action("purchases", 10, 1),
)
MOST_POINTS: Final = sum(action.weight * action.cap for action in ACTIONS)
"""What a visit can reach: 56. Only the caps make it finite; without them "all possible actions" is no number."""


@lru_cache(maxsize=4_096)  # visits are much alike, and each is asked four times at every step
def _points(*times: int) -> int:
    return sum(action.weight * min(done, action.cap) for action, done in zip(ACTIONS, times, strict=True))


def whose_visit(event: Event) -> str:
    """Return what names a visit: user and session id, else the user.

    Nothing is joined across users, so that visits do not depend on which users share a partition.
    """
    return event.user if event.session is None else f"{event.user}{_BETWEEN}{event.session}"


def after(visit: Visit, event: Event) -> Visit:
    """Return the visit once `event` is known: earliest, latest and sums, none of which depends on order."""
    # Every page and heartbeat comes here: this is written for speed.
    span, is_seen, pages, searches, clicks, cart_adds, purchases, views_left, active_ms, last = visit
    at, of = event.ts, type(event)
    first, last = min(last - span, at) if last else at, max(last, at)
    if isinstance(event, Engagement):
        if event.final:
            views_left += 1
            active_ms += event.elapsed_ms if event.active_ms is None else event.active_ms
    elif of is Order or of is Conversion:
        purchases += 1
    else:
        is_seen = 1
        if of is PageView:
            pages += 1
        elif of is Click:
            clicks += 1
        elif of is Search:
            searches += 1
        elif isinstance(event, Cart) and event.action == "add":
            cart_adds += 1
    return Visit(last - first, is_seen, pages, searches, clicks, cart_adds, purchases, views_left, active_ms, last)


def is_another(visit: Visit, event: Event) -> bool:
    """Say whether the event begins another visit of its user: after a silence, where no session id decides."""
    return event.session is None and event.ts - visit.last_ms > GAP_MS


VISITS: Final = Kind(
    "visits",
    (PageView, Search, Click, Cart, Order, Conversion, Engagement),
    whose_visit,
    Visit(),
    after,
    begins_anew=is_another,
    shows=Visit._fields.index("last_ms"),
    version=2,
)
