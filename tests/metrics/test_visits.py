"""Visits: what belongs to one, what it adds, and what the score means."""

from itertools import pairwise
from math import exp, log1p, sqrt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core.events import Cart, Click, Conversion, Engagement, Event, Impression, Order, PageView, Search
from stream_app.core.panes import DAY_MS, HOUR_MS
from stream_app.metrics import visits
from stream_app.metrics.visit_records import ACTIONS, GAP_MS, MOST_POINTS, Visit
from stream_app.statistics.estimates import student
from tests.metrics.families import NOON, estimate, plan_of, rows, state_of, sums

PLAN = plan_of(visits.FAMILY)
MINUTE_MS = 60_000
OUT_OF_ORDER_MS = 300_000


def view(number: int, at_ms: int, user: str = "u", **more: Any) -> PageView:
    """Return a page view."""
    return PageView(id=f"p{number}", ts=NOON + at_ms, user=user, page="/", **more)


def of(events: list[Event]) -> dict[Any, int]:
    """Return what the events add to the measures of visits."""
    return {name: amount for name, amount in sums(state_of(events, PLAN)).items() if isinstance(name, str)}


def test_a_visit_by_hand() -> None:
    """Two pages, a search, a click twice, a cart and an order in 100 s: one visit, with squares and 25 points."""
    who: dict[str, Any] = {"user": "u", "session": "s"}
    events = [
        view(1, 0, session="s"),
        view(2, 20_000, session="s"),
        Search(id="s", ts=NOON + 30_000, query_hash="q", **who),
        Click(id="c", ts=NOON + 40_000, decision="d", item="i", **who),
        Click(id="d", ts=NOON + 41_000, decision="d", item="i", kind="expand", **who),
        Cart(id="a", ts=NOON + 50_000, action="add", item="i", **who),
        Cart(id="r", ts=NOON + 55_000, action="remove", item="i", **who),
        Engagement(id="h", ts=NOON + 60_000, view="v", elapsed_ms=15_000, final=False, active_ms=15_000, **who),
        Engagement(id="f", ts=NOON + 70_000, view="v", elapsed_ms=40_000, final=True, active_ms=30_000, **who),
        Engagement(id="g", ts=NOON + 80_000, view="w", elapsed_ms=10_000, final=True, **who),
        Order(id="o", ts=NOON + 100_000, order="o", currency="EUR", total_minor=1, **who),
    ]
    spanned = log1p(100)
    assert {
        "visits": 1,
        "visit_pages": 2,
        "visit_page_squares": 4,
        "visit_searches": 1,
        "visit_search_squares": 1,
        "searching_visits": 1,
        "visit_interactions": 3,
        "visit_interaction_squares": 9,
        "visit_log_span_nanos": round(spanned * 1e9),
        "visit_log_span_square_nanos": round(spanned**2 * 1e9),
        "timed_visits": 1,
        "visit_active_ms": 40_000,
        "visit_active_square_seconds": 1_600,
        "engagement_points": 2 * 1 + 1 * 2 + 2 * 3 + 1 * 5 + 1 * 10,
        "engagement_point_squares": 25**2,
    } == of(events)


def test_the_metrics_of_three_visits_by_hand() -> None:
    """Of visits of 1, 2 and 6 pages, of which one searches: 3 pages a visit, a third searches, and typical times."""
    pages = {"a": [0], "b": [0, 10_000], "c": [0, 1_000, 2_000, 3_000, 4_000, 99_000]}
    events: list[Event] = [
        view(100 * ord(user) + number, at_ms, user)
        for user, times in pages.items()
        for number, at_ms in enumerate(times)
    ]
    state = state_of([*events, Search(id="s", ts=NOON + 1, user="a", query_hash="q")])
    found = {
        name: estimate(name, state)
        for name in ("pages_per_visit", "searches_per_visit", "searching_visits_share", "visit_duration")
    }
    durations = (log1p(0) + log1p(10) + log1p(99)) / 3  # 1 ms is 0 whole seconds
    assert [pytest.approx(each) for each in (3.0, 1 / 3, 1 / 3, exp(durations) - 1)] == [
        each and each.value for each in found.values()
    ]
    # The sample variance of 1, 2, 6 is 7.
    per_visit = found["pages_per_visit"]
    assert per_visit is not None
    half = student(2) * sqrt(7 / 3)
    assert (3, 0.0, pytest.approx(3 + half)) == (per_visit.n, per_visit.low, per_visit.high)


