"""The simulated shop does what its table says, the same way every time."""

import math
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise, takewhile
from statistics import fmean, stdev

import pytest

from producers.publisher import Publisher
from producers.shop import ARM_WEIGHTS, POSITION_BIAS, RATES, STEADY, SURFACES, Shop, drop, run
from stream_app.core import codec
from stream_app.core.events import Arm, Click, Conversion, Event, Impression
from stream_app.errors import LynceusError
from stream_app.settings import KafkaSettings

START_MS = 1_732_300_000_000
SECOND_MS = 1_000
LONGEST_DELAY_MS = 1_100 * SECOND_MS


def until(shop: Shop, end_ms: int, rate: float = 10.0) -> Iterator[Event]:
    """Return the events of the shop before `end_ms`."""
    return takewhile(lambda event: event.ts < end_ms, shop.events(START_MS, rate))


Key = tuple[str, Arm]


class Observed:
    """What happened by surface and arm, from impressions shown in a stretch of time and what they led to."""

    def __init__(self, shop: Shop, from_ms: int, to_ms: int, rate: float) -> None:
        self.clicks: dict[Key, list[bool]] = defaultdict(list)
        self.relevance: dict[Key, list[float]] = defaultdict(list)
        self.bought: dict[Key, list[int]] = defaultdict(list)
        clicked: set[str] = set()
        bought: Counter[str] = Counter()
        shown: dict[str, Impression] = {}
        for event in until(shop, to_ms + LONGEST_DELAY_MS, rate):
            match event:
                case Impression() if from_ms <= event.ts < to_ms:
                    shown[event.id] = event
                case Click():
                    clicked.add(event.id.removesuffix("c") + "i")
                case Conversion():
                    assert event.decision is not None
                    bought[event.decision] += 1
        for event in shown.values():
            assert event.surface is not None
            assert event.arm is not None
            assert event.relevance is not None
            key = event.surface, event.arm
            self.clicks[key].append(event.id in clicked)
            self.relevance[key].append(event.relevance)
            if event.position == 1:
                self.bought[key].append(bought[event.decision])


@pytest.fixture(scope="module")
def steady() -> Observed:
    """Return an hour of the steady shop."""
    return Observed(Shop(7), START_MS, START_MS + 3_600 * SECOND_MS, rate=4.0)


def deviations(
    values: dict[Key, list[float]], truth: dict[str, dict[Arm, dict[str, float]]], name: str
) -> dict[Key, float]:
    """Return by how many standard errors each observed mean is away from the truth."""
    return {
        (surface, arm): abs(fmean(observed) - truth[surface][arm][name]) / (stdev(observed) / math.sqrt(len(observed)))
        for (surface, arm), observed in values.items()
    }


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ctr", lambda seen: seen.clicks),
        ("relevance", lambda seen: seen.relevance),
        ("conversions_per_session", lambda seen: seen.bought),
        ("conversion", lambda seen: {key: [value > 0 for value in seen.bought[key]] for key in seen.bought}),
    ],
)
def test_what_happens_is_what_the_table_says(
    steady: Observed, name: str, values: Callable[[Observed], dict[Key, list[float]]]
) -> None:
    """Every rate of every surface and arm is within four standard errors of the truth."""
    found = deviations(values(steady), Shop(7).truth(), name)
    assert len(found) == len(SURFACES) * len(ARM_WEIGHTS)
    assert {key: away for key, away in found.items() if away > 4} == {}


def test_a_drop_changes_the_personalized_arm_alone() -> None:
    """After the given time the personalized CTR is a part of itself; the other arms do not notice."""
    fails_ms = START_MS + 600 * SECOND_MS
    shop = Shop(11, drop(fails_ms, 0.3))
    before = Observed(shop, START_MS, fails_ms, rate=10.0)
    after = Observed(shop, fails_ms, fails_ms + 1_200 * SECOND_MS, rate=10.0)
    assert max(deviations(before.clicks, shop.truth(START_MS), "ctr").values()) < 4
    assert max(deviations(after.clicks, shop.truth(fails_ms), "ctr").values()) < 4
    steady, failed = shop.truth(START_MS), shop.truth(fails_ms)
    assert steady == shop.truth() == Shop(1).truth()
    factors = {
        (surface, arm): round(failed[surface][arm]["ctr"] / steady[surface][arm]["ctr"], 12)
        for surface in SURFACES
        for arm in ARM_WEIGHTS
    }
    assert factors == {key: 0.3 if key[1] == "personalized" else 1.0 for key in factors}


def test_a_scenario_may_be_switched_while_events_are_taken() -> None:
    """Setting the scenario changes later visits, and not who comes, when, or what is shown."""
    middle_ms, end_ms = START_MS + 60 * SECOND_MS, START_MS + 600 * SECOND_MS
    shop = Shop(3)
    switched: list[Event] = []
    for event in until(shop, end_ms):
        if event.ts >= middle_ms and shop.scenario is STEADY:
            shop.scenario = drop(middle_ms, 0.0)
        switched.append(event)
    steady = list(until(Shop(3), end_ms))

    def shown(events: list[Event]) -> list[bytes]:
        return [codec.encode(event) for event in events if isinstance(event, Impression)]

    def clicks_late(events: list[Event]) -> int:
        late_ms = middle_ms + 60 * SECOND_MS  # later clicks belong to later visits
        return sum(isinstance(e, Click) and e.arm == "personalized" and e.ts > late_ms for e in events)

    assert shown(switched) == shown(steady)
    assert clicks_late(steady) > 100
    assert clicks_late(switched) == 0


