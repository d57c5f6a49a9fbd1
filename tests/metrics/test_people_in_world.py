"""People and customers of the simulated world, recounted from the raw records: batch style, by plain loops.

The world's people come in bursts of a quarter of an hour, on days that cohorts care about; bots, duplicates and garbage
come with them. The recount shares no code with the product: it groups JSON objects by user and counts.
"""

import json
from collections import Counter, defaultdict
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from statsmodels.stats.proportion import proportion_confint

from producers.scenarios import phase
from producers.transit import records
from producers.world import World
from stream_app.core.panes import DAY_MS
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.metrics import customers, people
from stream_app.metrics.catalogue import PLAN
from tests.metrics.ageing import D0, LATER, Told, answer, told

DAYS = (0, 1, 2, 7, 8, 9, 14, 20, 27, 28, 29, 35, 50, 61, 62, 83, 89, 90, 91)
ACTIVE = ("page_view", "click", "search", "cart", "order", "conversion", "feature_use")
OURS = tuple(measure.name for family in (people.FAMILY, customers.FAMILY) for measure in family.measures)
FEW = 21
"""The seed of a world whose people are so few that they come again and again, and their accounts end and begin."""
SEEDS = pytest.mark.parametrize("seed", [3, 11])
SCHEDULE = (phase("duplicates"), phase("malformed"), phase("bots", size=0.1))


@cache
def bursts(seed: int) -> tuple[tuple[bytes, ...], ...]:
    """Return what arrives on each day, of one population."""
    found = []
    for day in DAYS:
        world, start_ms = World(seed, SCHEDULE, users=25 if seed == FEW else 150), D0 + day * DAY_MS + 36_000_000
        happened = world.happenings(start_ms, 0.08, start_ms + 900_000)
        found.append(tuple(record.value for record in records(world, happened)))
    return tuple(found)


@cache
def counted(seed: int) -> Told:
    """Return what all days say, each as it was before it was forgotten."""
    state, seen = Partition(PLAN, Rules()), Told()
    for burst in bursts(seed):
        state.process([Span(state.head.applied, LATER, burst)])
        now = told(state, measures=OURS)
        kept = min(day for day, _, _ in now)
        seen = {key: amount for key, amount in seen.items() if key[0] < kept} | now
    return seen


@cache
def recounted(seed: int) -> Told:
    """Return the same, counted by user from the raw records."""
    events: dict[str, dict[str, Any]] = {}
    for raw in (raw for burst in bursts(seed) for raw in burst):
        try:
            event = json.loads(raw)
            events.setdefault(event["id"], event)
        except (ValueError, KeyError, TypeError):
            continue
    of_user = defaultdict(list)
    for event in events.values():
        if not event.get("bot"):
            event["day"] = (event["ts"] - D0) // DAY_MS
            of_user[event["user"]].append(event)
    sums: Counter[tuple[int, str, str]] = Counter()
    for own in of_user.values():
        _recount_person(own, sums)
        _recount_buyer([event for event in own if event["type"] == "order"], sums)
        _recount_account([event for event in own if event["type"] == "account"], sums)
    return {key: amount for key, amount in sums.items() if amount}


