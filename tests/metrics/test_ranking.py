"""Ranking and accuracy from events: by hand, whatever the order, across partitions and restarts."""

from collections import Counter
from operator import add

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core import codec
from stream_app.core.events import AnyEvent, Click, Consent, Decision, DecisionItem, Impression
from stream_app.core.panes import HOUR_MS
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.core.tally import Plan
from stream_app.metrics import accuracy, clicked_lists, engagement, off_policy, predictions, ranking
from stream_app.metrics.catalogue import INDEX, METRICS
from stream_app.metrics.clicked_lists import ListSums
from stream_app.metrics.fixed_point import nanos
from stream_app.metrics.off_policy import WeightSums, weight_nanos, weights_of
from stream_app.metrics.predictions import PredictionSums
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lists import distinct_in_bins
from stream_app.statistics.lowering import lower
from tests.metrics.listing import BinsBy, bins_of

T0 = 1_700_000_000_000 - 1_700_000_000_000 % HOUR_MS
METRIC = {metric.name: metric for metric in METRICS}
NOTHING = [0] * len(INDEX)
FAMILIES = (engagement.FAMILY, ranking.FAMILY, accuracy.FAMILY)
PLAN = Plan.of([m for f in FAMILIES for m in f.measures], [h for f in FAMILIES for h in f.histograms])
HERE = ("home", "personalized")


def shown(decision: str, position: int, at_ms: int = 0, name: str = "", **more: object) -> Impression:
    """Return the impression of item `i<position>` at its position."""
    said = {"item": f"i{position}", "user": "u", "session": "s", "predicted": 0.2, "propensity": 0.5, **more}
    return Impression(
        id=f"{decision}-{said['item']}-{position}{name}", ts=T0 + at_ms, surface="home", arm="personalized",
        decision=decision, position=position, **said,
    )  # fmt: skip


def click(decision: str, position: int, at_ms: int = 1_000, name: str = "") -> Click:
    """Return a click on it."""
    return Click(
        id=f"{decision}-c{position}{name}", ts=T0 + at_ms, user="u", session="s", surface="home", arm="personalized",
        decision=decision, item=f"i{position}",
    )  # fmt: skip


def state_of(*events: AnyEvent, run: int = 1_000, rules: Rules | None = None) -> Partition:
    state = Partition(PLAN, rules or Rules())
    raws = [codec.encode(event) for event in events]
    for first in range(0, len(raws), run):
        state.process([Span(first, T0 + 30 * HOUR_MS, raws[first : first + run])])
    return state


def bins(*events: AnyEvent, run: int = 1_000) -> dict[str, dict[int, int]]:
    """Return the bins of the one surface and arm, of lists and their items."""
    return bins_of(state_of(*events, run=run)).get(HERE, {})


def told(found: dict[str, dict[int, int]], *names: str) -> list[float | None]:
    estimates = [lower(METRIC[name], NOTHING, INDEX, found) for name in names]
    return [None if estimate is None else round(estimate.value, 6) for estimate in estimates]


def test_the_hand_computed_lists() -> None:
    """Three of A seen, 2 clicked; two of B seen, none clicked: 1 of 2 lists, 1 of 5 places, ranks 1/2 and 0."""
    found = bins(*(shown("A", p) for p in (1, 2, 3)), shown("B", 1), shown("B", 2), click("A", 2))
    assert [0.5, 0.2, 0.25, 0.315465] == told(found, "hit_rate_at_5", "precision_at_5", "reciprocal_rank", "ndcg_at_5")
    assert ListSums(2, 1, 1, 1, 5, 1, 13, 3, 500_000, 250_000, 630_930, 398_072) == clicked_lists.sums_at(
        found["lists_by_clicks"], 5
    )
    assert [0.0, 0.5, 0.0, None] == told(found, *(f"ctr_at_position_{p}" for p in (1, 2, 3, 4)))


def test_the_hand_computed_predictions() -> None:
    """Of five that said 0.2 one was clicked: O/E 1, Brier 0.16; said to be clicks, 1 of 5 was, and all of 1 found."""
    found = bins(*(shown("A", p) for p in range(1, 6)), click("A", 2))
    assert [1.0, 0.16, 0.2, 0.2, 1.0, 0.2, 0.0] == told(
        found, "prediction_ratio", "brier_score", "prediction_accuracy", "prediction_precision", "prediction_recall",
        "prediction_base_rate", "calibration_error",
    )  # fmt: skip


