"""Order value: what an order adds, where, and what refunds, currencies and repeated ids do to it."""

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from stream_app.core.events import AnyEvent, Consent
from stream_app.core.histograms import read_key
from stream_app.core.panes import DAY_MS, HOUR_MS
from stream_app.metrics.catalogue import INDEX, METRICS
from stream_app.metrics.orders import HISTOGRAMS, MEASURES, ORDER_CAP_MINOR, ORDERS, Purchase
from stream_app.statistics.lowering import lower
from tests.metrics.money import amounts, bought, line, placed, refund, state_of, told, value
from tests.timelines import T0, at, impression

NAMES = [measure.name for measure in MEASURES]
DAY_S = DAY_MS // 1000


def test_two_orders_by_hand() -> None:
    """119.00 with 19.00 tax, and 66.90 with 10.00 tax and 6.90 shipping, are 100.00 and 50.00 net: 75.00 on average."""
    orders = (
        bought(0, "o1", 11_900, line(7_000, "d1"), line(3_000), tax_minor=1_900),
        bought(9, "o2", 6_690, tax_minor=1_000, shipping_minor=690),
    )
    assert {
        "orders": 2,
        "order_gross_minor": 18_590,
        "order_gross_squares": 11_900**2 + 6_690**2,
        "order_net_minor": 15_000,
        "order_net_squares": 10_000**2 + 5_000**2,
        "order_capped_minor": 15_000,
        "order_capped_squares": 10_000**2 + 5_000**2,
        "order_kept_minor": 15_000,
        "order_kept_squares": 10_000**2 + 5_000**2,
        "order_lines": 2,
        "order_line_squares": 4,
        "itemised_orders": 1,
        "recommended_orders": 1,
        "cross_sold_orders": 1,
        "upsold_orders": 1,
        "recommended_minor": 7_000,
        "recommended_order_minor": 10_000,
        "recommended_order_squares": 10_000**2,
    } == amounts(state_of(*orders), NAMES)
    expected = {"aov": 75.0, "aov_gross": 92.95, "aov_after_refunds": 75.0, "refund_rate": 0.0, "cross_sell_rate": 1.0}
    assert expected == {name: value(name, *orders) for name in expected}
    assert round(7_000 / 15_000, 12) == value("recommended_revenue_share", *orders)


def test_the_mean_is_that_of_an_oracle() -> None:
    """Mean and 95 % interval are numpy's and scipy's, to nine digits."""
    net = np.array([120, 4_500, 3_210, 99_900, 7_777, 15, 2_500])
    found = told("aov", *(bought(n, f"o{n}", int(amount)) for n, amount in enumerate(net)))
    assert found is not None
    half = stats.t.ppf(0.975, len(net) - 1) * net.std(ddof=1) / sqrt(len(net)) / 100
    assert (len(net), pytest.approx(net.mean() / 100, rel=1e-9)) == (found.n, found.value)
    assert (max(0.0, net.mean() / 100 - half), pytest.approx(net.mean() / 100 + half, rel=1e-9)) == (
        found.low, found.high,
    )  # fmt: skip


def test_the_winsorised_twin_cuts_what_is_dear() -> None:
    """Orders of 10.00, 20.00 and 9,000.00 are 3,010.00 on average, and with the last one cut to 500.00, 176.67."""
    orders = [bought(n, f"o{n}", amount) for n, amount in enumerate((1_000, 2_000, 900_000))]
    cut = [1_000, 2_000, ORDER_CAP_MINOR]
    assert (3_010.0, round(sum(cut) / 300, 12)) == (value("aov", *orders), value("aov_winsorised", *orders))
    assert {"order_capped_minor": sum(cut), "order_capped_squares": sum(x * x for x in cut)} == amounts(
        state_of(*orders), ("order_capped_minor", "order_capped_squares")
    )


def values_of(*events: AnyEvent) -> dict[int, int]:
    """Return the histogram of order values after these events."""
    sums: dict[int, int] = {}
    for rows in state_of(*events).bins.cells.panes.values():
        for key, (amount,) in rows.items():  # type: ignore[union-attr]  # not packed yet
            at = read_key(key)
            if at.histogram == HISTOGRAMS[0].number:
                sums[at.bin] = sums.get(at.bin, 0) + amount
    return sums


def test_quantiles_of_order_values() -> None:
    """Of 1, 2, ..., 99 times 10.00 the median is 500.00 and the 90 % quantile 900.00, to 1 %."""
    bins = values_of(*(bought(n, f"o{n}", 1_000 * n) for n in range(1, 100)))
    found = {
        m.name: lower(m, [0] * len(INDEX), INDEX, {"order_values": bins}) for m in METRICS if "order_value" in m.name
    }
    assert {"order_value_median": pytest.approx(500, rel=0.02), "order_value_p90": pytest.approx(900, rel=0.02)} == {
        name: each.value for name, each in found.items() if each is not None
    }


