"""Costs and returns: what a customer cost, and what came back. Half of each figure is told by people.

What is told (`lynceus input`), by key and scope:

    cost acquisition          what was spent to win customers: campaigns, media, discounts for new ones
    cost personalization      what personalization costs: licences, people, machines, the share of whoever runs it
    margin_rate               profit over revenue, 0 to 1, before the cost of personalization
    discount_rate             what money is worth less a year later, e.g. 0.1

Without a figure for every moment of the window there is no answer. Asked for a part, `channel email`, a cost must be
told of that part: `acquisition/channel=email`. Costs are spread evenly over the time that they are told for.

A return on investment is (gain - cost) / cost, and the gain is what would not have come without: a contrast between
sessions that were randomised to `personalized` and to `holdout`, times the margin. Two popular figures are not that.
"Investment / cost of investment x 100" is the cost over itself: 100 %, whatever happens. "390x ROI: 390 back for every
one spent" is a return ratio (revenue over cost): it counts what would have been bought anyway, has no margin, and does
not take the cost off; were all of it profit and none of it bought anyway, the ROI would be 38,900 %.

What cannot be computed, because no event says it: costs avoided by messages that were not sent, for what is not done
leaves no event; and fewer service contacts through self-service, for a contact has no event of its own. A source that
sends contacts as conversions of a goal of its own can have them counted there.
"""

from typing import Final

from stream_app.core.inputs import Figure
from stream_app.core.slices import DIMENSIONS
from stream_app.core.tally import Measure
from stream_app.metrics.methods import (
    PERSONALIZED,
    CostPer,
    CostPerExtra,
    Gain,
    LifetimeForecast,
    ReturnOnInvestment,
    ReturnRatio,
    UnitCost,
)
from stream_app.metrics.metric import Family, Metric
from stream_app.metrics.people import SILENCE_DAYS
from stream_app.metrics.windows import windows_from

ACQUISITION: Final = Figure("cost", "acquisition")
PERSONALIZATION: Final = Figure("cost", "personalization")
MARGIN: Final = Figure("margin_rate")
DISCOUNT: Final = Figure("discount_rate")

WINDOWS: Final = windows_from("24h")
"""Shorter ones would show how evenly a month's cost was spread, and nothing else."""
OF_AN_ARM: Final = tuple(name for name in DIMENSIONS if name != "arm")
OF_BOTH_ARMS: Final = tuple(name for name in OF_AN_ARM if name != "policy")
"""Each arm has its policies: by policy, one of the two would be empty."""

_REVENUE: Final = ("session_revenue_minor", "sessions", "session_revenue_squares")
_TOLD: Final = "Only as good as the cost that was told, which is spread evenly over its time and taken as known. "
_RANDOMISED: Final = (
    "Causal only if sessions were randomised, and only if costs of the arms differ by nothing else. Sessions of one "
    "user are taken as independent: with many sessions a user the interval is too narrow. "
)

MEASURES: Final[tuple[Measure, ...]] = ()

