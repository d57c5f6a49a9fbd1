"""Goals of sessions, new customers, leads."""

import pytest

from stream_app.core.events import Consent, Conversion
from stream_app.core.goals import GOALS, OTHER_GOAL, goal_bit, goal_of
from stream_app.metrics.goals import HORIZON_MS, MEASURES
from tests.metrics.money import amounts, bought, placed, state_of, value
from tests.timelines import at, click, conversion, impression, order

NAMES = [measure.name for measure in MEASURES]
WITHIN_S = HORIZON_MS // 1000


def goal(seconds: float, name: str, user: str = "u1", **fields: object) -> Conversion:
    """A conversion of this goal."""
    return conversion(seconds, user, **({"goal": name, "id": f"g-{name}-{user}-{seconds}"} | fields))


def test_goals_of_three_sessions_by_hand() -> None:
    """One signs up twice and asks for a quote, one orders, one does nothing: a third each, and none above 100 %."""
    events = (
        *(impression(n, f"d{n}", user=f"u{n}") for n in range(3)),
        goal(9, "sign_up", "u0"), goal(10, "Sign-Up", "u0"), goal(11, "quote", "u0"), goal(12, "dance", "u0"),
        order(13, "u1"),
    )  # fmt: skip
    assert {"sign_up_sessions": 1, "quote_sessions": 1, "purchase_sessions": 1, "other_goal_sessions": 1} == amounts(
        state_of(*events), NAMES
    )
    third = round(1 / 3, 12)
    expected = {"sign_up_rate": third, "quote_rate": third, "purchase_rate": third, "demo_rate": 0.0}
    assert expected == {name: value(name, *events) for name in expected}
    assert round(5 / 3, 12) == value("conversions_per_session", *events)


def test_a_goal_stands_where_its_session_saw_the_surface() -> None:
    """Of two surfaces the one that was touched last is credited, at the session's first impression there."""
    state = state_of(impression(0), impression(700, "d2", surface="landing"), goal(900, "demo", surface="form"))
    assert {(at(700), "landing", "personalized"): 1} == placed(state, "demo_sessions")


def test_conversions_of_clickers_and_others() -> None:
    """Of two that clicked both converted, of two that did not, one; it is said of whom, never why."""
    events = (
        *(impression(n, f"d{n}", user=f"u{n}") for n in range(4)),
        click(5, "d0", user="u0"), click(6, "d1", user="u1"), *(order(10 + n, f"u{n}") for n in range(3)),
    )  # fmt: skip
    assert (1.0, 0.5, 0.75) == tuple(
        value(name, *events) for name in ("conversion_of_clickers", "conversion_of_others", "conversion")
    )


def test_the_winsorised_revenue_of_sessions() -> None:
    """Sessions of 10.00 and 2,000.00 are 1,005.00 on average, and with the second cut to 500.00, 255.00."""
    events = (
        impression(0), impression(1, "d2", user="u2"), order(5, total_minor=1_000), order(6, "u2", 150_000),
        order(7, "u2", 50_000),
    )  # fmt: skip
    assert (1_005.0, 255.0) == (
        value("revenue_per_session", *events),
        value("revenue_per_session_winsorised", *events),
    )


def test_every_goal_has_its_bit() -> None:
    """No two goals share a bit, unknown ones have one together, and spelling does not matter."""
    bits = [goal_bit(name) for name in (*GOALS, OTHER_GOAL, "whatever")]
    assert [2 << n for n in range(len(GOALS))] + [1, 1] == bits
    assert ["sign_up", "sign_up", "inquiry", "purchase", OTHER_GOAL] == [
        goal_of(name) for name in ("Sign up", "signup", "enquiry", "ORDER", "sign__up")
    ]


def test_a_new_customer_is_counted_once() -> None:
    """Three events say so, in whatever order they come: one customer, at the earliest of them."""
    events = (
        bought(60, "o", 100, new_customer=True, surface="cart"),
        goal(5, "activation", surface="home"),
        goal(90, "activation"),
        bought(95, "p", 100, new_customer=False),
        bought(96, "q", 100, user="u2"),
    )
    for order_of in (events, events[::-1]):
        assert {(at(0), "home", "none"): 1} == placed(state_of(*order_of), "new_customers")


@pytest.mark.parametrize(
    ("events", "leads", "qualified"),
    [
        ((("lead", 0), ("qualified", 9)), 1, 1),
        ((("lead", 0), ("qualified", WITHIN_S - 600)), 1, 1),
        ((("lead", 0), ("lead", 50), ("qualified", 9)), 1, 1),
        ((("qualified", 0), ("lead", 9)), 1, 0),
        ((("qualified", 0),), 0, 0),
        ((("lead", 0),), 1, 0),
    ],
)
def test_leads_are_people(events: tuple[tuple[str, int], ...], leads: int, qualified: int) -> None:
    """Whoever becomes a lead is one, and a qualified one where that is said later, whatever arrives first."""
    told = [goal(seconds, name) for name, seconds in events]
    for arrived in (told, told[::-1]) if events[-1][1] < 100 else (told,):
        found = amounts(state_of(*arrived), ("leads", "qualified_leads"))
        assert (leads, qualified) == (found.get("leads", 0), found.get("qualified_leads", 0))


def test_a_lead_is_at_home_where_it_became_one() -> None:
    """Being qualified an hour later, in the CRM, changes the lead's own cell."""
    state = state_of(goal(0, "lead", surface="form"), goal(3_600, "qualified", surface="crm"))
    assert {(at(0), "form", "none"): 1} == placed(state, "qualified_leads")


def test_without_consent_there_are_no_people() -> None:
    """Somebody who denies analytics is no lead and no customer that is known of."""
    no = Consent(analytics=False)
    state = state_of(goal(0, "lead", consent=no), goal(1, "activation", consent=no))
    assert {} == amounts(state, ("leads", "new_customers"))
