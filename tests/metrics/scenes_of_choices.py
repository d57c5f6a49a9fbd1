"""Scenes of what was chosen for people: context and decisions, what people say of them, lists, and predictions."""

from math import log, log2

from stream_app.core.events import ConsentChange, ContextSignal, Conversion, Feedback, Offer
from tests.metrics.by_hand import Scene, decided, then
from tests.timelines import at, click, impression

# 400 signals. All are decided without after 0.05 s, and the n-th with it after n / 10 s, but for the last ten: never.
RESPONSES = Scene(
    tuple(
        event
        for n in range(1, 401)
        for event in (
            then(0, ContextSignal, f"u{n}", signal=f"s{n}", kind="weather"),
            decided(0.05, f"u{n}"),
            *((decided(n / 10, f"u{n}", signal=f"s{n}", changed=n % 3 == 0),) if n <= 390 else ()),
            *((click(50, "d", user=f"u{n}", id=f"c{n}"),) if n <= 40 else ()),
            *((then(51, Conversion, f"u{n}", goal="purchase"),) if n <= 20 else ()),
        )
    ),
    {
        "context_response": 50 / 400,  # within 5 s of the first decision
        "context_missed": 10 / 400,
        "adaptation_p50": 20,
        "adaptation_p95": 38,
        "adaptation_p99": 600,  # that of the 396th, who waits for good
        "context_change": 130 / 390,
        "signal_ctr": 40 / 400,
        "signal_conversion": 20 / 400,
    },
)

_DEPTHS = ["substitution"] * 10 + ["segment"] * 20 + ["individual"] * 30 + ["contextual"] * 40
# A hundred decisions, the n-th with a context n minutes old; 20 are made by hand, 30 explore. 25 more say nothing.
DECISIONS = Scene(
    (
        *(
            decided(
                7_200, f"u{n}", f"d{n}", depth=depth, explore=n <= 30, automation="manual" if n <= 20 else "auto",
                context_ts=at(7_200 - 60 * n),
            )
            for n, depth in enumerate(_DEPTHS, 1)
        ),
        *(decided(7_200, f"v{n}", f"e{n}") for n in range(25)),
    ),
    {
        "substitution_depth": 10 / 100,
        "segment_depth": 20 / 100,
        "individual_depth": 30 / 100,
        "contextual_depth": 40 / 100,
        "automation": 80 / 100,
        "exploration_share": 30 / 100,
        "context_age_p50": 50 * 60,
        "context_age_p95": 95 * 60,
        "stale_context": 70 / 100,  # more than half an hour
        "dated_context": 100 / 125,
    },
)  # fmt: skip

# Three answers, which stand for 2, 20 and 4 of those asked; three thumbs, two words, three hides of 200 impressions.
FEEDBACK = Scene(
    (
        *(decided(0, f"u{n}", f"d{n}") for n in range(100)),
        *(
            then(9, Feedback, kind="context_relevance", timely=timely, appropriate=fit, asked_prob=asked)
            for timely, fit, asked in ((-1.0, 1.0, 0.5), (1.0, 0.0, 0.05), (1.0, 1.0, 0.25))
        ),
        *(then(9, Feedback, kind="thumb", score=score) for score in (1.0, 1.0, -1.0)),
        *(then(9, Feedback, kind="relevance", score=score) for score in (1.0, 0.0)),
        *(then(9, Feedback, kind="hide") for _ in range(3)),
        *(impression(0, f"i{n}", user=f"u{n}") for n in range(200)),
    ),
    {
        "context_timely": (20 + 4) / 26,
        "context_appropriate": (2 + 4) / 26,
        "context_fitting": 4 / 26,
        "context_answer_rate": 26 / 100,
        "context_ask_rate": 3 / 26,
        "thumbs_up": 2 / 3,
        "found_relevant": 1 / 2,
        "hide_rate": 15,  # of 1,000 impressions
    },
)

# Ten contextual decisions: one is hidden, one gets a thumb down, after one somebody opts out. Of five proactive ones
# four were seen and two taken.
REACTIONS = Scene(
    (
        *(decided(0, f"u{n}", f"d{n}", depth="contextual") for n in range(10)),
        then(5, Feedback, "u0", kind="hide", decision="d0"),
        then(6, Feedback, "u1", kind="thumb", score=-1.0, decision="d1"),
        then(7, Feedback, "u2", kind="thumb", score=1.0, decision="d2"),
        then(8, ConsentChange, "u3", scope="personalization", granted=False),
        *(decided(9, f"v{n}", f"p{n}", proactive=True) for n in range(5)),
        *(
            then(10, Offer, f"v{n}", offer=f"o{n}", decision=f"p{n}", response=response)
            for n, response in enumerate(("accepted", "redeemed", "dismissed", "shown", "expired"))
        ),
    ),
    {"proactive_adoption": 2 / 4, "context_rejections": 1_000 * 2 / 10, "context_opt_outs": 1_000 * 1 / 10},
)

_LOG3, _LOG8, _LOG9 = 1 / log2(3), 1 / log2(8), 1 / log2(9)
# Three lists of twelve: clicked in A at 2 and 7, in B at 8, in C nowhere.
LISTS = Scene(
    (
        *(impression(0, name, f"i{p}", f"u{name}", position=p) for name in "ABC" for p in range(1, 13)),
        *(click(9, name, f"i{p}", f"u{name}") for name, p in (("A", 2), ("A", 7), ("B", 8))),
    ),
    {
        "hit_rate_at_5": 1 / 3,
        "hit_rate_at_10": 2 / 3,
        "precision_at_5": 1 / 15,
        "precision_at_10": 3 / 30,
        "ndcg_at_5": _LOG3 / (1 + _LOG3) / 3,
        "ndcg_given_click_at_5": _LOG3 / (1 + _LOG3) / 2,
        "ndcg_at_10": ((_LOG3 + _LOG8) / (1 + _LOG3) + _LOG9) / 3,
        "ndcg_given_click_at_10": ((_LOG3 + _LOG8) / (1 + _LOG3) + _LOG9) / 2,
        "reciprocal_rank": (1 / 2 + 1 / 8) / 3,
        "reciprocal_rank_given_click": (1 / 2 + 1 / 8) / 2,
    },
)

