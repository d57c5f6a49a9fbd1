"""Contextual relevance, part 1: how fast, how often and to what effect decisions follow context.

Counted by signal, not by decision: a signal after which nothing was decided for the person is no failure, and one that
was used nine times is one success. All stands where the signal does: a signal that names no surface is under none, so
ask by arm. Signals are logged in every arm, also where decisions may not use them; so arms can be compared on the same
kind of moments, which is how `signal_ctr` and `signal_conversion` say what responding was good for.
"""

from typing import Final

from stream_app.core.events import ContextSignal
from stream_app.core.quantile_sketch import bucket_of
from stream_app.core.records import growth
from stream_app.core.tally import Histogram, Measure
from stream_app.metrics.methods import Proportion, Quantile
from stream_app.metrics.metric import Family, Metric
from stream_app.metrics.signals import CHANGED, SIGNALS, UNSAID, Signal
from stream_app.metrics.windows import windows_from


def _bin(record: Signal) -> int | None:
    ms = record.adaptation_ms
    return None if ms is None else bucket_of(ms)


MEASURES: Final = (
    Measure("context_signals", "Changes of context that were told.", "signals", ContextSignal),
    Measure(
        "eligible_signals",
        "Signals followed within ten minutes by a decision for that person, and by no newer signal before it.",
        "signals",
        SIGNALS,
        growth(lambda record: record.is_eligible),
    ),
    Measure(
        "responses_in_time",
        "Eligible signals that a decision used within 5 s of the first one.",
        "signals",
        SIGNALS,
        growth(lambda record: record.is_in_time),
    ),
    Measure(
        "responses",
        "Eligible signals that a decision used within ten minutes.",
        "signals",
        SIGNALS,
        growth(lambda record: record.is_answered),
    ),
    Measure(
        "judged_responses",
        "Responses whose decision says whether the list is another one.",
        "signals",
        SIGNALS,
        growth(lambda record: record.change != UNSAID),
    ),
    Measure(
        "changed_responses",
        "Responses whose decision says that the list is another one: changed, or delta_topk of 0.1 and more.",
        "signals",
        SIGNALS,
        growth(lambda record: record.change == CHANGED),
    ),
    Measure(
        "clicked_signals",
        "Eligible signals followed by a click of that person, after the first decision and within ten minutes.",
        "signals",
        SIGNALS,
        growth(lambda record: record.is_clicked),
    ),
    Measure(
        "converted_signals",
        "Eligible signals followed by a conversion or order of that person, after the first decision and within a day.",
        "signals",
        SIGNALS,
        growth(lambda record: record.is_converted),
    ),
)

HISTOGRAMS: Final = (
    Histogram(
        "adaptation_ms",
        "Milliseconds from an eligible signal to the first decision that used it; ten minutes where none did.",
        "signals",
        SIGNALS,
        _bin,
    ),
)


def _adaptation(name: str, share: float, title: str, whom: str) -> Metric:
    return Metric(
        name=name,
        title=title,
        help=f"Seconds from a change of context to the first decision that used it: {whom} eligible signals took no "
        "longer.",
        unit="seconds",
        formula=f"quantile {share} over eligible signals of min(first decision that used it - signal, 600 s)",
        caveat="Signals that nothing used stand as ten minutes, for they took longer: about 600 is to be read as "
        '"ten minutes or never". Leaving them out, as is usual, makes a dead pipe look fast. Waiting for the person to '
        "come to the next page is part of it; the response rate is about the machine alone.",
        method=Quantile("adaptation_ms", share, scale=1_000),
        honesty="exact",
        settles="session_close",
        is_up_good=False,
        dimensions=("surface", "arm"),
        windows=windows_from("15m"),
    )


METRICS: Final = (
    Metric(
        name="context_response",
        title="Response to context",
        help="Share of eligible context signals that a decision used within 5 seconds of the first opportunity.",
        unit="ratio",
        formula="signals used by a decision (context_ts at or after the signal, or naming it) within 5 s of the first "
        "decision after the signal / signals with a decision for that person within 10 min",
        caveat="Arms without context do not respond, by design: read it in `personalized`. A surface that cannot use "
        "context counts as an opportunity where no other decision follows within 5 s. A person's next signal ends the "
        "former one. Whether responding did any good is not said: see `context_change` and `signal_ctr`.",
        method=Proportion("responses_in_time", "eligible_signals"),
        honesty="exact",
        settles="session_close",
        is_up_good=True,
        highest=1.0,
    ),
    Metric(
        name="context_missed",
        title="Missed context signals",
        help="Share of eligible context signals that no decision used within ten minutes.",
        unit="ratio",
        formula="1 - signals used by a decision within 10 min / eligible signals",
        caveat="Not the complement of `context_response`, which asks for 5 seconds. In a young window signals count as "
        "missed that may still be used.",
        method=Proportion("eligible_signals - responses", "eligible_signals"),
        honesty="exact",
        settles="session_close",
        is_up_good=False,
        highest=1.0,
    ),
    _adaptation("adaptation_p50", 0.5, "Adaptation latency, median", "half of the"),
    _adaptation("adaptation_p95", 0.95, "Adaptation latency, 95 %", "95 % of the"),
    _adaptation("adaptation_p99", 0.99, "Adaptation latency, 99 %", "99 % of the"),
    Metric(
        name="context_change",
        title="Effective change by context",
        help="Share of responses to context in which the list really became another one.",
        unit="ratio",
        formula="responses with changed, or with delta_topk of 0.1 and more / responses that state either",
        caveat="It is the decision's own word. Responses that say neither are in neither number. A change is not an "
        "improvement.",
        method=Proportion("changed_responses", "judged_responses"),
        honesty="estimate",
        settles="session_close",
        is_up_good=True,
        highest=1.0,
    ),
    Metric(
        name="signal_ctr",
        title="Signals followed by a click",
        help="Share of eligible context signals after which that person clicked, within ten minutes. Compare arms: "
        "`personalized` over `context_blind` is what responding to context was good for.",
        unit="ratio",
        formula="eligible signals with a click after the first decision and within 10 min / eligible signals",
        caveat="It counts every eligible signal, also those that were not responded to: the others would be a chosen "
        "few. By itself it says nothing about context. Signals of one person are alike, so with several for each the "
        "interval is too narrow.",
        method=Proportion("clicked_signals", "eligible_signals"),
        honesty="exact",
        settles="session_close",
        is_up_good=True,
        highest=1.0,
    ),
    Metric(
        name="signal_conversion",
        title="Signals followed by a conversion",
        help="Share of eligible context signals after which that person converted, within a day and before the next "
        "signal: conversion of the moments that context can matter for, to be compared between arms.",
        unit="ratio",
        formula="eligible signals with a conversion or order after the first decision, within 24 h of the signal and "
        "before the person's next / eligible signals",
        caveat="The triggered twin of `conversion`: less diluted by sessions in which no context changed. Any purchase "
        "counts, attributed or not, so only the ratio of arms has a cause in it. Signals of one person are alike, so "
        "with several for each the interval is too narrow.",
        method=Proportion("converted_signals", "eligible_signals"),
        honesty="estimate",
        settles="conversion_window",
        is_up_good=True,
        highest=1.0,
        windows=windows_from("1h"),
    ),
)

FAMILY: Final = Family(
    "context_response",
    "Response to context",
    "How fast, how often and to what effect decisions follow a change of context.",
    MEASURES,
    METRICS,
    HISTOGRAMS,
)