def test_a_silence_ends_a_visit_of_which_no_session_is_told() -> None:
    """Half an hour of silence does not end a visit, a millisecond more does; with a session id nothing does."""
    times = [0, GAP_MS, 2 * GAP_MS + 1]
    by_user = of([view(number, at_ms) for number, at_ms in enumerate(times)])
    by_session = of([view(number, at_ms, session="s") for number, at_ms in enumerate(times)])
    assert [(2, 5), (1, 9)] == [(found["visits"], found["visit_page_squares"]) for found in (by_user, by_session)]


@pytest.mark.parametrize("session", [None, "s"])
def test_a_visit_over_midnight_is_one(session: str | None) -> None:
    """Pages before and after midnight are one visit, all of it in the pane and on the day in which it began."""
    before = DAY_MS // 2 - MINUTE_MS
    state = state_of([view(1, before, session=session), view(2, before + 2 * MINUTE_MS, session=session)], PLAN)
    began = {start: tally for start, ((_, tally),) in rows(state).items() if any(tally)}
    assert [(NOON + before, 1, 2)] == [(start, tally[0], tally[1]) for start, tally in began.items()]


def test_what_comes_alone_is_no_visit() -> None:
    """An order of the back office, a goal and a heartbeat of a page that was left open make no visit."""
    alone: list[Event] = [
        Order(id="o", ts=NOON, user="u", order="o", currency="EUR", total_minor=1),
        Conversion(id="g", ts=NOON, user="v", goal="g"),
        Engagement(id="h", ts=NOON, user="w", view="v", elapsed_ms=10, final=True),
    ]
    assert {} == of(alone)


def test_users_of_one_session_id_make_a_visit_each() -> None:
    """Whoever shares a partition changes no count: a session id is one of its user."""
    assert 2 == of([view(1, 0, "u", session="s"), view(2, 0, "v", session="s")])["visits"]


def in_batch(times: list[int]) -> list[int]:
    """Return the pages of each visit of one user, from all times together: sorted, and cut at silences."""
    sizes = [1]
    for before, at_ms in pairwise(sorted(times)):
        if at_ms - before > GAP_MS:
            sizes.append(0)
        sizes[-1] += 1
    return sorted(sizes)


def has_close_silence(times: list[int]) -> bool:
    """Say whether a silence is so little shorter than the gap that disorder can make it look longer."""
    return any(GAP_MS - OUT_OF_ORDER_MS < after - before <= GAP_MS for before, after in pairwise(sorted(times)))


