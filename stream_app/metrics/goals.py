"""Goals other than a purchase: who signed up, asked for a quote, became a customer.

Goals are those of `core.goals`; what senders call otherwise is one, `other_goal`. Of a session it is known which ones
it reached, so each is a share of exposed sessions. Two things are said of people, not of sessions: who became a new
customer, and which leads were qualified; both count a person once in 28 days, at the earliest event that says so.
"""

from typing import Any, Final, NamedTuple

from stream_app.core.events import Conversion, Order
from stream_app.core.goals import GOALS, OTHER_GOAL, PURCHASE, goal_bit, goal_of
from stream_app.core.panes import DAY_MS
from stream_app.core.records import Kind, growth
from stream_app.core.tally import Measure, Occasion
from stream_app.metrics.methods import Count, Proportion
from stream_app.metrics.metric import Family, Metric

HORIZON_MS: Final = 28 * DAY_MS


class NewCustomer(NamedTuple):
    """When somebody became a customer, at the earliest; 0 = not known of."""

    since_ms: int = 0


def became_customer(event: Any) -> str | None:
    """Return the user of an event that says: a new customer."""
    is_new = bool(event.new_customer) or (isinstance(event, Conversion) and goal_of(event.goal) == "activation")
    return event.user if is_new else None


def _earliest(one_ms: int, other_ms: int) -> int:
    return min(one_ms, other_ms) if one_ms and other_ms else one_ms or other_ms


NEW_CUSTOMERS: Final = Kind(
    "new_customers",
    (Conversion, Order),
    became_customer,
    NewCustomer(),
    lambda customer, event: NewCustomer(_earliest(customer.since_ms, event.ts)),
    moves=lambda customer, event: event.ts < customer.since_ms,
    horizon_ms=HORIZON_MS,
)


class Lead(NamedTuple):
    """When somebody became a lead, and was called qualified, each at the earliest; 0 = not yet."""

    lead_ms: int = 0
    qualified_ms: int = 0


def _about_lead(event: Conversion) -> str | None:
    return event.user if goal_of(event.goal) in ("lead", "qualified") else None


def _changed_lead(lead: Lead, event: Conversion) -> Lead:
    if goal_of(event.goal) == "lead":
        return lead._replace(lead_ms=_earliest(lead.lead_ms, event.ts))
    return lead._replace(qualified_ms=_earliest(lead.qualified_ms, event.ts))


def is_qualified(lead: Lead) -> bool:
    """Say whether a lead was called qualified, not before it was one and within 28 days."""
    return lead.lead_ms > 0 and lead.lead_ms <= lead.qualified_ms <= lead.lead_ms + HORIZON_MS


LEADS: Final = Kind(
    "leads",
    (Conversion,),
    _about_lead,
    Lead(),
    _changed_lead,
    # What says "qualified" may come before the lead: then it waits where it is.
    moves=lambda lead, event: goal_of(event.goal) == "lead" and not 0 < lead.lead_ms <= event.ts,
    horizon_ms=HORIZON_MS,
)


def _sessions_measure(goal: str) -> Measure:
    bit = 1 if goal == OTHER_GOAL else goal_bit(goal)
    words = "a goal of another name" if goal == OTHER_GOAL else f"the goal {goal}"
    return Measure(
        f"{goal}_sessions",
        f"Exposed sessions that reached {words}, at the session's first impression.",
        "sessions",
        Occasion.EXPOSURE,
        growth(lambda exposure: exposure.goals & bit > 0),
    )


MEASURES: Final = (
    *(_sessions_measure(goal) for goal in (*GOALS, OTHER_GOAL)),
    Measure(
        "new_customers",
        "People of whom an order, a conversion or an activation said for the first time that they are new customers.",
        "people",
        NEW_CUSTOMERS,
        growth(lambda customer: customer.since_ms > 0),
    ),
    Measure("leads", "People who became a lead.", "people", LEADS, growth(lambda lead: lead.lead_ms > 0)),
    Measure(
        "qualified_leads",
        "Leads that were called qualified within 28 days, where they became a lead.",
        "people",
        LEADS,
        growth(is_qualified),
    ),
)

_TITLES: Final = {
    "purchase": ("Purchase rate", "bought"),
    "sign_up": ("Sign-up rate", "signed up"),
    "inquiry": ("Inquiry rate", "inquired"),
    "quote": ("Quote rate", "asked for a quote"),
    "demo": ("Demo registration rate", "registered for a demo"),
    "lead": ("Lead rate", "became a lead"),
    "activation": ("Activation rate", "activated what they have, such as a card"),
    "subscription": ("Subscription rate", "subscribed"),
}


def _rate(goal: str) -> Metric:
    title, did = _TITLES[goal]
    return Metric(
        name=f"{goal}_rate",
        title=title,
        help=f"Share of sessions exposed to the surface that {did} afterwards.",
        unit="ratio",
        formula=f"exposed sessions with an attributed {goal} / exposed sessions",
        caveat=(
            "An order, or a conversion of this goal. " if goal == PURCHASE else f"A conversion whose goal is `{goal}`. "
        )
        + "Converters, not conversions: who does it twice in a session counts once. Not known until the conversion "
        "window is over; causal only between arms.",
        method=Proportion(f"{goal}_sessions", "sessions"),
        honesty="estimate",
        settles="conversion_window",
        is_up_good=True,
        highest=1.0,
    )


METRICS: Final = (
    *map(_rate, _TITLES),
    Metric(
        name="new_customers",
        title="New customers",
        help="People who became customers: an order or conversion said so, or they activated what they have.",
        unit="people",
        formula="distinct users with new_customer = true or goal = activation, at the earliest such event",
        caveat="It is the sender who knows who is new. Somebody of whom it is said again after 28 days is counted "
        "again. By surface it is that of the event, not of what was seen before.",
        method=Count("new_customers"),
        honesty="exact",
        settles="at_once",
        is_up_good=True,
    ),
    Metric(
        name="lead_quality",
        title="Lead quality",
        help="Share of leads that were called qualified within 28 days.",
        unit="ratio",
        formula="people who were called qualified at most 28 days after they became a lead / people who became a lead",
        caveat="Needs the CRM to send `qualified` under the same user. Young leads have had no time: compare windows "
        "whose leads are equally old. What a qualified lead is, is the CRM's definition.",
        method=Proportion("qualified_leads", "leads"),
        honesty="estimate",
        settles="four_weeks",
        is_up_good=True,
        highest=1.0,
    ),
)

FAMILY: Final = Family(
    "goals",
    "Goals and new customers",
    "Which goals sessions reached after they saw a surface, and who became a customer.",
    MEASURES,
    METRICS,
)
