"""Scenes of what sessions do: what they click and buy, which goals they reach, what they order, how long they stay."""

from math import exp, lgamma

from stream_app.core.events import Cart, Click, Engagement, FeatureUse, Message, Offer, PageView, Search
from tests.metrics.by_hand import Scene, then
from tests.metrics.money import added, bought, line, refund
from tests.timelines import click, conversion, impression, order

# Six impressions, two of them clicked; u0 sees C after the click. u0 spends 30 + 10, u2 800 without a click.
SESSIONS = Scene(
    (
        impression(0, "d0", "A", "u0", relevance=0.9),
        impression(0, "d0", "B", "u0", relevance=0.7, position=2),
        click(60, "d0", "A", "u0"),
        impression(90, "d9", "C", "u0"),
        order(120, "u0", 3_000),
        order(130, "u0", 1_000),
        impression(1, "d1", "A", "u1", relevance=0.4),
        click(70, "d1", "A", "u1"),
        impression(2, "d2", "A", "u2", relevance=0.2),
        order(140, "u2", 80_000),
        impression(3, "d3", "A", "u3"),
    ),
    {
        "ctr": 2 / 6,
        "session_ctr": 2 / 4,
        "conversion": 2 / 4,
        "attributed_revenue": 30 + 10 + 800,
        "revenue_per_session": 840 / 4,
        "revenue_per_session_winsorised": (40 + 500) / 4,
        "conversions_per_session": 3 / 4,
        "conversion_of_clickers": 1 / 2,
        "conversion_of_others": 1 / 2,
        "interactions_per_session": 2 / 4,
        "relevance": (0.9 + 0.7 + 0.4 + 0.2) / 4,
        "first_click_rate": 2 / 5,  # C was seen after a click
        "first_conversion_rate": 2 / 4,
        "first_relevance": (0.9 + 0.4 + 0.2) / 3,
        "items_shown": 3.0044,  # 3 of 1,024 bins: -1,024 ln(1 - 3 / 1,024)
    },
)

_GOALS = ("purchase", "sign_up", "inquiry", "quote", "demo", "lead", "activation", "subscription")
# Of eight sessions the first reaches all goals, the second all but a purchase, ..., the last a subscription alone.
GOALS = Scene(
    (
        *(impression(n, f"d{n}", user=f"u{n}") for n in range(8)),
        *(
            conversion(100 + 10 * n + k, f"u{n}", goal=goal)
            for n in range(8)
            for k, goal in enumerate(_GOALS)
            if n <= k
        ),
        *(conversion(300 + n, f"u{n}", goal="qualified") for n in range(2)),
    ),
    {f"{goal}_rate": (k + 1) / 8 for k, goal in enumerate(_GOALS)}
    | {"new_customers": 7, "lead_quality": 2 / 6},  # seven were activated; of six leads two were qualified
)

# A hundred visits of two pages: the n-th lasts n s. 50 search, 25 of them twice; 10 click, 8 tell 10, 20, ..., 80 s.
VISITS = Scene(
    tuple(
        event
        for n in range(1, 101)
        for event in (
            then(0, PageView, f"u{n}", page="/"),
            *(then(0.1 * k, Search, f"u{n}", query_hash="q") for k in range((n <= 50) + (n <= 25))),
            *((then(0.5, Click, f"u{n}", decision="d", item="A"),) if n <= 10 else ()),
            *(
                (then(0.8, Engagement, f"u{n}", view=f"v{n}", elapsed_ms=90_000, active_ms=n * 10_000, final=True),)
                if n <= 8
                else ()
            ),
            then(n, PageView, f"u{n}", page="/"),
        )
    ),
    {
        "interactions_per_visit": 10 / 100,
        "pages_per_visit": 2,
        "searches_per_visit": 75 / 100,
        "searching_visits_share": 50 / 100,
        "visit_duration_median": 50,
        "visit_duration_p90": 90,
        "visit_duration": exp(lgamma(102) / 100) - 1,  # the geometric mean of 2, ..., 101, less 1
        "active_time_per_visit": 45,
        "active_time_median": 40,
        "engagement_score": (200 * 1 + 75 * 2 + 10 * 3) / 100 / 56,
    },
)

_VIEWS = zip((3, 6, 16, 31, 61, 121, 301, 601), (10, 30, 30, 60, 80, 80, 100, 100), strict=True)
# Eight views that are closed after so many seconds, scrolled so far: seven last 5 s, six 15 s, ..., one 600 s.
VIEWS = Scene(
    tuple(
        then(seconds, Engagement, view=f"v{seconds}", elapsed_ms=seconds * 1_000, scroll_pct=depth, final=True)
        for seconds, depth in _VIEWS
    ),
    {f"stayed_{at}s": (7 - k) / 8 for k, at in enumerate((5, 15, 30, 60, 120, 300, 600))}
    | {"scrolled_25": 7 / 8, "scrolled_50": 5 / 8, "scrolled_75": 4 / 8, "scrolled_100": 2 / 8, "dwell_median": 60},
)

