"""Conversion and money, credited to the session that saw the surface."""

from typing import Final

from stream_app.core.records import growth
from stream_app.core.tally import Measure, Occasion
from stream_app.metrics.metric import Metric

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
        "conversion",
        "Conversion rate",
        "Share of sessions exposed to the surface that converted: converters over exposed, so never above 100 %.",
        "ratio",
        "proportion",
        total="converted_sessions",
        count="sessions",
        highest=1.0,
    ),
    Metric(
        "revenue_per_session",
        "Revenue per session",
        "Mean attributed revenue of a session exposed to the surface, in major units of the reporting currency.",
        "currency",
        "mean",
        total="session_revenue_minor",
        count="sessions",
        squares="session_revenue_squares",
        scale=100,
        squares_scale=10_000,
        at_least=2,
    ),
)