def test_saying_never_is_right_most_of_the_time_and_knows_nothing() -> None:
    """At a base rate of 1 in 20, a model of 0.05 for all is right 19 times of 20; precision and recall unmask it."""
    found = bins(*(shown("A", p, predicted=0.05) for p in range(1, 21)), click("A", 7))
    assert [0.95, None, 0.0, 1.0] == told(
        found, "prediction_accuracy", "prediction_precision", "prediction_recall", "normalised_entropy"
    )


def test_the_reciprocal_rank_of_clicked_lists_is_not_that_of_lists() -> None:
    """Of ten lists one is clicked, at the top: the popular figure says 1, the mean over all says 0.1."""
    lists = [shown(f"D{n}", p) for n in range(10) for p in (1, 2)]
    found = bins(*lists, click("D3", 1), shown("E", 1), click("E", 1))
    assert [2 / 11, 1.0] == pytest.approx(told(found, "reciprocal_rank", "reciprocal_rank_given_click"), abs=1e-6)


def test_a_click_that_overtakes_its_impression_finds_its_place() -> None:
    """Released when the impression comes, it counts in the list, for the prediction and for the choice."""
    late, early = bins(shown("A", 1), shown("A", 2), click("A", 2)), bins(click("A", 2), shown("A", 1), shown("A", 2))
    assert late == early
    assert predictions.sums_of(late["predictions_by_score"]).clicks == 1


def test_what_is_seen_or_clicked_again_changes_nothing() -> None:
    """Another impression of the item, at its place or another, and a second click leave all sums as they were."""
    once = (shown("A", 1), shown("A", 2), click("A", 1))
    again = (shown("A", 1, name="x"), shown("A", 5, item="i2", name="x"), click("A", 1, 2_000, "x"))
    assert bins(*once) == bins(*once, *again)


def test_a_list_is_at_home_where_it_began() -> None:
    """An impression and a click of later panes are added to the pane of the first impression."""
    state = state_of(shown("A", 1), shown("A", 2, 25_000), click("A", 2, 60_000))
    state.bins.settle()
    assert {T0} == set(state.bins.cells.panes)


def test_what_is_no_part_of_a_list() -> None:
    """Position 65 is not; nor is an impression hours later; nor a click after its window."""
    first = shown("A", 1)
    assert bins(first) == bins(first, shown("A", 65), click("A", 1, 700_000))
    hours = [shown(f"later{n}", 1, n * HOUR_MS) for n in (1, 2, 3, 4)]
    assert bins(first, *hours) == bins(first, *hours, shown("A", 2, 4 * HOUR_MS))


def test_without_consent_lists_are_counted_and_nobody_is_kept() -> None:
    """A list is its decision: who denies analytics counts in totals, and no session or user is remembered."""
    denied = [shown("A", p, consent=Consent(analytics=False)) for p in (1, 2)]
    state = state_of(*denied, click("A", 1))
    assert bins(shown("A", 1), shown("A", 2), click("A", 1)) == bins_of(state)[HERE]
    assert (0, 0) == (len(state.joins.exposures), len(state.joins.sessions))


def test_an_impression_that_states_nothing_is_no_prediction() -> None:
    """Without prediction and propensity there are lists and items, and nothing else."""
    found = bins(shown("A", 1, predicted=None, propensity=None), click("A", 1))
    assert {"lists_by_clicks", "impressions_by_item"} == {name for name, of in found.items() if of}


def test_who_explores_is_a_share_of_who_says() -> None:
    """Two decisions say that they explored, one that it did not, one nothing: two of three."""
    said = (True, True, False, None)
    events = [
        Decision(
            id=f"d{n}", ts=T0, user="u", surface="home", arm="personalized", decision=f"D{n}", explore=explore,
            items=(DecisionItem(item="i", position=1),),
        )
        for n, explore in enumerate(said)
    ]  # fmt: skip
    (tally,) = state_of(*events).cells.panes[T0].values()  # type: ignore[union-attr]
    index = {measure.name: at for at, measure in enumerate(m for f in FAMILIES for m in f.measures)}
    found = lower(METRIC["exploration_share"], tally, index)
    assert found is not None
    assert (2 / 3, 3) == (found.value, found.n)


