"""Conversion and money, credited to the session that saw the surface."""

from typing import Final

from stream_app.core.tally import Measure, Money, Occasion
from stream_app.metrics.metric import Metric


def _minor(money: Money) -> int:
    return money.minor


def _square_growth(money: Money) -> int:
    """Return by how much the square of the session's revenue grows: sums of squares stay additive over panes."""
    return (money.before_minor + money.minor) ** 2 - money.before_minor**2


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
        Occasion.CONVERTED_SESSION,
    ),
    Measure(
        "revenue_minor",
        "Attributed revenue in the reporting currency: conversion values, and orders less tax and shipping.",
        "minor units",
        Occasion.REVENUE,
        _minor,
    ),
    Measure(
        "session_revenue_minor",
        "The part of revenue_minor whose session is known, at the session's first impression.",
        "minor units",
        Occasion.SESSION_REVENUE,
        _minor,
    ),
    Measure(
        "session_revenue_squares",
        "Sum over sessions of the square of session_revenue_minor.",
        "minor units squared",
        Occasion.SESSION_REVENUE,
        _square_growth,
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
