"""The simulated shop's money, recounted from the raw events in batch: group, sort, add; none of the product's code."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from math import log, sqrt
from statistics import NormalDist, fmean, stdev
from typing import Any, NamedTuple

import pytest
from scipy.stats import t

from producers.ledger import Ledger
from producers.transit import records
from producers.world import World
from stream_app.core.slices import DIMENSIONS
from stream_app.metrics.catalogue import INDEX
from stream_app.statistics.contrasts import contrast
from stream_app.statistics.lowering import lower
from tests.metrics.money import METRIC
from tests.producers.counting import by, processed, totals

BEFORE_MIDNIGHT_MS = 1_748_822_400_000 - 400_000
"""2025-06-01T23:53:20Z: the sessions of the next minutes are on both sides of midnight."""
DAY_MS = 86_400_000
CAP = 50_000
ARM = DIMENSIONS.index("arm")
ARMS = ("personalized", "context_blind", "holdout")
SEEDS = pytest.mark.parametrize("seed", [3, 11])
Row = dict[str, Any]


class Run(NamedTuple):
    """What arrived, as plain objects, and what the product counted by surface and arm."""

    events: list[Row]
    counted: dict[tuple[str, ...], dict[str, int]]


@cache
def run(seed: int) -> Run:
    """Let a shop run over midnight, until the last goods are back."""
    world, ledger = World(seed, arms=dict.fromkeys(ARMS, 1 / 3)), Ledger()  # type: ignore[arg-type]  # arms
    happened = world.happenings(BEFORE_MIDNIGHT_MS, 5.0, BEFORE_MIDNIGHT_MS + 800_000)
    values = [record.value for record in records(world, happened, ledger)]
    once = {event["id"]: event for event in map(json.loads, reversed(values))}
    events = [event for event in reversed(once.values()) if not event.get("bot")]
    return Run(events, by(totals(processed(values)), DIMENSIONS.index("surface"), ARM))


def of_type(seed: int, *types: str) -> Iterator[Row]:
    return (event for event in run(seed).events if event["type"] in types)


def is_home(event: Row) -> bool:
    return bool(event.get("currency", "EUR") == "EUR")


def earned(event: Row) -> int:
    """Return what a purchase adds to revenue: nothing in another currency than the reporting one."""
    return (net(event) if event["type"] == "order" else event.get("value_minor", 0)) if is_home(event) else 0


def net(order: Row) -> int:
    return int(order["total_minor"] - order.get("tax_minor", 0) - order.get("shipping_minor", 0))


def compared(seed: int, names: Iterable[str], expected: dict[Any, Row], *, by_arm: bool) -> tuple[Row, Row]:
    """Return what was recounted and what was counted of these measures, zeros left out."""
    found: dict[Any, Row] = defaultdict(lambda: defaultdict(int))
    for (surface, arm), amounts in run(seed).counted.items():
        for name in names:
            found[arm if by_arm else (surface, arm)][name] += amounts[name]
    return tuple(  # type: ignore[return-value]  # two
        {key: {n: int(row[n]) for n in names if row[n]} for key, row in of.items() if any(row[n] for n in names)}
        for of in (expected, found)
    )


def ordered(seed: int) -> dict[tuple[str, str], list[tuple[Row, int]]]:
    """Return the orders by surface and arm, each with how much of it was refunded."""
    refunds: dict[str, int] = defaultdict(int)
    for refund in of_type(seed, "refund"):
        refunds[refund["order"]] += refund["amount_minor"]
    groups = defaultdict(list)
    for order in of_type(seed, "order"):
        groups[order.get("surface", "none"), order["arm"]].append((order, refunds.get(order["order"], -1)))
    return groups


@SEEDS
def test_orders_are_those_of_the_events(seed: int) -> None:
    """Every sum of orders, by surface and arm, to the unit."""
    expected = {}
    for key, orders in ordered(seed).items():
        row = expected[key] = defaultdict(int)
        for order, back in orders:
            row["refunded_orders"] += back >= 0
            row["foreign_orders"] += not is_home(order)
            row["foreign_refunds"] += back >= 0 and not is_home(order)
            if not is_home(order):
                continue
            value, lines = net(order), order["lines"]
            goods = value + order["tax_minor"]
            kept = max(0, value - value * max(0, back) // goods)
            quoted = [line for line in lines if "decision" in line]
            share = value * sum(x["price_minor"] for x in quoted) // sum(x["price_minor"] for x in lines)
            row["orders"] += 1
            row["order_gross_minor"] += order["total_minor"]
            row["order_gross_squares"] += order["total_minor"] ** 2
            row["order_net_minor"] += value
            row["order_net_squares"] += value**2
            row["order_capped_minor"] += min(value, CAP)
            row["order_capped_squares"] += min(value, CAP) ** 2
            row["order_kept_minor"] += kept
            row["order_kept_squares"] += kept**2
            row["order_lines"] += len(lines)
            row["itemised_orders"] += 1
            row["cross_sold_orders"] += 0 < len(quoted) < len(lines)
            row["recommended_minor"] += share
            row["recommended_orders"] += bool(quoted)
            row["recommended_order_minor"] += value * bool(quoted)
            rest = [line["price_minor"] for line in lines if line not in quoted]
            row["upsold_orders"] += bool(quoted and rest) and max(x["price_minor"] for x in quoted) > max(rest)
    names = [*next(iter(expected.values())), "refunds_without_order", "repeated_orders"]
    wanted, found = compared(seed, names, expected, by_arm=False)
    assert wanted == found
    assert sum(row["orders"] for row in wanted.values()) > 60
    assert sum(row.get("refunded_orders", 0) for row in wanted.values()) > 2


def user_days(seed: int) -> dict[tuple[str, str, int], list[int]]:
    """Return purchases, revenue, cart adds and purchases abroad by arm, user and day, where something was done."""
    days: dict[tuple[str, str, int], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    exposed = set()
    for event in run(seed).events:
        kind, day = event["type"], (event["arm"], event["user"], event["ts"] // DAY_MS)
        if kind == "impression" and (event["session"], event["surface"]) not in exposed:
            exposed.add((event["session"], event["surface"]))
            days[day][0] += 0
        elif kind == "order":
            days[day][0] += 1
            days[day][1] += earned(event)
            days[day][3] += not is_home(event)
        elif kind == "conversion":
            days[day][0] += event["goal"] == "purchase"
            days[day][1] += earned(event)
            days[day][3] += event["goal"] == "purchase" and not is_home(event)
        elif kind == "cart":
            days[day][2] += event["action"] == "add"
    return days


@SEEDS
def test_user_days_are_those_of_the_events(seed: int) -> None:
    """Every sum of user-days, by arm, to the unit, with sessions across midnight among them."""
    expected: dict[str, Row] = {arm: defaultdict(int) for arm in ARMS}
    for (arm, _, _), (purchases, revenue, adds, abroad) in user_days(seed).items():
        row = expected[arm]
        row["user_days"] += 1
        row["buying_user_days"] += purchases > 0
        row["user_day_purchases"] += purchases
        row["user_day_purchase_squares"] += purchases**2
        row["user_day_revenue_minor"] += revenue
        row["user_day_revenue_squares"] += revenue**2
        row["user_day_revenue_capped_minor"] += min(revenue, CAP)
        row["user_day_revenue_capped_squares"] += min(revenue, CAP) ** 2
        row["user_day_cart_adds"] += adds
        row["user_day_cart_add_squares"] += adds**2
        row["adding_user_days"] += adds > 0
        row["user_day_purchases_abroad"] += abroad
    wanted, found = compared(seed, list(expected["holdout"]), expected, by_arm=True)
    assert wanted == found
    days = defaultdict(set)
    for event in of_type(seed, "impression"):
        days[event["session"]].add(event["ts"] // DAY_MS)
    assert sum(len(of) > 1 for of in days.values()) > 10


@SEEDS
def test_carts_are_those_of_the_events(seed: int) -> None:
    """Every sum of carts, by surface and arm of the earliest add, to the unit."""
    carts = defaultdict(list)
    for cart in sorted(of_type(seed, "cart"), key=lambda event: event["ts"]):
        if cart["action"] == "add":
            carts[cart["session"]].append(cart)
    expected: dict[Any, Row] = defaultdict(lambda: defaultdict(int))
    for adds in carts.values():
        row = expected[adds[0]["surface"], adds[0]["arm"]]
        at_home = [add for add in adds if is_home(add)]
        value = sum(add["price_minor"] * add["quantity"] for add in at_home)
        quoted = sum("decision" in add for add in adds)
        row["carts"] += 1
        row["cart_adds"] += len(adds)
        row["cart_add_squares"] += len(adds) ** 2
        row["recommended_adds"] += quoted
        row["recommended_add_products"] += quoted * len(adds)
        row["priced_carts"] += bool(at_home)
        row["foreign_cart_adds"] += len(adds) - len(at_home)
        row["cart_value_minor"] += value
        row["cart_value_squares"] += value**2
    wanted, found = compared(seed, list(next(iter(expected.values()))), expected, by_arm=False)
    assert wanted == found


@SEEDS
def test_what_sessions_earned_is_that_of_the_events(seed: int) -> None:
    """Sums over exposed sessions, by surface and arm: capped revenue, conversions, clickers that converted, goals."""
    decided, first = {}, {}
    for event in of_type(seed, "impression"):
        exposure = event["session"], event["surface"]
        decided[event["decision"], event["item"]] = exposure
        first.setdefault(exposure, (event["surface"], event["arm"]))
    clicked = {decided.get((event["decision"], event["item"])) for event in of_type(seed, "click")}
    bought, goals = defaultdict(list), defaultdict(set)
    for event in of_type(seed, "order", "conversion"):
        quoted = event if event["type"] == "conversion" else next((x for x in event["lines"] if "decision" in x), {})
        if (exposure := decided.get((quoted.get("decision", ""), quoted.get("item", "")))) is not None:
            bought[exposure].append(earned(event))
            goals[exposure].add(event.get("goal", "purchase"))
    expected: dict[Any, Row] = defaultdict(lambda: defaultdict(int))
    for exposure, values in bought.items():
        row = expected[first[exposure]]
        row["session_revenue_capped_minor"] += min(sum(values), CAP)
        row["session_revenue_capped_squares"] += min(sum(values), CAP) ** 2
        row["session_conversions"] += len(values)
        row["session_conversion_squares"] += len(values) ** 2
        row["converted_clicked_sessions"] += exposure in clicked
        for goal in goals[exposure]:
            row[f"{goal}_sessions"] += 1
    wanted, found = compared(seed, sorted({name for row in expected.values() for name in row}), expected, by_arm=False)
    assert wanted == found


@SEEDS
def test_estimates_are_those_of_the_amounts(seed: int) -> None:
    """AOV and revenue per user of each arm, their intervals, and the ratio between arms, from the amounts alone."""
    tallies, days = {}, {}
    for arm in ARMS:
        of_arm = [amounts for (_, name), amounts in run(seed).counted.items() if name == arm]
        tallies[arm] = [sum(amounts[name] for amounts in of_arm) for name in INDEX]
        values = [
            net(o) / 100 for (_, name), orders in ordered(seed).items() if name == arm for o, _ in orders if is_home(o)
        ]
        days[arm] = [revenue / 100 for (name, _, _), (_, revenue, _, _) in user_days(seed).items() if name == arm]
        for metric, amounts in (("aov", values), ("revenue_per_user", days[arm])):
            found = lower(METRIC[metric], tallies[arm], INDEX)
            half = t.ppf(0.975, len(amounts) - 1) * stdev(amounts) / sqrt(len(amounts))
            assert found is not None
            assert (len(amounts), pytest.approx(fmean(amounts)), pytest.approx(fmean(amounts) + half)) == (
                found.n,
                found.value,
                found.high,
            )
    one, other = days["personalized"], days["holdout"]
    found = contrast(METRIC["revenue_per_user"], tallies["personalized"], tallies["holdout"], INDEX)
    error = sqrt(sum((stdev(x) / fmean(x)) ** 2 / len(x) for x in (one, other)))
    assert found is not None
    assert pytest.approx(fmean(one) / fmean(other)) == found.value
    assert pytest.approx(NormalDist().inv_cdf(0.975) * error) == log(found.high / found.value)
