"""Each scenario changes what it says, from when it says, and nothing else."""

from collections.abc import Callable
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest

from producers.producing import Control, phases
from producers.scenarios import MEANING, SCENARIOS, STEADY, Conditions, Schedule, conditions, parse, phase
from producers.transit import LATE_MS, records
from producers.world import World
from stream_app.core import codec
from stream_app.core.codec import Rejected
from stream_app.core.events import (
    Cart,
    Click,
    Conversion,
    Decision,
    Event,
    Feedback,
    Impression,
    Order,
    Refund,
)
from stream_app.errors import LynceusError
from tests.producers.counting import START_MS

FROM_MS = START_MS + 60_000
SECONDS, RATE, SEED = 240, 2.0, 5


class Arrived:
    """What arrived: events by id with their first arrival, garbage, duplicates."""

    def __init__(self, schedule: Schedule) -> None:
        world = World(SEED, schedule)
        self.events: dict[str, Event] = {}
        self.at_ms: dict[str, int] = {}
        self.garbage = self.duplicates = 0
        for record in records(world, world.happenings(START_MS, RATE, START_MS + 1000 * SECONDS)):
            event = codec.decode(record.value)
            if isinstance(event, Rejected):
                self.garbage += 1
            elif event.id in self.events:
                self.duplicates += 1
                assert event == self.events[event.id]
            else:
                self.events[event.id], self.at_ms[event.id] = event, record.at_ms


@cache
def arrived(name: str) -> Arrived:
    """Return what arrives when a scenario begins after a minute."""
    return Arrived((phase(name, FROM_MS),))


def follows_a_click(event: Event) -> bool:
    return isinstance(event, Click | Conversion | Order | Refund) or (isinstance(event, Cart) and event.action == "add")


def follows_a_choice(event: Event) -> bool:
    return isinstance(event, Decision | Impression | Feedback) or follows_a_click(event)


TOUCHED: dict[str, Callable[[Event], bool]] = {
    "steady": lambda _: False,
    "drop": lambda e: e.arm == "personalized" and follows_a_click(e),
    "site-wide": follows_a_click,
    "instrumentation": lambda e: e.arm == "personalized",
    "srm": lambda e: e.arm == "personalized",
    "context-dead": lambda e: e.arm == "personalized" and follows_a_choice(e),
    "model-stale": lambda e: e.arm != "holdout" and follows_a_choice(e),
    "late": lambda _: False,
    "duplicates": lambda _: False,
    "malformed": lambda _: False,
    "bots": lambda e: e.bot,
    "new-surface": lambda e: e.id.startswith(f"{e.session}-3"),
}
"""By scenario: the events that may be different; of all others each must be there, and equal."""


@pytest.mark.parametrize("name", TOUCHED)
def test_a_scenario_leaves_alone_what_it_does_not_name(name: str) -> None:
    """What a scenario does not touch is the same as in the steady world, event by event."""

    def untouched(world: Arrived) -> dict[str, Event]:
        return {ident: event for ident, event in world.events.items() if not TOUCHED[name](event)}

    before, after = untouched(arrived("steady")), untouched(arrived(name))
    if name == "late":  # what is still late when all traffic has ended never arrives
        before = {ident: event for ident, event in before.items() if ident in after}
    assert before == after


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_happens_before_it_happens(name: str) -> None:
    """Until its beginning, the world with a scenario is the steady one, byte for byte."""

    def opening(schedule: Schedule) -> list[bytes]:
        world = World(SEED, schedule)
        taken = records(world, world.happenings(START_MS, RATE))
        return [record.value for record in takewhile(lambda record: record.at_ms < FROM_MS, taken)]

    assert opening(()) == opening((phase(name, FROM_MS),))


def share(events: list[Event], is_so: Callable[[Event], bool]) -> float:
    return sum(map(is_so, events)) / len(events)


def later(name: str, is_one: Callable[[Event], bool]) -> list[Event]:
    """Return the events of one kind from the scenario's beginning on."""
    return [event for event in arrived(name).events.values() if event.ts >= FROM_MS and is_one(event)]


