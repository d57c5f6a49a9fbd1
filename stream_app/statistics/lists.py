"""From the bins of lists, predictions and choices to estimates: one function per method of `metrics.list_methods`."""

from collections.abc import Callable, Mapping
from math import exp, log, sqrt
from typing import Any, Final

from stream_app.core.followed import ITEM_BINS
from stream_app.metrics import clicked_lists, off_policy, predictions
from stream_app.metrics.list_methods import (
    AgainstReference,
    AtPosition,
    AtThreshold,
    CalibrationError,
    Distinct,
    EffectiveSize,
    OfLists,
    OfPredictions,
    OfRandomChoice,
    Told,
)
from stream_app.metrics.metric import Metric
from stream_app.statistics import calibration, discrimination, offpolicy, positions, ranking
from stream_app.statistics.counted import Counted
from stream_app.statistics.estimates import Z_95, Estimate
from stream_app.statistics.positions import ByPosition
from stream_app.statistics.proportions import wilson

_ORDER: Final = {
    Told.HIT_RATE: ranking.hit_rate,
    Told.PRECISION: ranking.precision,
    Told.RECIPROCAL_RANK: ranking.reciprocal_rank,
    Told.RECIPROCAL_RANK_GIVEN_CLICK: ranking.reciprocal_rank_given_click,
    Told.NDCG: ranking.ndcg,
    Told.NDCG_GIVEN_CLICK: ranking.ndcg_given_click,
}
_CORRECTED: Final = {
    Told.CLICKS_OVER_EXPECTED: positions.clicks_over_expected,
    Told.EXAMINATION_CORRECTED: positions.examination_corrected_ctr,
}
_PREDICTED: Final = {
    Told.OBSERVED_OVER_EXPECTED: calibration.observed_over_expected,
    Told.BRIER: calibration.brier,
    Told.LOG_LOSS: calibration.log_loss,
    Told.NORMALISED_ENTROPY: calibration.normalised_entropy,
}
_CHOSEN: Final = {
    Told.SELF_NORMALISED: offpolicy.self_normalised_value,
    Told.INVERSE_PROPENSITY: offpolicy.inverse_propensity_value,
    Told.MEAN_WEIGHT: offpolicy.mean_weight,
    Told.CAPPED_SHARE: offpolicy.capped_share,
}


def distinct_in_bins(bins: Mapping[int, int], of: int) -> Estimate | None:
    """Return how many different things fell into `bins`, by their hashes one of `of`; None when none is empty.

        n = -m ln V      var = m (exp(t) - t - 1),  t = n / m,  V the share of the m bins that are empty

    Source: K. Whang, B. Vander-Zanden, H. Taylor (1990), "A linear-time probabilistic counting algorithm for database
    applications", TODS 15. There were at least as many as bins were met.
    """
    met = sum(amount > 0 for amount in bins.values())
    if not 0 < met < of:
        return None
    value = -of * log(1 - met / of)
    half = Z_95 * sqrt(of * (exp(value / of) - value / of - 1))
    return Estimate(value, met, max(float(met), value - half), value + half)


# -- inside ----------------------------------------------------------------------------------------------------------


def _of_lists(method: OfLists, counted: Counted, _: Metric) -> Estimate | None:
    return _ORDER[method.tells](clicked_lists.sums_at(counted.histogram(method.lists), method.k))


def _by_position(bins: Mapping[int, int]) -> ByPosition:
    return ByPosition(*clicked_lists.seen_and_clicked(bins))


def _at_position(method: AtPosition, counted: Counted, _: Metric) -> Estimate | None:
    return positions.ctr_by_position(_by_position(counted.histogram(method.lists)))[method.position - 1]


def _against_reference(method: AgainstReference, counted: Counted, _: Metric) -> Estimate | None:
    own = _by_position(counted.histogram(method.lists))
    return _CORRECTED[method.tells](own, _by_position(counted.reference.get(method.lists, {})))


def _of_predictions(method: OfPredictions, counted: Counted, _: Metric) -> Estimate | None:
    bins = counted.histogram(method.predictions)
    if method.tells is not Told.AREA_UNDER_CURVE:
        return _PREDICTED[method.tells](predictions.sums_of(bins))
    seen, clicked = predictions.seen_and_clicked(bins)
    return discrimination.area_under_curve(clicked, [n - c for n, c in zip(seen, clicked, strict=True)])


def _calibration_error(method: CalibrationError, counted: Counted, _: Metric) -> Estimate | None:
    bins = counted.histogram(method.predictions)
    seen, clicked = map(calibration.by_calibration_bin, predictions.seen_and_clicked(bins))
    if min(*seen, *clicked) < 0:
        return None
    found = calibration.calibration_error(seen, clicked, predictions.predicted_nanos(bins))
    if found is None:
        return None
    value = found.value if method.tells is Told.CALIBRATION_ERROR else found.floor_95
    return Estimate(value, found.n, value, value)


def _at_threshold(method: AtThreshold, counted: Counted, _: Metric) -> Estimate | None:
    seen, clicked = predictions.seen_and_clicked(counted.histogram(method.predictions))
    first = predictions.score_bin_from(method.logit)
    said, right = sum(seen[first:]), sum(clicked[first:])
    shown, hit = sum(seen), sum(clicked)
    successes, trials = {
        Told.ACCURACY: (shown - said - hit + 2 * right, shown),
        Told.RIGHT_OF_SAID: (right, said),
        Told.FOUND_OF_TRUE: (right, hit),
        Told.BASE_RATE: (hit, shown),
    }[method.tells]
    return wilson(successes, trials) if 0 <= successes <= trials and trials else None


def _of_random_choice(method: OfRandomChoice, counted: Counted, _: Metric) -> Estimate | None:
    return _CHOSEN[method.tells](off_policy.weights_of(counted.histogram(method.choices)))


def _effective_size(method: EffectiveSize, counted: Counted, _: Metric) -> Estimate | None:
    sums = off_policy.weights_of(counted.histogram(method.choices))
    value = offpolicy.effective_size(sums)
    return Estimate(value, sums.choices, value, value) if sums.choices else None


def _distinct(method: Distinct, counted: Counted, _: Metric) -> Estimate | None:
    return distinct_in_bins(counted.histogram(method.things), ITEM_BINS)


LISTED: Final[Mapping[type, Callable[[Any, Counted, Metric], Estimate | None]]] = {
    OfLists: _of_lists,
    AtPosition: _at_position,
    AgainstReference: _against_reference,
    OfPredictions: _of_predictions,
    CalibrationError: _calibration_error,
    AtThreshold: _at_threshold,
    OfRandomChoice: _of_random_choice,
    EffectiveSize: _effective_size,
    Distinct: _distinct,
}