METRICS: Final = (
    Metric(
        name="cac",
        title="Customer acquisition cost",
        help="What it cost to win a new customer: CAC.",
        unit="currency",
        formula="cost of acquisition, as told / new customers, as in `new_customers`",
        caveat=_TOLD
        + "It is the shop that knows who is new. Who would have come anyway is in it too. Customers come later than "
        "the money that won them is spent: prefer long windows.",
        method=CostPer(ACQUISITION, "new_customers"),
        honesty="input",
        settles="at_once",
        is_up_good=False,
        windows=WINDOWS,
    ),
    Metric(
        name="cpa",
        title="Cost per conversion",
        help="What a conversion or order cost, on average: CPA.",
        unit="currency",
        formula="cost of acquisition, as told / attributed conversions and orders",
        caveat=_TOLD + "Not what one more conversion would cost: most would have happened anyway. Several conversions "
        "of a session are taken as independent, so the interval is a little too narrow.",
        method=CostPer(ACQUISITION, "conversions"),
        honesty="input",
        settles="conversion_window",
        is_up_good=False,
        windows=WINDOWS,
    ),
    Metric(
        name="incremental_cpa",
        title="Cost per extra converter",
        help="What personalization cost for each session that converted because of it.",
        unit="currency",
        formula="cost of personalization, as told / ((conversion rate personalized - holdout) x sessions personalized)",
        caveat=_TOLD + _RANDOMISED + "Where the difference may be 0 there is no answer; so answers that there are lean "
        "to the low side.",
        method=CostPerExtra(PERSONALIZATION, "converted_sessions", "sessions"),
        honesty="input",
        settles="conversion_window",
        is_up_good=False,
        at_least=2,
        dimensions=OF_BOTH_ARMS,
        windows=WINDOWS,
    ),
    Metric(
        name="cost_per_thousand",
        title="Cost per 1,000 personalized impressions",
        help="What it cost to show a thousand items that were chosen for somebody: how much automation gets done.",
        unit="currency",
        formula="1,000 x cost of personalization, as told / impressions in the arm personalized",
        caveat=_TOLD + "It falls with traffic, whether personalization does any good or not.",
        method=UnitCost(PERSONALIZATION, "impressions", 1_000, PERSONALIZED),
        honesty="input",
        settles="at_once",
        is_up_good=False,
        dimensions=OF_AN_ARM,
        windows=WINDOWS,
    ),
    Metric(
        name="incremental_gain",
        title="Incremental profit",
        help="Profit that personalized sessions made and would not have made without personalization.",
        unit="currency",
        formula="margin, as told x (revenue per session personalized - holdout) x sessions personalized",
        caveat=_RANDOMISED + "One margin is taken for all revenue. What was bought without being credited to a surface "
        "is not in it, nor is what comes after the conversion window. The cost of personalization is not taken off.",
        method=Gain(*_REVENUE, margin=MARGIN, scale=100, squares_scale=10_000),
        honesty="input",
        settles="conversion_window",
        is_up_good=True,
        lowest=None,
        at_least=4,
        dimensions=OF_BOTH_ARMS,
        windows=WINDOWS,
    ),
    Metric(
        name="roi",
        title="Return on investment",
        help="What personalization brought in beyond its cost, per unit of it: 0 = it paid for itself, 1 = 100 %.",
        unit="ratio",
        formula="(incremental profit - cost of personalization, as told) / cost of personalization",
        caveat='Not "investment / cost of investment", which is always 100 %, and not revenue over cost, which is a '
        "return ratio. " + _TOLD + _RANDOMISED.strip(),
        method=ReturnOnInvestment(*_REVENUE, margin=MARGIN, cost=PERSONALIZATION, scale=100, squares_scale=10_000),
        honesty="input",
        settles="conversion_window",
        is_up_good=True,
        lowest=None,
        at_least=4,
        dimensions=OF_BOTH_ARMS,
        windows=WINDOWS,
    ),
    Metric(
        name="return_ratio",
        title="Return ratio",
        help="Revenue credited to personalized surfaces per unit of cost, as in return on ad spend (ROAS).",
        unit="ratio",
        formula="attributed revenue of the arm personalized / cost of personalization, as told",
        caveat="No ROI, though often called so: it counts what would have been bought anyway, knows no margin, and 1 "
        'means that revenue equals cost. "390x" would be an ROI of 38,900 % only if all of it were profit and none of '
        "it bought anyway. " + _TOLD.strip(),
        method=ReturnRatio(*_REVENUE, cost=PERSONALIZATION, scale=100, squares_scale=10_000),
        honesty="input",
        settles="conversion_window",
        is_up_good=True,
        at_least=2,
        dimensions=OF_AN_ARM,
        windows=WINDOWS,
    ),
    Metric(
        name="lifetime_value_forecast",
        title="Forecast of lifetime value",
        help="Profit that a person is forecast to bring after the first 28 days, for good, in today's money.",
        unit="currency",
        formula="m r / (1 + d - r): m = margin, as told x value_28d; r = (1 - lapse_90d)^(28 / 62); d = discount, as "
        "told for a year, of 28 days",
        caveat="A forecast, not a measurement: it takes everybody to leave with the same chance every day and to "
        "spend as in the first 28 days. Those who leave readily leave first, so for new people it is too low; first "
        "weeks are often the best, so it may be too high. What winning the customer cost is not subtracted, and the "
        "first 28 days are not in it: they are `value_28d`. m is of people 29 days old, r of people 90 days old in the "
        'same window. Not "value x lifespan", which knows no margin and no discount. To compare arms use the realised '
        "value. docs/lifetime-value.md is its model card.",
        method=LifetimeForecast(
            "value_28d_minor",
            "people_29d",
            "value_28d_squares",
            lapsed="lapsed_90d",
            of="people_90d",
            days=90 - SILENCE_DAYS,
            margin=MARGIN,
            discount=DISCOUNT,
            scale=100,
            squares_scale=10_000,
        ),
        honesty="input",
        settles="cohort_age",
        cohort_days=90,
        is_up_good=True,
        at_least=2,
        dimensions=("arm",),
        windows=windows_from("7d"),
    ),
)

FAMILY: Final = Family(
    "returns",
    "Costs and returns",
    "What customers and personalization cost, and what came back; costs and margins are told by people.",
    MEASURES,
    METRICS,
)
