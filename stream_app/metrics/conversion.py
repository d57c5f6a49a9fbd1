"""Conversion and money, credited to the session that saw the surface.

A session is one exposure wherever it goes on: what it earns after midnight is at home where it began. Money in another
than the reporting currency is counted, never added. An order whose id was taken before earns nothing.
"""

from typing import Final

from stream_app.core.records import Exposure, growth
from stream_app.core.tally import Measure, Occasion
from stream_app.metrics.methods import Count, Mean, Proportion
from stream_app.metrics.metric import Family, Metric

SESSION_CAP_MINOR: Final = 50_000
"""What a session can count for at most in the winsorised mean: 500 in major units."""


def capped_revenue(exposure: Exposure) -> int:
    """Return what a session earned, cut at the cap."""
    return min(exposure.revenue_minor, SESSION_CAP_MINOR)


MEASURES: Final = (
    Measure(
        "conversions",
        "Conversions and orders within the attribution window, at the impression that earned them.",
        "conversions",
        Occasion.CONVERSION,
        is_counter=True,
    ),
    Measure(
        "converted_sessions",
        "Exposed sessions with at least one conversion, at the session's first impression.",
        "sessions",
        Occasion.EXPOSURE,
        growth(lambda exposure: exposure.conversions > 0),
    ),
    Measure(
        "revenue_minor",
        "Attributed revenue in the reporting currency: conversion values, and orders less tax and shipping.",
        "minor units",
        Occasion.REVENUE,
        int,
    ),
    Measure(
        "session_revenue_minor",
        "The part of revenue_minor whose session is known, at the session's first impression.",
        "minor units",
        Occasion.EXPOSURE,
        growth(lambda exposure: exposure.revenue_minor),
    ),
    Measure(
        "session_revenue_squares",
        "Sum over sessions of the square of session_revenue_minor.",
        "minor units squared",
        Occasion.EXPOSURE,
        growth(lambda exposure: exposure.revenue_minor**2),
    ),
    Measure(
        "foreign_revenue_events",
        "Attributed conversions and orders in another currency: counted, their money is never added.",
        "events",
        Occasion.FOREIGN_REVENUE,
    ),
    Measure(
        "session_conversions",
        "The part of conversions whose session is known, at the session's first impression.",
        "conversions",
        Occasion.EXPOSURE,
        growth(lambda exposure: exposure.conversions),
    ),
    Measure(
        "session_conversion_squares",
        "Sum over sessions of the square of session_conversions.",
        "conversions squared",
        Occasion.EXPOSURE,
        growth(lambda exposure: exposure.conversions**2),
    ),
    Measure(
        "converted_clicked_sessions",
        "Exposed sessions that clicked there and converted, in whatever order.",
        "sessions",
        Occasion.EXPOSURE,
        growth(lambda exposure: exposure.clicks > 0 and exposure.conversions > 0),
    ),
    Measure(
        "session_revenue_capped_minor",
        "session_revenue_minor, of each session 50,000 at most.",
        "minor units",
        Occasion.EXPOSURE,
        growth(capped_revenue),
    ),
    Measure(
        "session_revenue_capped_squares",
        "Sum over sessions of the square of session_revenue_capped_minor.",
        "minor units squared",
        Occasion.EXPOSURE,
        growth(lambda exposure: capped_revenue(exposure) ** 2),
    ),
)

