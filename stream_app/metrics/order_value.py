"""Order value: what orders are worth on average, before and after refunds, and what recommendations had to do with it.

What is counted, and by which rules, is in `metrics.orders`.
"""

from typing import Final

from stream_app.metrics.methods import Mean, MeanBelow, Proportion, Quantile, Ratio
from stream_app.metrics.metric import Family, Metric
from stream_app.metrics.orders import HISTOGRAMS, MEASURES, ORDER_CAP_MINOR

_BY_ORDER: Final = (
    "One customer's orders are taken as independent: where people order many times in a window, the interval is too "
    "narrow. "
)
_COMPOSITION: Final = (
    "Between arms, a lower one can be good news: additional small orders lower it. Look at revenue per daily user "
    "first. "
)

METRICS: Final = (
    Metric(
        name="aov",
        title="Average order value",
        help="Mean net value of an order: without tax and shipping, before refunds.",
        unit="currency",
        formula="sum of (total - tax - shipping) / orders, an order id once",
        caveat=_COMPOSITION + "A few dear orders move it: see the winsorised mean and the median. " + _BY_ORDER.strip(),
        method=Mean("order_net_minor", "orders", "order_net_squares", scale=100, squares_scale=10_000),
        honesty="exact",
        settles="at_once",
        is_up_good=True,
        at_least=2,
    ),
    Metric(
        name="aov_gross",
        title="Average order value, gross",
        help="Mean total of an order: what customers paid, with tax and shipping.",
        unit="currency",
        formula="sum of totals / orders, an order id once",
        caveat="Tax and shipping are no revenue; this is what shops often quote. " + _BY_ORDER.strip(),
        method=Mean("order_gross_minor", "orders", "order_gross_squares", scale=100, squares_scale=10_000),
        honesty="exact",
        settles="at_once",
        is_up_good=True,
        at_least=2,
    ),
    Metric(
        name="aov_after_refunds",
        title="Average order value after refunds",
        help="Mean net value of an order less what was refunded of it.",
        unit="currency",
        formula="sum of (net - refunded part of net) / orders, refunds in the pane of their order",
        caveat="It falls for weeks, as goods come back: a young window is too high, and there is no maturity that says "
        "by how much. A refund carries tax as its order does, and never more than the order's value.",
        method=Mean("order_kept_minor", "orders", "order_kept_squares", scale=100, squares_scale=10_000),
        honesty="estimate",
        settles="four_weeks",
        is_up_good=True,
        at_least=2,
    ),
    Metric(
        name="aov_winsorised",
        title="Average order value, winsorised",
        help="Mean net value of an order, where an order counts for 500 (major units) at most.",
        unit="currency",
        formula="sum of min(net, 500) / orders",
        caveat="Times the number of orders it is not the revenue. The cap is fixed, not a percentile: where amounts "
        "are of another order, nothing or all is cut. " + _COMPOSITION.strip(),
        method=Mean(
            "order_capped_minor",
            "orders",
            "order_capped_squares",
            scale=100,
            squares_scale=10_000,
            cap=ORDER_CAP_MINOR,
        ),
        honesty="exact",
        settles="at_once",
        is_up_good=True,
        highest=ORDER_CAP_MINOR / 100,
        at_least=2,
    ),
    *(
        Metric(
            name=f"order_value_{name}",
            title=f"Order value, {title}",
            help=f"The net value that {words} of the orders do not exceed.",
            unit="currency",
            formula=f"{title} of (total - tax - shipping) over orders, an order id once",
            caveat="To 1 %: orders are counted in narrow classes of value. Quantiles of parts do not average to that "
            "of the whole; surface and arm alone are told apart.",
            method=Quantile("order_values", share, scale=100),
            honesty="exact",
            settles="at_once",
            is_up_good=True,
            dimensions=("surface", "arm"),
        )
        for name, title, words, share in (
            ("median", "median", "half", 0.5),
            ("p90", "90 % quantile", "nine tenths", 0.9),
        )
    ),
    Metric(
        name="aov_below_p99",
        title="Average order value, winsorised at 99 %",
        help="Mean net value of an order, where the dearest hundredth counts as much as the dearest of the others.",
        unit="currency",
        formula="mean of min(net, 99 % quantile of net) over orders, an order id once",
        caveat="Times the number of orders it is not the revenue. The cut moves with the orders, so it fits amounts of "
        "any size, and between arms each is cut at its own: for a contrast take `aov_winsorised`, whose cap is fixed. "
        "To 1 %; surface and arm alone are told apart.",
        method=MeanBelow("order_values", scale=100),
        honesty="exact",
        settles="at_once",
        is_up_good=True,
        at_least=100,
        dimensions=("surface", "arm"),
    ),
    Metric(
        name="lines_per_order",
        title="Lines per order",
        help="Mean number of different things in an order.",
        unit="lines",
        formula="order lines / orders that tell their lines",
        caveat="Lines, not pieces: three of one thing are one line. Orders sent without lines are left out.",
        method=Mean("order_lines", "itemised_orders", "order_line_squares"),
        honesty="exact",
        settles="at_once",
        is_up_good=True,
        at_least=2,
    ),
    Metric(
        name="refund_rate",
        title="Refund rate",
        help="Share of orders of which something was refunded, in any currency.",
        unit="ratio",
        formula="orders with at least one refund / orders, refunds in the pane of their order",
        caveat="Not refunds per order, which can pass 100 %. Goods come back for weeks: a young window is too low.",
        method=Proportion("refunded_orders", "orders + foreign_orders"),
        honesty="estimate",
        settles="four_weeks",
        is_up_good=False,
        highest=1.0,
    ),
    Metric(
        name="refunded_share",
        title="Share of revenue refunded",
        help="How much of the net value of the orders went back.",
        unit="ratio",
        formula="refunded part of net values / net values",
        caveat="What came back so far; a young window is too low. Of the orders in the window, nothing is claimed "
        "beyond them. Refunds above an order's total are counted apart.",
        method=Ratio("order_net_minor - order_kept_minor", "order_net_minor", scale=100, of_scale=100),
        honesty="estimate",
        settles="four_weeks",
        is_up_good=False,
        highest=1.0,
    ),
    Metric(
        name="recommended_revenue_share",
        title="Share of revenue from recommendations",
        help="How much of the net value of orders is in lines that quote a decision: the attributed share.",
        unit="ratio",
        formula="sum of net x (value of lines with a decision / value of all lines) / sum of net",
        caveat="Descriptive. Much of it would have been bought anyway: what personalization adds is the incremental "
        "share, 1 - C / T of revenue per daily user between the arms, and the two differ. Orders without lines count "
        "as not recommended.",
        method=Ratio("recommended_minor", "order_net_minor", scale=100, of_scale=100),
        honesty="exact",
        settles="at_once",
        is_up_good=None,
        highest=1.0,
    ),
    Metric(
        name="cross_sell_rate",
        title="Cross-sell rate",
        help="Share of orders in which something recommended was bought beside something that was not.",
        unit="ratio",
        formula="orders with a line that quotes a decision and one that does not / orders that tell their lines",
        caveat="Whether the two are of different categories is not known: events do not say. Needs lines with decision "
        "ids. Descriptive: it is no share of orders that recommendations caused.",
        method=Proportion("cross_sold_orders", "itemised_orders"),
        honesty="exact",
        settles="at_once",
        is_up_good=True,
        highest=1.0,
    ),
    Metric(
        name="upsell_rate",
        title="Upsell rate",
        help="Share of orders in which something recommended is dearer than all that was chosen otherwise.",
        unit="ratio",
        formula="orders whose dearest line by unit price quotes a decision, with one that does not / orders that tell "
        "their lines",
        caveat="The dearest line without a decision stands for what the customer came for. Needs lines with decision "
        "ids, and prices a piece. Descriptive.",
        method=Proportion("upsold_orders", "itemised_orders"),
        honesty="exact",
        settles="at_once",
        is_up_good=True,
        highest=1.0,
    ),
    Metric(
        name="aov_recommended",
        title="Average order value with recommendations",
        help="Mean net value of orders with a line that quotes a decision.",
        unit="currency",
        formula="net values of orders with a recommended line / their number",
        caveat='Descriptive, self-selected: behind "those who engage spend 15 % more" stands that larger orders have '
        "more lines, and so more often a recommended one. For an effect, compare the arms.",
        method=Mean(
            "recommended_order_minor",
            "recommended_orders",
            "recommended_order_squares",
            scale=100,
            squares_scale=10_000,
        ),
        honesty="exact",
        settles="at_once",
        is_up_good=None,
        at_least=2,
    ),
    Metric(
        name="aov_not_recommended",
        title="Average order value without recommendations",
        help="Mean net value of orders without a line that quotes a decision.",
        unit="currency",
        formula="net values of orders without a recommended line / their number",
        caveat="Descriptive, self-selected, as for those with one. Orders that do not tell their lines are "
        "among these.",
        method=Mean(
            "order_net_minor - recommended_order_minor",
            "orders - recommended_orders",
            "order_net_squares - recommended_order_squares",
            scale=100,
            squares_scale=10_000,
        ),
        honesty="exact",
        settles="at_once",
        is_up_good=None,
        at_least=2,
    ),
)

FAMILY: Final = Family(
    "orders",
    "Order value",
    "What orders are worth, what went back, and what of it had been recommended.",
    MEASURES,
    METRICS,
    HISTOGRAMS,
)
