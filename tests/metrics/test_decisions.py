"""How things were decided: depth, automation, and how old the context was."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core.events import Consent, Decision, DecisionItem
from stream_app.core.quantile_sketch import bucket_of
from stream_app.metrics import decisions
from stream_app.metrics.decisions import STALE_MS, context_age_ms, is_contextual
from stream_app.statistics.lowering import lower
from stream_app.statistics.proportions import wilson
from tests.metrics.counted import T0, Amounts, amounts, bins_of, plan_of, state_of, state_restarted, totals

PLAN = plan_of(decisions.FAMILY)
INDEX = {measure.name: at for at, measure in enumerate(decisions.MEASURES)}


def decision(number: int, at_ms: int = 0, **told: Any) -> Decision:
    """Return a decision."""
    items = (DecisionItem(item="i", position=1),)
    return Decision(id=f"d{number}", ts=T0 + at_ms, user="u", arm="personalized", decision="d", items=items, **told)


def test_a_handful_by_hand() -> None:
    """Six decisions, of which four state a depth, three whether they are automatic, three of when the context is."""
    told: list[dict[str, Any]] = [
        {"depth": "contextual", "automation": "auto", "context_ts": T0 - 2_000},
        {"depth": "individual", "automation": "auto", "context_ts": T0 - STALE_MS - 1},
        {"depth": "segment", "automation": "manual", "context_ts": T0 + 1},
        {"depth": "substitution"},
        {"signal": "s"},
        {"consent": Consent(analytics=False)},
    ]
    state = state_of(PLAN, [decision(number, **more) for number, more in enumerate(told)])
    found = totals(state)
    tally = [found.get(measure.name, 0) for measure in decisions.MEASURES]
    bins = {"context_age_ms": bins_of(state, "context_age_ms")}
    assert (6, 2) == (found["decisions"], found["contextual_decisions"])
    assert {0: 1, bucket_of(2_000): 1, bucket_of(STALE_MS + 1): 1} == bins["context_age_ms"]
    assert {
        "substitution_depth": wilson(1, 4),
        "segment_depth": wilson(1, 4),
        "individual_depth": wilson(1, 4),
        "contextual_depth": wilson(1, 4),
        "automation": wilson(2, 3),
        "context_age_p50": None,
        "context_age_p95": None,
        "stale_context": wilson(1, 3),
        "dated_context": wilson(3, 6),
    } == {metric.name: lower(metric, tally, INDEX, bins) for metric in decisions.METRICS}


@pytest.mark.parametrize(("age_ms", "context_ms"), [(0, 0), (5, -5), (0, 5), (None, None)])
def test_how_old_a_context_is(age_ms: int | None, context_ms: int | None) -> None:
    """Its age is what lies between it and the decision; a clock that is ahead makes nothing younger than now."""
    context_ts = None if context_ms is None else T0 + context_ms
    assert age_ms == context_age_ms(decision(0, context_ts=context_ts))


def test_context_makes_a_decision_that_names_its_signal() -> None:
    """By depth or by signal; a context_ts alone says only that there was context."""
    told: list[dict[str, Any]] = [{"depth": "contextual"}, {"signal": "s"}, {"context_ts": T0}, {"depth": "individual"}]
    assert [True, True, False, False] == [is_contextual(decision(0, **more)) for more in told]


DECISIONS = st.lists(
    st.tuples(
        st.integers(0, 60_000),
        st.sampled_from([None, "substitution", "segment", "individual", "contextual"]),
        st.sampled_from([None, "auto", "manual"]),
        st.sampled_from([None, T0 - 10**7, T0, T0 + 10**5]),
    ),
    max_size=20,
).map(
    lambda drawn: [
        decision(number, at_ms, depth=depth, automation=automation, context_ts=context_ts)
        for number, (at_ms, depth, automation, context_ts) in enumerate(drawn)
    ]
)


@settings(deadline=None, max_examples=60)
@given(DECISIONS, st.integers(0, 20), st.randoms(use_true_random=False))
def test_order_duplicates_restarts_and_partitions_do_not_matter(told: list[Decision], cut: int, chance: Any) -> None:
    """However they arrive, decisions add up to the same, on one partition or on two."""
    expected = amounts(state_of(PLAN, told))
    mixed = [*told, *told]
    chance.shuffle(mixed)
    cut %= len(told) + 1
    parts: Amounts = amounts(state_of(PLAN, told[:cut])) + amounts(state_of(PLAN, told[cut:]))
    assert [expected] * 3 == [amounts(state_of(PLAN, mixed)), amounts(state_restarted(PLAN, told, cut)), parts]
