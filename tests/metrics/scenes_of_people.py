"""Scenes of people over months: who comes back, what they are worth, whose account ends; and what they answer."""

from stream_app.core.events import Account, Conversion, Feedback, Order, PageView
from tests.metrics.ageing import on
from tests.metrics.by_hand import Scene, then


def _come(days: dict[str, tuple[int, ...]]) -> tuple[PageView, ...]:
    """Return one view on each day on which somebody comes, in the order of days."""
    return tuple(on(day, PageView, user, page="/") for day, user in sorted((d, u) for u in days for d in days[u]))


def _bought(day: int, user: str, total_minor: int) -> Order:
    return on(day, Order, user, order=f"{user}{day}", currency="EUR", total_minor=total_minor)


# Four people. They stay until day 28, 29, 8 and 0, without four weeks of silence before that.
RETURNS = Scene(
    _come({"a": (0, 1, 7, 28), "b": (0, 1, 29), "c": (0, 8), "d": (0,)}),
    {
        "retention_day_1": 2 / 4,
        "retention_day_7": 1 / 4,
        "retention_day_28": 1 / 4,
        "retention_week_2": 2 / 4,  # days 7 to 13: a and c
        "retention_week_5": 2 / 4,  # days 28 to 34: a and b
        "lifespan_56d": (29 + 30 + 9 + 1) / 4,
    },
)

# Of three, one is there on day 61, one on day 62, one on day 89: the last 28 of 90 days begin with day 62.
LAPSES = Scene(_come({"a": (0, 61), "b": (0, 62), "c": (0, 89)}), {"lapse_90d": 1 / 3})

# b buys nothing and refers two, c pays 5,000 at once, a 100 on day 0, 50 on day 10 and 70 on day 29. The cap is 1,000.
VALUES = Scene(
    (
        on(0, PageView, "b", page="/"),
        _bought(0, "a", 10_000),
        _bought(0, "c", 500_000),
        on(3, Conversion, "b", goal="referral"),
        on(5, Conversion, "b", goal="referral"),
        _bought(10, "a", 5_000),
        _bought(29, "a", 7_000),
    ),
    {
        "referrals_per_person": 2 / 3,
        "value_7d": (100 + 5_000) / 3,
        "capped_value_7d": (100 + 1_000) / 3,
        "value_28d": (150 + 5_000) / 3,
        "capped_value_28d": (150 + 1_000) / 3,
        "value_90d": (220 + 5_000) / 3,
        "capped_value_90d": (220 + 1_000) / 3,
    },
)

# Three customers; a orders again on day 27, b on day 28.
BUYERS = Scene(
    (_bought(0, "a", 1), _bought(0, "b", 1), _bought(0, "c", 1), _bought(27, "a", 1), _bought(28, "b", 1)),
    {"repeat_purchase_28d": 1 / 3, "repeat_purchase_90d": 2 / 3, "purchase_frequency_28d": 4 / 3},
)

# Of four accounts two are cancelled on day 9, one of which returns on day 30.
ACCOUNTS = Scene(
    (
        *(on(0, Account, user, status="active") for user in "abcd"),
        *(on(9, Account, user, status="cancelled") for user in "ab"),
        on(30, Account, "b", status="reactivated"),
    ),
    {"account_churn_28d": 2 / 4, "account_churn_90d": 1 / 4, "won_back_90d": 1 / 2},
)

_CSAT = [(score, 1.0) for score in [5] * 9 + [1]] + [(score, 0.1) for score in [5] + [1] * 9]
# Five promote, three detract. Nine of ten that were asked always are satisfied, and one of ten asked once in ten.
ANSWERS = Scene(
    (
        *(then(0, Feedback, kind="nps", score=score) for score in (9, 9, 10, 10, 10, 7, 8, 0, 5, 6)),
        *(then(0, Feedback, kind="csat", score=score, asked_prob=asked) for score, asked in _CSAT),
        *(then(0, Feedback, kind="rating", score=score) for score in [3.5] * 4 + [5] * 6),
        *(then(0, Feedback, kind="transparency", sentiment=felt) for felt in [-0.25] * 10 + [0.75] * 10),
        *(then(0, Feedback, kind=kind, score=score) for kind, score in (("nps", 8.5), ("csat", 6), ("csat", None))),
    ),
    {
        "nps": (5 - 3) / 10,
        "csat": 10 / 20,
        "csat_weighted": (9 + 10) / (10 + 100),
        "csat_points": (10 * 5 + 10 * 1) / 20,
        "rating": (4 * 3.5 + 6 * 5) / 10,
        "sentiment": (0.75 - 0.25) / 2,
        "nps_answered": 10,
        "csat_answered": 20,
        "rating_answered": 10,
        "odd_answered": 3,  # 8.5 of ten, 6 of five, and none
    },
)

SCENES = (RETURNS, LAPSES, VALUES, BUYERS, ACCOUNTS, ANSWERS)
