"""Customers and accounts: who buys again, and whose account ends."""

import pytest

from stream_app.core.events import Account, Consent, Order
from stream_app.metrics import customers
from stream_app.statistics.estimates import student
from tests.metrics.ageing import answer, on, state_of, told

OURS = tuple(measure.name for measure in customers.FAMILY.measures)
ARM = "personalized"


def order(day: float, user: str = "u", **more: object) -> Order:
    """Return an order."""
    return on(day, Order, user, **({"order": f"o-{user}-{day}", "currency": "EUR", "total_minor": 100} | more))


def account(day: float, status: str, user: str = "u") -> Account:
    """Return an account event."""
    return on(day, Account, user, status=status)


def test_repeat_purchases_are_counted_from_the_first_order() -> None:
    """Of three customers one orders again on day 27, one on day 28: 1 in 3 within 28 days, 2 in 3 within 90."""
    seen = told(state_of([order(0, "a"), order(0, "b"), order(0, "c"), order(27, "a"), order(28, "b")]), measures=OURS)
    assert {
        (28, ARM, "buyers_28d"): 3,
        (28, ARM, "repeat_buyers_28d"): 1,
        (28, ARM, "buyer_orders_28d"): 4,
        (28, ARM, "buyer_order_28d_squares"): 6,
        (90, ARM, "buyers_90d"): 3,
        (90, ARM, "repeat_buyers_90d"): 2,
    } == seen
    values = [answer(name, seen).value for name in ("repeat_purchase_28d", "repeat_purchase_90d")]
    assert [pytest.approx(1 / 3), pytest.approx(2 / 3)] == values
    # Orders 2, 1, 1: mean 4/3, variance 1/3, standard error 1/3.
    frequency = answer("purchase_frequency_28d", seen)
    assert (pytest.approx(4 / 3), pytest.approx(4 / 3 + student(2) / 3)) == (frequency.value, frequency.high)


def test_repeat_customers_over_all_customers_is_another_figure() -> None:
    """Everybody orders again after a week. Of all customers so far only half have; of those old enough, all."""
    events = [order(week * 7, f"u{n}") for n in range(6) for week in range(n, n + 2)]
    seen = told(state_of(sorted(events, key=lambda event: event.ts)), measures=OURS)
    assert 1.0 == answer("repeat_purchase_28d", seen).value
    in_week_5 = [event for event in events if event.ts < on(36, Order, order="o", currency="EUR", total_minor=1).ts]
    orders = [event.user for event in in_week_5]
    assert (6, 5) == (len(set(orders)), sum(orders.count(user) > 1 for user in set(orders)))


def test_an_order_in_another_currency_is_an_order() -> None:
    """Orders are counted, not added: two currencies make two orders."""
    assert 2 == told(state_of([order(0), order(1, currency="USD")]))[28, ARM, "buyer_orders_28d"]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([(0, "active")], (1, 0, 0)),
        ([(0, "active"), (27, "cancelled")], (1, 1, 1)),
        ([(0, "active"), (28, "cancelled")], (1, 0, 1)),
        ([(0, "active"), (5, "cancelled"), (20, "reactivated")], (1, 0, 0)),
        ([(0, "active"), (5, "paused")], (1, 0, 0)),
        ([(0, "cancelled")], (0, 0, 0)),  # one that was there before we looked
        ([(0, "active"), (0.001, "cancelled")], (1, 1, 1)),
        ([(0.001, "cancelled"), (0, "active")], (1, 1, 1)),  # the same, overtaken
    ],
)
def test_the_status_at_an_age_is_the_last_one(statuses: list[tuple[float, str]], expected: tuple[int, ...]) -> None:
    """Accounts that began, and those cancelled after 28 and after 90 days."""
    seen = told(state_of(account(day, status) for day, status in statuses))
    keys = ((28, ARM, "subscribers_28d"), (28, ARM, "cancelled_28d"), (90, ARM, "cancelled_90d"))
    assert expected == tuple(seen.get(key, 0) for key in keys)


def test_an_account_that_ended_before_we_looked_begins_when_it_returns() -> None:
    """Cancelled on day 0 and back on day 40, it is told on days 68 and 130."""
    seen = told(state_of([account(0, "cancelled"), account(40, "reactivated")]), measures=OURS)
    assert {(68, ARM, "subscribers_28d"): 1, (130, ARM, "subscribers_90d"): 1} == seen


def test_churn_and_who_was_won_back() -> None:
    """Of four accounts two are cancelled, one of which returns: churn 1 in 4, won back 1 in 2."""
    events = [account(0, "active", user) for user in "abcd"]
    events += [account(9, "cancelled", "a"), account(9, "cancelled", "b"), account(30, "reactivated", "b")]
    seen = told(state_of(events))
    assert (0.25, 0.5, 0.5) == tuple(
        answer(name, seen).value for name in ("account_churn_90d", "won_back_90d", "account_churn_28d")
    )


def test_without_consent_nobody_is_a_customer() -> None:
    """An order without analytics consent leaves no record."""
    state = state_of([order(0, consent=Consent(analytics=False))])
    assert ({}, 0) == (told(state, measures=OURS), len(state.joins.records[customers.BUYERS]))
