"""What a view says of context: waterfall, index, gap, each from the tallies of the arms."""

from pathlib import Path

import msgspec
import pytest

from stream_app.answers import told_of_context
from stream_app.core.slices import Slice
from stream_app.core.tally import Tally
from stream_app.metrics.catalogue import MEASURES
from stream_app.metrics.fixed_point import MICROS
from stream_app.serving.context import ContextAnswer, Indexed, context, context_index, context_waterfall, gap
from stream_app.serving.queries import BadQueryError
from stream_app.serving.views import View
from stream_app.statistics.differences import difference
from stream_app.statistics.means import mean
from stream_app.statistics.proportions import wilson
from stream_app.statistics.relevance_index import relevance_index
from stream_app.statistics.waterfall import Share, waterfall
from tests.serving.viewing import MEANING, view_of

PAGE = (Path(__file__).parents[2] / "docs" / "context.md").read_text(encoding="utf-8")


def tally(**amounts: int) -> Tally:
    return Tally(amounts.get(measure.name, 0) for measure in MEASURES)


def slice_of(surface: str, arm: str) -> Slice:
    return Slice(surface, arm, "none", "none", "none", "none")


def weighted(answers: int, positive: int) -> dict[str, int]:
    """Return the sums of so many answers of weight 1."""
    return {
        "fitting_answers": answers,
        "fitting_weight_micros": answers * MICROS,
        "fitting_square_micros": answers * MICROS,
        "fitting_positive_weight_micros": positive * MICROS,
    }


def spent(user_days: int, cents: int) -> dict[str, int]:
    """Return the sums of users by day of whom every other one spends twice that, and the others nothing."""
    squares = user_days // 2 * (2 * cents) ** 2
    return {
        "user_days": user_days,
        "user_day_revenue_minor": user_days * cents,
        "user_day_revenue_squares": squares,
    }


def view() -> View:
    """Return a view of three arms on two surfaces, and of signals under none."""
    answered = {"decisions": 500, "asked_weight_micros": 100 * MICROS, "asked_square_micros": 100 * MICROS}
    told = {"eligible_signals": 400, "judged_responses": 300, "changed_responses": 240, "responses_in_time": 300}
    counted = {
        slice_of("home", "personalized"): tally(
            sessions=5_000,
            converted_sessions=400,
            **weighted(200, 150),
            **answered,
            **spent(2_000, 1_200),
        ),
        slice_of("cart", "personalized"): tally(sessions=5_000, converted_sessions=400),
        slice_of("none", "personalized"): tally(converted_signals=60, **told),
        slice_of("home", "context_blind"): tally(sessions=2_000, converted_sessions=130, **answered),
        slice_of("none", "context_blind"): tally(converted_signals=40, eligible_signals=400),
        slice_of("home", "holdout"): tally(sessions=2_000, converted_sessions=100, **spent(1_000, 900)),
        slice_of("none", "holdout"): tally(converted_signals=30, eligible_signals=400),
    }
    return view_of()._replace(totals={"5m": counted})


def test_a_waterfall_of_a_view() -> None:
    """Overall sums the surfaces of an arm, one surface is itself, triggered are the signals."""
    found = [
        context_waterfall(view(), MEANING, name, "5m", where)
        for name, where in (("conversion", {}), ("conversion", {"surface": "home"}), ("signal_conversion", {}))
    ]
    assert [
        waterfall(Share(800, 10_000), Share(130, 2_000), Share(100, 2_000)),
        waterfall(Share(400, 5_000), Share(130, 2_000), Share(100, 2_000)),
        waterfall(Share(60, 400), Share(40, 400), Share(30, 400)),
    ] == found


def test_the_index_of_a_view() -> None:
    """The index takes response and feedback from the personalized arm, the lift from all."""
    lifts = waterfall(Share(800, 10_000), Share(130, 2_000), Share(100, 2_000))
    assert lifts is not None
    expected = relevance_index(wilson(300, 400), wilson(240, 300), lifts.context, wilson(150, 200))
    assert expected is not None
    found = context_index(view(), MEANING, "5m")
    assert (expected, {}) == (found.index, found.lacking)
    assert {"response": wilson(300, 400), "change": wilson(240, 300), "feedback": wilson(150, 200)} == found.parts


def test_the_gap_of_answer_rates() -> None:
    """A fifth answers in both arms: the gap is 0, with the interval of two means."""
    rate = mean(500, 100 * MICROS, 100 * MICROS, MICROS, MICROS, 0.0, 1.0)
    found = gap(view(), MEANING, "context_answer_rate", "5m", "personalized", "context_blind", {"surface": "home"})
    assert difference(rate, rate) == found
    assert None is gap(view(), MEANING, "context_answer_rate", "5m", "personalized", "holdout", {})