def test_a_hundredth_of_the_orders_does_not_move_their_mean() -> None:
    """Of 198 orders of 10.00 and two of 5,000.00 the mean is 59.90, winsorised 10.00; of 99 orders there is none."""
    metric = next(metric for metric in METRICS if metric.name == "aov_below_p99")
    orders = [bought(n, f"o{n}", 500_000 if n in (7, 70) else 1_000) for n in range(200)]
    found = [lower(metric, [0] * len(INDEX), INDEX, {"order_values": values_of(*of)}) for of in (orders, orders[:99])]
    assert [pytest.approx(10.0, rel=0.01), None] == [each and each.value for each in found]


# -- refunds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refunded", "kept"),
    [(0, 10_000), (5_950, 5_000), (11_900, 0), (12_400, 0), (99_999, 0), (1, 10_000), (119, 9_900)],
)
def test_a_refund_carries_tax_as_its_order(refunded: int, kept: int) -> None:
    """Of 100.00 net, 19.00 tax, 5.00 shipping: half of goods and tax leaves half; shipping goes last; never below 0."""
    state = state_of(bought(0, "o", 12_400, tax_minor=1_900, shipping_minor=500), refund(99, "o", refunded))
    assert {"order_kept_minor": kept} == (amounts(state, ["order_kept_minor"]) or {"order_kept_minor": 0})


def test_a_refund_is_at_home_in_the_pane_of_its_order() -> None:
    """Refunds of two days later, from another surface, change the cell of the order, and no other one."""
    paid = bought(0, "o", 10_000, surface="cart", arm="holdout")
    back = refund(2 * DAY_S, "o", 4_000, surface="account", arm="holdout")
    home = (T0 - T0 % HOUR_MS, "cart", "holdout")
    state = state_of(paid, back)
    assert ({home: 6_000}, {home: 36_000_000}, {home: 1}) == tuple(
        placed(state, name) for name in ("order_kept_minor", "order_kept_squares", "refunded_orders")
    )


def test_a_refund_before_its_order_waits() -> None:
    """Without its order it is counted as such and changes no money; with it, all is where the order is, and as if."""
    back = refund(5, "o", 4_000, surface="account")
    paid = bought(70, "o", 10_000, surface="cart")
    assert {"refunds_without_order": 1} == amounts(state_of(back), NAMES)
    early, usual = state_of(back, paid), state_of(paid, back)
    assert amounts(usual, NAMES) == amounts(early, NAMES)
    assert {(at(70), "cart", "none"): 6_000} == placed(early, "order_kept_minor")
    assert {} == placed(early, "refunds_without_order")


def test_more_may_be_refunded_than_was_paid() -> None:
    """What exceeds the total is no money of ours: nothing is kept, the order is one of those, and its share is 1."""
    events = (bought(0, "o", 1_000), bought(1, "p", 1_000), refund(9, "o", 700), refund(10, "o", 700))
    state = state_of(*events)
    assert {"orders": 2, "order_kept_minor": 1_000, "refunded_orders": 1, "overrefunded_orders": 1} == amounts(
        state, ("orders", "order_kept_minor", "refunded_orders", "overrefunded_orders")
    )
    assert (0.5, 0.5) == (value("refund_rate", *events), value("refunded_share", *events))


def test_refunds_per_order_is_not_the_refund_rate() -> None:
    """The popular refunds / orders is 150 % where two of three refunds are of one of two orders; the share is 100 %."""
    events = [bought(0, "o", 1_000), bought(1, "p", 1_000)]
    events += [refund(n, name, 100) for n, name in enumerate("oop")]  # type: ignore[misc]  # events of any type
    popular = 3 / 2
    assert (1.5, 1.0) == (popular, value("refund_rate", *events))


# -- currencies ------------------------------------------------------------------------------------------------------


def test_two_currencies_are_never_added() -> None:
    """An order in dollars is counted, and no cent of it; AOV is that of the orders in euros alone."""
    events = (
        bought(0, "o", 1_000), bought(1, "p", 3_000), bought(2, "q", 7_777, line(7_777, "d"), currency="USD"),
        refund(3, "q", 7_777, "USD"),
    )  # fmt: skip
    assert {
        "orders": 2, "foreign_orders": 1, "order_gross_minor": 4_000, "order_net_minor": 4_000,
        "order_kept_minor": 4_000, "refunded_orders": 1, "foreign_refunds": 1,
    } == amounts(
        state_of(*events),
        ("orders", "foreign_orders", "order_gross_minor", "order_net_minor", "order_kept_minor", "refunded_orders",
         "foreign_refunds", "recommended_orders", "order_lines", "recommended_minor"),
    )  # fmt: skip
    assert 20.0 == value("aov", *events)


def test_a_refund_in_another_currency_is_no_money() -> None:
    """Of an order in euros a refund in dollars makes it a refunded one, and takes nothing off."""
    for events in (
        (bought(0, "o", 1_000), refund(3, "o", 900, "USD")),
        (refund(3, "o", 900, "USD"), bought(5, "o", 1_000)),
    ):
        assert {"order_kept_minor": 1_000, "refunded_orders": 1, "foreign_refunds": 1} == amounts(
            state_of(*events), ("order_kept_minor", "refunded_orders", "foreign_refunds")
        )


