"""Carts: what a session puts into its cart, and where it is at home."""

from math import sqrt

import numpy as np
import pytest
from statsmodels.stats.weightstats import DescrStatsW

from stream_app.core.events import Cart, Consent
from stream_app.metrics.carts import CARTS, GAP_MS, LARGEST_MINOR, MEASURES
from tests.metrics.money import added, amounts, placed, state_of, told, value
from tests.timelines import at

NAMES = [measure.name for measure in MEASURES]
GAP_S = GAP_MS // 1000


def test_two_carts_by_hand() -> None:
    """3 x 5.00 and 2.00, recommended, in one cart, 8.00 in another: 1.5 adds and 12.50 a cart, 1 of 3 recommended."""
    events = (
        added(0, price_minor=500, quantity=3, currency="EUR"), added(5, price_minor=200, decision="d"),
        added(9, "u2", price_minor=800, currency="EUR"),
    )  # fmt: skip
    assert {
        "carts": 2, "cart_adds": 3, "cart_add_squares": 5, "recommended_adds": 1, "recommended_add_squares": 1,
        "recommended_add_products": 2, "priced_carts": 2, "cart_value_minor": 2_500,
        "cart_value_squares": 1_700**2 + 800**2,
    } == amounts(state_of(*events), NAMES)  # fmt: skip
    expected = {"cart_size": 1.5, "cart_value": 12.5, "recommended_add_share": round(1 / 3, 12)}
    assert expected == {name: value(name, *events) for name in expected}


def test_the_mean_is_that_of_an_oracle() -> None:
    """Cart value and its standard error are statsmodels'."""
    values = [100, 2_500, 700, 1_234, 9_999]
    found = told("cart_value", *(added(n, f"u{n}", price_minor=v, currency="EUR") for n, v in enumerate(values)))
    oracle = DescrStatsW(np.array(values) / 100)
    low, high = oracle.tconfint_mean()
    assert found is not None
    assert (pytest.approx(oracle.mean, rel=1e-12), pytest.approx(max(0.0, low)), pytest.approx(high)) == (
        found.value, found.low, found.high,
    )  # fmt: skip


def test_adds_of_one_cart_are_alike() -> None:
    """Where a cart is recommended wholly or not at all, the interval is that of 20 carts, not that of 200 adds."""
    events = [
        added(10 * cart + n / 100, f"u{cart}", decision="d" if cart % 2 else None)
        for cart in range(20)
        for n in range(10)
    ]
    found = told("recommended_add_share", *events)
    assert found is not None
    naive, clustered = 1.96 * sqrt(0.25 / 200), (found.high - found.low) / 2
    assert (0.5, True) == (found.value, 3 < clustered / naive < 3.6)


def test_looking_and_taking_out_are_no_adds() -> None:
    """Views and removals begin no cart and change none."""
    events = (
        Cart(id="v", ts=at(0), user="u1", action="view", item="A"),
        added(1),
        Cart(id="r", ts=at(2), user="u1", session="s-u1", action="remove", item="A"),
    )
    assert {"carts": 1, "cart_adds": 1, "cart_add_squares": 1} == amounts(state_of(*events), NAMES)


def test_a_price_in_dollars_is_not_added() -> None:
    """Two adds, one of them in dollars: the value is that of the other."""
    state = state_of(added(0, price_minor=500, currency="USD"), added(5, price_minor=200, currency="EUR"))
    assert {"cart_adds": 2, "foreign_cart_adds": 1, "cart_value_minor": 200, "priced_carts": 1} == amounts(
        state, ("cart_adds", "foreign_cart_adds", "cart_value_minor", "priced_carts")
    )


def test_midnight_is_within_a_cart() -> None:
    """What is added before and after midnight in one session is one cart, where it began."""
    state = state_of(added(86_390, surface="home"), added(86_410, surface="cart"))
    assert {(at(86_390), "home", "none"): 2} == placed(state, "cart_adds")
    assert {"carts": 1} == amounts(state, ["carts"])


def test_without_sessions_silence_ends_a_cart() -> None:
    """30 minutes without an add are within a cart, a second more is not."""
    events = (added(0, session=None), added(GAP_S, session=None), added(2 * GAP_S + 1, session=None))
    assert {"carts": 2, "cart_adds": 3} == amounts(state_of(*events), ("carts", "cart_adds"))


def test_a_cart_is_at_home_where_it_began() -> None:
    """An earlier add that arrives later takes the cart to where it is."""
    state = state_of(added(200, surface="search"), added(5, surface="home"))
    assert {(at(0), "home", "none"): 2} == placed(state, "cart_adds")


def test_no_add_is_worth_more_than_money_can_be() -> None:
    """A million pieces for ten billion each are cut, so no sum of a record grows beyond 64 bits."""
    events = [added(n, price_minor=10**12, quantity=10**6) for n in range(30)]
    assert {"cart_value_minor": 30 * LARGEST_MINOR} == amounts(state_of(*events), ["cart_value_minor"])


def test_of_who_denies_analytics_nothing_is_kept() -> None:
    """A cart is personal: it is not there."""
    state = state_of(added(0, consent=Consent(analytics=False)))
    assert ({}, 0) == (amounts(state, NAMES), len(state.joins.records[CARTS]))