def test_a_window_says_nothing_of_what_it_cannot_answer() -> None:
    """A metric that is not there yet has neither waterfall nor index."""
    seen = view()
    window = msgspec.structs.replace(seen.snapshot.windows["5m"], not_yet=("conversion",))
    windows = {**seen.snapshot.windows, "5m": window}
    young = seen._replace(snapshot=msgspec.structs.replace(seen.snapshot, windows=windows))
    assert (None, None) == (
        context_waterfall(young, MEANING, "conversion", "5m", {}),
        context_index(young, MEANING, "5m").index,
    )


def test_an_index_says_what_it_lacks() -> None:
    """Of one surface there is none; with an arm that converted 40 times, or 99 signals, these are told."""
    few = view()
    counted = {**few.totals["5m"], slice_of("none", "personalized"): tally(eligible_signals=99, responses_in_time=70)}
    counted[slice_of("home", "context_blind")] = tally(sessions=2_000, converted_sessions=40)
    found = context_index(few._replace(totals={"5m": counted}), MEANING, "5m")
    assert (None, 100, {"response": 99, "change": 0, "lift": 40}) == (found.index, found.at_least, found.lacking)


def answer(*parameters: tuple[str, str]) -> ContextAnswer:
    """Return what is answered, with the counts of `view` in every window."""
    seen = view()
    return context(seen._replace(totals=dict.fromkeys(seen.snapshot.windows, seen.totals["5m"])), MEANING, parameters)


def test_an_answer_has_all_of_it() -> None:
    """A day is the default; shares of all and of the triggered, the index, the share of revenue, the gap of answers."""
    found = answer()
    assert ("24h", {}, ()) == (found.window, found.where, found.unseen)
    assert ["conversion", "ctr", "signal_conversion", "signal_ctr"] == list(found.waterfalls)
    assert waterfall(Share(60, 400), Share(40, 400), Share(30, 400)) == found.waterfalls["signal_conversion"]
    assert found.relevance is not None
    assert found.relevance.index is not None
    assert (pytest.approx(0.25), 0.0) == (
        found.incremental_share and found.incremental_share.value,
        found.answer_gap and found.answer_gap.value,
    )


def test_the_steps_of_an_answer_are_its_total() -> None:
    """To the last bit, as they are sent."""
    sent = msgspec.json.decode(msgspec.json.encode(answer()))["waterfalls"]["conversion"]
    assert sent["total"]["log_ratio"] == sent["context"]["log_ratio"] + sent["personalization"]["log_ratio"]


def test_an_answer_of_a_surface() -> None:
    """What is of all surfaces together is not answered of one; a surface that was never counted is named."""
    found = answer(("surface", "home"), ("window", "1h"))
    assert waterfall(Share(400, 5_000), Share(130, 2_000), Share(100, 2_000)) == found.waterfalls["conversion"]
    assert (None, None, "1h", {"surface": "home"}) == (
        found.relevance,
        found.incremental_share,
        found.window,
        found.where,
    )
    assert ("surface",) == answer(("surface", "hom")).unseen


def test_a_short_window_has_only_what_makes_sense_there() -> None:
    """Conversions of signals are told from an hour on."""
    assert ["conversion", "ctr", "signal_ctr"] == list(answer(("window", "5m")).waterfalls)


@pytest.mark.parametrize(
    ("message", "near", "parameters"),
    [
        ("unknown window '24hours'", "24h", [("window", "24hours")]),
        ("unknown parameter 'surfaces'", "surface", [("surfaces", "home")]),
        ("parameter window is given twice", "", [("window", "1h"), ("window", "24h")]),
    ],
)
def test_what_does_not_exist_is_refused(message: str, near: str, parameters: list[tuple[str, str]]) -> None:
    """As of a query: what is wrong, and the names that are near."""
    with pytest.raises(BadQueryError) as caught:
        answer(*parameters)
    assert (message, True) == (caught.value.message, not near or near in caught.value.near)


def test_words_have_a_line_for_each_step() -> None:
    """The table of a share, the index with its parts, and what a window lacks."""
    found = answer()
    words = told_of_context(found, view().snapshot).splitlines()
    assert "Context, window 24h, all surfaces" == words[0]
    step = "    total            personalized over holdout        x 1.6     95 % interval 1.307 to 1.959   n 12,000"
    assert step in words
    assert "  ctr: not enough data" in words
    assert found.relevance is not None
    assert found.relevance.index is not None
    assert (
        f"  index of contextual relevance: {found.relevance.index.value:.4g} of 100 (response 0.6, lift 0.731, "
        "feedback 0.75)" in words
    )
    few = msgspec.structs.replace(found, relevance=Indexed(None, {}, 100, {"response": 99}))
    lacks = "  index of contextual relevance: not enough data (response 99 of 100)"
    assert lacks in told_of_context(few, view().snapshot).splitlines()


def test_the_example_of_the_page_is_one() -> None:
    """docs/context.md shows what is printed of these counts."""
    example = PAGE.partition("```\nContext,")[2].partition("\n```")[0]
    assert f"Context,{example}".splitlines() == told_of_context(answer(), view().snapshot).splitlines()[:-3]
