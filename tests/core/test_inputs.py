"""Business inputs: what is told for a window, and what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core import codec
from stream_app.core.events import BusinessInput, ProgrammeRecord
from stream_app.core.inputs import Figure, Told, amount, fault_of, latest, level, read, scope_of, told_for

DAY = 86_400_000


def cost(id_: str, value: float, from_day: int, to_day: int, **more: object) -> BusinessInput:
    """Return a cost of some days."""
    told = {"key": "cost", "ts": 1, "author": "finance", "scope": "email", "currency": "EUR"} | more
    return BusinessInput(id=id_, value=value, from_ts=from_day * DAY, to_ts=to_day * DAY, **told)


def test_a_cost_belongs_to_a_window_as_far_as_it_lies_in_it() -> None:
    """600 of days 0-10 and 300 of days 10-20 are 300 and 150 in days 5-15."""
    inputs = latest([cost("a", 600, 0, 10), cost("b", 300, 10, 20, ts=7, author="ops")])
    assert Told(450.0, 7, ("finance", "ops"), "email") == amount(inputs, "cost", "email", 5 * DAY, 15 * DAY, "EUR")


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ([], "nothing is told"),
        ([cost("a", 600, 0, 10)], "the end is not told of"),
        ([cost("a", 600, 6, 20)], "the beginning is not told of"),
        ([cost("a", 600, 0, 9), cost("b", 1, 10, 20)], "there is a hole"),
        ([cost("a", 600, 0, 20, scope="push")], "it is of another scope"),
        ([cost("a", 600, 0, 20, currency="USD")], "it is in another currency"),
        ([cost("a", 600, 0, 20, key="unit_cost")], "it is of another key"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_told_is_not_known(inputs: list[BusinessInput], why: str) -> None:
    """Without a figure for every moment of the window, in the one currency, there is none, and certainly not 0."""
    assert (None, True) == (amount(latest(inputs), "cost", "email", 5 * DAY, 15 * DAY, "EUR"), bool(why))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 3)), max_size=12), st.randoms())
def test_the_order_of_telling_does_not_matter(drawn: list[tuple[int, int, int]], chance: object) -> None:
    """Whichever way they arrive, of each id the one that was told last stands."""
    inputs = [cost(f"i{which}", float(value // 2), 0, 10, ts=ts, author=f"a{value}") for which, ts, value in drawn]
    shuffled = list(inputs)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert latest(inputs) == latest(shuffled)


def test_a_level_is_the_one_told_last_of_those_that_hold() -> None:
    """A margin told on day 3 replaces that of day 1, from the day it holds."""
    told = [
        cost("m1", 0.3, 0, 100, key="margin_rate", ts=1),
        cost("m2", 0.4, 10, 100, key="margin_rate", ts=3),
        cost("m3", 0.9, 200, 300, key="margin_rate", ts=9),
    ]
    inputs = latest(told)
    assert (0.3, 0.4, None) == tuple(
        found and found.value for found in (level(inputs, "margin_rate", "email", day * DAY) for day in (10, 11, 150))
    )


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        (cost("a", 1, 5, 5), "not after"),
        (cost("a", 1, 0, 5, author=None), "author"),
        (cost("a", 1.5, 0, 5, key="margin_rate"), "between 0 and 1"),
        (cost("a", -1, 0, 5), "negative"),
        (cost("a", -0.1, 0, 5, key="discount_rate"), "negative"),
        (cost("a", -5, 0, 5, key="benchmark"), ""),
        (cost("@a", 1, 0, 5), "begins with @"),
        (ProgrammeRecord(id="t", ts=1, kind="audit", value=1.0), ""),
    ],
)
def test_what_makes_no_sense_is_told(told: BusinessInput, fault: str) -> None:
    """An empty stretch, nobody's figure, a margin over 1, a negative cost: each is refused with its reason."""
    assert (bool(fault), True) == (bool(fault_of(told)), fault in fault_of(told))


def test_a_scope_names_the_programme_and_the_part() -> None:
    """Dimensions come in their order, whatever the order of asking; of everything, there is none."""
    where = {"channel": "email", "surface": "home"}
    assert ("acquisition/surface=home/channel=email", "channel=email", "", "acquisition") == (
        scope_of(Figure("cost", "acquisition"), where),
        scope_of(Figure("margin_rate"), {"channel": "email"}),
        scope_of(Figure("margin_rate"), {}),
        scope_of(Figure("cost", "acquisition"), {}),
    )


def test_the_cost_of_the_whole_is_not_that_of_a_part() -> None:
    """A level of the whole holds for a part of which none is told; a cost does not."""
    inputs = latest(
        [
            cost("c", 600, 0, 10, scope="email"),
            cost("m", 0.3, 0, 10, key="margin_rate", scope=None),
            cost("w", 0.4, 0, 10, key="margin_rate", scope="channel=web"),
        ]
    )

    def found(figure: Figure, **where: str) -> float | None:
        told = told_for(inputs, figure, where, 0, 5 * DAY, "EUR")
        return told and told.value

    margin, email = Figure("margin_rate"), Figure("cost", "email")
    assert [0.3, 0.3, 0.4] == [found(margin), found(margin, channel="app"), found(margin, channel="web")]
    assert [300.0, None] == [found(email), found(email, channel="app")]


def test_what_cannot_be_read_is_no_input() -> None:
    """Fields of our own, other bytes, and an input under another name than its id are passed over."""
    one = cost("a", 1, 20_000, 20_010, ts=20_000 * DAY)
    fields = {b"a": codec.encode(one), b"b": codec.encode(one), b"@change": b"1", b"c": b"{"}
    assert {"a": one} == read(fields)
