"""What a view says of context: waterfall, index, gap, each from the tallies of the arms."""

import msgspec

from stream_app.core.slices import Slice
from stream_app.core.tally import Tally
from stream_app.metrics.catalogue import MEASURES
from stream_app.metrics.fixed_point import MICROS
from stream_app.serving.context import context_index, context_waterfall, gap
from stream_app.serving.views import View
from stream_app.statistics.differences import difference
from stream_app.statistics.means import mean
from stream_app.statistics.proportions import wilson
from stream_app.statistics.relevance_index import relevance_index
from stream_app.statistics.waterfall import Share, waterfall
from tests.serving.viewing import MEANING, view_of


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


def view() -> View:
    """Return a view of three arms on two surfaces, and of signals under none."""
    answered = {"decisions": 500, "asked_weight_micros": 100 * MICROS, "asked_square_micros": 100 * MICROS}
    told = {"eligible_signals": 400, "judged_responses": 300, "changed_responses": 240, "responses_in_time": 300}
    counted = {
        slice_of("home", "personalized"): tally(
            sessions=5_000, converted_sessions=400, **weighted(200, 150), **answered
        ),
        slice_of("cart", "personalized"): tally(sessions=5_000, converted_sessions=400),
        slice_of("none", "personalized"): tally(converted_signals=60, **told),
        slice_of("home", "context_blind"): tally(sessions=2_000, converted_sessions=130, **answered),
        slice_of("none", "context_blind"): tally(converted_signals=40, eligible_signals=400),
        slice_of("home", "holdout"): tally(sessions=2_000, converted_sessions=100),
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
    assert expected == context_index(view(), MEANING, "5m")


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
        context_index(young, MEANING, "5m"),
    )
