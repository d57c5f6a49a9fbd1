"""Methods that read what lists, predictions and choices add up to: see clicked_lists, predictions, off_policy.

Each names a spread, and what of it is told: `statistics.lists` has the functions.
"""

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar


class Told(Enum):
    """What of its sums a method tells."""

    HIT_RATE = "hit_rate"
    PRECISION = "precision"
    RECIPROCAL_RANK = "reciprocal_rank"
    RECIPROCAL_RANK_GIVEN_CLICK = "reciprocal_rank_given_click"
    NDCG = "ndcg"
    NDCG_GIVEN_CLICK = "ndcg_given_click"
    CLICKS_OVER_EXPECTED = "clicks_over_expected"
    EXAMINATION_CORRECTED = "examination_corrected"
    OBSERVED_OVER_EXPECTED = "observed_over_expected"
    BRIER = "brier"
    LOG_LOSS = "log_loss"
    NORMALISED_ENTROPY = "normalised_entropy"
    AREA_UNDER_CURVE = "area_under_curve"
    CALIBRATION_ERROR = "calibration_error"
    CALIBRATION_FLOOR = "calibration_floor"
    ACCURACY = "accuracy"
    RIGHT_OF_SAID = "right_of_said"
    FOUND_OF_TRUE = "found_of_true"
    BASE_RATE = "base_rate"
    SELF_NORMALISED = "self_normalised"
    INVERSE_PROPENSITY = "inverse_propensity"
    MEAN_WEIGHT = "mean_weight"
    CAPPED_SHARE = "capped_share"


@dataclass(frozen=True, slots=True)
class OfLists:
    """How good the order of lists was by their clicks, at cut-off `k` (5 or 10).

    Of the reciprocal rank the whole list counts, whatever the cut-off.
    """

    interval: ClassVar[str] = (
        "Wilson score interval of a share of lists; else Student's t over lists, which are the unit"
    )

    lists: str
    tells: Told
    k: int = 10


@dataclass(frozen=True, slots=True)
class AtPosition:
    """The share of impressions at a position that were clicked, one click each; position 11 is all from there on."""

    interval: ClassVar[str] = "Wilson score interval"

    lists: str
    position: int


@dataclass(frozen=True, slots=True)
class AgainstReference:
    """Clicks with the effect of position taken out, as the holdout of the same surfaces and window shows it."""

    interval: ClassVar[str] = "exact Poisson and delta method: what the clicks vary by, and what the holdout's do"

    lists: str
    tells: Told


@dataclass(frozen=True, slots=True)
class OfPredictions:
    """Whether predicted click probabilities are true, or tell the clicked from the others."""

    interval: ClassVar[str] = "exact Poisson (O/E), DeLong widened by what bins hide (AUC), else Student's t"

    predictions: str
    tells: Told


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """The mean distance of predictions from clicks over 15 bins of the logit; or what a true model stays below."""

    interval: ClassVar[str] = ""

    predictions: str
    tells: Told


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """Predictions taken for yes or no: yes from the score bin that begins at `logit` on, a multiple of 0.1."""

    interval: ClassVar[str] = "Wilson score interval"

    predictions: str
    tells: Told
    logit: float


@dataclass(frozen=True, slots=True)
class OfRandomChoice:
    """What a random choice would have earned, from choices with a logged propensity; or what its weights are like."""

    interval: ClassVar[str] = "normal interval, without the bias of capped weights; Wilson of the capped share"

    choices: str
    tells: Told


@dataclass(frozen=True, slots=True)
class EffectiveSize:
    """How many equally weighted choices the weighted ones are worth."""

    interval: ClassVar[str] = ""

    choices: str


@dataclass(frozen=True, slots=True)
class Distinct:
    """How many different things fell into the bins of their hashes: linear counting."""

    interval: ClassVar[str] = "normal interval of linear counting"

    things: str


ListMethod = (
    OfLists
    | AtPosition
    | AgainstReference
    | OfPredictions
    | CalibrationError
    | AtThreshold
    | OfRandomChoice
    | EffectiveSize
    | Distinct
)
