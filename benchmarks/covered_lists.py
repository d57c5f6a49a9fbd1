"""Rows of lists, predictions and choices: quality of order, position, calibration, random choices, distinct items."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from itertools import product
from math import log, log2, prod
from typing import Final

import numpy as np

from benchmarks.covered import Bounds, Kind, Mixture, Rng, Row, answers
from stream_app.core.followed import ITEM_BINS
from stream_app.metrics import clicked_lists, off_policy, predictions
from stream_app.metrics.fixed_point import NANOS
from stream_app.statistics.offpolicy import doubly_robust_value

LISTS, SCORES, CHOICES = "lists_by_clicks", "predictions_by_score", "choices_by_propensity"
Outcome = tuple[float, Mapping[int, int]]
_PLACES: Final = 5
_RATES: Final = (0.16, 0.10, 0.07, 0.05, 0.04)
"""By place, how often it is clicked in random order."""
_KINDS: Final = ((0.3, 2.2), (0.7, 0.8))
"""Of the lists of an arm some are good, some poor: their share, and how many times as often they are clicked."""
Pattern = tuple[bool, ...]


@cache
def _patterns(kinds: tuple[tuple[float, float], ...]) -> tuple[tuple[Pattern, float], ...]:
    """Return what can be clicked of a list, and how likely that is."""
    return tuple(
        (clicked, sum(share * prod(r * k if c else 1 - r * k for r, c in zip(_RATES, clicked, strict=True))
                      for share, k in kinds))
        for clicked in product((False, True), repeat=_PLACES)
    )  # fmt: skip


@cache
def _lists(kinds: tuple[tuple[float, float], ...] = _KINDS) -> Mixture:
    """Return the law of lists that were seen whole."""
    seen = (1 << _PLACES) - 1

    def adds(clicked: Pattern) -> Mapping[int, int]:
        return clicked_lists.amounts({(0, 0, seen, sum(c << place for place, c in enumerate(clicked))): 1})

    return Mixture((chance, adds(clicked)) for clicked, chance in _patterns(kinds))


def _gain(clicked: Pattern) -> float:
    """Return nDCG: the discounted gain of the clicks over that of as many at the top."""
    best = sum(1 / log2(place + 2) for place in range(sum(clicked)))
    return sum(c / log2(place + 2) for place, c in enumerate(clicked)) / best if any(clicked) else 0.0


def _reciprocal(clicked: Pattern) -> float:
    return 1 / (1 + clicked.index(True)) if any(clicked) else 0.0


def _of_lists(name: str, of: Callable[[Pattern], float], given_click: bool = False, size: int = 400,
              kind: Kind = "nominal") -> Row:  # fmt: skip
    """Return the row of a mean over lists, or over those that were clicked."""
    chosen = [(chance, of(clicked)) for clicked, chance in _patterns(_KINDS) if any(clicked) or not given_click]
    truth = sum(chance * value for chance, value in chosen) / sum(chance for chance, _ in chosen)

    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        return answers(name, {}, _lists().bins(rng, LISTS, draws, size))

    return Row(name, f"{size} lists of 5 of which three in ten are good", truth, draw, kind, share=0.5)


def _against(name: str, truth: float, own: int, holdout: int, kind: Kind) -> Row:
    """Return the row of what is held against the holdout's clicks by position."""

    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        mine, others = _lists().bins(rng, LISTS, draws, own), _lists(((1.0, 1.0),)).bins(rng, LISTS, draws, holdout)
        return answers(name, {}, mine, others)

    return Row(name, f"{own:,} lists of 5, {holdout:,} of the holdout", truth, draw, kind, share=0.5)


_LIFT: Final = sum(share * k for share, k in _KINDS)
_LOGITS: Final = np.arange(-4.4, -0.6, 0.025)
_SAID: Final = [float(p) for p in 1 / (1 + np.exp(-_LOGITS))]
_TRUE: Final = [0.8 * p + 0.02 for p in _SAID]
"""What was predicted, and how likely the click really was: too sure of itself at both ends."""
_THRESHOLD: Final = 1 / (1 + np.exp(2.2))


