"""The promise that events are visible soon, and how fast its budget of exceptions is spent.

99 % of checkpoints have their oldest record stored within 10 s of its arrival at the broker, over 30 days. Spent at
14.4 times the rate that would last for them, 2 % of the budget is gone in an hour; at 6 times, 5 % in six hours; at
3 times, 10 % in a day; at 1 time, all of it when the month is over. Each long window is confirmed by one a twelfth
as long, so that an alert ends soon after its cause. Where few events come, shares are made of few checkpoints, and one
deployment would be a tenth of an hour's: an alert wants ten slow ones.

Source: B. Beyer et al. (2018), "The Site Reliability Workbook", chapter 5, "Multiwindow, Multi-Burn-Rate Alerts" and
"Low-Traffic Services and Error Budget Alerting".
"""

from collections.abc import Mapping
from typing import Final

from stream_app.metrics.alert import ENOUGH, Alert, Example, Group, Recorded, Recording, Severity, Told, of_worker
from stream_app.metrics.alerts_data import DOWN, REDIS_DOWN

BUDGET: Final = 0.01
EDGE: Final = "10.0"
"""The edge of the histogram's bucket, in seconds, as the exposition writes it."""
LENGTHS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
LONG: Final = ("1h", "6h", "1d", "3d")
"""The longer ones of two: in each of these slow checkpoints are counted, and `ENOUGH` are wanted."""

_BUCKET: Final = "lynceus_event_visible_seconds_bucket"
_COUNT: Final = "lynceus_event_visible_seconds_count"
_SERIES: Final = {
    of_worker(_BUCKET, le=EDGE): "0+15x60",
    of_worker(_BUCKET, le=EDGE, instance="b"): "0+60x60",
    of_worker(_COUNT): "0+20x60",
    of_worker(_COUNT, instance="b"): "0+80x60",
}


def recorded(length: str) -> str:
    """Return the name under which the share of slow checkpoints is recorded."""
    return f"job:lynceus_event_visible_slow:ratio_rate{length}"


def counted(length: str) -> str:
    """Return the name under which the number of slow checkpoints is recorded."""
    return f"job:lynceus_event_visible_slow:increase{length}"


def _counting(length: str) -> Recording:
    return Recording(
        name=counted(length),
        expr=f"""
            sum by (job) (increase({_COUNT}[{length}]))
            -
            sum by (job) (increase({_BUCKET}{{le="{EDGE}"}}[{length}]))
        """,
        series=_SERIES,
        at_m=60,
        expected=(Recorded({"job": "lynceus-worker"}, 1_500),),
    )


def _recording(length: str) -> Recording:
    return Recording(
        name=recorded(length),
        expr=f"""
            1 -
            sum by (job) (rate({_BUCKET}{{le="{EDGE}"}}[{length}]))
            /
            sum by (job) (rate({_COUNT}[{length}]))
        """,
        series=_SERIES,
        at_m=30,
        expected=(Recorded({"job": "lynceus-worker"}, 0.25),),
    )


def _burn(name: str, severity: Severity, for_s: int, summary: str, pairs: tuple[tuple[str, str, float], ...]) -> Alert:
    """Return the alert on pairs of a long window, its confirmation, and how many times too fast the budget goes."""
    parts = [
        f"""
            (
              {recorded(long)} > {factor * BUDGET:g}
              and {recorded(short)} > {factor * BUDGET:g}
              and {counted(long)} >= {ENOUGH}
            )
        """
        for long, short, factor in pairs
    ]
    return Alert(
        name=name,
        expr="            or".join(parts),
        for_s=for_s,
        keep_firing_for_s=min(for_s, 300),
        severity=severity,
        component="counting",
        summary=summary,
        description="{{ $value | humanizePercentage }} of {{ $labels.job }}'s checkpoints had a record that waited "
        "for more than 10 s; 1 % may.",
        inhibited_by=(REDIS_DOWN, DOWN),
        examples=tuple(_examples(pairs, for_s // 60 + 2)),
    )


def _examples(pairs: tuple[tuple[str, str, float], ...], at_m: int) -> tuple[Example, ...]:
    """Return: each pair by itself burning; each with one of its windows not burning enough, or by too few."""
    told = []
    burning: dict[str, str] = {}
    calm: dict[str, str] = {}
    for long, short, factor in pairs:
        enough, little = 1.2 * factor * BUDGET, 0.8 * factor * BUDGET
        job = f"burns-{long}"
        burning |= _spent(job, {long: enough, short: enough}, {long: 12})
        told.append(Told({"job": job}, f"{100 * enough:g}% of {job}'s checkpoints had a record that {_WAITED}"))
        calm |= _spent(f"over-{long}", {long: enough, short: little}, {long: 12})
        calm |= _spent(f"since-{short}", {long: little, short: enough}, {long: 12})
        calm |= _spent(f"few-{long}", {long: enough, short: enough}, {long: 8})
    return (
        Example("each pair of windows by itself", burning, at_m, tuple(told)),
        Example("of each pair one window is not enough, or the checkpoints are few", calm, at_m),
    )


_WAITED: Final = "waited for more than 10 s; 1 % may."


def _spent(job: str, shares: Mapping[str, float], slow: Mapping[str, int]) -> dict[str, str]:
    of_job = f'{{job="{job}"}}'
    spent = {recorded(length) + of_job: f"{shares.get(length, 0):g}x400" for length in LENGTHS}
    return spent | {counted(length) + of_job: f"{slow.get(length, 0)}x400" for length in LONG}


ALERTS: Final = (
    _burn(
        "LynceusVisibilityBudgetBurns",
        "critical",
        120,
        "Events become visible too slowly: the month's budget is gone within days.",
        (("1h", "5m", 14.4), ("6h", "30m", 6)),
    ),
    _burn(
        "LynceusVisibilityBudgetErodes",
        "warning",
        900,
        "Events become visible too slowly: the month's budget will not last.",
        (("1d", "2h", 3), ("3d", "6h", 1)),
    ),
)

GROUP: Final = Group(
    "lynceus.visibility",
    "How soon events are visible",
    (*(_recording(length) for length in LENGTHS), *(_counting(length) for length in LONG)),
    ALERTS,
)