_STATES = ("clicked", "delivered", "delivered", "unsubscribed", "bounced", "clicked")
# Six messages, of which one bounces; the first three are personal. Opened are the clicked and the unsubscribed ones.
MESSAGES = Scene(
    tuple(
        then(k, Message, message=f"m{n}", state=told, personalized=n < 3)
        for n, state in enumerate(_STATES)
        for k, told in enumerate(("sent", state))
    ),
    {
        "message_bounce_rate": 1 / 6,
        "message_open_rate": 3 / 5,
        "message_click_rate": 2 / 5,
        "message_unsubscribe_rate": 1 / 5,
        "personalized_open_rate": 1 / 3,
        "personalized_click_rate": 1 / 3,
        "blast_open_rate": 2 / 2,
        "blast_click_rate": 1 / 2,
    },
)

# Of ten offers shown four are taken, two of which are redeemed; three are dismissed, one expires.
OFFERS = Scene(
    tuple(
        then(k, Offer, offer=f"o{n}", response=told)
        for n, response in enumerate(
            ["accepted"] * 2 + ["redeemed"] * 2 + ["dismissed"] * 3 + ["expired", "shown", "shown"]
        )
        for k, told in enumerate(("shown", response))
    ),
    {"offer_acceptance": 4 / 10, "offer_redemption": 2 / 10, "offer_dismissal": 3 / 10, "offer_expiry": 1 / 10},
)

# Four people are there; three use a feature, one of them twice.
PRESENCE = Scene(
    (
        then(0, PageView, "u0", page="/"),
        *(then(n, FeatureUse, f"u{n % 3 + 1}", feature="wishlist") for n in range(4)),
    ),
    {"active_users": 4, "feature_usage": 3 / 4, "feature_adoption": 3 / 4},
)

# Net 100, 50, 900 and 30. Of the second half is given back: 30 of 60 with tax. Recommended are 70 of the first, and all
# of the third.
ORDERS = Scene(
    (
        bought(0, "o1", 11_900, line(7_000, "d"), line(3_000), tax_minor=1_900),
        bought(9, "o2", 6_690, line(5_000), tax_minor=1_000, shipping_minor=690),
        bought(18, "o3", 90_000, line(90_000, "e")),
        bought(20, "o4", 3_000, line(3_000)),
        refund(30, "o2", 3_000),
    ),
    {
        "aov": 1_080 / 4,
        "aov_gross": (119 + 66.90 + 900 + 30) / 4,
        "aov_after_refunds": (100 + 25 + 900 + 30) / 4,
        "aov_winsorised": (100 + 50 + 500 + 30) / 4,
        "lines_per_order": 5 / 4,
        "refund_rate": 1 / 4,
        "refunded_share": 25 / 1_080,
        "recommended_revenue_share": (70 + 900) / 1_080,
        "cross_sell_rate": 1 / 4,
        "upsell_rate": 1 / 4,
        "aov_recommended": (100 + 900) / 2,
        "aov_not_recommended": (50 + 30) / 2,
    },
)

# 10, 20, ..., 2,000: 99 % are 1,980 at most, for which the two above it are taken.
ORDER_VALUES = Scene(
    tuple(bought(n, f"o{n}", 1_000 * n) for n in range(1, 201)),
    {
        "order_value_median": 1_000,
        "order_value_p90": 1_800,
        "aov_below_p99": 10 * (198 * 199 / 2 + 2 * 198) / 200,
    },
)

# Of four people u0 buys for 30 and 10, u2 for 800, u1 puts two things into a cart, u3 looks.
SPENDING = Scene(
    (
        *(impression(n, f"d{n}", user=f"u{n}") for n in range(4)),
        order(10, "u0", 3_000),
        order(20, "u0", 1_000),
        order(30, "u2", 80_000),
        added(40, "u1"),
        added(41, "u1"),
    ),
    {
        "revenue_per_user": 840 / 4,
        "revenue_per_user_winsorised": (40 + 500) / 4,
        "buyer_rate": 2 / 4,
        "purchases_per_user": 3 / 4,
        "cart_adds_per_user": 2 / 4,
        "cart_add_rate": 1 / 4,
    },
)

# Personalized people spend 30 and 50, those of the holdout 19 and 21: half of 40 would not be there.
ARMS = Scene(
    tuple(
        order(n, f"u{n}", 100 * spent, arm="personalized" if n < 2 else "holdout")
        for n, spent in enumerate((30, 50, 19, 21))
    ),
    {"incremental_revenue_share": (40 - 20) / 40},
)

# Nine carts of 10, 20, ..., 90; into the last one goes a recommended thing that tells no price.
CARTS = Scene(
    (
        *(added(n, f"u{n}", price_minor=1_000 * n, currency="EUR") for n in range(1, 10)),
        added(20, "u9", decision="d"),
        then(21, Cart, "u9", session="s-u9", action="remove", item="A"),
    ),
    {"cart_size": 10 / 9, "cart_value": 50, "cart_value_median": 50, "recommended_add_share": 1 / 10},
)

SCENES = (
    SESSIONS, GOALS, VISITS, VIEWS, MESSAGES, OFFERS, PRESENCE, ORDERS, ORDER_VALUES, SPENDING, ARMS, CARTS,
)  # fmt: skip