METRICS: Final = (
    Metric(
        name="conversion",
        title="Conversion rate",
        help="Share of sessions exposed to the surface that converted: converters over exposed, so never above 100 %.",
        unit="ratio",
        formula="exposed sessions with at least one attributed conversion or order / exposed sessions",
        caveat='Not "conversions / users", which mixes units and can pass 100 %. Conversions may come days after the '
        "exposure: a young window is too low. Between surfaces or over time it says nothing about causes; between arms "
        "it does.",
        method=Proportion("converted_sessions", "sessions"),
        honesty="estimate",
        settles="conversion_window",
        is_up_good=True,
        is_exported=True,
        highest=1.0,
    ),
    Metric(
        name="attributed_revenue",
        title="Attributed revenue",
        help="Revenue credited to the surface, in major units of the reporting currency: of a campaign, ask for its "
        "surface.",
        unit="currency",
        formula="sum of conversion values, and of orders without tax and shipping, at the impression that earned them: "
        "the quoted one, else the last click, else the last view",
        caveat="Credit, not cause: much of it would have come anyway, see `incremental_revenue_share`. A campaign is "
        "told apart by the surface, policy or channel that its impressions name; messages by themselves earn nothing, "
        "because no order says which message it came from. Refunds are not subtracted. It grows with traffic.",
        method=Count("revenue_minor", scale=100),
        honesty="exact",
        settles="conversion_window",
        is_up_good=True,
    ),
    Metric(
        name="revenue_per_session",
        title="Revenue per session",
        help="Mean attributed revenue of a session exposed to the surface, in major units of the reporting currency.",
        unit="currency",
        formula="attributed revenue / exposed sessions, without tax and shipping",
        caveat="Few sessions make most of the revenue: with a few hundred of them the interval is too narrow, see the "
        "winsorised mean. Revenue in another currency is counted apart and not part of it. It is credit, not cause: "
        "compare arms.",
        method=Mean("session_revenue_minor", "sessions", "session_revenue_squares", scale=100, squares_scale=10_000),
        honesty="estimate",
        settles="conversion_window",
        is_up_good=True,
        is_exported=True,
        at_least=2,
    ),
    Metric(
        name="revenue_per_session_winsorised",
        title="Revenue per session, winsorised",
        help="Mean attributed revenue of a session, where a session counts for 500 (major units) at most: what a "
        "typical difference looks like, with an interval that a few enormous orders cannot move.",
        unit="currency",
        formula="sum of min(attributed revenue, 500) / exposed sessions",
        caveat="Times the number of sessions it is not the revenue. The cap is fixed, not a percentile: where amounts "
        "are of another order, nothing or all is cut. An effect on the dearest orders alone is not seen.",
        method=Mean(
            "session_revenue_capped_minor",
            "sessions",
            "session_revenue_capped_squares",
            scale=100,
            squares_scale=10_000,
            cap=SESSION_CAP_MINOR,
        ),
        honesty="estimate",
        settles="conversion_window",
        is_up_good=True,
        highest=SESSION_CAP_MINOR / 100,
        at_least=2,
    ),
    Metric(
        name="conversions_per_session",
        title="Conversions per session",
        help="Mean number of attributed conversions and orders of an exposed session. It may pass 1.",
        unit="conversions",
        formula="attributed conversions and orders / exposed sessions",
        caveat='Read as a percentage this is the popular "conversions / visitors", which can pass 100 % and rises when '
        "the same people buy twice. The share that converts is the conversion rate.",
        method=Mean("session_conversions", "sessions", "session_conversion_squares"),
        honesty="estimate",
        settles="conversion_window",
        is_up_good=True,
        at_least=2,
    ),
    Metric(
        name="conversion_of_clickers",
        title="Conversion of sessions that clicked",
        help="Share of exposed sessions that converted, among those that clicked at the surface.",
        unit="ratio",
        formula="exposed sessions that clicked and converted / exposed sessions that clicked",
        caveat="Descriptive, self-selected: who means to buy clicks. The difference to those who did not click is no "
        "effect of clicking, nor of personalization; for that, compare the arms.",
        method=Proportion("converted_clicked_sessions", "clicked_sessions"),
        honesty="estimate",
        settles="conversion_window",
        is_up_good=None,
        highest=1.0,
    ),
    Metric(
        name="conversion_of_others",
        title="Conversion of sessions that did not click",
        help="Share of exposed sessions that converted, among those that did not click at the surface.",
        unit="ratio",
        formula="exposed sessions that converted without a click / exposed sessions without a click",
        caveat="Descriptive, self-selected, as for those that clicked. Nearly all of it was credited to the last view.",
        method=Proportion("converted_sessions - converted_clicked_sessions", "sessions - clicked_sessions"),
        honesty="estimate",
        settles="conversion_window",
        is_up_good=None,
        highest=1.0,
    ),
)

FAMILY: Final = Family(
    "conversion",
    "Conversion and money",
    "What sessions did after they saw a surface, credited to what they saw.",
    MEASURES,
    METRICS,
)
