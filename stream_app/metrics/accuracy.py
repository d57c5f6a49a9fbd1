"""Accuracy: whether the click probabilities that the recommender stated came true, and what a random choice earns.

An impression that states `predicted` counts once it is seen, its click when it comes, both in the pane of the list's
first impression; likewise one that states its `propensity`. What "percentage of accurate predictions" leaves out, base
rate, precision, recall and calibration, stands beside it.
"""

from typing import Final

from stream_app.core.tally import Occasion, Spread
from stream_app.metrics import off_policy, predictions
from stream_app.metrics.list_methods import (
    AtThreshold,
    CalibrationError,
    EffectiveSize,
    OfPredictions,
    OfRandomChoice,
    Told,
)
from stream_app.metrics.metric import Family, Metric
from stream_app.metrics.ranking import SURFACE_AND_ARM

THRESHOLD_LOGIT: Final = -2.2
"""A prediction of 0.0998 and more says "click": at one half nearly no click is ever predicted."""
_PREDICTIONS: Final = "predictions_by_score"
_CHOICES: Final = "choices_by_propensity"

SPREADS: Final = (
    Spread(
        _PREDICTIONS,
        "Impressions that state a prediction, and clicks on them: sums of losses, and counts by its logit.",
        "impressions",
        Occasion.PREDICTION,
        predictions.amounts,
    ),
    Spread(
        _CHOICES,
        "Impressions that state a propensity p, and clicks on them, by bins of 0.1 in ln 1/p, with the sum of 1/p.",
        "impressions",
        Occasion.CHOICE,
        off_policy.amounts,
    ),
)

_ALIKE: Final = "Impressions of one session are alike, so the interval is somewhat too narrow."
_THRESHOLD: Final = "predictions of 0.0998 (a logit of -2.2) and more say click"


def _predicted(
    name: str,
    title: str,
    help_: str,
    formula: str,
    caveat: str,
    tells: Told,
    *,
    is_up_good: bool | None,
    highest: float | None,
) -> Metric:
    return Metric(
        name=name,
        title=title,
        help=help_,
        unit="ratio",
        formula=formula,
        caveat=caveat,
        method=OfPredictions(_PREDICTIONS, tells),
        honesty="exact",
        settles="click_window",
        is_up_good=is_up_good,
        highest=highest,
        at_least=2,
        dimensions=SURFACE_AND_ARM,
    )


def _thresholded(name: str, title: str, help_: str, formula: str, caveat: str, tells: Told) -> Metric:
    return Metric(
        name=name,
        title=title,
        help=help_,
        unit="ratio",
        formula=formula,
        caveat=caveat,
        method=AtThreshold(_PREDICTIONS, tells, THRESHOLD_LOGIT),
        honesty="exact",
        settles="click_window",
        is_up_good=None if tells is Told.BASE_RATE else True,
        highest=1.0,
        dimensions=SURFACE_AND_ARM,
    )


def _chosen(
    name: str,
    title: str,
    help_: str,
    formula: str,
    caveat: str,
    method: OfRandomChoice | EffectiveSize,
    unit: str = "ratio",
) -> Metric:
    return Metric(
        name=name,
        title=title,
        help=help_,
        unit=unit,
        formula=formula,
        caveat=caveat,
        method=method,
        honesty="estimate",
        settles="click_window",
        is_up_good=None,
        dimensions=SURFACE_AND_ARM,
    )


