"""Alerts that conclude: a surface has a verdict. Which one decides who hears of it.

A verdict is open from the minute in which its evidence, valid at any time, passed its threshold until the mirrored
detector has seen the recovery: so the rules only read it, and compare nothing themselves.
"""

from typing import Final

from stream_app.metrics.alert import Alert, Example, Group, Recorded, Recording, Severity, Told, of_server
from stream_app.metrics.alerts_data import DOUBTS

_ACTIVE: Final = "lynceus_verdict_active"
# Which KPIs the verdict is of is asked when the alert is told, so that two of them are one alert and not two.
_KPIS: Final = (
    '{{ range printf "max by (kpi) (lynceus_verdict_active{surface=%q,cause=%q}) == 1" '
    '$labels.surface $labels.cause | query | sortByLabel "kpi" }} {{ .Labels.kpi }}{{ end }}.'
)


def _verdict(
    cause: str,
    name: str,
    severity: Severity,
    summary: str,
    words: str,
    more: tuple[Example, ...] = (),
) -> Alert:
    """Return the alert of one cause, with an example of two KPIs of one surface: one alert, of that surface."""
    other = "drop" if cause != "drop" else "site_wide"
    of_kpis = cause in ("drop", "site_wide")  # the others are of a surface as a whole
    series = {
        of_server(_ACTIVE, surface="home.hero", kpi="ctr", cause=cause): "0x5 1x60",
        of_server(_ACTIVE, surface="home.hero", kpi="relevance", cause=cause): "0x6 1x60",
        of_server(_ACTIVE, surface="home.hero", kpi="conversion", cause=cause): "0x60",
        of_server(_ACTIVE, surface="home.hero", kpi="ctr", cause=other): "0x60",
        of_server(_ACTIVE, surface="cart", kpi="ctr", cause=cause): "0x60",
        of_server(_ACTIVE, surface="cart", kpi="ctr", cause=other): "1x60",
    }
    series |= {key.replace('instance="a"', 'instance="b"'): values for key, values in series.items()}
    labels = {"job": "lynceus-server", "surface": "home.hero", "cause": cause}
    told = " ctr relevance." if of_kpis else ""
    return Alert(
        name=name,
        expr=f'max without (instance, pod, kpi) ({_ACTIVE}{{cause="{cause}"}}) == 1',
        for_s=120,
        keep_firing_for_s=600,
        severity=severity,
        component="personalization",
        summary=summary,
        description=f"{{{{ $labels.surface }}}}:{_KPIS if of_kpis else ''} {words}",
        inhibited_by=DOUBTS,
        board="?surface={{ $labels.surface | urlquery }}",
        examples=(
            Example("of two surfaces one has it", series, 12, (Told(labels, f"home.hero:{told} {words}"),)),
            Example("nobody has it yet", series, 5),
            *more,
        ),
    )


_DROP_WORDS: Final = (
    "The personalized arm does worse against the holdout than its floor, which is 5 % below what it has done for "
    "28 days. It is not the site, the traffic or the tracking: the holdout would show those too."
)

ALERTS: Final = (
    _verdict(
        "drop",
        "LynceusPersonalizationDrop",
        "critical",
        "Personalization has dropped on a surface.",
        _DROP_WORDS,
        (
            Example(
                "recovered for nine minutes: it might come back",
                {of_server(_ACTIVE, surface="home.hero", kpi="ctr", cause="drop"): "1x20 0x40"},
                29,
                (
                    Told(
                        {"job": "lynceus-server", "surface": "home.hero", "cause": "drop"},
                        f"home.hero: ctr. {_DROP_WORDS}",
                    ),
                ),
            ),
            Example(
                "recovered for twelve minutes: it is over",
                {of_server(_ACTIVE, surface="home.hero", kpi="ctr", cause="drop"): "1x20 0x40"},
                33,
            ),
        ),
    ),
    _verdict(
        "site_wide",
        "LynceusSiteWideChange",
        "warning",
        "A whole surface does worse, with and without personalization.",
        "Both arms fell alike: look at the site, the stock, the prices; personalization is not to blame.",
    ),
    _verdict(
        "traffic",
        "LynceusTrafficChange",
        "warning",
        "A surface has far fewer visits than it should have.",
        "Rates are as they were: fewer people come, or fewer events arrive.",
    ),
    _verdict(
        "instrumentation",
        "LynceusInstrumentationBroken",
        "warning",
        "Events of one kind are missing on a surface: the tracking is broken, not personalization.",
        "What is measured moved in a way that people do not: look at what sends the events.",
    ),
    _verdict(
        "context",
        "LynceusContextPipeBroken",
        "warning",
        "Personalization gets no context any more on a surface.",
        "Decisions are made without the signals that they need: relevance falls first, clicks follow.",
    ),
)

RECORDINGS: Final = (
    Recording(
        name="surface_kpi:lynceus_drop_evidence:ratio",
        expr="""
            max without (instance, pod) (lynceus_drop_log_evidence)
            /
            max without (instance, pod) (lynceus_drop_log_threshold)
        """,
        series={
            of_server("lynceus_drop_log_evidence", surface="home.hero", kpi="ctr"): "4x10",
            of_server("lynceus_drop_log_evidence", surface="home.hero", kpi="ctr", instance="b"): "4x10",
            of_server("lynceus_drop_log_threshold", surface="home.hero", kpi="ctr"): "16x10",
        },
        at_m=5,
        expected=(Recorded({"job": "lynceus-server", "surface": "home.hero", "kpi": "ctr"}, 0.25),),
    ),
)

GROUP: Final = Group("lynceus.verdicts", "What is concluded of a surface", RECORDINGS, ALERTS)