def test_the_same_seed_gives_the_same_bytes() -> None:
    """Two shops of one seed and start are equal byte for byte; another seed or start shares no id."""

    def taken(seed: int, start_ms: int) -> list[bytes]:
        events = Shop(seed).events(start_ms, 5.0)
        return [codec.encode(next(events)) for _ in range(2_000)]

    def ids(raw: list[bytes]) -> set[str]:
        return {event.id for event in map(codec.decode, raw) if isinstance(event, Event)}

    first = taken(5, START_MS)
    assert taken(5, START_MS) == first
    assert len(ids(first)) == 2_000
    assert ids(first).isdisjoint(ids(taken(6, START_MS)) | ids(taken(5, START_MS + 1)))


def test_events_come_in_time_order_and_pass_the_codec() -> None:
    """Also delayed clicks and conversions come in order, and the worker's decoder gives every event back."""
    events = list(until(Shop(2), START_MS + 600 * SECOND_MS))
    assert all(before.ts <= after.ts for before, after in pairwise(events))
    assert {type(event) for event in events} == {Impression, Click, Conversion}
    assert [codec.decode(codec.encode(event)) for event in events] == events


def test_clicks_and_conversions_quote_what_earned_them() -> None:
    """A click follows its impression, a conversion its click, in time, with the same decision and item."""
    shown: dict[tuple[str, str], int] = {}
    clicked: dict[tuple[str, str], int] = {}
    joined = 0
    for event in until(Shop(4), START_MS + 1_200 * SECOND_MS):
        match event:
            case Impression():
                shown[event.decision, event.item] = event.ts
            case Click():
                assert 1_000 <= event.ts - shown[event.decision, event.item] <= 60_000
                clicked[event.decision, event.item] = event.ts
            case Conversion():
                assert event.decision is not None
                assert event.item is not None
                assert event.currency == "EUR"
                assert event.value_minor
                assert 2_000 <= event.ts - clicked[event.decision, event.item] <= 900_000
                joined += 1
    assert joined > 50


def test_a_user_keeps_arm_segment_and_device() -> None:
    """Whoever comes back is the same person, and the arms have their shares."""
    shop = Shop(9)
    people: dict[str, set[tuple[str | None, ...]]] = defaultdict(set)
    for event in until(shop, START_MS + 1_200 * SECOND_MS, rate=20.0):
        people[event.user].add((event.arm, event.segment, event.device))
    assert {len(found) for found in people.values()} == {1}
    arms = Counter(shop.arm(f"u-{number:05d}") for number in range(20_000))
    for arm, weight in ARM_WEIGHTS.items():
        assert abs(arms[arm] / 20_000 - weight) < 4 * math.sqrt(weight * (1 - weight) / 20_000)


def test_the_table_is_one_that_personalization_wins() -> None:
    """Weights add up to one, so does the mean position bias, and the personalized CTR is always highest."""
    assert math.isclose(sum(ARM_WEIGHTS.values()), 1.0)
    assert math.isclose(fmean(POSITION_BIAS), 1.0)
    best = {surface: max(arms, key=lambda arm: arms[arm].ctr) for surface, arms in RATES.items()}
    assert best == dict.fromkeys(SURFACES, "personalized")


@pytest.mark.parametrize("rate", [0.0, -1.0, math.inf, math.nan])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    """A shop without arrivals would never yield."""
    with pytest.raises(LynceusError, match="sessions per second"):
        Shop(1).events(START_MS, rate)


def test_a_drop_to_more_than_before_is_refused() -> None:
    """A drop keeps between nothing and all of the rate."""
    with pytest.raises(LynceusError, match=r"factor 1\.5"):
        drop(START_MS, 1.5)


def test_a_run_paces_itself_and_ends_when_told(mock_kafka_settings: KafkaSettings) -> None:
    """Exactly the events that are due leave, and the run ends at the stop event."""
    stop = threading.Event()
    now_s = START_MS / 1000

    def wait(event: threading.Event, seconds: float) -> bool:
        # Waiting is what makes time pass here, and somebody ends the run after a minute of it.
        nonlocal now_s
        now_s += seconds
        if now_s > START_MS / 1000 + 60:
            event.set()
        return event.is_set()

    with Publisher(mock_kafka_settings) as publisher:
        run(Shop(1), publisher, 2.0, stop, clock=lambda: now_s, wait=wait)
        delivery = publisher.flush()
    due = sum(1 for _ in until(Shop(1), START_MS + 60_000, 2.0))
    assert delivery == (due, due, 0, None)
