"""Tallies are a commutative group, and the plan grows exactly the measures it should."""

from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.tally import Tally, add_into

WIDTH = 4
tallies = st.lists(st.integers(-(2**70), 2**70), min_size=WIDTH, max_size=WIDTH).map(Tally)


@given(tallies, tallies, tallies)
def test_group_laws(a: Tally, b: Tally, c: Tally) -> None:
    """Addition is associative and commutative, has a zero and inverses, exactly."""
    zero = Tally.zero(WIDTH)
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + zero == a
    assert a + (-a) == zero
    assert (a + b) - b == a


@given(st.lists(tallies, max_size=6), st.randoms(use_true_random=False))
def test_sums_do_not_depend_on_order(many: list[Tally], random: object) -> None:
    """Any order of adding gives the same sum, in place or not."""
    shuffled = list(many)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    sums = [0] * WIDTH
    for tally in shuffled:
        add_into(sums, tally)
    assert Tally(sums) == Tally.total(many, WIDTH)
    for tally in many:
        add_into(sums, -tally)
    assert Tally(sums) == Tally.zero(WIDTH)