def test_a_refund_in_euros_of_an_order_in_dollars_is_no_money() -> None:
    """Nothing is subtracted from what was never added."""
    events = (bought(0, "o", 1_000, currency="USD"), refund(3, "o", 900))
    assert {"foreign_orders": 1, "refunded_orders": 1} == amounts(state_of(*events), NAMES)


# -- order ids -------------------------------------------------------------------------------------------------------


def test_an_order_id_counts_once() -> None:
    """The first to arrive counts, whatever others say: other money, another currency, another surface."""
    first = bought(50, "o", 1_000, surface="cart")
    again = (bought(0, "o", 9_000, surface="home"), bought(51, "o", 5_000, currency="USD"))
    assert {"orders": 1, "repeated_orders": 2, "order_net_minor": 1_000} == amounts(
        state_of(first, *again), ("orders", "foreign_orders", "repeated_orders", "order_net_minor")
    )


def test_an_order_id_counts_once_for_what_is_credited_too() -> None:
    """Told twice under two event ids, an order converts once and earns once, also for its user."""
    names = ("conversions", "revenue_minor", "session_revenue_minor", "user_day_revenue_minor", "user_day_purchases")
    events = (impression(0), bought(9, "o", 1_000), bought(19, "o", 1_000))
    assert dict(zip(names, (1, 1_000, 1_000, 1_000, 1), strict=True)) == amounts(state_of(*events), names)


def test_an_order_without_consent_is_counted_and_nobody_is_remembered() -> None:
    """Totals only: the order with its refund, but no user-day; the record of the order holds no user."""
    no = Consent(analytics=False)
    state = state_of(bought(0, "o", 1_000, consent=no), refund(1, "o", 1_000, consent=no))
    assert {"orders": 1, "order_net_minor": 1_000, "refunded_orders": 1} == amounts(
        state, ("orders", "order_net_minor", "refunded_orders", "user_days", "order_kept_minor")
    )
    assert [1] == [len(table) for table in state.joins.records.values() if len(table)]
    assert not any("user" in field for field in Purchase._fields)


def test_bots_order_nothing() -> None:
    """Their orders and refunds are kept out, and so are their ids."""
    state = state_of(bought(0, "o", 1_000, bot=True), refund(1, "o", 500, bot=True), bought(9, "o", 300))
    assert {"orders": 1, "order_net_minor": 300, "order_kept_minor": 300} == amounts(
        state, ("orders", "order_net_minor", "order_kept_minor", "refunded_orders", "repeated_orders")
    )


# -- what recommendations had to do with it --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "cross", "up"),
    [
        ((line(10, "d"),), 0, 0),
        ((line(10),), 0, 0),
        ((line(10, "d"), line(20)), 1, 0),
        ((line(20, "d"), line(10)), 1, 1),
        ((line(20, "d"), line(20)), 1, 0),
        ((line(5, "d"), line(30, "e"), line(20)), 1, 1),
        ((line(11, "d"), line(10, None, 9)), 1, 1),
    ],
)
def test_what_is_sold_beside_and_above(lines: tuple[object, ...], cross: int, up: int) -> None:
    """Cross-sold: recommended beside not; upsold: one recommended piece dearer than any not recommended."""
    state = state_of(bought(0, "o", 100, *lines))  # type: ignore[arg-type]  # lines
    found = amounts(state, ("cross_sold_orders", "upsold_orders"))
    assert (cross, up) == (found.get("cross_sold_orders", 0), found.get("upsold_orders", 0))


def test_the_share_of_lines_is_of_what_was_paid() -> None:
    """Lines of 80.00 and 2 x 10.00 before a discount: of 50.00 net four fifths were recommended."""
    state = state_of(bought(0, "o", 5_000, line(8_000, "d"), line(1_000, None, 2)))
    assert {"recommended_minor": 4_000} == amounts(state, ["recommended_minor"])


def test_larger_orders_have_recommended_lines_more_often() -> None:
    """Where chance alone decides which line is recommended, orders with one are larger all the same: no effect."""
    orders = []
    for n in range(300):
        size = 1 + n % 5
        lines = [line(1_000, "d" if (n * 7 + k * 3) % 10 < 3 else None) for k in range(size)]
        orders.append(bought(n, f"o{n}", 1_000 * size, *lines))
    with_one, without = value("aov_recommended", *orders), value("aov_not_recommended", *orders)
    assert with_one is not None
    assert without is not None
    assert with_one > 1.15 * without


def test_what_is_kept_of_an_order_is_small() -> None:
    """A record with its home takes no more than 64 bytes for an ordinary order."""
    state = state_of(bought(0, "o", 12_400, line(7_000, "d1"), line(3_000), tax_minor=1_900), refund(9, "o", 5_000))
    (packed,) = state.joins.records[ORDERS].newer.values()
    assert len(packed) <= 64
