"""Whose credit an event is: timelines, each with what must come of it."""

import pytest

from stream_app.core.events import Assignment, Consent, OrderLine, PageView
from tests.timelines import INDEX, at, click, conversion, feed, impression, order, outcomes, partition, rows, total

CONVERSIONS = INDEX["conversions"]


def test_a_click_is_credited_to_the_pane_of_its_impression() -> None:
    """Clicks stand where their impression stands, whenever they come."""
    state = partition()
    feed(state, impression(5), click(65))
    assert list(rows(state)) == [("pane", at(0))]
    assert total(state) == {"impressions": 1, "clicks": 1, "sessions": 1, "clicked_sessions": 1}


def test_the_click_window_is_closed_at_its_end() -> None:
    """A click exactly at the end of the window counts, a millisecond later it does not."""
    inside, outside = partition(), partition()
    feed(inside, impression(0), click(600))
    feed(outside, impression(0), click(600.001))
    assert outcomes(inside) == {"counted": 2}
    assert outcomes(outside) == {"counted": 1, "unmatched": 1}


def test_one_click_per_impression() -> None:
    """A second click on the same impression is counted apart."""
    state = partition()
    feed(state, impression(0), click(1), click(2))
    assert total(state) == {"impressions": 1, "clicks": 1, "repeat_clicks": 1, "sessions": 1, "clicked_sessions": 1}


def test_a_click_that_overtakes_its_impression_waits_for_it() -> None:
    """It is unmatched until the impression comes, and counted then."""
    state = partition()
    feed(state, click(1))
    assert outcomes(state) == {"unmatched": 1}
    feed(state, impression(0))
    assert outcomes(state) == {"counted": 2}
    assert total(state) == {"impressions": 1, "clicks": 1, "sessions": 1, "clicked_sessions": 1}


def test_a_waiting_click_is_released_once() -> None:
    """A second impression of the same item finds no waiting click."""
    state = partition()
    feed(state, click(1), impression(0), impression(2, id="again"))
    assert total(state) == {"impressions": 2, "clicks": 1, "sessions": 1, "clicked_sessions": 1}


def test_sessions_are_counted_once_per_surface_and_arm() -> None:
    """A session that sees a surface twice is one exposed session there."""
    state = partition()
    feed(
        state,
        impression(0, "d1"),
        impression(30, "d2"),
        impression(40, "d3", surface="search"),
        impression(50, "d4", device="mobile"),
    )
    assert total(state) == {"impressions": 4, "sessions": 2}


def test_scores_are_summed_by_session() -> None:
    """Squares are those of whole sessions, whatever comes between; without analytics each impression is by itself."""
    state = partition()
    shown = [
        impression(0, "d1", relevance=0.5),
        impression(5, "d2", user="u2", relevance=1.0),
        impression(600, "d3", relevance=0.25),
        impression(600, "d4", relevance=0.25),
        impression(601, "d5", user="u3", relevance=0.5, consent=Consent(analytics=False)),
        impression(602, "d6", user="u3", relevance=0.5, consent=Consent(analytics=False)),
    ]
    feed(state, *shown)
    sums = total(state)
    # Sessions: 0.5 + 0.25 + 0.25 of three, 1 of one, 0.5 of one, 0.5 of one.
    assert (4, 2_500_000, 9 + 3, 3_000_000 + 2_000_000) == tuple(
        sums[name]
        for name in (
            "scored_sessions",
            "session_relevance_squares",
            "session_scored_squares",
            "session_relevance_products",
        )
    )


def test_a_conversion_goes_to_the_impression_it_quotes() -> None:
    """A quoted decision and item win over the user's last touch."""
    state = partition()
    feed(
        state,
        impression(0, "d1", surface="home"),
        impression(20, "d2", surface="search"),
        conversion(40, decision="d1", item="A", value_minor=500, currency="EUR"),
    )
    (home,) = [by_slice for (_, start), by_slice in rows(state).items() if start == at(0)]
    assert {slice_.surface for slice_ in home} == {"home"}
    assert total(state) == {
        "impressions": 2,
        "sessions": 2,
        "conversions": 1,
        "converted_sessions": 1,
        "revenue_minor": 500,
        "session_revenue_minor": 500,
        "session_revenue_squares": 250_000,
    }


def test_a_decision_quoted_without_its_item_is_found() -> None:
    """The decision alone is enough."""
    state = partition()
    feed(state, impression(0, "d1", "A"), impression(0, "d1", "B", position=2), conversion(9, decision="d1"))
    assert total(state)["conversions"] == 1


def test_an_unknown_decision_is_unmatched_even_with_a_last_touch() -> None:
    """What is quoted and not found is never credited to something else."""
    state = partition()
    feed(state, impression(0), conversion(5, decision="other"))
    assert outcomes(state) == {"counted": 1, "unmatched": 1}


@pytest.mark.parametrize(("elapsed", "expected"), [(86_400, 1), (86_401, 0)])
def test_a_view_earns_for_a_day(elapsed: int, expected: int) -> None:
    """Without a click, the view window decides."""
    state = partition()
    feed(state, impression(0), conversion(elapsed))
    assert total(state).get("conversions", 0) == expected


