"""The world is the same every time, in order, and made of events that the worker reads."""

import math
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise, takewhile
from statistics import fmean

import pytest
from msgspec import structs

from producers import response, seasons
from producers.amounts import CLICK_DELAY_MS, CONVERSION_DELAY_MS, ORDER_VALUE, REFUND_DELAY_MS, mean
from producers.producing import publish
from producers.publisher import Publisher
from producers.traits import ARM_WEIGHTS, Population
from producers.transit import records
from producers.visits import Happening
from producers.world import EVENTS_PER_SESSION, World
from stream_app.core import codec
from stream_app.core.events import (
    EVENT_TYPES,
    Cart,
    Click,
    Conversion,
    Decision,
    Event,
    Impression,
    Order,
    Refund,
)
from stream_app.errors import LynceusError
from stream_app.settings import KafkaSettings
from tests.producers.counting import START_MS

HOUR_MS = 3_600_000


def an_hour(seed: int, rate: float = 0.5, start_ms: int = START_MS) -> list[Happening]:
    """Return all that comes of the sessions that begin within an hour."""
    return list(World(seed).happenings(start_ms, rate, start_ms + HOUR_MS))


@pytest.fixture(scope="module")
def hour() -> list[Happening]:
    """Return an hour of the steady world."""
    return an_hour(7)


def test_the_same_seed_gives_the_same_bytes() -> None:
    """Two worlds of one seed and start are equal byte for byte; another seed or start shares no id."""

    def taken(seed: int, start_ms: int) -> list[bytes]:
        return [codec.encode(event) for event in islice(World(seed).events(start_ms, 5.0), 2_000)]

    def ids(raws: list[bytes]) -> set[str]:
        return {event.id for event in map(codec.decode, raws) if isinstance(event, Event)}

    first = taken(5, START_MS)
    assert first == taken(5, START_MS)
    assert (2_000, True) == (
        len(ids(first)),
        ids(first).isdisjoint(ids(taken(6, START_MS)) | ids(taken(5, START_MS + 1))),
    )


def test_events_come_in_time_order_and_pass_the_codec(hour: list[Happening]) -> None:
    """Whatever the delays, time never goes back, and the worker's decoder gives every event back."""
    events = [event for _, event in hour]
    assert all(before <= after for (before, _), (after, _) in pairwise(hour))
    assert [at_ms for at_ms, _ in hour] == [event.ts for event in events]
    assert events == [codec.decode(codec.encode(event)) for event in events]


def test_every_event_that_a_site_tells_is_told(hour: list[Happening]) -> None:
    """An hour of 1,800 sessions has every type of event, and as many a session as is said."""
    events = [event for _, event in hour]
    sessions = {event.session for event in events}
    assert set(EVENT_TYPES) == {type(event) for event in events}
    assert EVENTS_PER_SESSION == pytest.approx(len(events) / len(sessions), rel=0.03)


@dataclass
class Path:
    """What was shown, clicked and ordered so far: (decision, item) -> time; order -> time and money."""

    shown: dict[tuple[str, str], int] = field(default_factory=dict)
    clicked: dict[tuple[str, str], int] = field(default_factory=dict)
    ordered: dict[str, tuple[int, int]] = field(default_factory=dict)


def test_everything_quotes_what_it_came_from(hour: list[Happening]) -> None:
    """A click follows its impression, money its click, a refund its order: in time, with the same decision and item."""
    path = Path()
    decided: dict[str, Decision] = {}
    seen: Counter[type[Event]] = Counter()
    for at_ms, event in hour:
        seen[type(event)] += 1
        match event:
            case Decision():
                decided[event.decision] = event
            case Impression():
                chosen = decided[event.decision].items[event.position - 1]
                assert (chosen.item, chosen.propensity) == (event.item, event.propensity)
                path.shown[event.decision, event.item] = at_ms
            case Click():
                delay_ms = at_ms - path.shown[event.decision, event.item]
                assert min(CLICK_DELAY_MS) <= delay_ms <= max(CLICK_DELAY_MS) + 5_000
                path.clicked.setdefault((event.decision, event.item), at_ms)
            case Cart(action="add", decision=str(decision)):
                assert at_ms > path.clicked[decision, event.item]
            case Conversion(goal="purchase", decision=str(decision), item=str(item)):
                delay_ms = at_ms - path.clicked[decision, item]
                assert min(CONVERSION_DELAY_MS) <= delay_ms <= max(CONVERSION_DELAY_MS)
                assert event.channel == "app"
            case Order(lines=[line, *rest]) if line.decision is not None:
                assert at_ms - path.clicked[line.decision, line.item] <= max(CONVERSION_DELAY_MS)
                goods = sum(each.price_minor for each in event.lines)
                assert event.total_minor == goods + (event.tax_minor or 0) + (event.shipping_minor or 0)
                assert [None] * len(rest) == [each.decision for each in rest]
                path.ordered[event.order] = at_ms, event.total_minor - (event.shipping_minor or 0)
            case Refund():
                bought_ms, money = path.ordered[event.order]
                assert min(REFUND_DELAY_MS) <= at_ms - bought_ms <= max(REFUND_DELAY_MS)
                assert money == event.amount_minor
    assert min(seen[kind] for kind in (Conversion, Order, Refund)) > 0


