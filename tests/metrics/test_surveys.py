"""Surveys: what answers count as, and what they add up to."""

from collections.abc import Sequence
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from stream_app.core.events import Consent, Feedback
from stream_app.core.processor import Partition
from stream_app.core.rules import Rules
from stream_app.metrics.catalogue import INDEX, MEASURES
from stream_app.metrics.surveys import FAMILY
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lowering import lower
from tests.metrics.ageing import METRIC, feed, on, state_of, stored
from tests.timelines import rows

OURS = tuple(measure.name for measure in FAMILY.measures)


def said(kind: str, score: float | None = None, day: float = 0, **more: object) -> Feedback:
    """Return an answer."""
    return on(day, Feedback, kind=kind, score=score, **more)


def total(*states: Partition) -> dict[str, int]:
    """Return the sums of our measures, zeros left out."""
    tallies = [tally for state in states for by_slice in rows(state).values() for tally in by_slice.values()]
    sums = {name: sum(tally[INDEX[name]] for tally in tallies) for name in OURS}
    return {name: amount for name, amount in sums.items() if amount}


def answer(metric: str, sums: dict[str, int]) -> Estimate | None:
    """Return what a metric says of these sums."""
    return lower(METRIC[metric], [sums.get(measure.name, 0) for measure in MEASURES], INDEX)


def ask(metric: str, kind: str, scores: Sequence[float], **more: object) -> Estimate | None:
    """Return what a metric says of answers."""
    return answer(metric, total(state_of(said(kind, score, **more) for score in scores)))


def test_the_net_promoter_score_by_hand() -> None:
    """Of ten, five promote (9, 10), two are passive, three detract: +20 points; the interval is of 2 in 13."""
    found = ask("nps", "nps", [9, 9, 10, 10, 10, 7, 8, 0, 5, 6])
    half = 1.959963984540054 * ((9.5 / 13 - (2 / 13) ** 2) / 13) ** 0.5
    assert (pytest.approx(0.2), 10, pytest.approx(2 / 13 - half)) == (found.value, found.n, found.low)


def test_satisfaction_is_no_mean_rating() -> None:
    """Twenty threes: nobody is satisfied, and the mean in per cent would say 60."""
    satisfied, points = ask("csat", "csat", [3] * 20), ask("csat_points", "csat", [3] * 20)
    assert (0.0, 3.0, 0.6) == (satisfied.value, points.value, points.value / 5)


def test_the_share_of_satisfied_has_the_interval_of_statsmodels() -> None:
    """Wilson's, of 13 in 17."""
    found = ask("csat", "csat", [5] * 6 + [4] * 7 + [1, 2, 3, 3])
    assert pytest.approx(proportion_confint(13, 17, method="wilson")) == (found.low, found.high)


def test_answers_weigh_what_they_stand_for() -> None:
    """Nine of ten asked always are satisfied; of those asked once in ten, one of ten is: each stands for ten.

    Unweighted 10 of 20; weighted (9 + 10) of 110.
    """
    events = [said("csat", score, asked_prob=1.0) for score in [5] * 9 + [1]]
    events += [said("csat", score, asked_prob=0.1) for score in [5] + [1] * 9]
    sums = total(state_of(events))
    assert (0.5, pytest.approx(19 / 110)) == (answer("csat", sums).value, answer("csat_weighted", sums).value)
    # Kish: 110^2 / (10 + 1000) = 11.98 answers.
    assert pytest.approx(11.98, abs=0.01) == 110**2 / (sums["csat_weight_squares"] / 10**6)


def test_answers_of_unknown_chance_have_no_weight() -> None:
    """Without asked_prob they count in the share, and not in the weighted one."""
    sums = total(state_of(said("csat", 5) for _ in range(20)))
    assert (20, None) == (answer("csat", sums).n, answer("csat_weighted", sums))


def test_a_score_that_its_scale_does_not_have_is_no_answer() -> None:
    """8.5 of ten, 6 of five, none at all: counted apart; a rating of 3.5 is one."""
    events = [said("nps", 8.5), said("nps", 11), said("csat", 6), said("csat"), said("rating", 0), said("rating", 3.5)]
    sums = total(state_of(events))
    assert {"odd_answers": 5, "rating_answers": 1, "rating_hundredths": 350, "rating_squares": 350**2} == sums


def test_sentiment_is_of_any_feedback() -> None:
    """A mean of -1, 0.5 and 0.5 is 0; with fewer than ten answers there is none."""
    events = [said("thumb", sentiment=-1.0), said("csat", 3, sentiment=0.5), said("hide", sentiment=0.5)]
    sums = total(state_of(events * 1))
    assert (3, 0, 1_500_000) == (sums["sentiments"], sums.get("sentiment_micros", 0), sums["sentiment_squares"])
    found = ask("sentiment", "thumb", [1] * 10, sentiment=-0.25)
    assert (None, -0.25) == (answer("sentiment", sums), found.value)


def test_answers_without_consent_count() -> None:
    """Nothing is kept of anybody, so consent takes nothing away."""
    assert 10 == ask("nps", "nps", [10] * 10, consent=Consent(analytics=False)).n


ANSWERS = st.lists(
    st.builds(
        said,
        st.sampled_from(["nps", "csat", "rating", "thumb"]),
        st.one_of(st.none(), st.integers(-1, 11).map(float), st.floats(0, 6)),
        st.floats(0, 0.003),
        asked_prob=st.one_of(st.none(), st.floats(1e-9, 1)),
        sentiment=st.one_of(st.none(), st.floats(-1, 1)),
    ),
    max_size=30,
)


@settings(max_examples=50, deadline=None)
@given(ANSWERS, st.randoms(), st.integers(0, 30))
def test_neither_order_duplicates_partitions_nor_a_restart_matter(answers, chance, cut) -> None:
    """In another order, partly told twice, in two partitions, with a restart between: the sums are the same."""
    whole = total(state_of(answers))
    mixed = answers + chance.sample(answers, len(answers) // 2)
    chance.shuffle(mixed)
    state, _ = Partition.restore(state_of([]).plan, Rules(), stored(state_of(mixed[:cut])))
    feed(state, mixed[cut:])
    apart = total(state_of(answers[:cut]), state_of(answers[cut:]))
    assert [whole, whole] == [total(state), apart]


@settings(max_examples=50, deadline=None)
@given(ANSWERS)
def test_the_sums_are_those_of_a_recount(answers: list[Feedback]) -> None:
    """Counted by plain loops: NPS, CSAT, ratings to a hundredth, sentiment to a millionth."""
    sums = total(state_of(answers))
    nps = [a.score for a in answers if a.kind == "nps" and a.score in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]
    csat = [a.score for a in answers if a.kind == "csat" and a.score in [1, 2, 3, 4, 5]]
    rated = [a.score for a in answers if a.kind == "rating" and a.score is not None and 1 <= a.score <= 5]
    assert (len(nps), sum(s > 8 for s in nps), sum(s < 7 for s in nps)) == tuple(
        sums.get(name, 0) for name in ("nps_answers", "nps_promoters", "nps_detractors")
    )
    assert (len(csat), sum(s > 3 for s in csat), sum(csat)) == tuple(
        sums.get(name, 0) for name in ("csat_answers", "csat_satisfied", "csat_points")
    )
    assert len(rated) == sums.get("rating_answers", 0)
    assert not rated or pytest.approx(fmean(rated), abs=0.0051) == sums["rating_hundredths"] / 100 / len(rated)
    felt = [a.sentiment for a in answers if a.sentiment is not None]
    assert pytest.approx(sum(felt), abs=1e-5) == sums.get("sentiment_micros", 0) / 10**6