PROBABILITY = st.integers(1, 99).map(lambda share: share / 100)
EVENTS = st.lists(
    st.one_of(
        st.builds(
            shown, st.sampled_from("ABC"), st.integers(1, 12), st.integers(0, 40_000), st.just(""),
            predicted=st.none() | PROBABILITY, propensity=st.none() | PROBABILITY,
        ),
        st.builds(click, st.sampled_from("ABC"), st.integers(1, 12), st.integers(40_000, 60_000)),
    ),
    max_size=25,
    unique_by=lambda event: event.id,
)  # fmt: skip


def summed(parts: list[BinsBy]) -> dict[str, dict[int, int]]:
    """Return the bins of several partitions, added."""
    total: dict[str, Counter[int]] = {}
    for part in parts:
        for name, of in part.get(HERE, {}).items():
            total.setdefault(name, Counter()).update(of)
    return {name: {b: n for b, n in of.items() if n} for name, of in total.items()}


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.randoms(use_true_random=False), st.integers(1, 7), st.integers(0, 25))
def test_order_duplicates_runs_restarts_and_partitions_do_not_matter(events, source, run: int, cut: int) -> None:
    """In one run, shuffled, twice, cut, restored between, or spread over partitions by list: the same sums."""
    whole = bins(*events)
    shuffled = [*events, *events]
    source.shuffle(shuffled)
    # The hour's items lie in the first pane of the hour, and all these lists begin in one.
    assert whole == bins(*shuffled, run=run)
    assert whole == summed([bins_of(state_of(*(e for e in events if e.decision == d))) for d in "ABC"])
    state = state_of(*events[:cut])
    fields, _ = state.take_changes()
    fields.setdefault("@slices", b"\x90")
    restored, _ = Partition.restore(PLAN, Rules(), fields)
    restored.process([Span(cut, T0 + 30 * HOUR_MS, [codec.encode(event) for event in events[cut:]])])
    assert whole == bins_of(restored).get(HERE, {})


@given(st.lists(st.tuples(st.integers(0, 10**9), st.booleans()), max_size=20))
@settings(max_examples=60)
def test_many_predictions_at_once_add_what_each_does(stated: list[tuple[int, bool]]) -> None:
    """What is written out for speed is the sum of contributions and growths."""
    subjects = [(p / 1e9,) if is_click else p / 1e9 for p, is_click in stated]
    expected = PredictionSums()
    for p, is_click in stated:
        one = predictions.click_growth(p) if is_click else predictions.contribution(p, is_clicked=False)
        expected = PredictionSums(*map(add, expected, one))
    assert expected == predictions.sums_of(predictions.amounts(Counter(subjects)))


@given(st.lists(st.tuples(st.sampled_from([1, 0.5, 0.1, 0.03, 0.0004]), st.booleans()), min_size=1, max_size=40))
@settings(max_examples=60)
def test_binned_weights_are_those_of_the_choices(choices: list[tuple[float, bool]]) -> None:
    """Where each bin has one propensity, the sums are those of every choice, with N the mean of 1/p."""
    subjects = [p for p, _ in choices] + [(p,) for p, is_clicked in choices if is_clicked]
    among = sum(1 / p for p, _ in choices) / len(choices)
    expected = WeightSums()
    for p, is_clicked in choices:
        one = off_policy.contribution(weight_nanos(1 / among, p), int(is_clicked))
        expected = WeightSums(*map(add, expected, one))
    found = weights_of(off_policy.amounts(Counter(subjects)))
    assert pytest.approx(list(expected), rel=1e-6, abs=1e-6 * nanos(len(choices))) == list(found)


def test_hashes_in_bins_count_what_is_different() -> None:
    """512 of 1,024 bins met are 1,024 ln 2 things; all met is more than can be told, none met nothing."""
    found = distinct_in_bins(dict.fromkeys(range(512), 3), 1_024)
    assert isinstance(found, Estimate)
    assert (709.8, 512, True) == (round(found.value, 1), found.n, 660 < found.low < 709 < 711 < found.high < 760)
    assert [None, None] == [distinct_in_bins(dict.fromkeys(range(n), 1), 1_024) for n in (0, 1_024)]