# Eleven lists of twelve: the first p are clicked at p = 1, ..., 10, five of them at 11.
POSITIONS = Scene(
    (
        *(impression(0, f"d{n}", f"i{p}", f"u{n}", position=p) for n in range(11) for p in range(1, 13)),
        *(click(9, f"d{n}", f"i{p}", f"u{n}") for n in range(11) for p in range(1, 12) if n < (p if p < 11 else 5)),
    ),
    {f"ctr_at_position_{p}": p / 11 for p in range(1, 11)} | {"ctr_from_position_11": 5 / 22},
)

# Ten lists of two of the holdout: 5 are clicked at 1, 2 at 2. Ten that are personalized: 6 at 1, 4 at 2. By the
# holdout 20 x (0.5 + 0.2) = 14 clicks were expected; at 2 people look 0.4 times as often, so a click is worth 2.5.
CORRECTED = Scene(
    tuple(
        event
        for arm, clicked in (("holdout", (5, 2)), ("personalized", (6, 4)))
        for n in range(10)
        for p in (1, 2)
        for event in (
            impression(0, f"{arm}{n}", f"i{p}", f"{arm}{n}", position=p, arm=arm),
            *((click(9, f"{arm}{n}", f"i{p}", f"{arm}{n}"),) if n < clicked[p - 1] else ()),
        )
    ),
    {"clicks_over_expected": (11 + 6) / 14, "examination_corrected_ctr": (11 + 6 * 2.5) / 40},
)

_PREDICTED = ((0.05, True), (0.05, False), (0.5, True), (0.8, False), (0.8, True))
_LOSS = -(log(0.05) + log(0.95) + log(0.5) + log(0.2) + log(0.8)) / 5
# What is said to be clicked from 0.0998 on is so for three, two of them rightly. By bins of the logit: of 0.05 twice
# one is clicked (0.9 too few said), of 0.5 one (0.5), of 0.8 twice one (0.6 too many).
# If all were true, 0.05 twice would be off by 0.9025 x 0.1 + 0.095 x 0.9 + 0.0025 x 1.9 = 0.1805 with the variance
# 0.095 - 0.1805^2, 0.5 by 0.5 always, 0.8 twice by 0.04 x 1.6 + 0.32 x 0.6 + 0.64 x 0.4 = 0.512 with 0.32 - 0.512^2.
PREDICTIONS = Scene(
    (
        *(impression(0, "d", f"i{n}", predicted=p, position=n + 1) for n, (p, _) in enumerate(_PREDICTED)),
        *(click(9, "d", f"i{n}") for n, (_, is_clicked) in enumerate(_PREDICTED) if is_clicked),
    ),
    {
        "prediction_ratio": 3 / 2.2,
        "calibration_error": (0.9 + 0.5 + 0.6) / 5,
        "calibration_noise": (1.1925 + 1.6448536 * (0.415 - 0.1805**2 - 0.512**2) ** 0.5) / 5,
        "brier_score": (0.95**2 + 0.05**2 + 0.5**2 + 0.8**2 + 0.2**2) / 5,
        "log_loss": _LOSS,
        "normalised_entropy": _LOSS / -(0.6 * log(0.6) + 0.4 * log(0.4)),
        "prediction_auc": (0.5 + 1 + 1.5) / 6,  # of 0.05, 0.5, 0.8 against 0.05, 0.8
        "prediction_accuracy": 3 / 5,
        "prediction_base_rate": 3 / 5,
        "prediction_precision": 2 / 3,
        "prediction_recall": 2 / 3,
    },
)

# 300 choices of propensity 1/2, 100 of them clicked, and 100 of 1/4, 50 of them clicked. By the mean of 1 / p each was
# one of 2.5, so a random choice weighs 0.4 / p: 0.8 and 1.6.
CHOICES = Scene(
    tuple(
        event
        for n in range(400)
        for event in (
            impression(0, f"d{n}", user=f"u{n}", propensity=1 / 2 if n < 300 else 1 / 4),
            *((click(9, f"d{n}", user=f"u{n}"),) if n < 100 or n >= 350 else ()),
        )
    ),
    {
        "random_choice_ctr": (100 * 0.8 + 50 * 1.6) / (300 * 0.8 + 100 * 1.6),
        "random_choice_ctr_ipw": (100 * 0.8 + 50 * 1.6) / 400,
        "random_choice_worth": (300 * 0.8 + 100 * 1.6) ** 2 / (300 * 0.8**2 + 100 * 1.6**2),
    },
)

# 39 choices of propensity 1/2 and one of 1/922: each was one of (78 + 922) / 40 = 25, so the others weigh 0.08, and the
# rare one 36.88, which is cut to 20.
CAPPED = Scene(
    tuple(impression(0, f"d{n}", user=f"u{n}", propensity=1 / 2 if n else 1 / 922) for n in range(40)),
    {"random_choice_weight": (20 + 39 * 0.08) / 40, "random_choice_capped": 1 / 40},
)

SCENES = (RESPONSES, DECISIONS, FEEDBACK, REACTIONS, LISTS, POSITIONS, CORRECTED, PREDICTIONS, CHOICES, CAPPED)
