"""Conversion and money, credited to the session that saw the surface."""

from typing import Final

from stream_app.core.records import growth
from stream_app.core.tally import Measure, Occasion
from stream_app.metrics.methods import Mean, Proportion
from stream_app.metrics.metric import Family, Metric

MEASURES: Final = (
    Measure(
        "conversions",
        "Conversions and orders within the attribution window, at the impression that earned them.",
        "conversions",
        Occasion.CONVERSION,
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
        name="revenue_per_session",
        title="Revenue per session",
        help="Mean attributed revenue of a session exposed to the surface, in major units of the reporting currency.",
        unit="currency",
        formula="attributed revenue / exposed sessions, without tax and shipping",
        caveat="Few sessions make most of the revenue: with a few hundred of them the interval is too narrow. Revenue "
        "in another currency is counted apart and not part of it. It is credit, not cause: compare arms.",
        method=Mean("session_revenue_minor", "sessions", "session_revenue_squares", scale=100, squares_scale=10_000),
        honesty="estimate",
        settles="conversion_window",
        is_up_good=True,
        is_exported=True,
        at_least=2,
    ),
)

FAMILY: Final = Family(
    "conversion",
    "Conversion and money",
    "What sessions did after they saw a surface, credited to what they saw.",
    MEASURES,
    METRICS,
)