def _outcomes(
    said: Iterable[float], true: Iterable[float], adds: Callable[..., Mapping[int, int]]
) -> Iterator[Outcome]:
    for p, q in zip(said, true, strict=True):
        yield 1 - q, adds({p: 1})
        yield q, adds({p: 1, (p,): 1})


@cache
def _scored() -> Mixture:
    return Mixture(_outcomes(_SAID, _TRUE, predictions.amounts))


def _predicted(name: str, truth: float, kind: Kind = "nominal", size: int = 4_000) -> Row:
    """Return the row of a metric of `size` predictions."""

    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        return answers(name, {}, _scored().bins(rng, SCORES, draws, size))

    clicks = size * sum(_TRUE) / len(_TRUE)
    return Row(
        name, f"{size:,} predictions from 1 to 35 %, {clicks:.0f} clicks on the mean", truth, draw, kind, share=0.3
    )


def _mean(of: Callable[[float, float], float]) -> float:
    return sum(of(p, q) for p, q in zip(_SAID, _TRUE, strict=True)) / len(_SAID)


def _area() -> float:
    """Return how likely one that is clicked was predicted higher than one that is not."""
    hits, misses = np.array(_TRUE), 1 - np.array(_TRUE)
    below = np.cumsum(misses) - misses / 2
    return float((hits * below).sum() / hits.sum() / misses.sum())


_CTR: Final = _mean(lambda _, q: q)
_ENTROPY: Final = -_CTR * log(_CTR) - (1 - _CTR) * log(1 - _CTR)
_LOSS: Final = _mean(lambda p, q: -q * log(p) - (1 - q) * log(1 - p))
_YES: Final = [p >= _THRESHOLD for p in _SAID]
_RIGHT: Final = sum(q for q, yes in zip(_TRUE, _YES, strict=True) if yes)

_LIKELY: Final = (0.40, 0.15, 0.10, 0.07, 0.06, 0.05, 0.05, 0.04, 0.04, 0.04)
_SELDOM: Final = (0.40, 0.20, 0.10, 0.10, 0.05, 0.05, 0.04, 0.03, 0.02, 0.01)
_RARE: Final = (0.5, 0.3, 0.1, 0.06, 0.02, 0.01, 0.004, 0.003, 0.002, 0.001)
_LIKED: Final = (0.15, 0.12, 0.10, 0.08, 0.06, 0.05, 0.05, 0.04, 0.03, 0.02)
"""How likely each of ten items is chosen, by policies that explore less and less, and then clicked."""


@cache
def _chosen(likely: tuple[float, ...]) -> Mixture:
    return Mixture(
        (p * chance, adds)
        for p, q in zip(likely, _LIKED, strict=True)
        for chance, adds in _outcomes([p], [q], off_policy.amounts)
    )


def _choices(
    name: str, truth: float, likely: tuple[float, ...] = _LIKELY, size: int = 4_000, kind: Kind = "nominal"
) -> Row:
    """Return the row of a random choice among ten items, valued from `size` choices of another policy."""

    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        return answers(name, {}, _chosen(likely).bins(rng, CHOICES, draws, size))

    return Row(
        name, f"{size:,} choices among ten items, the rarest with {min(likely):.1%}", truth, draw, kind, share=0.5
    )