def test_clicks_fall_where_they_should() -> None:
    """A drop and a site-wide fall take clicks away, and never add one."""
    steady = {e.id for e in later("steady", lambda e: isinstance(e, Click))}
    for name, arms in (("drop", {"personalized"}), ("site-wide", {"personalized", "context_blind", "holdout"})):
        left = {e.id for e in later(name, lambda e: isinstance(e, Click))}
        gone = {arrived("steady").events[ident].arm for ident in steady - left}
        assert left < steady
        assert gone <= arms


@pytest.mark.parametrize(("name", "factor"), [("spike", 10.0), ("traffic-drop", 0.3)])
def test_traffic_is_as_much_as_it_says(name: str, factor: float) -> None:
    """Arrivals from the beginning on are the factor times as many, and each session is what its number makes it."""
    begins = {
        world: {e.session: e.ts for e in arrived(world).events.values() if e.id.endswith("-a")}
        for world in ("steady", name)
    }
    due, there = (sum(ts >= FROM_MS for ts in begins[world].values()) for world in ("steady", name))
    assert abs(there - factor * due) < 4 * (factor**2 * due + factor * due) ** 0.5

    def lives(world: str) -> dict[str, list[tuple[str, int, str]]]:
        told: dict[str, list[tuple[str, int, str]]] = {}
        for e in arrived(world).events.values():
            if e.session in shared:
                told.setdefault(e.session, []).append((e.id, e.ts - begins[world][e.session], e.user))
        return {session: sorted(of) for session, of in told.items()}

    shared = begins["steady"].keys() & begins[name].keys()
    assert len(shared) > 50
    assert lives("steady") == lives(name)


def test_records_are_lost_in_one_arm() -> None:
    """Losing records takes four in ten of the personalized arm."""
    is_one = lambda e: e.arm == "personalized"  # noqa: E731  # used twice, and shorter than its call
    left, all_ = len(later("instrumentation", is_one)), len(later("steady", is_one))
    assert abs(left / all_ - 0.6) < 4 * (0.24 / all_) ** 0.5
    assert arrived("instrumentation").events.items() <= arrived("steady").events.items()


def test_a_mismatch_takes_whole_sessions() -> None:
    """Sessions of the personalized arm are there wholly or not at all."""

    def sizes(name: str) -> dict[str | None, int]:
        counts: dict[str | None, int] = {}
        for event in arrived(name).events.values():
            if event.arm == "personalized":
                counts[event.session] = counts.get(event.session, 0) + 1
        return counts

    left, all_ = sizes("srm"), sizes("steady")
    assert left.items() < all_.items()


def test_a_dead_context_pipe_is_seen_in_the_decisions() -> None:
    """No decision knows a signal any more, and those that should have have a context that is hours old."""
    decisions = [e for e in later("context-dead", lambda e: isinstance(e, Decision)) if isinstance(e, Decision)]
    told = [e for e in later("steady", lambda e: isinstance(e, Decision)) if isinstance(e, Decision) and e.signal]
    old = {e.id for e in decisions if e.context_ts is not None and e.ts - e.context_ts > 3_600_000}
    assert ([], {e.id for e in told}) == ([e for e in decisions if e.signal], old)


def test_late_is_later_than_any_pane_waits() -> None:
    """About one record in twenty comes 400 to 600 s after it happened; all others at once."""
    late = arrived("late")
    delays = [late.at_ms[ident] - event.ts for ident, event in late.events.items()]
    assert {0} == {delay for delay in delays if not LATE_MS[0] <= delay <= LATE_MS[1]}
    assert 0.02 < sum(delay > 0 for delay in delays) / len(delays) < 0.06


def test_doubles_and_garbage_come_besides() -> None:
    """Duplicates are equal to what they double, garbage is none of the events, and both have their share."""
    steady = len(later("steady", lambda _: True))
    assert 0.10 == pytest.approx(arrived("duplicates").duplicates / steady, abs=4 * (0.09 / steady) ** 0.5)
    assert 0.05 == pytest.approx(arrived("malformed").garbage / steady, abs=4 * (0.05 / steady) ** 0.5)
    assert (0, 0) == (arrived("duplicates").garbage, arrived("malformed").duplicates)


def test_a_wrong_clock_belongs_to_a_user() -> None:
    """Some users' times are 120 s behind from their first session in the scenario on; nothing else is different."""
    steady, skewed = arrived("steady").events, arrived("skew").events
    shifts: dict[str | None, set[int]] = {}
    for ident, event in skewed.items():
        shifts.setdefault(event.session, set()).add(event.ts - steady[ident].ts)
    wrong = [shift for shift in shifts.values() if shift == {-120_000}]
    assert (steady.keys(), len(shifts)) == (skewed.keys(), len(wrong) + sum(s == {0} for s in shifts.values()))
    assert 0.05 < len(wrong) / len(shifts) < 0.35


