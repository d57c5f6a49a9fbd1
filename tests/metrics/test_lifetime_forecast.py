"""The forecast of lifetime value: by hand, where the model is true, and where it is known to be wrong."""

import numpy as np
import pytest

from stream_app.core.cells import unpack_rows
from stream_app.core.events import AnyEvent, Order, PageView
from stream_app.core.inputs import Figure
from stream_app.core.panes import DAY_MS
from stream_app.core.tally import Plan
from stream_app.metrics.catalogue import INDEX
from stream_app.metrics.people import MEASURES
from stream_app.metrics.returns import DISCOUNT, MARGIN
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lowering import lower
from tests.metrics.ageing import D0, METRIC, on, state_of

PLAN = Plan.of(MEASURES)
FORECAST = METRIC["lifetime_value_forecast"]
TOLD = {MARGIN: 0.5, DISCOUNT: 0.1}
DAYS, PERIOD, HORIZON = 90, 28, 62
D = 1.1 ** (PERIOD / 365) - 1


def answer(told_: dict[Figure, float] = TOLD, **amounts: int) -> Estimate | None:
    return lower(FORECAST, [amounts.get(name, 0) for name in INDEX], INDEX, told=told_)


def people(value_minor: int, lapsed: int, n: int = 1_000) -> dict[str, int]:
    """Return the sums of so many people, half worth nothing and half twice the mean."""
    return {
        "people_29d": n,
        "value_28d_minor": n * value_minor,
        "value_28d_squares": n // 2 * (2 * value_minor) ** 2,
        "people_90d": n,
        "lapsed_90d": lapsed,
    }


def test_the_forecast_by_hand() -> None:
    """20.00 at a margin of a half, four of five stay 28 days: 10 x 0.8 / 0.2 = 40 undiscounted, and 38.58 at 10 %."""
    lapsed = 1_000_000 - round(1_000_000 * 0.8 ** (HORIZON / PERIOD))
    sums = people(2_000, lapsed, 1_000_000)
    found = [answer({MARGIN: 0.5, DISCOUNT: rate}, **sums) for rate in (0.0, 0.1)]
    assert [pytest.approx(40.0, rel=1e-4), pytest.approx(38.584, rel=1e-4)] == [each and each.value for each in found]


def test_without_margin_or_discount_there_is_no_forecast() -> None:
    """Neither is assumed; nor is there one of nobody, of sums that contradict each other, or of a negative discount."""
    sums = people(2_000, 400)
    assert isinstance(answer(**sums), Estimate)
    assert [None] * 6 == [
        answer({MARGIN: 0.5}, **sums),
        answer({DISCOUNT: 0.1}, **sums),
        answer({MARGIN: 0.5, DISCOUNT: -0.1}, **sums),
        answer(),
        answer(**people(2_000, 1_001)),
        answer({MARGIN: 0.5, DISCOUNT: 0.0}, **people(2_000, 0)),
    ]


def lives(rng: np.random.Generator, stays: list[float]) -> list[AnyEvent]:
    """Return 90 days of people of whom each stays another day with a chance of their own, buying every other week.

    Who is there is seen every day; an order is 10.00 or 30.00.
    """
    events: list[AnyEvent] = []
    for number, stay in enumerate(stays):
        there = min(int(rng.geometric(1 - stay)), DAYS)
        events += [on(day, PageView, f"u{number}", page="/") for day in range(there)]
        for day in np.flatnonzero(rng.random(there) < 1 / 14).tolist():
            minor = 1_000 if rng.random() < 0.5 else 3_000
            events.append(on(day, Order, f"u{number}", order=f"o{number}-{day}", currency="EUR", total_minor=minor))
    return sorted(events, key=lambda event: event.ts)


def after_the_first_period(stay: float) -> float:
    """Return the profit after 28 days of somebody who stays another day with that chance: the sum, day by day."""
    a_day = 0.5 * 20 / 14
    return sum(a_day * stay**day / (1 + D) ** (day // PERIOD) for day in range(PERIOD, 9_000))


def counted(events: list[AnyEvent]) -> dict[str, int]:
    """Return what is told of people at 29 days, and at 90: windows are shorter than what lies between."""
    found = dict.fromkeys(FORECAST.needs, 0)
    for newest, age in ((PERIOD + 1, "_29d"), (DAYS, "_90d")):
        known = [event for event in events if event.ts < D0 + newest * DAY_MS]
        state = state_of(known, plan=PLAN)
        for rows in state.cells.days.values():
            for tally in (unpack_rows(rows) if isinstance(rows, bytes) else rows).values():
                for measure, amount in zip(MEASURES, tally, strict=True):
                    if measure.name in found and (age == "_90d") == measure.name.endswith("_90d"):
                        found[measure.name] += amount
    return found


def test_where_the_model_is_true_the_forecast_holds_the_truth() -> None:
    """300 people who all stay with the same chance: from events to the forecast, whose bounds hold the true value."""
    stay = 0.75 ** (1 / PERIOD)
    sums = counted(lives(np.random.default_rng(5), [stay] * 300))
    truth, found = after_the_first_period(stay), answer(**sums)
    assert found is not None
    assert (300, 300, True) == (sums["people_29d"], sums["people_90d"], found.low < truth < found.high)
    assert pytest.approx(truth, rel=0.25) == found.value


def test_where_people_differ_the_forecast_is_too_low() -> None:
    """Half stay 28 days with a chance of 0.4, half with 0.97: the forecast is less than half of the truth."""
    stays = [of ** (1 / PERIOD) for of in (0.4, 0.97)]
    truth = sum(map(after_the_first_period, stays)) / 2
    found = answer(**counted(lives(np.random.default_rng(6), stays * 100)))
    assert found is not None
    assert found.value < truth / 2


def test_the_bounds_hold_nine_times_in_ten() -> None:
    """Of 500 samples of 300 people in a world in which the model is true, at least 450 forecasts hold the truth."""
    rng, stay = np.random.default_rng(7), 0.8 ** (1 / PERIOD)
    truth, held = after_the_first_period(stay), 0
    for _ in range(500):
        orders = rng.binomial(np.minimum(rng.geometric(1 - stay, 300), PERIOD), 1 / 14)
        spent = 1_000 * orders + 2_000 * rng.binomial(orders, 0.5)
        found = answer(
            people_29d=300,
            value_28d_minor=int(spent.sum()),
            value_28d_squares=int((spent * spent).sum()),
            people_90d=300,
            lapsed_90d=300 - int(rng.binomial(300, stay**HORIZON)),
        )
        held += found is not None and found.low <= truth <= found.high
    assert held >= 450