def _robust(rng: Rng, draws: int) -> Iterator[Bounds | None]:
    """4,000 choices with a model that is wrong by a third, for the policy that chooses evenly."""
    weights = [off_policy.weight_nanos(0.1, p) for p in _LIKELY]
    model = [round(q * NANOS * 2 / 3) for q in _LIKED]
    mean = sum(model) // 10
    outcomes = [
        (p * (q if clicked else 1 - q), w, m, clicked)
        for p, q, w, m in zip(_LIKELY, _LIKED, weights, model, strict=True)
        for clicked in (0, 1)
    ]
    robust = np.array([off_policy.robust_contribution(w, clicked, m, mean) for _, w, m, clicked in outcomes])
    plain = np.array([off_policy.contribution(w, clicked) for _, w, _, clicked in outcomes])
    shares = np.array([share for share, *_ in outcomes])
    for numbers in rng.multinomial(4_000, shares / shares.sum(), draws):
        one, other = (numbers @ adds for adds in (robust, plain))
        yield doubly_robust_value(off_policy.RobustSums(*one.tolist()), off_policy.WeightSums(*other.tolist()))


def _items(number: int) -> Row:
    """Return the row of so many different items, by the bins of their hashes."""

    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        hashed = np.sort(rng.integers(0, ITEM_BINS, (draws, number)), axis=1)
        met = (np.diff(hashed, axis=1) > 0).sum(1) + 1
        return answers("items_shown", {}, ({"impressions_by_item": dict.fromkeys(range(n), 1)} for n in met.tolist()))

    return Row("items_shown", f"{number:,} items in {ITEM_BINS:,} bins", float(number), draw, share=0.3)


def _capped(likely: tuple[float, ...]) -> float:
    return sum(p for p in likely if 0.1 / p >= off_policy.WEIGHT_CAP)


ROWS: Final = (
    _of_lists("hit_rate_at_5", lambda c: float(any(c))),
    _of_lists("precision_at_5", lambda c: sum(c) / _PLACES),
    _of_lists("reciprocal_rank", _reciprocal),
    _of_lists("reciprocal_rank_given_click", _reciprocal, given_click=True),
    _of_lists("ndcg_at_5", _gain),
    _of_lists("ndcg_given_click_at_5", _gain, given_click=True),
    _of_lists("ndcg_at_5", _gain, size=20, kind="corner"),
    _of_lists("ctr_at_position_1", lambda c: float(c[0])),
    _against("clicks_over_expected", _LIFT, 800, 400, "nominal"),
    _against("clicks_over_expected", _LIFT, 100, 4_000, "at least"),
    _against("examination_corrected_ctr", _LIFT * _RATES[0], 2_000, 1_000, "nominal"),
    _against("examination_corrected_ctr", _LIFT * _RATES[0], 2_000, 100, "corner"),
    _predicted("prediction_ratio", _CTR / _mean(lambda p, _: p), "at least"),
    _predicted("brier_score", _mean(lambda p, q: q * (1 - p) ** 2 + (1 - q) * p * p)),
    _predicted("log_loss", _LOSS),
    _predicted("normalised_entropy", _LOSS / _ENTROPY),
    _predicted("prediction_auc", _area(), "at least"),
    _predicted("log_loss", _LOSS, "corner", 100),
    _predicted("prediction_base_rate", _CTR),
    _predicted("prediction_accuracy", _mean(lambda p, q: q if p >= _THRESHOLD else 1 - q)),
    _predicted("prediction_precision", _RIGHT / sum(_YES)),
    _predicted("prediction_recall", _RIGHT / sum(_TRUE)),
    _choices("random_choice_ctr", sum(_LIKED) / 10),
    _choices("random_choice_ctr_ipw", sum(_LIKED) / 10),
    _choices("random_choice_weight", 1.0, kind="at least"),
    _choices("random_choice_capped", _capped(_RARE), _RARE),
    _choices("random_choice_ctr", sum(_LIKED) / 10, _SELDOM, kind="corner"),
    _choices("random_choice_ctr", sum(_LIKED) / 10, _RARE, kind="corner"),
    Row(
        "doubly_robust_value",
        "4,000 choices among ten items, a model that is wrong by a third",
        sum(_LIKED) / 10,
        _robust,
        share=0.5,
    ),
    _items(300),
    _items(2_000),
)