def test_bots_say_that_they_are() -> None:
    """Three sessions of bots come for each of a person, and click all they see."""
    bots = later("bots", lambda e: e.bot)
    people = {e.session for e in later("bots", lambda e: e.id.endswith("-a"))}
    assert 3.0 == pytest.approx(len({e.session for e in bots}) / len(people), rel=0.05)
    shown = {e.id[:-1] for e in bots if isinstance(e, Impression)}
    assert shown == {e.id[:-1] for e in bots if isinstance(e, Click) and e.id.endswith("c")}


def test_a_surface_opens() -> None:
    """Half of the sessions come to the surface that was not there before."""
    seen = {e.session for e in arrived("new-surface").events.values() if e.surface == "detail.similar"}
    people = {e.session for e in later("new-surface", lambda e: e.id.endswith("-a"))}
    assert set() == {e.session for e in arrived("steady").events.values() if e.surface == "detail.similar"}
    assert abs(len(seen) / len(people) - 0.5) < 0.12


def test_strangers_come_and_the_others_stay_who_they_are() -> None:
    """Four in five sessions are by people never seen; the sessions of all others are the steady ones."""
    cold, steady = arrived("cold-start").events, arrived("steady").events
    strangers = {e.session for e in cold.values() if e.user.startswith("n-")}
    people = {e.session for e in later("cold-start", lambda e: e.id.endswith("-a"))}
    assert abs(len(strangers) / len(people) - 0.8) < 0.1
    assert {i: e for i, e in steady.items() if e.session not in strangers} == {
        i: e for i, e in cold.items() if e.session not in strangers
    }


def test_a_phase_ramps_holds_and_ends() -> None:
    """Strength grows over the ramp, stays, and is gone at the end; a later phase of the same number wins."""
    schedule = (parse("drop=0.5@60s-2m~20s", 1_000), parse("drop=0.1@100s-110s", 1_000), parse("spike=3@1.5m", 1_000))
    at_s = (60, 61, 71, 81, 91, 101, 111, 121)
    held = [conditions(schedule, 1_000 * second) for second in at_s]
    assert [1.0, 1.0, 0.75, 0.5, 0.5, 0.1, 0.5, 1.0] == [now.personalized_clicks for now in held]
    assert [1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 3.0] == [now.traffic for now in held]


def test_every_number_is_explained_and_some_scenario_moves_it() -> None:
    """Conditions, their meaning and the scenarios name the same numbers, and every size is within its bounds."""
    moved = {scenario.field for scenario in SCENARIOS.values()}
    assert set(Conditions._fields) == MEANING.keys() == moved
    assert all(each.least <= each.size <= each.most for each in SCENARIOS.values())
    assert STEADY == conditions(phases(["steady"], 0), 0)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("flood", "One of steady, drop"),
        ("drop=1.5", "clicks of the personalized arm relative to the tables"),
        ("drop@60", "Write NAME"),
        ("drop@2m-1m", "START first"),
        ("", "Write NAME"),
    ],
)
def test_what_is_no_scenario_is_refused(text: str, what: str) -> None:
    """The message names the offending text and the remedy."""
    with pytest.raises(LynceusError) as refused:
        parse(text, 0)
    assert what in str(refused.value)


def test_a_file_switches_scenarios_while_the_world_runs(tmp_path: Path) -> None:
    """What is written is followed from that moment on; an empty file takes it back; no file changes nothing."""
    path, world = tmp_path / "control", World(1, (phase("spike"),))
    control, seen = Control(path, world), []
    for second, text in ((0, None), (1, "drop=0@10s\n\nsite-wide\n"), (2, None), (3, "")):
        if text is not None:
            path.write_text(text, encoding="utf-8")
        control.look(float(second))
        seen.append([(one.scenario.name, one.from_ms) for one in world.schedule])
    spike, followed = ("spike", 0), [("spike", 0), ("drop", 11_000), ("site-wide", 1_000)]
    assert [[spike], followed, followed, [spike]] == seen
