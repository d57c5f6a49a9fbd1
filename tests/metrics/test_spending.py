"""Spending of daily users: whose day it is, what is in it, and what the popular formulas make of it."""

import pytest

from stream_app.core.events import Assignment, Consent, Conversion
from stream_app.core.panes import DAY_MS
from stream_app.metrics.catalogue import INDEX
from stream_app.metrics.spending import DAY_CAP_MINOR, MEASURES, USER_DAYS
from stream_app.statistics.contrasts import contrast
from stream_app.statistics.lowering import lower
from stream_app.statistics.ratios import incremental_share
from tests.metrics.money import METRIC, added, amounts, bought, line, placed, refund, state_of, tally_of, value
from tests.timelines import T0, at, conversion, impression, order

NAMES = [measure.name for measure in MEASURES]
DAY_S = DAY_MS // 1000


def purchase(seconds: float, user: str, value_minor: int, **fields: object) -> Conversion:
    """A purchase that is told as a conversion."""
    own = {"goal": "purchase", "value_minor": value_minor, "currency": "EUR"} | fields
    return conversion(seconds, user, **own)


def test_four_daily_users_by_hand() -> None:
    """One buys for 30.00 and 10.00, one fills a cart, two look: 10.00 a user, 1 in 4 buys, half a purchase each."""
    events = (
        *(impression(n, f"d{n}", user=f"u{n}") for n in range(4)),
        order(10, "u0", 3_000), purchase(20, "u0", 1_000), added(30, "u1"), added(40, "u1"),
    )  # fmt: skip
    assert {
        "user_days": 4,
        "buying_user_days": 1,
        "user_day_purchases": 2,
        "user_day_purchase_squares": 4,
        "user_day_revenue_minor": 4_000,
        "user_day_revenue_squares": 4_000**2,
        "user_day_revenue_capped_minor": 4_000,
        "user_day_revenue_capped_squares": 4_000**2,
        "user_day_cart_adds": 2,
        "user_day_cart_add_squares": 4,
        "adding_user_days": 1,
    } == amounts(state_of(*events), NAMES)
    expected = {
        "revenue_per_user": 10.0,
        "buyer_rate": 0.25,
        "purchases_per_user": 0.5,
        "cart_adds_per_user": 0.5,
        "cart_add_rate": 0.25,
    }
    assert expected == {name: value(name, *events) for name in expected}


def test_conversions_over_users_is_no_rate() -> None:
    """Of two users one buys five times: "250 % of users converted", says the popular formula; half of them did."""
    events = (*(impression(n, f"d{n}", user=f"u{n}") for n in range(2)), *(order(10 + n, "u0") for n in range(5)))
    conversions, users = 5, 2
    assert (2.5, 2.5, 0.5) == (
        conversions / users,
        value("purchases_per_user", *events),
        value("buyer_rate", *events),
    )


def test_who_is_seen_twice_on_a_day_is_one() -> None:
    """Two sessions at two surfaces in the morning and the evening are one user-day, at home in the first."""
    state = state_of(impression(5), impression(40_000, "d2", session="later", surface="search"))
    assert {("home", "personalized"): 1} == {key[1:]: n for key, n in placed(state, "user_days").items()}


def test_midnight_makes_two_user_days_and_one_session() -> None:
    """What a session earns after midnight is at home where it began; its user is there on both days."""
    events = (impression(DAY_S - 60), order(DAY_S + 60, total_minor=5_000))
    state = state_of(*events)
    before, after = DAY_S - 60, DAY_S + 60
    assert {(at(before), "home", "personalized"): 5_000} == placed(state, "session_revenue_minor")
    assert {"user_days": 2, "user_day_revenue_minor": 5_000, "converted_sessions": 1, "sessions": 1} == amounts(
        state, ("user_days", "user_day_revenue_minor", "converted_sessions", "sessions")
    )
    assert {(at(after), "none", "none"): 5_000} == placed(state, "user_day_revenue_minor")