def _recount_person(own: list[dict[str, Any]], sums: Counter[tuple[int, str, str]]) -> None:
    arm, days = own[0]["arm"], sorted({event["day"] for event in own if event["type"] in ACTIVE})
    if not days:
        return
    first = days[0]
    ages = [day - first for day in days]
    for age in (2, 8, 14, 29, 35, 90):
        sums[first + age, arm, f"people_{age}d"] += 1
    for name, begin, end in (
        ("day_1", 1, 2), ("day_7", 7, 8), ("week_2", 7, 14), ("day_28", 28, 29), ("week_5", 28, 35)
    ):  # fmt: skip
        sums[first + end, arm, f"returned_{name}"] += any(begin <= age < end for age in ages)
    sums[first + 90, arm, "lapsed_90d"] += not any(62 <= age < 90 for age in ages)
    referrals = sum(event.get("goal") == "referral" and event["day"] - first < 28 for event in own)
    sums[first + 29, arm, "referrals_28d"] += referrals
    sums[first + 29, arm, "referral_28d_squares"] += referrals**2
    followed = [age for age in ages if age < 84]
    last = next((a for a, b in pairwise(followed) if b - a > 28), followed[-1])
    span = min(last + 1, 56)
    sums[first + 90, arm, "lifespan_days"] += span
    sums[first + 90, arm, "lifespan_day_squares"] += span**2
    for limit, age in ((7, 8), (28, 29), (90, 90)):
        early = [event for event in own if event["day"] - first < limit]
        orders = [event for event in early if event["type"] == "order" and event["currency"] == "EUR"]
        gross = sum(order["total_minor"] for order in orders)
        net = gross - sum(order.get("tax_minor", 0) + order.get("shipping_minor", 0) for order in orders)
        refunds = [event for event in early if event["type"] == "refund" and event["currency"] == "EUR"]
        back = min(gross, sum(refund["amount_minor"] for refund in refunds))
        # What is given back takes its share, rounded half up.
        value = net - (2 * net * back + gross) // (2 * gross) if gross else 0
        for prefix, amount in (("", value), ("capped_", min(value, 100_000))):
            sums[first + age, arm, f"{prefix}value_{limit}d_minor"] += amount
            sums[first + age, arm, f"{prefix}value_{limit}d_squares"] += amount**2


def _recount_buyer(orders: list[dict[str, Any]], sums: Counter[tuple[int, str, str]]) -> None:
    if not orders:
        return
    first, arm = orders[0]["day"], orders[0]["arm"]
    for limit in (28, 90):
        number = sum(order["day"] - first < limit for order in orders)
        sums[first + limit, arm, f"buyers_{limit}d"] += 1
        sums[first + limit, arm, f"repeat_buyers_{limit}d"] += number > 1
        if limit == 28:
            sums[first + limit, arm, "buyer_orders_28d"] += number
            sums[first + limit, arm, "buyer_order_28d_squares"] += number**2


def _recount_account(told_: list[dict[str, Any]], sums: Counter[tuple[int, str, str]]) -> None:
    began = [event for event in told_ if event["status"] in ("active", "reactivated")]
    if not began:
        return
    # One that was cancelled a day or more before it was first active began when it was.
    before = [event for event in told_ if event["ts"] < began[0]["ts"] - DAY_MS]
    own = [event for event in told_ if event not in before]
    first, arm = own[0]["day"], own[0]["arm"]
    for limit in (28, 90):
        statuses = [event["status"] for event in own if event["day"] - first < limit]
        sums[first + limit, arm, f"subscribers_{limit}d"] += 1
        sums[first + limit, arm, f"cancelled_{limit}d"] += statuses[-1] == "cancelled"
        if limit == 90:
            sums[first + limit, arm, "ever_cancelled_90d"] += "cancelled" in statuses


@SEEDS
def test_what_is_told_is_what_happened(seed: int) -> None:
    """Every sum of every day and arm is that of the recount, to the unit."""
    assert recounted(seed) == counted(seed)


@SEEDS
def test_there_is_something_to_count(seed: int) -> None:
    """Of each measure there is some in the world; hardly anybody is sent a digest, and hardly an account ends."""
    rare = {"referrals_28d", "referral_28d_squares", "cancelled_28d", "cancelled_90d", "ever_cancelled_90d"}
    assert set() == set(OURS) - {name for _, _, name in counted(seed)} - rare


@SEEDS
@pytest.mark.parametrize("age", [2, 8, 14, 29, 35])
def test_the_shares_are_those_of_the_recount(seed: int, age: int) -> None:
    """Retention of all who came of that age, with the interval that statsmodels gives it."""
    name = {2: "day_1", 8: "day_7", 14: "week_2", 29: "day_28", 35: "week_5"}[age]
    sums: Counter[str] = Counter()
    for (_, _, measure), amount in recounted(seed).items():
        sums[measure] += amount
    returned, of = sums[f"returned_{name}"], sums[f"people_{age}d"]
    found = answer(f"retention_{name}", counted(seed))
    assert (returned / of, of) == (found.value, found.n)
    assert pytest.approx(proportion_confint(returned, of, method="wilson")) == (found.low, found.high)
