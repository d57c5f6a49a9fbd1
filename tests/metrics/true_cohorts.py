"""The truth of cohorts: from the recount of people who come back over months, person by person."""

from collections import Counter
from collections.abc import Callable

from tests.metrics.test_people_in_world import FEW, recounted
from tests.metrics.true_values import DISCOUNT, MARGIN

SEED = FEW
Sums = Counter[str]


def sums() -> Sums:
    """Return what the raw records of months come to, over all days and arms."""
    found: Sums = Counter()
    for (_, _, name), amount in recounted(SEED).items():
        found[name] += amount
    return found


def _over(part: str, whole: str, scale: int = 1) -> Callable[[Sums], float]:
    return lambda found: found[part] / found[whole] / scale


def forecast(found: Sums) -> float:
    """Return m r / (1 + d - r) by periods of 28 days: m their profit, r who of all stays for one, d the discount."""
    m = MARGIN * found["value_28d_minor"] / found["people_29d"] / 100
    r = (1 - found["lapsed_90d"] / found["people_90d"]) ** (28 / 62)
    d = (1 + DISCOUNT) ** (28 / 365) - 1
    return m * r / (1 + d - r)


COHORTS: dict[str, Callable[[Sums], float]] = {
    "retention_day_1": _over("returned_day_1", "people_2d"),
    "retention_day_7": _over("returned_day_7", "people_8d"),
    "retention_day_28": _over("returned_day_28", "people_29d"),
    "retention_week_2": _over("returned_week_2", "people_14d"),
    "retention_week_5": _over("returned_week_5", "people_35d"),
    "lapse_90d": _over("lapsed_90d", "people_90d"),
    "lifespan_56d": _over("lifespan_days", "people_90d"),
    "referrals_per_person": _over("referrals_28d", "people_29d"),
    "value_7d": _over("value_7d_minor", "people_8d", 100),
    "capped_value_7d": _over("capped_value_7d_minor", "people_8d", 100),
    "value_28d": _over("value_28d_minor", "people_29d", 100),
    "capped_value_28d": _over("capped_value_28d_minor", "people_29d", 100),
    "lifetime_value_forecast": forecast,
    "value_90d": _over("value_90d_minor", "people_90d", 100),
    "capped_value_90d": _over("capped_value_90d_minor", "people_90d", 100),
    "repeat_purchase_28d": _over("repeat_buyers_28d", "buyers_28d"),
    "repeat_purchase_90d": _over("repeat_buyers_90d", "buyers_90d"),
    "purchase_frequency_28d": _over("buyer_orders_28d", "buyers_28d"),
    "account_churn_28d": _over("cancelled_28d", "subscribers_28d"),
    "account_churn_90d": _over("cancelled_90d", "subscribers_90d"),
    "won_back_90d": lambda found: 1 - found["cancelled_90d"] / found["ever_cancelled_90d"],
}