@pytest.mark.parametrize(("elapsed", "expected"), [(7 * 86_400, 1), (7 * 86_400 + 2, 0)])
def test_a_click_earns_for_a_week(elapsed: int, expected: int) -> None:
    """With a click, the longer window counts from the click."""
    state = partition()
    feed(state, impression(0), click(1), conversion(1 + elapsed))
    assert total(state).get("conversions", 0) == expected


def test_the_last_click_wins_over_a_later_view() -> None:
    """A user's last click earns before the last view does."""
    state = partition()
    feed(
        state,
        impression(0, "d1", surface="home"),
        click(5, "d1"),
        impression(30, "d2", surface="search"),
        conversion(60),
    )
    (credited,) = [
        slice_.surface for by_slice in rows(state).values() for slice_, tally in by_slice.items() if tally[CONVERSIONS]
    ]
    assert credited == "home"


def test_squares_of_session_revenue_stay_additive() -> None:
    """Two purchases of one session give the square of their sum."""
    state = partition()
    feed(state, impression(0), order(10, total_minor=300), order(20, total_minor=400))
    assert total(state)["session_revenue_squares"] == 700**2
    assert total(state)["converted_sessions"] == 1
    assert total(state)["conversions"] == 2


def test_net_revenue_leaves_tax_and_shipping_out() -> None:
    """Revenue is what is left of the total."""
    state = partition()
    feed(state, impression(0), order(10, total_minor=1190, tax_minor=190, shipping_minor=400))
    assert total(state)["revenue_minor"] == 600


def test_two_currencies_are_never_added() -> None:
    """Money in another currency is counted as an event, its amount is left out."""
    state = partition()
    feed(state, impression(0), order(10, total_minor=700), order(20, total_minor=900, currency="USD"))
    assert total(state)["revenue_minor"] == 700
    assert total(state)["foreign_revenue_events"] == 1
    assert total(state)["conversions"] == 2


def test_an_order_is_found_by_the_decision_of_a_line() -> None:
    """The first line that quotes a decision decides."""
    state = partition()
    lines = (
        OrderLine(item="Z", quantity=1, price_minor=1),
        OrderLine(item="A", quantity=1, price_minor=1, decision="d1"),
    )
    feed(state, impression(0), impression(5, "d2", surface="search"), order(9, lines=lines))
    (credited,) = [
        slice_.surface for by_slice in rows(state).values() for slice_, tally in by_slice.items() if tally[CONVERSIONS]
    ]
    assert credited == "home"


def test_without_analytics_consent_nothing_is_kept_under_the_user() -> None:
    """Impressions and clicks count; sessions and last touches do not exist."""
    state = partition()
    no = Consent(analytics=False)
    feed(state, impression(0, consent=no), click(1, consent=no), conversion(5, consent=no))
    assert total(state) == {"impressions": 1, "clicks": 1}
    assert outcomes(state) == {"counted": 2, "unmatched": 1}
    assert (len(state.joins.exposures), len(state.joins.sessions), len(state.joins.arms)) == (0, 0, 0)


def test_bots_and_tests_are_counted_apart() -> None:
    """They touch no metric and leave nothing to join."""
    state = partition()
    feed(state, impression(0, bot=True), click(1), impression(2, "d2", test=True))
    assert total(state) == {"excluded": 2}
    assert outcomes(state) == {"counted": 2, "unmatched": 1}


def test_an_absent_arm_is_the_one_last_assigned() -> None:
    """An assignment speaks for the user's later events that name no arm."""
    state = partition()
    feed(
        state,
        Assignment(id="a", ts=at(0), user="u1", experiment="e", arm="holdout"),
        impression(1, arm=None),
        impression(2, "d2", user="u2", arm=None),
    )
    arms = {slice_.arm for by_slice in rows(state).values() for slice_, tally in by_slice.items() if tally[0]}
    assert arms == {"holdout", "none"}


def test_a_session_is_derived_where_none_is_named() -> None:
    """A gap of silence ends it; half an hour to the millisecond does not."""
    state = partition()
    feed(
        state,
        impression(0, "d1", session=None),
        impression(1800, "d2", session=None),
        impression(3600.001, "d3", session=None),
    )
    assert total(state) == {"impressions": 3, "sessions": 2}


def test_other_events_are_counted_as_such() -> None:
    """An event that no metric reads yet is still in the books."""
    state = partition()
    feed(state, PageView(id="p", ts=at(0), user="u1", page="/"))
    assert (total(state), outcomes(state)) == ({"other_events": 1}, {"counted": 1})


def test_an_order_id_earns_once() -> None:
    """Of three events of one order id the first to arrive is credited; the others are counted, and earn nothing."""
    state = partition()
    told = [order(9 + n, total_minor=100 + n, order="same", id=f"e{n}") for n in range(3)]
    feed(state, impression(0), *told)
    assert (outcomes(state), total(state)["conversions"], total(state)["revenue_minor"]) == (
        {"counted": 4},
        1,
        100,
    )


def test_an_order_id_is_taken_also_where_it_earned_nothing() -> None:
    """An order that was unmatched is not matched by being told again."""
    state = partition()
    feed(state, order(0, order="same", id="a"), impression(5), order(9, order="same", id="b"))
    assert (outcomes(state), total(state).get("conversions", 0)) == ({"counted": 2, "unmatched": 1}, 0)