TIMES = st.lists(
    st.integers(0, 5 * HOUR_MS // MINUTE_MS).map(lambda minute: minute * MINUTE_MS),
    min_size=1,
    max_size=25,
    unique=True,
)


@settings(deadline=None)
@given(TIMES)
def test_visits_told_in_order_are_those_of_the_whole_log(times: list[int]) -> None:
    """In order, the visits that are counted event by event are those found with all events at hand."""
    found = of([view(number, at_ms) for number, at_ms in enumerate(sorted(times))])
    sizes = in_batch(times)
    assert (len(sizes), sum(sizes), sum(size**2 for size in sizes)) == (
        found["visits"],
        found["visit_pages"],
        found["visit_page_squares"],
    )


@settings(deadline=None)
@given(TIMES.filter(lambda times: not has_close_silence(times)), st.data())
def test_disorder_changes_no_visit_unless_a_silence_is_close_to_the_gap(times: list[int], data: st.DataObject) -> None:
    """Up to five minutes out of order, visits are the same where no silence is within five minutes below the gap."""
    delays = data.draw(st.lists(st.integers(0, OUT_OF_ORDER_MS), min_size=len(times), max_size=len(times)))
    arriving = [
        at_ms for _, at_ms in sorted((at_ms + delay, at_ms) for at_ms, delay in zip(times, delays, strict=True))
    ]
    found = of([view(number, at_ms) for number, at_ms in enumerate(arriving)])
    sizes = in_batch(times)
    assert (len(sizes), sum(sizes), sum(size**2 for size in sizes)) == (
        found["visits"],
        found["visit_pages"],
        found["visit_page_squares"],
    )


def test_what_disorder_may_do_to_a_visit() -> None:
    """A page that would have bridged a silence and comes after its end does not: the visit is two, no page is lost."""
    minutes = [0, 31, 29]
    found = of([view(number, minute * MINUTE_MS) for number, minute in enumerate(minutes)])
    assert (1, 2, 3) == (len(in_batch(minutes)), found["visits"], found["visit_pages"])


def test_quantiles_of_durations_are_those_of_visits() -> None:
    """Of a hundred visits of 1 to 100 s, the median and the 90th percentile are within 1 % of 50 s and 90 s."""
    state = state_of([view(1_000 * n + k, k * n * 1_000, f"u{n}") for n in range(1, 101) for k in (0, 1)])
    values = [estimate(name, state) for name in ("visit_duration_median", "visit_duration_p90")]
    assert [pytest.approx(50, rel=0.01), pytest.approx(90, rel=0.01)] == [each and each.value for each in values]


def test_a_full_visit_scores_one() -> None:
    """Whoever does all that counts, or ten times as much, has a score of 1; the caps are what makes it so."""
    full = Visit(**{action.counted: action.cap for action in ACTIONS})
    more = Visit(**{action.counted: 10 * action.cap for action in ACTIONS})
    assert (MOST_POINTS, MOST_POINTS, 56) == (full.points, more.points, MOST_POINTS)


def test_a_score_over_all_possible_actions_has_no_meaning_without_caps() -> None:
    """Divided by the most that anybody did, a visit's score changes when somebody else comes; with caps it does not."""

    def popular(mine: Visit, everybody: list[Visit]) -> float:
        def weighted(visit: Visit) -> int:
            return sum(action.weight * getattr(visit, action.counted) for action in ACTIONS)

        return weighted(mine) / max(weighted(visit) for visit in everybody)

    me, other, crawler = Visit(pages=5, clicks=1), Visit(pages=10), Visit(pages=1_000)
    assert (0.8, 0.008) == (popular(me, [me, other]), popular(me, [me, other, crawler]))
    before, after = (
        estimate("engagement_score", state_of([view(n, n, "me") for n in range(5)] + more))
        for more in ([], [view(9_999, 1, "another")])
    )
    assert None is before  # of one visit nothing is said
    assert after is not None
    assert (5 / 56 + 1 / 56) / 2 == pytest.approx(after.value)


def test_clicked_items_per_exposed_session_by_hand() -> None:
    """Of two sessions one clicks two of its three items, one of them twice, the other none: 1 item per session."""

    def shown(item: str, session: str) -> Impression:
        ident = f"{item}{session}"
        return Impression(id=ident, ts=NOON, user="u", session=session, decision=session, item=item, position=1)

    def clicked(number: int, item: str) -> Click:
        return Click(id=f"c{number}", ts=NOON + 1_000 + number, user="u", session="s", decision="s", item=item)

    shows = [shown("a", "s"), shown("b", "s"), shown("c", "s"), shown("a", "t")]
    found = estimate("interactions_per_session", state_of([*shows, *map(clicked, range(3), "aba")]))
    assert found is not None
    assert (1.0, 2) == (found.value, found.n)