def test_a_user_inherits_the_arm() -> None:
    """An order that names no arm is the assigned user's."""
    assigned = Assignment(id="as", ts=at(0), user="u1", experiment="e", arm="holdout")
    state = state_of(assigned, order(9, total_minor=700))
    assert {(T0, "none", "holdout"): 700} == placed(state, "user_day_revenue_minor")


def test_what_came_first_is_home_in_whatever_order() -> None:
    """An order that arrives before the cart that was filled earlier moves to where that is."""
    events = (order(200, total_minor=700, surface="cart"), added(5, surface="home"))
    assert {(at(0), "home", "none"): 700} == placed(state_of(*events), "user_day_revenue_minor")


def test_revenue_that_nothing_earned_is_revenue_too() -> None:
    """An order of who saw no surface is no attributed revenue, but a user's."""
    assert {"user_day_revenue_minor": 1_000} == amounts(state_of(order(0)), ("revenue_minor", "user_day_revenue_minor"))


def test_money_in_dollars_is_not_added() -> None:
    """Two purchases in dollars make a buyer, and no revenue."""
    state = state_of(order(0, total_minor=100, currency="USD"), purchase(1, "u1", 300, currency="USD"))
    assert {
        "user_days": 1, "buying_user_days": 1, "user_day_purchases": 2, "user_day_purchase_squares": 4,
        "user_day_purchases_abroad": 2,
    } == amounts(state, NAMES)  # fmt: skip


def test_refunds_are_not_subtracted() -> None:
    """They come on other days; orders tell them."""
    events = (order(0, order="o"), refund(9, "o", 1_000))
    assert {"user_day_revenue_minor": 1_000} == amounts(state_of(*events), ["user_day_revenue_minor"])


def test_the_winsorised_twin_cuts_a_day() -> None:
    """Two orders of 400.00 on a day count for 500.00, and on two days for 800.00."""
    orders = (bought(0, "o", 40_000), bought(9, "p", 40_000))
    days = (bought(0, "o", 40_000), bought(DAY_S, "p", 40_000))
    name = "user_day_revenue_capped_minor"
    assert (DAY_CAP_MINOR, 80_000) == tuple(amounts(state_of(*each), [name])[name] for each in (orders, days))


def test_of_who_denies_analytics_nothing_is_kept() -> None:
    """Nothing of them is in here, and no record is."""
    no = Consent(analytics=False)
    state = state_of(impression(0, consent=no), order(5, consent=no), added(9, consent=no))
    assert ({}, 0) == (amounts(state, NAMES), len(state.joins.records[USER_DAYS]))


def test_the_incremental_share_is_not_the_attributed_one() -> None:
    """All orders of the personalized arm quote a decision; a third of its revenue is there because of it."""
    arms = {}
    for arm, total_minor in (("personalized", 3_000), ("holdout", 2_000)):
        events = []
        for n in range(200):
            events.append(impression(n, f"d{n}", user=f"u{n}", arm=arm))
            events.append(order(300 + n, f"u{n}", total_minor + n % 7, arm=arm, lines=(line(5, "d"),)))
        arms[arm] = tally_of(state_of(*events))
    treated, base = arms["personalized"], arms["holdout"]
    share = lower(METRIC["incremental_revenue_share"], treated, INDEX, base=base)
    ratio = contrast(METRIC["revenue_per_user"], treated, base, INDEX)
    assert ratio is not None
    assert share == incremental_share(ratio)
    assert share is not None
    assert (pytest.approx(1 / 3, abs=1e-3), True) == (share.value, share.low < share.value < share.high)
    attributed = arms["personalized"][INDEX["recommended_minor"]] / arms["personalized"][INDEX["order_net_minor"]]
    assert 1.0 == attributed
    assert None is lower(METRIC["incremental_revenue_share"], treated, INDEX)