def test_a_second_currency_changes_nothing_but_the_currency() -> None:
    """Some people always pay in another currency; without it the same things happen, event by event."""
    one = [event for _, event in World(3).happenings(START_MS, 3.0, START_MS + HOUR_MS // 4)]
    other = [event for _, event in World(3, currencies={"EUR": 1.0}).happenings(START_MS, 3.0, START_MS + HOUR_MS // 4)]
    paid = defaultdict(set)
    for event in one:
        if (currency := getattr(event, "currency", None)) is not None:
            paid[event.user].add(currency)
    said = Counter(currency for of in paid.values() for currency in of)
    at_home = [structs.replace(e, currency="EUR") if getattr(e, "currency", None) else e for e in one]
    assert (other, {"EUR", "CHF"}, len(paid)) == (at_home, set(said), said.total())
    assert 0.01 < said["CHF"] / said.total() < 0.12


def test_a_user_keeps_traits_and_the_arms_have_their_shares() -> None:
    """Whoever comes back is the same person, and arms are a property of the user alone."""
    people: dict[str, set[tuple[str | None, ...]]] = defaultdict(set)
    for _, event in World(9, users=500).happenings(START_MS, 2.0, START_MS + HOUR_MS // 4):
        people[event.user].add((event.arm, event.policy, event.segment, event.device))
    assert {1} == {len(found) for found in people.values()}
    population = Population(9)
    assert {user: found.pop()[0] for user, found in people.items()} == {
        user: population.of(user).arm for user in people
    }
    shares = Counter(traits.arm for traits in map(population.traits, range(population.users)))
    for arm, weight in ARM_WEIGHTS.items():
        assert abs(shares[arm] / population.users - weight) < 4 * math.sqrt(weight * (1 - weight) / population.users)


def test_the_tables_mean_what_they_say() -> None:
    """Weights add up to one; quality, position bias, moods and hours have mean one; large orders carry much money."""
    ones = (
        sum(ARM_WEIGHTS.values()), sum(response.POPULARITY), fmean(response.QUALITY), fmean(response.POSITION_BIAS),
        fmean(seasons.TRAFFIC_BY_HOUR), fmean(seasons.MOOD_BY_HOUR), sum(Population(1).law.values()),
    )  # fmt: skip
    assert pytest.approx((1.0,) * 7, abs=0.01) == ones
    top = sorted(ORDER_VALUE)[-len(ORDER_VALUE) // 20 :]
    assert sum(top) / sum(ORDER_VALUE) > 0.25
    assert 5_000 < mean(ORDER_VALUE) < 10_000


def test_people_come_with_the_hours() -> None:
    """Sessions per hour are those of the hour's intensity: at night few, in the evening many."""
    for start_ms in (START_MS - 6 * HOUR_MS, START_MS + 11 * HOUR_MS):
        sessions = {event.session for _, event in an_hour(3, 0.2, start_ms)}
        due = 0.2 * 3_600 * seasons.traffic(start_ms)
        assert abs(len(sessions) - due) < 4 * math.sqrt(due)


@pytest.mark.parametrize("rate", [0.0, -1.0, math.inf, math.nan])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    """A world without arrivals would never yield."""
    with pytest.raises(LynceusError, match="sessions per second"):
        World(1).events(START_MS, rate)


def test_what_is_published_leaves_when_it_is_due(mock_kafka_settings: KafkaSettings) -> None:
    """Exactly the records that are due leave, and the run ends at the stop event."""
    stop = threading.Event()
    now_s = START_MS / 1000

    def wait(event: threading.Event, seconds: float) -> bool:
        # Waiting is what makes time pass here, and somebody ends the run after a minute of it.
        nonlocal now_s
        now_s += seconds
        if now_s > START_MS / 1000 + 60:
            event.set()
        return event.is_set()

    def happened() -> Iterator[Happening]:
        return World(1).happenings(START_MS, 2.0)

    with Publisher(mock_kafka_settings) as publisher:
        publish(records(World(1), happened()), publisher, stop, clock=lambda: now_s, wait=wait)
        delivery = publisher.flush()
    due = sum(1 for _ in takewhile(lambda one: one[0] < START_MS + 60_000, happened()))
    assert (due, due, 0, None) == delivery