METRICS: Final = (
    _predicted(
        "prediction_ratio",
        "Clicks over predicted clicks",
        "Clicks over the sum of the predicted probabilities (O/E): 1 is right, below 1 promises too much.",
        "clicks / sum of predictions, over impressions that state one",
        "Right on the whole may be wrong everywhere: see the calibration error. " + _ALIKE,
        Told.OBSERVED_OVER_EXPECTED,
        is_up_good=None,
        highest=None,
    ),
    *(
        Metric(
            name=name,
            title=title,
            help=help_,
            unit="ratio",
            formula=formula,
            caveat=caveat,
            method=CalibrationError(_PREDICTIONS, tells),
            honesty="exact",
            settles="click_window",
            is_up_good=False if tells is Told.CALIBRATION_ERROR else None,
            highest=1.0,
            dimensions=SURFACE_AND_ARM,
        )
        for name, title, tells, help_, formula, caveat in (
            (
                "calibration_error",
                "Calibration error",
                Told.CALIBRATION_ERROR,
                "Mean distance between predicted and observed click-through rate, over bins of the prediction (ECE).",
                "sum over 15 bins of the logit of the distance of the sum of predictions from the clicks / predictions",
                "A true model does not show 0, because clicks are random: below the calibration noise it says nothing.",
            ),
            (
                "calibration_noise",
                "Calibration noise",
                Told.CALIBRATION_FLOOR,
                "What the calibration error of a true model stays below in 95 of 100 such windows.",
                "mean and 1.645 standard deviations of the error of a model whose predictions are true, in these bins",
                "Few impressions make it large: then no calibration error can be told from chance.",
            ),
        )
    ),
    _predicted(
        "brier_score",
        "Brier score",
        "Mean squared distance between prediction and what happened: lower is better.",
        "mean of (predicted - clicked)^2",
        "With rare clicks every model has a small one: compare models on the same traffic. " + _ALIKE,
        Told.BRIER,
        is_up_good=False,
        highest=1.0,
    ),
    _predicted(
        "log_loss",
        "Log loss",
        "Mean surprise at what happened, in nats: lower is better.",
        "mean of -ln p where clicked, -ln (1 - p) where not, p cut to [1e-6, 1 - 1e-6]",
        "It depends on the click-through rate: compare the normalised entropy across surfaces. " + _ALIKE,
        Told.LOG_LOSS,
        is_up_good=False,
        highest=None,
    ),
    _predicted(
        "normalised_entropy",
        "Normalised entropy",
        "Log loss over that of always predicting the click-through rate: below 1 the model knows something.",
        "log loss / entropy of the click-through rate",
        "The click-through rate it is held against is that of the same window, known afterwards. " + _ALIKE,
        Told.NORMALISED_ENTROPY,
        is_up_good=False,
        highest=None,
    ),
    _predicted(
        "prediction_auc",
        "Area under the ROC curve",
        "Probability that a clicked impression had a higher prediction than one that was not clicked.",
        "sum over 200 bins of clicked there * (not clicked below + half of those there) / pairs",
        "It tells order, not truth: predictions ten times too high have the same. The interval contains the error of "
        "the bins. Across positions it rewards the model for knowing that the top is clicked more. " + _ALIKE,
        Told.AREA_UNDER_CURVE,
        is_up_good=True,
        highest=1.0,
    ),
    _thresholded(
        "prediction_accuracy",
        "Predictive accuracy",
        "Share of predictions, taken for yes or no, that came true.",
        f"(clicked and said so + not clicked and not said so) / predictions, where {_THRESHOLD}",
        "Alone it misleads: with 3 clicks in 100, saying never is right 97 times and knows nothing. See base rate, "
        "precision and recall beside it.",
        Told.ACCURACY,
    ),
    _thresholded(
        "prediction_base_rate",
        "Base rate of predictions",
        "Click-through rate of the impressions that state a prediction.",
        "clicks / impressions that state a prediction",
        "1 less this is the accuracy of saying never, which a model has to beat to be worth its name.",
        Told.BASE_RATE,
    ),
    _thresholded(
        "prediction_precision",
        "Precision of predictions",
        "Share of the predicted clicks that came.",
        f"clicked and said so / said so, where {_THRESHOLD}",
        "Without anything predicted there is none, not 0.",
        Told.RIGHT_OF_SAID,
    ),
    _thresholded(
        "prediction_recall",
        "Recall of predictions",
        "Share of the clicks that were predicted.",
        f"clicked and said so / clicked, where {_THRESHOLD}",
        "Clicks on what was never shown are not known. Saying always has a recall of 1.",
        Told.FOUND_OF_TRUE,
    ),
    _chosen(
        "random_choice_ctr",
        "Click-through rate of a random choice",
        "What the click-through rate would be if every item that could be shown were as likely as any other.",
        "sum of w over clicked / sum of w, w = min((1/N)/p, 20), p the logged propensity, N the mean of 1/p",
        "Self-normalised. It holds where propensities are logged right and nothing is impossible; hidden while the "
        "weighted impressions are worth less than 200. No other policy can be valued: events do not say how likely it "
        "would have made a choice, nor, for a doubly robust value, what was predicted of items not shown. " + _ALIKE,
        OfRandomChoice(_CHOICES, Told.SELF_NORMALISED),
    ),
    _chosen(
        "random_choice_ctr_ipw",
        "Click-through rate of a random choice, not normalised",
        "The same by inverse propensity weighting alone.",
        "sum of w over clicked / impressions, w as for the self-normalised one",
        "Too low by what the cap took, which the mean weight tells: the self-normalised one is to be shown.",
        OfRandomChoice(_CHOICES, Told.INVERSE_PROPENSITY),
    ),
    _chosen(
        "random_choice_weight",
        "Mean weight of a random choice",
        "Mean weight of impressions for the random choice: 1 unless the cap took some.",
        "sum of w / impressions, w as for the value",
        "How far it is below 1 is how much of the random choice this log hardly ever shows.",
        OfRandomChoice(_CHOICES, Told.MEAN_WEIGHT),
    ),
    _chosen(
        "random_choice_capped",
        "Capped weights of a random choice",
        "Share of impressions whose weight was cut to 20.",
        "impressions with (1/N)/p >= 20 / impressions that state a propensity",
        "Each takes some bias against a variance that a single impression could rule.",
        OfRandomChoice(_CHOICES, Told.CAPPED_SHARE),
    ),
    _chosen(
        "random_choice_worth",
        "Effective impressions of a random choice",
        "How many impressions of the random choice this log is worth: below 200 its value is hidden.",
        "(sum of w)^2 / sum of w^2",
        "It says how far the policy is from random, not how good it is.",
        EffectiveSize(_CHOICES),
        unit="impressions",
    ),
)

FAMILY: Final = Family(
    "accuracy",
    "Predictive accuracy",
    "Whether what the recommender predicted came true, and what a random choice would have earned.",
    (),
    METRICS,
    SPREADS,
)
